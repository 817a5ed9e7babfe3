"""Pods on routed veth pairs: every packet of a pod passes the host's routing, so nothing depends on br_netfilter.

``docs/adr/0005-routed-pods.md`` gives the reasons.
"""

import asyncio
import contextlib
import hashlib
import json
import logging
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import TypeVar

from wherry.network import firewall, namespace, netlink
from wherry.network.ipam import AddressPool
from wherry.network.nft import Nft, NftError
from wherry.network.protocol import Attachment, AttachOptions, NetworkError, PortMapping
from wherry.util import linux

log = logging.getLogger(__name__)
T = TypeVar("T")

_HOST_MAC = b"\xee\xee\xee\xee\xee\xee"
_LOOPBACK, _POD_LINK = 1, 2

# What every pod may do in its own namespace: bind ports below 1024 and send pings without capabilities.
_POD_SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}


@dataclass(frozen=True, slots=True)
class _Record:
    """What is on disk of an attachment; it is worth nothing after the boot it was written in."""

    sandbox_id: str
    address: str
    boot_id: str
    ports: Sequence[PortMapping]

    @classmethod
    def load(cls, text: str) -> "_Record":
        data = json.loads(text)
        return cls(
            data["sandbox_id"], data["address"], data["boot_id"], [PortMapping(**port) for port in data["ports"]]
        )


class RoutedNetwork:
    """A `wherry.network.protocol.Network` for one cluster on this host.

    Each pod has one address (a /32 on ``eth0``) and reaches everything over the host's end of its veth pair; the host
    has one route to each pod. The first address of `pod_cidr`, the gateway, is the host's, on ``lo``. `run_dir` holds
    the namespaces' files (``netns/``) and records (``network/``). Interfaces begin with `prefix`, the nftables table is
    `table`; both differ between clusters. The host's ``ip_forward`` is turned on and stays on.

    `mtu` None: that of the interface of the default route.
    """

    def __init__(self, cluster_name: str, pod_cidr: str, run_dir: Path | str, *, mtu: int | None = None) -> None:
        self.prefix = f"w{hashlib.sha256(cluster_name.encode()).hexdigest()[:4]}-"
        self.table = f"wherry-{cluster_name}.pods"
        self._pool = AddressPool(IPv4Network(pod_cidr))
        self.gateway = str(self._pool.gateway)
        self._mtu = mtu
        self._namespaces = Path(run_dir) / "netns"
        self._record_dir = Path(run_dir) / "network"
        self._records: dict[str, _Record] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        # Removing a link waits for the kernel's grace periods; attaching does not wait behind it.
        self._attaching = ThreadPoolExecutor(1, thread_name_prefix="pod-attach")
        self._detaching = ThreadPoolExecutor(2, thread_name_prefix="pod-detach")
        self._nft: Nft | None = None
        self._rtnl: netlink.Netlink | None = None
        self._boot_id = ""

    # What the kubelet calls.

    async def start(self) -> None:
        """Make the gateway and the table, adopt what an earlier process left and remove what is broken of it."""
        self._nft = Nft()
        stale = await self._run(self._attaching, self._start)
        ports = [self._host_port(record, port) for record in self._records.values() for port in record.ports]
        await self._nft.run(
            firewall.table(self.table, self._pool.cidr, gateway=self._pool.gateway, prefix=self.prefix, ports=ports)
        )
        for record in stale:
            await self._run(self._detaching, self._remove, record)

    async def attach(self, sandbox_id: str, options: AttachOptions) -> Attachment:
        """Make the namespace of a sandbox and connect it; the same attachment for the same sandbox.

        Raises OSError, of it NetworkError for a host port that is taken and PoolExhausted; then nothing is left of it.
        """
        async with self._locks.setdefault(sandbox_id, asyncio.Lock()):
            record = self._records.get(sandbox_id)
            if record is None:
                address = self._pool.allocate()
                record = _Record(sandbox_id, str(address), self._boot_id, tuple(options.port_mappings))
                try:
                    await self._run(self._attaching, self._connect, record, options)
                    await self._open_ports(record)
                except BaseException:
                    # On the thread of `_connect`, which goes on when the caller is cancelled.
                    await asyncio.shield(self._run(self._attaching, self._remove, record))
                    self._pool.release(address)
                    raise
                self._records[sandbox_id] = record
            return self._attachment(record)

    async def detach(self, sandbox_id: str) -> None:
        """Remove namespace, veth, port mappings and free the address; nothing happens when it is gone."""
        async with self._locks.setdefault(sandbox_id, asyncio.Lock()):
            record = self._records.get(sandbox_id)
            if record is not None:
                if record.ports:
                    await self._change_ports("delete", record)
                await self._run(self._detaching, self._remove, record)
                del self._records[sandbox_id]
                self._pool.release(IPv4Address(record.address))
        self._locks.pop(sandbox_id, None)

    def attachments(self) -> Sequence[Attachment]:
        """Return what is attached."""
        return [self._attachment(record) for record in self._records.values()]

    async def destroy(self) -> None:
        """Remove every attachment, the gateway's address and the table (``wherry delete``); also without `start`."""
        if self._nft is None:
            await self.start()
        assert self._nft is not None
        for sandbox_id in list(self._records):
            await self.detach(sandbox_id)
        await self._nft.run(f"add table ip {self.table}\ndelete table ip {self.table}")
        await self._run(self._attaching, self._remove_gateway)
        await self.close()

    async def close(self) -> None:
        """Let go of sockets and threads; attachments stay."""
        if self._nft is not None:
            await self._nft.close()
        if self._rtnl is not None:
            self._rtnl.close()
        self._attaching.shutdown()
        self._detaching.shutdown()

    # On the loop.

    async def _run(self, executor: ThreadPoolExecutor, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(executor, work, *args)

    async def _open_ports(self, record: _Record) -> None:
        if record.ports:
            try:
                await self._change_ports("add", record)
            except NftError as error:
                wanted = ", ".join(f"{port.host_port}/{port.protocol}" for port in record.ports)
                raise NetworkError(f"host ports {wanted} cannot be opened: {error}") from error

    async def _change_ports(self, verb: str, record: _Record) -> None:
        assert self._nft is not None
        ports = [self._host_port(record, port) for port in record.ports]
        await self._nft.run(firewall.change(self.table, verb, ports))

    def _host_port(self, record: _Record, mapping: PortMapping) -> firewall.HostPort:
        return firewall.HostPort(mapping, IPv4Address(record.address))

    def _attachment(self, record: _Record) -> Attachment:
        return Attachment(record.sandbox_id, str(self._namespaces / record.sandbox_id), (record.address,))

    def _link_name(self, record: _Record) -> str:
        return f"{self.prefix}{int(IPv4Address(record.address)):08x}"

    # On threads.

    def _start(self) -> list[_Record]:
        """Prepare the host, fill `_records` and return the records whose namespace or link is gone."""
        self._boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        self._namespaces.mkdir(parents=True, exist_ok=True)
        self._record_dir.mkdir(parents=True, exist_ok=True)
        if self._mtu is None:
            self._mtu = default_mtu()
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        self._rtnl = netlink.Netlink()
        self._rtnl.execute(
            [
                netlink.set_up(_LOOPBACK),
                netlink.add_address(_LOOPBACK, self._pool.gateway, prefix=32, label=f"lo:{self.prefix[:-1]}"),
            ]
        )
        stale = []
        for path in self._record_dir.iterdir():
            if path.name.startswith("."):  # the process was killed while it wrote
                path.unlink()
                continue
            record = _Record.load(path.read_text())
            alive = record.boot_id == self._boot_id and namespace.is_pinned(self._namespaces / record.sandbox_id)
            if alive and Path("/sys/class/net", self._link_name(record)).exists():
                self._records[record.sandbox_id] = record
            else:
                stale.append(record)
        self._pool = AddressPool(self._pool.cidr, (IPv4Address(record.address) for record in self._records.values()))
        return stale

    def _connect(self, record: _Record, options: AttachOptions) -> None:
        """Do all of an attachment but the host ports. The record is written first, so that a crash leaves no orphan."""
        assert self._rtnl is not None and self._mtu is not None
        unfinished = self._record_dir / f".{record.sandbox_id}"
        unfinished.write_text(json.dumps(asdict(record)))
        unfinished.rename(self._record_dir / record.sandbox_id)
        path, name = self._namespaces / record.sandbox_id, self._link_name(record)
        address, gateway = IPv4Address(record.address), self._pool.gateway
        mac = b"\x0a\x58" + address.packed
        with namespace.created(path, options.namespace):
            for key, value in {**_POD_SYSCTLS, **options.sysctls}.items():
                if key.startswith("net."):
                    linux.write_sysctl(key.replace(".", "/"), value)
            inside = netlink.Netlink()
        try:
            with path.open("rb") as file:
                self._rtnl.execute(
                    [
                        netlink.add_veth(
                            name,
                            _HOST_MAC,
                            mtu=self._mtu,
                            peer="eth0",
                            peer_mac=mac,
                            peer_index=_POD_LINK,
                            peer_namespace=file.fileno(),
                        )
                    ]
                )
            inside.execute(
                [
                    netlink.set_up(_LOOPBACK),
                    *_without_link_local(_POD_LINK),
                    netlink.add_address(_POD_LINK, address, prefix=32),
                    netlink.set_up(_POD_LINK),
                    netlink.add_route(_POD_LINK, gateway),
                    netlink.add_route(_POD_LINK, None, gateway=gateway),
                    netlink.add_neighbour(_POD_LINK, gateway, _HOST_MAC),
                ]
            )
        finally:
            inside.close()
        index = socket.if_nametoindex(name)
        Path(f"/proc/sys/net/ipv4/conf/{name}/route_localnet").write_text("1")
        self._rtnl.execute(
            [
                *_without_link_local(index),
                netlink.set_up(index),
                netlink.add_route(index, address, source=gateway),
                netlink.add_neighbour(index, address, mac),
            ]
        )

    def _remove(self, record: _Record) -> None:
        rtnl = netlink.Netlink()
        try:
            with contextlib.suppress(OSError):  # gone already
                rtnl.execute([netlink.delete_link(self._link_name(record))])
        finally:
            rtnl.close()
        namespace.unpin(self._namespaces / record.sandbox_id)
        (self._record_dir / record.sandbox_id).unlink(missing_ok=True)

    def _remove_gateway(self) -> None:
        assert self._rtnl is not None
        with contextlib.suppress(OSError):
            self._rtnl.execute([netlink.delete_address(_LOOPBACK, self._pool.gateway, prefix=32)])
        for directory in (self._namespaces, self._record_dir):
            with contextlib.suppress(OSError):  # something else is in it
                directory.rmdir()


def _without_link_local(index: int) -> list[netlink.Message]:
    return [netlink.without_link_local(index)] if Path("/proc/sys/net/ipv6").exists() else []


def default_mtu() -> int:
    """Return the MTU of the interface of the IPv4 default route, 1500 when there is none."""
    for line in Path("/proc/net/route").read_text().splitlines()[1:]:
        name, destination, *_ = line.split()
        if destination == "00000000":
            return int(Path(f"/sys/class/net/{name}/mtu").read_text())
    return 1500
