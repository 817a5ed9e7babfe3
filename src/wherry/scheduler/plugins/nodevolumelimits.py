"""A node takes as many volumes of a CSI driver as its CSINode says."""

from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import CSINODES, PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from wherry.client.informer import InformerFactory
from wherry.scheduler import claims
from wherry.scheduler.framework import SKIP, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo, shape_of

_REASON = "node(s) exceed max volume count"


class NodeVolumeLimits(Plugin):
    name = "NodeVolumeLimits"

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None, *, factory: InformerFactory) -> None:
        super().__init__(cache, arguments)
        self._claims = factory.informer(PERSISTENTVOLUMECLAIMS).lister
        self._volumes = factory.informer(PERSISTENTVOLUMES).lister
        self._classes = factory.informer(STORAGECLASSES).lister
        self._nodes = factory.informer(CSINODES).lister

    def hints(self) -> dict[str, Hint | None]:
        def frees_volumes(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is None and old is not None and bool(shape_of(old["spec"]).volumes)

        return {"AssignedPod": frees_volumes, "PersistentVolumeClaim": None, "CSINode": None, "Node": None}

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        wanted = self._volumes_of(info) if info.shape.volumes else set()
        if not wanted:
            return SKIP
        state.data[self.name] = wanted
        return None

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        limits = self._limits(node.name)
        if not limits:
            return None
        present: set[tuple[str, str]] = set()
        for pod in node.pods.values():
            if pod.shape.volumes:
                present |= self._volumes_of(pod)
        new: set[tuple[str, str]] = state.data[self.name] - present
        for driver in {driver for driver, _ in new}:
            total = sum(name == driver for name, _ in present) + sum(name == driver for name, _ in new)
            if driver in limits and total > limits[driver]:
                return self.status(Code.UNSCHEDULABLE, _REASON)
        return None

    def _limits(self, node_name: str) -> dict[str, int]:
        found = self._nodes.get(node_name)
        drivers: list[Object] = (found["spec"].get("drivers") or []) if found else []
        return {
            driver["name"]: driver["allocatable"]["count"]
            for driver in drivers
            if (driver.get("allocatable") or {}).get("count") is not None
        }

    def _volumes_of(self, info: PodInfo) -> set[tuple[str, str]]:
        """Return (driver, what identifies the volume) of a pod's CSI volumes."""
        found = set()
        for ref in claims.claims_of(info):
            claim = self._claims.get(ref.key)
            if claim is None:
                continue
            volume = self._volumes.get(claim["spec"].get("volumeName") or "")
            if volume is not None:
                if csi := volume["spec"].get("csi"):
                    found.add((csi["driver"], csi["volumeHandle"]))
            elif storage_class := self._classes.get(claims.class_of(claim)):
                # Not provisioned yet: it will be one volume of the class' driver.
                found.add((storage_class.get("provisioner") or "", meta.key_of(claim)))
        return found
