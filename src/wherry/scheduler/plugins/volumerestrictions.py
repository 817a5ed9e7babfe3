"""Volumes that cannot be used twice: certain disks on one node, ReadWriteOncePod claims anywhere."""

from collections.abc import Iterator
from typing import Any

from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS
from wherry.client.informer import InformerFactory
from wherry.scheduler import claims
from wherry.scheduler.framework import SKIP, Code, CycleState, Hint, Plugin, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo, shape_of

_DISK = "node(s) had no available disk"
_ONE_POD = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode"

Disk = tuple[str, tuple[str, ...], bool]
"""Kind, what identifies it, whether it is only read."""


class _State:
    """`claims` of the pod that only one pod may use, and how many pods do, by node."""

    def __init__(self, claims: frozenset[str], users: dict[str, int], disks: list[Disk]) -> None:
        self.claims, self.users, self.disks = claims, users, disks

    def clone(self) -> "_State":
        return _State(self.claims, dict(self.users), self.disks)


class VolumeRestrictions(Plugin):
    name = "VolumeRestrictions"

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None, *, factory: InformerFactory) -> None:
        super().__init__(cache, arguments)
        self._claims = factory.informer(PERSISTENTVOLUMECLAIMS).lister

    def hints(self) -> dict[str, Hint | None]:
        def frees_volumes(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is None and old is not None and bool(shape_of(old["spec"]).volumes)

        return {"AssignedPod": frees_volumes, "PersistentVolumeClaim": None, "Node": None}

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | None:
        if not info.shape.volumes:
            return SKIP
        alone = frozenset(ref.key for ref in claims.claims_of(info) if self._is_for_one_pod(ref.key))
        disks = list(_disks(info))
        if not alone and not disks:
            return SKIP
        users = {}
        for node in self.cache.nodes.values() if alone else ():
            if count := sum(_uses(pod, alone) for pod in node.pods.values()):
                users[node.name] = count
        state.data[self.name] = _State(alone, users, disks)
        return None

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        found: _State = state.data[self.name]
        if found.disks:
            present = [disk for pod in node.pods.values() for disk in _disks(pod)]
            if any(_conflict(mine, other) for mine in found.disks for other in present):
                return self.status(Code.UNSCHEDULABLE, _DISK)
        return self.status(Code.UNSCHEDULABLE, _ONE_POD) if found.users else None

    def add_pod(self, state: CycleState, info: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        self._change(state.data[self.name], added, node.name, 1)

    def remove_pod(self, state: CycleState, info: PodInfo, removed: PodInfo, node: NodeInfo) -> None:
        self._change(state.data[self.name], removed, node.name, -1)

    def _change(self, found: _State, other: PodInfo, node_name: str, by: int) -> None:
        if _uses(other, found.claims):
            count = found.users.pop(node_name, 0) + by
            if count:
                found.users[node_name] = count

    def _is_for_one_pod(self, key: str) -> bool:
        claim = self._claims.get(key)
        return claim is not None and "ReadWriteOncePod" in (claim["spec"].get("accessModes") or ())


def _uses(pod: PodInfo, keys: frozenset[str]) -> bool:
    return any(ref.key in keys for ref in claims.claims_of(pod))


def _disks(pod: PodInfo) -> Iterator[Disk]:
    for volume in pod.shape.volumes:
        if disk := volume.get("gcePersistentDisk"):
            yield "gce", (disk["pdName"],), bool(disk.get("readOnly"))
        elif disk := volume.get("awsElasticBlockStore"):
            yield "aws", (disk["volumeID"],), False
        elif disk := volume.get("iscsi"):
            yield "iscsi", (disk["iqn"],), bool(disk.get("readOnly"))
        elif disk := volume.get("rbd"):
            for monitor in disk.get("monitors") or ():
                yield "rbd", (monitor, disk.get("pool") or "rbd", disk["image"]), bool(disk.get("readOnly"))


def _conflict(mine: Disk, other: Disk) -> bool:
    return mine[:2] == other[:2] and not (mine[2] and other[2])
