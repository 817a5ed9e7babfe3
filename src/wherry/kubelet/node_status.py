"""The Node object: registration, status, lease (kubernetes.io/docs/reference/node/node-status)."""

import asyncio
import logging
from typing import Any

from wherry.api import errors, meta
from wherry.api.meta import with_condition
from wherry.api.resources import LEASES, NODES
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.client.events import NORMAL, WARNING, EventRecorder
from wherry.images.protocol import ImageStore
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.machine import Machine
from wherry.kubelet.pressure import Pressures, Shortage, amount
from wherry.runtime.protocol import Runtime
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_LEASES = "kube-node-lease"
_MAX_IMAGES = 50
DECLARED_FEATURES = ("RestartAllContainersOnContainerExits",)
"""What of the features that nodes declare this one has (Kubernetes ``component-helpers/nodedeclaredfeatures``)."""

_CONDITIONS = (
    ("MemoryPressure", "KubeletHasInsufficientMemory", "kubelet has insufficient memory available",
     "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "KubeletHasDiskPressure", "kubelet has disk pressure",
     "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "KubeletHasInsufficientPID", "kubelet has insufficient PID available",
     "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
)  # fmt: skip


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
        self._pressures = Pressures(config, machine)
        self._written: dict[str, Any] = {}
        self._written_at = 0.0
        self.registered = asyncio.Event()
        self.capacity: dict[str, str] = {}
        self.allocatable: dict[str, str] = {}

    @property
    def pressure(self) -> dict[str, bool]:
        """The pressure conditions as last measured."""
        return self._pressures.conditions()

    def shortage(self) -> Shortage | None:
        """Return what the node is short of as last measured, memory first."""
        return self._pressures.shortages[0] if self._pressures.shortages else None

    def reference(self) -> meta.Object:
        """Return the node as events name it: upstream puts the node's name where its UID would be."""
        name = self._config.node_name
        return {"kind": "Node", "apiVersion": "v1", "metadata": {"name": name, "uid": name}}

    def warn(self, reason: str, message: str) -> None:
        """Record a warning about the node."""
        self._recorder.event(self.reference(), WARNING, reason, message)

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
        # What the hard eviction thresholds keep back is nobody's to ask for.
        kept = config.eviction_hard
        memory = machine.memory - amount(kept.get("memory.available", "0"), machine.memory)
        storage = disk.total - amount(kept.get("nodefs.available", "0"), disk.total)
        self.allocatable.update(
            {**self.capacity, "ephemeral-storage": str(max(0, storage)), "memory": f"{max(0, memory) // 1024}Ki"}
        )
        self._pressures.measure()

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
        features = {"recursiveReadOnlyMounts": True, "userNamespaces": self._runtime.user_namespaces}
        return {
            "addresses": [
                {"type": "InternalIP", "address": config.address},
                {"type": "Hostname", "address": config.node_name},
            ],
            "allocatable": dict(self.allocatable),
            "capacity": dict(self.capacity),
            "conditions": node_conditions(before, self.pressure),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
            "declaredFeatures": list(DECLARED_FEATURES),
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
            "runtimeHandlers": [{"name": name, "features": features} for name in self._runtime.handlers],
        }

    async def _keep_lease(self) -> None:
        while True:
            await clock.sleep(self._config.lease_period)
            try:
                await self._renew()
            except (errors.StatusError, OSError, TimeoutError) as error:
                log.warning("cannot renew the lease of node %s: %s", self._config.node_name, error)

    async def _renew(self) -> None:
        name = self._config.node_name
        await renew_lease(self._client, name, uid=self._uid, seconds=self._config.lease_duration)


def node_conditions(before: dict[str, Any], pressure: dict[str, bool]) -> list[dict[str, Any]]:
    """Return the conditions of a node that is ready, after the status `before`; `pressure` names what is high."""
    now = clock.timestamp()
    conditions: list[dict[str, Any]] = [
        c for c in before.get("conditions") or () if c["type"] in {kind for kind, *_ in _CONDITIONS} | {"Ready"}
    ]
    for kind, bad, bad_text, good, good_text in _CONDITIONS:
        high = pressure.get(kind, False)
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


async def renew_lease(client: Client, node: str, *, uid: str, seconds: int) -> None:
    """Renew the lease of a node, for `seconds`; make it, owned by the Node of this uid, where there is none."""
    spec = {"holderIdentity": node, "leaseDurationSeconds": seconds, "renewTime": clock.micro_timestamp()}
    try:
        await client.patch(LEASES, node, {"spec": spec}, _LEASES)
    except errors.NotFound:
        owner = {"apiVersion": "v1", "kind": "Node", "name": node, "uid": uid}
        lease = {
            "kind": "Lease",
            "apiVersion": "coordination.k8s.io/v1",
            "metadata": {"name": node, "namespace": _LEASES, "ownerReferences": [owner]},
            "spec": spec,
        }
        await client.create(LEASES, lease)


def _essence(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without its heartbeats."""
    conditions = [
        {k: v for k, v in c.items() if k != "lastHeartbeatTime"}
        for c in sorted(status.get("conditions") or (), key=lambda c: str(c["type"]))
    ]
    return {**{k: status.get(k) for k in ("addresses", "allocatable", "capacity", "images")}, "conditions": conditions}
