"""A volume that is labelled with its zone or region is used only there."""

from typing import Any

from wherry.api import meta
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from wherry.client.informer import InformerFactory
from wherry.scheduler import claims
from wherry.scheduler.framework import SKIP, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo

_CURRENT = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
}
_KEYS = (*_CURRENT, *_CURRENT.values())


class VolumeZone(Plugin):
    name = "VolumeZone"

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None, *, factory: InformerFactory) -> None:
        super().__init__(cache, arguments)
        self._claims = factory.informer(PERSISTENTVOLUMECLAIMS).lister
        self._volumes = factory.informer(PERSISTENTVOLUMES).lister

    def hints(self) -> dict[str, Hint | None]:
        return dict.fromkeys(("Node", "PersistentVolumeClaim", "PersistentVolume", "StorageClass"))

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        if not info.shape.volumes:
            return SKIP
        wanted: list[tuple[str, frozenset[str]]] = []
        for ref in claims.claims_of(info):
            claim = self._claims.get(ref.key)
            volume = self._volumes.get((claim["spec"].get("volumeName") if claim else None) or "")
            if volume is not None:
                labels = meta.labels(volume)
                # A volume in several zones has them joined by two underscores.
                wanted += [(key, frozenset(labels[key].split("__"))) for key in _KEYS if key in labels]
        if not wanted:
            return SKIP
        state.data[self.name] = wanted
        return None

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        for key, values in state.data[self.name]:
            value = node.labels.get(key) or node.labels.get(_CURRENT.get(key, ""))
            if value not in values and any(label in node.labels for label in _KEYS):
                return self.status(Code.UNRESOLVABLE, "node(s) had no available volume zone")
        return None
