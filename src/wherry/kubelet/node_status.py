"""The Node object: registration, status, lease (kubernetes.io/docs/reference/node/node-status)."""

import asyncio
import logging
from dataclasses import dataclass
from typing import Any

from wherry.api import errors, meta
from wherry.api.meta import with_condition
from wherry.api.resources import LEASES, NODES
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.client.events import NORMAL, EventRecorder
from wherry.images.protocol import ImageStore
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.machine import Machine
from wherry.runtime.protocol import Runtime
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_LEASES = "kube-node-lease"
_MAX_IMAGES = 50
_MEMORY_LEFT = 100 * 1024 * 1024
_DISK_LEFT = 0.10
_INODES_LEFT = 0.05
_PIDS_LEFT = 0.05

_CONDITIONS = (
    ("MemoryPressure", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available",
     "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasDiskPressure", "kubelet has disk pressure",
     "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasInsufficientPID", "kubelet has insufficient PID available",
     "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Shortage:
    """A resource that the node has too little of, with quantities as events show them."""

    resource: str
    threshold: str
    available: str


class NodeStatus:
    """Keeps one Node and its lease. `registered` is set when the API has the node with a first status."""

    def __init__(
        self,
        config: KubeletConfig,
        *,
        client: Client,
        recorder: EventRecorder,
        runtime: Runtime,
        images: ImageStore,
        machine: Machine,
    ) -> None:
        self._config = config
        self._client = client
        self._recorder = recorder
        self._runtime = runtime
        self._images = images
        self._machine = machine
        self._uid = config.node_name
        self._pressure: dict[str, bool] = {}
        self._shortages: list[Shortage] = []
        self._written: dict[str, Any] = {}
        self._written_at = 0.0
        self.registered = asyncio.Event()
        self.capacity: dict[str, str] = {}
        self.allocatable: dict[str, str] = {}

    @property
    def pressure(self) -> dict[str, bool]:
        """The pressure conditions as last measured."""
        return self._pressure

    def shortage(self) -> Shortage | None:
        """Return what the node is short of as last measured, memory first."""
        return self._shortages[0] if self._shortages else None

    def reference(self) -> meta.Object:
        """Return the node as events name it: upstream puts the node's name where its UID would be."""
        name = self._config.node_name
        return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name}}

    async def measure(self) -> None:
        """Measure capacity and pressures."""
        await asyncio.to_thread(self._measure)

    def _measure(self) -> None:
        machine, config = self._machine, self._config
        disk = machine.disk(config.root)
        huge = {f"hugepages-{size}": str(amount) for size, amount in sorted(machine.huge_pages().items())}
        self.capacity = {
            "cpu": str(machine.processors),
            "ephemeral-storage": f"{disk.total // 1024}Ki",
            **huge,
            "memory": f"{machine.memory // 1024}Ki",
            "pods": str(config.max_pods),
        }
        # The hard eviction thresholds are kept back: 100Mi of memory, a tenth of the disk.
        self.allocatable.update(
            {
                **self.capacity,
                "ephemeral-storage": str(int(disk.total * (1 - _DISK_LEFT))),
                "memory": f"{max(0, machine.memory - _MEMORY_LEFT) // 1024}Ki",
            }
        )
        running, most = machine.processes()
        free = machine.available_memory()
        signals = (
            ("MemoryPressure", "memory", _MEMORY_LEFT, free, 1024),
            ("DiskPressure", "ephemeral-storage", int(disk.total * _DISK_LEFT), disk.available, 1024),
            ("DiskPressure", "inodes", int(disk.inodes * _INODES_LEFT), disk.inodes_free, 1),
            ("PIDPressure", "pids", int(most * _PIDS_LEFT), most - running, 1),
        )
        self._pressure = dict.fromkeys((kind for kind, *_ in signals), False)
        self._shortages = []
        for kind, name, least, available, unit in signals:
            if available < least:
                self._pressure[kind] = True
                shown = [f"{amount // unit}{'Ki' if unit > 1 else ''}" for amount in (least, available)]
                self._shortages.append(Shortage(name, *shown))

    async def run(self, scope: Scope) -> None:
        """Register the node, then keep its status and lease until cancelled."""
        backoff = Backoff(0.1, 7.0)
        while True:
            try:
                await self._register()
                await self._renew()
                break
            except (errors.StatusError, OSError, TimeoutError) as error:
                log.warning("cannot register node %s: %s", self._config.node_name, error)
                await clock.sleep(backoff.next())
        self._recorder.event(self.reference(), NORMAL, "Starting", "Starting kubelet.")
        self.registered.set()
        scope.spawn(self._keep_lease(), name="node lease")
        while True:
            await clock.sleep(self._config.pressure_period)
            try:
                await self.measure()
                await self._update()
            except (errors.StatusError, OSError, TimeoutError) as error:
                log.warning("cannot update the status of node %s: %s", self._config.node_name, error)
                if isinstance(error, errors.NotFound):
                    await self._register_again()

    async def _register_again(self) -> None:
        try:
            await self._register()
        except (errors.StatusError, OSError, TimeoutError) as error:
            log.warning("cannot register node %s again: %s", self._config.node_name, error)

    def _labels(self) -> dict[str, str]:
        arch, name = self._machine.architecture, self._config.node_name
        return {
            "beta.kubernetes.io/arch": arch,
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": arch,
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            **self._config.node_labels,
        }

    async def _register(self) -> None:
        name = self._config.node_name
        labels = self._labels()
        status = await self._status({})
        node: meta.Object = {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {
                "name": name,
                "labels": labels,
                "annotations": {"volumes.kubernetes.io/controller-managed-attach-detach": "true"},
            },
            "spec": {},
            "status": status,
        }
        try:
            existing = await self._client.get(NODES, name)
        except errors.NotFound:
            existing = await self._client.create(NODES, node)
        missing = {k: v for k, v in labels.items() if meta.labels(existing).get(k) != v}
        if missing:
            existing = await self._client.patch(NODES, name, {"metadata": {"labels": missing}})
        self._uid = meta.uid(existing)
        self._written = {}
        await self._update(existing)

    async def _update(self, existing: meta.Object | None = None) -> None:
        """Write the status when it changed or its time has come."""
        now = clock.monotonic()
        due = not self._written or now - self._written_at >= self._config.status_period
        before = (existing or {}).get("status") or self._written
        status = await self._status(before)
        if not due and _essence(status) == _essence(self._written):
            return
        patch: dict[str, Any] = {"status": status}
        addresses = [{"$patch": "replace"}, *status["addresses"]]
        patch["status"] = {**status, "addresses": addresses}
        stored = await self._client.patch(
            NODES, self._config.node_name, patch, content_type=STRATEGIC_PATCH, subresource="status"
        )
        self._report(before, status)
        self._written, self._written_at = stored.get("status") or status, now

    def _report(self, before: dict[str, Any], after: dict[str, Any]) -> None:
        old = {c["type"]: c["status"] for c in before.get("conditions") or ()}
        for condition in after["conditions"]:
            kind, value = condition["type"], condition["status"]
            if old.get(kind) == value:
                continue
            reason = (
                ("NodeReady" if value == "True" else "NodeNotReady")
                if kind == "Ready"
                else "NodeHas" + (condition["reason"].removeprefix("KubeletHas"))
            )
            text = f"Node {self._config.node_name} status is now: {reason}"
            self._recorder.event(self.reference(), NORMAL, reason, text)

    async def _status(self, before: dict[str, Any]) -> dict[str, Any]:
        config, machine = self._config, self._machine
        images = await self._images.list()
        shown = sorted(images, key=lambda i: i.size, reverse=True)[:_MAX_IMAGES]
        return {
            "addresses": [
                {"type": "InternalIP", "address": config.address},
                {"type": "Hostname", "address": config.node_name},
            ],
            "allocatable": dict(self.allocatable),
            "capacity": dict(self.capacity),
            "conditions": self._conditions(before),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
            "images": [{"names": [*i.digests, *i.tags], "sizeBytes": i.size} for i in shown],
            "nodeInfo": {
                "architecture": machine.architecture,
                "bootID": machine.boot_id,
                "containerRuntimeVersion": await self._runtime.version(),
                "kernelVersion": machine.kernel,
                "kubeProxyVersion": "",
                "kubeletVersion": config.kubernetes_version,
                "machineID": machine.machine_id,
                "operatingSystem": "linux",
                "osImage": machine.os_image,
                "systemUUID": machine.system_uuid,
            },
            "runtimeHandlers": [
                {"name": "", "features": {"recursiveReadOnlyMounts": True, "userNamespaces": False}},
            ],
        }

    def _conditions(self, before: dict[str, Any]) -> list[dict[str, Any]]:
        now = clock.timestamp()
        conditions: list[dict[str, Any]] = [
            c for c in before.get("conditions") or () if c["type"] in {kind for kind, *_ in _CONDITIONS} | {"Ready"}
        ]
        for kind, bad, bad_text, good, good_text in _CONDITIONS:
            high = self._pressure.get(kind, False)
            new = {
                "type": kind,
                "status": "True" if high else "False",
                "reason": bad if high else good,
                "message": bad_text if high else good_text,
                "lastHeartbeatTime": now,
            }
            conditions = with_condition(conditions, new, now=now)
        ready = {
            "type": "Ready",
            "status": "True",
            "reason": "KubeletReady",
            "message": "kubelet is posting ready status",
            "lastHeartbeatTime": now,
        }
        return with_condition(conditions, ready, now=now)

    async def _keep_lease(self) -> None:
        while True:
            await clock.sleep(self._config.lease_period)
            try:
                await self._renew()
            except (errors.StatusError, OSError, TimeoutError) as error:
                log.warning("cannot renew the lease of node %s: %s", self._config.node_name, error)

    async def _renew(self) -> None:
        name = self._config.node_name
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": self._config.lease_duration,
            "renewTime": clock.micro_timestamp(),
        }
        try:
            await self._client.patch(LEASES, name, {"spec": spec}, _LEASES)
        except errors.NotFound:
            owner = {"apiVersion": "v1", "kind": "Node", "name": name, "uid": self._uid}
            lease = {
                "kind": "Lease",
                "apiVersion": "coordination.k8s.io/v1",
                "metadata": {"name": name, "namespace": _LEASES, "ownerReferences": [owner]},
                "spec": spec,
            }
            await self._client.create(LEASES, lease)


def _essence(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without its heartbeats."""
    conditions = [
        {k: v for k, v in c.items() if k != "lastHeartbeatTime"}
        for c in sorted(status.get("conditions") or (), key=lambda c: str(c["type"]))
    ]
    return {**{k: status.get(k) for k in ("addresses", "allocatable", "capacity", "images")}, "conditions": conditions}
