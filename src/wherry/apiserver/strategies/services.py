"""Services get cluster IPs and node ports; an IPAddress object mirrors each address."""

import ipaddress
import logging
from collections.abc import Callable
from typing import Any

from wherry.api.errors import AlreadyExists, Invalid, NotFound, StatusError
from wherry.api.field import FieldError, invalid
from wherry.api.resources import IPADDRESSES, SERVICES
from wherry.api.strategy.services import needs_cluster_ip, needs_health_check_port, needs_node_port
from wherry.apiserver.allocators import AddressAllocator, AllocationError, PortAllocator
from wherry.apiserver.registry import Registry
from wherry.apiserver.request import Request
from wherry.apiserver.strategies.hooks import Hook, Undo
from wherry.client.client import Client

log = logging.getLogger(__name__)

Object = dict[str, Any]
HEADLESS = "None"


class ServiceStorage:
    """The hook of Services. `load` must be called once the store can be read, before the first write."""

    def __init__(self, registry: Registry, cidrs: list[str], node_ports: tuple[int, int]) -> None:
        self._registry = registry
        self._addresses = {a.family: a for a in (AddressAllocator(cidr) for cidr in cidrs)}
        self._families = list(self._addresses)
        self._ports = PortAllocator(*node_ports)
        self._client: Client | None = None
        self.hook = Hook(before=self._before, after=self._after)

    async def load(self, client: Client) -> None:
        """Take what the stored Services have, and mend the mirror; `client` writes IPAddress objects."""
        self._client = client
        expected: dict[str, Object] = {}
        for service in self._registry.list(SERVICES):
            for ip in _ips(service):
                self._of(ip).mark([ip])
                expected[ip] = service
            self._ports.mark(_ports(service))
        for address in self._registry.list(IPADDRESSES):
            parent = (address.get("spec") or {}).get("parentRef") or {}
            name = address["metadata"]["name"]
            if name not in expected and parent.get("resource") == "services":
                await self._unmirror(name)
        for ip, service in expected.items():
            await self._mirror(ip, service)

    def _of(self, ip: str) -> AddressAllocator:
        family = f"IPv{ipaddress.ip_address(ip).version}"
        return self._addresses.get(family) or next(iter(self._addresses.values()))

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
        errors = self._default_families(spec)
        if errors:
            raise Invalid.of("Service", name, errors)
        if needs_cluster_ip(spec) and spec.get("clusterIP") != HEADLESS:
            self._allocate_addresses(name, spec, set(_ips(old)), taken)
        before = set(_ports(old))
        if needs_node_port(spec):
            self._allocate_ports(name, spec, before, taken)
        if needs_health_check_port(spec):
            wanted = spec.get("healthCheckNodePort")
            if not wanted or wanted != old_spec.get("healthCheckNodePort"):
                path = "spec.healthCheckNodePort"
                spec["healthCheckNodePort"] = self._port(name, path, wanted, taken)

    def _allocate_addresses(self, name: str, spec: Object, before: set[str], taken: list[Callable[[], None]]) -> None:
        ips = list(spec.get("clusterIPs") or [])
        for index, family in enumerate(spec.get("ipFamilies") or []):
            given = ips[index] if index < len(ips) else ""
            if given in before and given:
                continue
            allocator = self._addresses[family]
            try:
                if given:
                    allocator.take(given)
                    ip = given
                else:
                    ip = allocator.next()
            except AllocationError as error:
                text = (
                    f"failed to allocate IP {given}: {error}" if given else f"failed to allocate a serviceIP: {error}"
                )
                raise Invalid.of("Service", name, [invalid("spec.clusterIPs", ips, text)]) from None
            taken.append(lambda allocator=allocator, ip=ip: allocator.release(ip))  # type: ignore[misc]
            ips[index : index + 1] = [ip]
        spec["clusterIPs"], spec["clusterIP"] = ips, ips[0]

    def _allocate_ports(self, name: str, spec: Object, before: set[int], taken: list[Callable[[], None]]) -> None:
        # One number may serve a TCP and a UDP port of the same Service.
        here: dict[tuple[str, int], int] = {}
        numbers: set[int] = set()
        for index, port in enumerate(spec.get("ports") or []):
            wanted, protocol = port.get("nodePort"), port.get("protocol", "TCP")
            if wanted and wanted in before:
                numbers.add(wanted)
            elif wanted and wanted in numbers and (protocol, wanted) not in here:
                pass
            else:
                if not wanted:
                    wanted = next(
                        (
                            n
                            for (p, n), of in here.items()
                            if p != protocol and of == port.get("port") and (protocol, n) not in here
                        ),
                        None,
                    )
                    if wanted is not None:
                        port["nodePort"] = wanted
                        here[protocol, wanted] = port.get("port", 0)
                        continue
                wanted = self._port(name, f"spec.ports[{index}].nodePort", wanted, taken)
                numbers.add(wanted)
            port["nodePort"] = wanted
            here[protocol, wanted] = port.get("port", 0)

    def _port(self, name: str, path: str, wanted: int | None, taken: list[Callable[[], None]]) -> int:
        try:
            if wanted:
                self._ports.take(wanted)
                port = wanted
            else:
                port = self._ports.next()
        except AllocationError as error:
            raise Invalid.of("Service", name, [invalid(path, wanted or 0, str(error))]) from None
        taken.append(lambda: self._ports.release(port))
        return port

    def _default_families(self, spec: Object) -> list[FieldError]:
        if not needs_cluster_ip(spec):
            return []
        errors: list[FieldError] = []
        families: list[str] = list(spec.get("ipFamilies") or [])
        for ip in spec.get("clusterIPs") or []:
            if ip and ip != HEADLESS and not families:
                families.append("IPv6" if ":" in ip else "IPv4")
        for index, family in enumerate(families):
            if family in ("IPv4", "IPv6") and family not in self._addresses:
                errors.append(invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster"))
        policy = spec.get("ipFamilyPolicy")
        selectorless = spec.get("clusterIP") == HEADLESS and not spec.get("selector")
        if policy is None:
            policy = "RequireDualStack" if selectorless or len(families) > 1 else "SingleStack"
        elif policy == "RequireDualStack" and len(self._families) < 2 and not selectorless:
            text = "this cluster is not configured for dual-stack services"
            errors.append(invalid("spec.ipFamilyPolicy", policy, text))
        if errors:
            return errors
        if not families:
            families = [self._families[0]]
        if len(families) == 1 and policy != "SingleStack":
            other = "IPv6" if families[0] == "IPv4" else "IPv4"
            if other in self._addresses or selectorless:
                families.append(other)
        spec["ipFamilies"], spec["ipFamilyPolicy"] = families, policy
        return []

    async def _after(self, new: Object | None, old: Object | None) -> None:
        kept_ips = set(_ips(new)) if new is not None else set()
        kept_ports = set(_ports(new)) if new is not None else set()
        for ip in _ips(old) if old is not None else []:
            if ip not in kept_ips:
                self._of(ip).release(ip)
                await self._unmirror(ip)
        for port in _ports(old) if old is not None else []:
            if port not in kept_ports:
                self._ports.release(port)
        if new is not None:
            before = set(_ips(old)) if old is not None else set()
            for ip in kept_ips - before:
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
