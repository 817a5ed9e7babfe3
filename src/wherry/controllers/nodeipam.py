"""The node IPAM controller: a range of pod addresses for each node (``pkg/controller/nodeipam``).

Watches nodes. Writes ``spec.podCIDR`` and ``spec.podCIDRs`` of nodes without them, from `Settings.cluster_cidr`, in
turn. Guarantees that no two nodes have overlapping ranges of its giving. Ranges of nodes are never changed; that of a
node that is gone goes to one that waits. Does nothing where the cluster has no range to give from.
"""

import ipaddress
from collections.abc import Iterator

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import NODES
from wherry.client.events import NORMAL
from wherry.controllers.controller import Controller

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Ranges:
    """Numbered subnets of one size, each free or in use; they are given in turn."""

    def __init__(self, network: Network, size: int) -> None:
        self._network = network
        self._size = size
        self._count = 1 << (size - network.prefixlen)
        self._uses: dict[int, int] = {}
        self._next = 0

    def occupy(self, network: Network) -> None:
        """Note that a network, of any size, is in use."""
        for number in self._numbers(network):
            self._uses[number] = self._uses.get(number, 0) + 1

    def release(self, network: Network) -> None:
        """Undo one `occupy`."""
        for number in self._numbers(network):
            self._uses[number] = self._uses.get(number, 1) - 1
            if self._uses[number] <= 0:
                del self._uses[number]

    def take(self) -> Network | None:
        """Return a free subnet and note that it is in use; None when all are."""
        for step in range(self._count):
            number = (self._next + step) % self._count
            if number not in self._uses:
                self._next = number + 1
                self._uses[number] = 1
                width = self._network.max_prefixlen - self._size
                start = int(self._network.network_address) + (number << width)
                return ipaddress.ip_network((start, self._size))
        return None

    def _numbers(self, network: Network) -> Iterator[int]:
        if network.version != self._network.version or not network.overlaps(self._network):
            return
        width, base = self._network.max_prefixlen - self._size, int(self._network.network_address)
        first = max(int(network.network_address) - base, 0) >> width
        last = (int(network.broadcast_address) - base) >> width
        yield from range(first, min(last, self._count - 1) + 1)


class NodeIpamController(Controller):
    name = "node-ipam-controller"
    account = "node-controller"
    component = "cidrAllocator"
    workers = 1

    def register(self) -> None:
        self._ranges: Ranges | None = None
        self._held: dict[str, list[Network]] = {}
        self._waiting: dict[str, None] = {}
        if not self.settings.cluster_cidr:
            return
        cluster = ipaddress.ip_network(self.settings.cluster_cidr)
        self._ranges = Ranges(cluster, self.settings.node_cidr_mask_size)
        for reserved in self.settings.node_cidrs.values():
            self._ranges.occupy(ipaddress.ip_network(reserved))
        self._nodes = self.watch(NODES, changed=lambda old, new: not new["spec"].get("podCIDR"))
        self._nodes.add_handler(
            on_add=self._note, on_update=lambda old, new: self._note(new), on_delete=lambda node: self._drop(node)
        )

    def _note(self, node: Object) -> None:
        name, spec = meta.name(node), node.get("spec") or {}
        given = spec.get("podCIDRs") or ([spec["podCIDR"]] if spec.get("podCIDR") else [])
        if self._ranges is not None and given and name not in self._held:
            self._hold(name, [ipaddress.ip_network(text, strict=False) for text in given])

    def _hold(self, name: str, networks: list[Network]) -> None:
        self._held[name] = networks
        for network in networks:
            if self._ranges is not None:
                self._ranges.occupy(network)

    def _drop(self, node: Object) -> None:
        for network in self._held.pop(meta.name(node), ()):
            if self._ranges is not None:
                self._ranges.release(network)
        self._waiting.pop(meta.name(node), None)
        for name in self._waiting:
            self.queue.add(name)

    async def reconcile(self, key: str) -> float | None:
        node = self._nodes.lister.get(key)
        if node is None or (node.get("spec") or {}).get("podCIDR") or meta.is_deleting(node) or self._ranges is None:
            return None
        if reserved := self.settings.node_cidrs.get(key):
            self._hold(key, [ipaddress.ip_network(reserved)])
        elif key not in self._held:
            found = self._ranges.take()
            if found is None:
                text = f"Node {key} status is now: CIDRNotAvailable"
                self.recorder.event(node, NORMAL, "CIDRNotAvailable", text)
                self._waiting[key] = None
                return None
            self._waiting.pop(key, None)
            self._held[key] = [found]
        cidrs = [str(network) for network in self._held[key]]
        patch = {"metadata": {"uid": meta.uid(node)}, "spec": {"podCIDR": cidrs[0], "podCIDRs": cidrs}}
        try:
            self.wrote(key, NODES, await self.client.patch(NODES, key, patch))
        except errors.NotFound:
            self._drop(node)
        return None
