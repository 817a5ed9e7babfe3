"""Simulated nodes: one object that plays the kubelets of all nodes against the API, in virtual time.

A pod starts after some seconds; with the annotation ``sim/seconds`` it ends after that many, and ``sim/fails`` is the
chance in percent that it fails then. A lost node does nothing at all until it comes back.
"""

import asyncio
import random

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import LEASES, NODES, PODS
from wherry.client.client import MERGE_PATCH, Client
from wherry.util import clock
from wherry.util.tasks import Scope

_LEASES = "kube-node-lease"


class Nodes:
    """``spawn`` gives it its scope; `heard` takes every change of a pod (None: it is gone).

    Each node renews its lease every `heartbeat` seconds.
    """

    def __init__(self, admin: Client, rng: random.Random, *, heartbeat: float) -> None:
        self._admin = admin
        self._heartbeat = heartbeat
        self._rng = rng
        self._scope = Scope()
        self._pods: dict[str, Object] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self._on: dict[str, dict[str, None]] = {}
        self._beats: dict[str, asyncio.Task[None]] = {}
        self._addresses = 0
        self.lost: dict[str, None] = {}

    def spawn(self, scope: Scope) -> None:
        self._scope = scope

    def alive(self) -> list[str]:
        """Return the nodes that are up."""
        return [name for name in self._beats if name not in self.lost]

    def running_on(self, node: str) -> list[str]:
        """Return the keys of the pods whose containers the node believes to run."""
        return [meta.key_of(self._pods[uid]) for uid in self._on.get(node, ()) if _started(self._pods[uid])]

    async def add(self, name: str, zone: str) -> None:
        """Register a node and keep its lease."""
        labels = {"kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}
        await self._admin.create(NODES, {"metadata": {"name": name, "labels": labels}})
        lease: Object = {"metadata": {"name": name, "namespace": _LEASES}, "spec": {"holderIdentity": name}}
        lease["spec"]["leaseDurationSeconds"] = int(4 * self._heartbeat)
        await self._admin.create(LEASES, lease)
        await self._report(name)
        self._beats[name] = self._scope.spawn(self._beat(name), name=f"heartbeat of {name}")

    def lose(self, name: str) -> None:
        """Cut the node off: no heartbeat, no report, nothing is started or ended."""
        self.lost[name] = None
        for uid in self._on.get(name, ()):
            self._stop(uid)

    async def find(self, name: str) -> None:
        """Bring a lost node back: it reports itself and goes on with its pods."""
        del self.lost[name]
        await self._renew(name)
        await self._report(name)
        for uid in list(self._on.get(name, ())):
            self._drive(self._pods[uid], again=True)

    async def remove(self, name: str) -> None:
        """Delete a node for good, with its lease."""
        for uid in self._on.get(name, ()):
            self._stop(uid)
        self._beats.pop(name).cancel()
        self.lost.pop(name, None)
        await self._admin.delete(NODES, name)
        await self._admin.delete(LEASES, name, _LEASES)

    def heard(self, uid: str, pod: Object | None) -> None:
        """Take the newest state of a pod."""
        old = self._pods.pop(uid, None)
        if pod is None:
            self._stop(uid)
            if old is not None:
                self._on[old["spec"]["nodeName"]].pop(uid, None)
            return
        if not pod["spec"].get("nodeName"):
            return
        self._pods[uid] = pod
        self._on.setdefault(pod["spec"]["nodeName"], {})[uid] = None
        if old is None or (meta.is_deleting(pod) and not meta.is_deleting(old)):
            self._drive(pod)

    def _drive(self, pod: Object, *, again: bool = False) -> None:
        name, uid = pod["spec"]["nodeName"], meta.uid(pod)
        if name not in self._beats or name in self.lost:
            return
        self._stop(uid)
        work = self._end(pod) if meta.is_deleting(pod) else self._run(pod, again)
        self._workers[uid] = self._scope.spawn(work, name=f"pod {meta.key_of(pod)}")

    def _stop(self, uid: str) -> None:
        worker = self._workers.pop(uid, None)
        if worker is not None:
            worker.cancel()

    async def _run(self, pod: Object, again: bool) -> None:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            return
        wanted = meta.annotations(pod)
        if not (again and _started(pod)):
            await clock.sleep(self._rng.uniform(1, 8))
            self._addresses += 1
        address = f"10.{self._addresses >> 16 & 255}.{self._addresses >> 8 & 255}.{self._addresses & 255}"
        status: Object = {"phase": "Running", "startTime": clock.timestamp(), "podIP": address}
        status |= {"podIPs": [{"ip": address}], "conditions": _conditions(pod, "True")}
        status["containerStatuses"] = [_container("running", {"startedAt": clock.timestamp()}, ready=True)]
        await self._patch(pod, status)
        if "sim/seconds" not in wanted:
            return
        await clock.sleep(float(wanted["sim/seconds"]) * self._rng.uniform(0.8, 1.2))
        code = 1 if self._rng.uniform(0, 100) < float(wanted.get("sim/fails", "0")) else 0
        ended = {"exitCode": code, "startedAt": clock.timestamp(), "finishedAt": clock.timestamp()}
        status = {"phase": "Failed" if code else "Succeeded", "conditions": _conditions(pod, "False")}
        await self._patch(pod, status | {"containerStatuses": [_container("terminated", ended)]})

    async def _end(self, pod: Object) -> None:
        await clock.sleep(self._rng.uniform(0.5, 5))
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid(pod)}}
        try:
            await self._admin.delete(PODS, meta.name(pod), meta.namespace(pod), options=options)
        except (errors.NotFound, errors.Conflict):
            return

    async def _patch(self, pod: Object, status: Object) -> None:
        patch = {"metadata": {"uid": meta.uid(pod)}, "status": status}
        try:
            await self._admin.patch(
                PODS, meta.name(pod), patch, meta.namespace(pod), content_type=MERGE_PATCH, subresource="status"
            )
        except (errors.NotFound, errors.Conflict):
            return

    async def _beat(self, name: str) -> None:
        await clock.sleep(self._rng.uniform(0, self._heartbeat))
        while True:
            if name not in self.lost:
                await self._renew(name)
            await clock.sleep(self._heartbeat)

    async def _renew(self, name: str) -> None:
        await self._admin.patch(LEASES, name, {"spec": {"renewTime": clock.micro_timestamp()}}, _LEASES)

    async def _report(self, name: str) -> None:
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady"}
        ready |= {"lastHeartbeatTime": clock.timestamp(), "lastTransitionTime": clock.timestamp()}
        room = {"cpu": "4", "memory": "16Gi", "pods": "30"}
        status = {"capacity": room, "allocatable": room, "conditions": [ready]}
        await self._admin.patch(NODES, name, {"status": status}, content_type=MERGE_PATCH, subresource="status")


def _started(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") == "Running"


def _conditions(pod: Object, ready: str) -> list[Object]:
    kept = [
        c for c in (pod.get("status") or {}).get("conditions") or () if c["type"] not in ("Ready", "ContainersReady")
    ]
    now = {"status": ready, "lastTransitionTime": clock.timestamp()}
    return [*kept, {"type": "Ready", **now}, {"type": "ContainersReady", **now}]


def _container(state: str, detail: Object, *, ready: bool = False) -> Object:
    entry: Object = {"name": "c", "image": "app", "imageID": "", "ready": ready, "restartCount": 0}
    return {**entry, "state": {state: detail}}
