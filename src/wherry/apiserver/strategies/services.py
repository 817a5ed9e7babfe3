"""Services get cluster IPs and node ports; an IPAddress object mirrors each address."""

import ipaddress
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from wherry.api.errors import AlreadyExists, InternalError, Invalid, NotFound, StatusError
from wherry.api.field import invalid
from wherry.api.resources import IPADDRESSES, SERVICES
from wherry.api.strategy.services import needs_cluster_ip, needs_health_check_port, needs_node_port
from wherry.apiserver.allocators import AllocationError, PortAllocator
from wherry.apiserver.registry import Registry
from wherry.apiserver.request import Request
from wherry.apiserver.strategies.hooks import Hook, Undo
from wherry.apiserver.strategies.servicefamilies import default_families
from wherry.apiserver.strategies.serviceranges import ServiceRanges
from wherry.client.client import Client
from wherry.util.metrics import GAUGE, Family, Sample

log = logging.getLogger(__name__)

Object = dict[str, Any]
HEADLESS = "None"

_IPS, _PORTS = "kube_apiserver_clusterip_allocator_", "kube_apiserver_nodeport_allocator_"
FAMILIES = {
    f"{_IPS}allocated_ips": Family(GAUGE, "Addresses of Services that are taken, by range."),
    f"{_IPS}available_ips": Family(GAUGE, "Addresses of Services that are free, by range."),
    f"{_PORTS}allocated_ports": Family(GAUGE, "Node ports that are taken."),
    f"{_PORTS}available_ports": Family(GAUGE, "Node ports that are free."),
}


class ServiceStorage:
    """The hook of Services. `load` must be called once the store can be read, before the first write."""

    def __init__(self, registry: Registry, cidrs: list[str], node_ports: tuple[int, int]) -> None:
        self._registry = registry
        self._ranges = ServiceRanges(registry, cidrs)
        self._families = self._ranges.families
        self._ports = PortAllocator(*node_ports)
        self._client: Client | None = None
        self.hook = Hook(before=self._before, after=self._after)

    async def load(self, client: Client) -> None:
        """Take what the stored Services have, and mend the mirror; `client` writes IPAddress objects."""
        self._client = client
        expected: dict[str, Object] = {}
        for service in self._registry.list(SERVICES):
            for ip in _ips(service):
                self._ranges.mark(ip)
                expected[ip] = service
            self._ports.mark(_ports(service))
        for address in self._registry.list(IPADDRESSES):
            parent = (address.get("spec") or {}).get("parentRef") or {}
            name = address["metadata"]["name"]
            if name not in expected and parent.get("resource") == "services":
                await self._unmirror(name)
        for ip, service in expected.items():
            await self._mirror(ip, service)

    def samples(self) -> Iterator[Sample]:
        """Yield how many addresses and ports are taken and free."""
        for given in self._ranges.all():
            labels = {"cidr": str(given.network)}
            yield Sample(f"{_IPS}allocated_ips", labels, given.allocated)
            yield Sample(f"{_IPS}available_ips", labels, given.available)
        yield Sample(f"{_PORTS}allocated_ports", {}, self._ports.allocated)
        yield Sample(f"{_PORTS}available_ports", {}, self._ports.available)

    def _before(self, request: Request, new: Object, old: Object | None, dry: bool) -> Undo:
        taken: list[Callable[[], None]] = []

        def undo() -> None:
            while taken:
                taken.pop()()

        try:
            self._allocate(new, old or {}, taken)
        except BaseException:
            undo()
            raise
        return undo

    def _allocate(self, new: Object, old: Object, taken: list[Callable[[], None]]) -> None:
        name, spec, old_spec = new["metadata"]["name"], new["spec"], old.get("spec") or {}
        _pair_addresses(spec)
        errors = default_families(spec, old_spec, self._families)
        if errors:
            raise Invalid.of("Service", name, errors)
        if needs_cluster_ip(spec) and spec.get("clusterIP") != HEADLESS:
            self._allocate_addresses(name, spec, set(_ips(old)), taken)
        if spec.get("type") in ("NodePort", "LoadBalancer"):
            if old:
                self._reallocate_ports(name, spec, set(_ports(old)), taken)
            else:
                self._allocate_ports(name, spec, taken)
        if needs_health_check_port(spec):
            wanted = spec.get("healthCheckNodePort")
            if not wanted or wanted != old_spec.get("healthCheckNodePort"):
                spec["healthCheckNodePort"] = self._health_check_port(wanted, taken)

    def _allocate_addresses(self, name: str, spec: Object, before: set[str], taken: list[Callable[[], None]]) -> None:
        ips = list(spec.get("clusterIPs") or [])
        for index, family in enumerate(spec.get("ipFamilies") or []):
            given = ips[index] if index < len(ips) else ""
            if given in before and given:
                continue
            try:
                if given:
                    self._ranges.take(given, family)
                ip = given or self._ranges.next(family)
            except AllocationError as error:
                text = (
                    f"failed to allocate IP {given}: {error}" if given else f"failed to allocate a serviceIP: {error}"
                )
                raise Invalid.of("Service", name, [invalid("spec.clusterIPs", ips, text)]) from None
            taken.append(partial(self._ranges.release, ip))
            ips[index : index + 1] = [ip]
        spec["clusterIPs"], spec["clusterIP"] = ips, ips[0]

    def _allocate_ports(self, name: str, spec: Object, taken: list[Callable[[], None]]) -> None:
        """Ports of the same number share a node port, which the later of them may have asked for."""
        shared: dict[int, int] = {}
        ports = spec.get("ports") or []
        for index, port in enumerate(ports):
            number, wanted, path = port.get("port", 0), port.get("nodePort"), f"spec.ports[{index}].nodePort"
            if not wanted and not needs_node_port(spec):
                continue
            if number not in shared:
                same = (p["nodePort"] for p in ports if p.get("port", 0) == number and p.get("nodePort"))
                port["nodePort"] = shared[number] = self._port(name, path, next(same, None), taken)
            elif not wanted:
                port["nodePort"] = shared[number]
            elif wanted != shared[number]:
                self._port(name, path, wanted, taken)

    def _reallocate_ports(self, name: str, spec: Object, before: set[int], taken: list[Callable[[], None]]) -> None:
        known = set(before)
        for index, port in enumerate(spec.get("ports") or []):
            wanted = port.get("nodePort")
            if wanted in known or (not wanted and not needs_node_port(spec)):
                continue
            port["nodePort"] = self._port(name, f"spec.ports[{index}].nodePort", wanted, taken)
            if wanted:
                known.add(wanted)

    def _health_check_port(self, wanted: int | None, taken: list[Callable[[], None]]) -> int:
        try:
            return self._take_port(wanted, taken)
        except AllocationError as error:
            which = "requested HealthCheck NodePort" if wanted else "a HealthCheck NodePort"
            raise InternalError.of(f"failed to allocate {which} {wanted or 0}: {error}") from None

    def _port(self, name: str, path: str, wanted: int | None, taken: list[Callable[[], None]]) -> int:
        try:
            return self._take_port(wanted, taken)
        except AllocationError as error:
            raise Invalid.of("Service", name, [invalid(path, wanted or 0, str(error))]) from None

    def _take_port(self, wanted: int | None, taken: list[Callable[[], None]]) -> int:
        if wanted:
            self._ports.take(wanted)
        port = wanted or self._ports.next()
        taken.append(lambda: self._ports.release(port))
        return port

    async def _after(self, new: Object | None, old: Object | None) -> None:
        kept_ips = dict.fromkeys(_ips(new) if new is not None else ())
        kept_ports = set(_ports(new)) if new is not None else set()
        for ip in _ips(old) if old is not None else []:
            if ip not in kept_ips:
                self._ranges.release(ip)
                await self._unmirror(ip)
        for port in _ports(old) if old is not None else []:
            if port not in kept_ports:
                self._ports.release(port)
        if new is not None:
            before = set(_ips(old)) if old is not None else set()
            for ip in kept_ips:
                if ip not in before:
                    await self._mirror(ip, new)

    async def _mirror(self, ip: str, service: Object) -> None:
        if self._client is None or self._registry.get(IPADDRESSES, None, ip) is not None:
            return
        metadata = service["metadata"]
        labels = {
            "ipaddress.kubernetes.io/ip-family": f"IPv{ipaddress.ip_address(ip).version}",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        }
        parent = {"resource": "services", "namespace": metadata["namespace"], "name": metadata["name"]}
        obj = {
            "apiVersion": IPADDRESSES.api_version,
            "kind": "IPAddress",
            "metadata": {"name": ip, "labels": labels},
            "spec": {"parentRef": parent},
        }
        try:
            await self._client.create(IPADDRESSES, obj)
        except AlreadyExists:
            pass
        except StatusError as error:
            log.warning("the IPAddress of %s was not written: %s", ip, error)

    async def _unmirror(self, ip: str) -> None:
        if self._client is None:
            return
        try:
            await self._client.delete(IPADDRESSES, ip)
        except NotFound:
            pass


def _ips(service: Object) -> list[str]:
    return [ip for ip in (service.get("spec") or {}).get("clusterIPs") or [] if ip and ip != HEADLESS]


def _ports(service: Object) -> list[int]:
    spec = service.get("spec") or {}
    ports = [port["nodePort"] for port in spec.get("ports") or [] if port.get("nodePort")]
    return [*ports, spec["healthCheckNodePort"]] if spec.get("healthCheckNodePort") else ports


def _pair_addresses(spec: Object) -> None:
    """``clusterIP`` is the first of ``clusterIPs``: who gives one of them gives both."""
    if spec.get("clusterIP") and not spec.get("clusterIPs"):
        spec["clusterIPs"] = [spec["clusterIP"]]
    elif spec.get("clusterIPs") and not spec.get("clusterIP"):
        spec["clusterIP"] = spec["clusterIPs"][0]
