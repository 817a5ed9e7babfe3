"""The nodes themselves: registration, status, lease; they vanish and come back by an annotation."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import NODES
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.client.informer import InformerFactory
from wherry.client.workqueue import Workqueue
from wherry.kubelet.fake import LABEL, VANISHED, FakeConfig
from wherry.kubelet.fake.pods import FakePods
from wherry.kubelet.fake.work import work
from wherry.kubelet.node_status import node_conditions, renew_lease
from wherry.util import clock

_WORKERS = 16
_ZONES = ("a", "b", "c")
_CAPACITY = {"cpu": "32", "ephemeral-storage": "1Ti", "memory": "256Gi", "pods": "110"}


class FakeNodes:
    """Keeps `config.count` fake nodes and their pods until cancelled.

    `client_for(name)` is a client with the identity of that node; `admin` removes fake nodes of an earlier, larger
    number. `informers` are shared with others of the process: they must see all nodes and pods.
    """

    def __init__(
        self, config: FakeConfig, informers: InformerFactory, *, client_for: Callable[[str], Client], admin: Client
    ) -> None:
        self._config = config
        self._names = {f"fake-{number}": number for number in range(config.count)}
        self._admin = admin
        self._clients = {name: client_for(name) for name in self._names}
        self._nodes = informers.informer(NODES)
        self._queue: Workqueue[str] = Workqueue("fake-nodes")
        self._posted: dict[str, float] = {}
        self._pods = FakePods(config, informers, clients=self._clients, present=self._present)

    async def run(self) -> None:
        """Remove what is above the number, register the nodes, then keep them and their pods; of none, return."""
        await self._nodes.wait_synced()
        await self._remove_surplus()
        if not self._names:
            return
        for name in self._names:
            self._queue.add(name)
        self._nodes.add_handler(on_update=self._updated, on_delete=self._deleted)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pods.run(), name="fake pods")
            for number in range(_WORKERS):
                group.create_task(work(self._queue, self._beat), name=f"fake nodes/{number}")

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield the metrics of the work queues as (name, labels, value)."""
        yield from self._queue.samples()
        yield from self._pods.samples()

    def _present(self, name: str) -> bool:
        node = self._nodes.lister.get(name) if name in self._names else None
        return node is not None and not _vanished(node)

    async def _remove_surplus(self) -> None:
        for node in self._nodes.lister.list():
            if meta.labels(node).get(LABEL) == "true" and meta.name(node) not in self._names:
                await self._admin.delete(NODES, meta.name(node))

    def _updated(self, old: Object, new: Object) -> None:
        if _vanished(old) and not _vanished(new) and meta.name(new) in self._names:
            self._posted.pop(meta.name(new), None)
            self._queue.add(meta.name(new))
            self._pods.enqueue_node(meta.name(new))

    def _deleted(self, node: Object) -> None:
        """A kubelet whose Node was deleted registers it again with its next status."""
        self._posted.pop(meta.name(node), None)

    async def _beat(self, name: str) -> float | None:
        """Do what is due for one node, and return the seconds until more is."""
        config, node = self._config, self._nodes.lister.get(name)
        if node is not None and _vanished(node):
            return None
        now, first = clock.monotonic(), name not in self._posted
        if first or now - self._posted[name] >= config.status_period:
            node = await self._post(name, node)
            self._posted[name] = now
        client = self._clients[name]
        await renew_lease(client, name, uid=meta.uid(node) if node else "", seconds=config.lease_duration)
        # The nodes start together; their heartbeats must not stay so.
        return config.lease_period * (random.random() if first else 1 + 0.04 * random.random())

    async def _post(self, name: str, node: Object | None) -> Object:
        client = self._clients[name]
        if node is None:
            try:
                return await client.create(NODES, self._node(name))
            except errors.AlreadyExists:
                node = await client.get(NODES, name)
        status = self._status(name, node.get("status") or {})
        patch = {"status": {**status, "addresses": [{"$patch": "replace"}, *status["addresses"]]}}
        return await client.patch(NODES, name, patch, content_type=STRATEGIC_PATCH, subresource="status")

    def _node(self, name: str) -> Object:
        labels = {
            "beta.kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/arch": "amd64",
            "kubernetes.io/hostname": name,
            "kubernetes.io/os": "linux",
            "topology.kubernetes.io/region": "fake",
            "topology.kubernetes.io/zone": f"fake-{_ZONES[self._names[name] % len(_ZONES)]}",
            LABEL: "true",
        }
        return {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": name, "labels": labels},
            "spec": {},
            "status": self._status(name, {}),
        }

    def _status(self, name: str, before: dict[str, Any]) -> dict[str, Any]:
        config = self._config
        return {
            "addresses": [
                {"type": "InternalIP", "address": config.address},
                {"type": "Hostname", "address": name},
            ],
            "allocatable": _CAPACITY,
            "capacity": _CAPACITY,
            "conditions": node_conditions(before, {}),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": config.port}},
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": name,
                "containerRuntimeVersion": "fake://1",
                "kernelVersion": "fake",
                "kubeProxyVersion": "",
                "kubeletVersion": config.kubernetes_version,
                "machineID": name,
                "operatingSystem": "linux",
                "osImage": "fake",
                "systemUUID": name,
            },
        }


def _vanished(node: Object) -> bool:
    return meta.annotations(node).get(VANISHED) == "true"
