"""What there is at a name of the cluster's domain (kubernetes/dns, specification 1.1)."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Literal, NamedTuple

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTSLICES, NAMESPACES, SERVICES
from wherry.client.informer import InformerFactory

VERSION = "1.1.0"
_SERVICE_NAME_LABEL = "kubernetes.io/service-name"
_BY_SERVICE = "dns/service"
_BY_ADDRESS = "dns/address"

Kind = Literal["A", "AAAA", "SRV", "CNAME", "TXT", "PTR", "NS"]


class Record(NamedTuple):
    """`value` is an address, a target name without the final dot, or text; `port` is SRV's."""

    kind: Kind
    value: str
    port: int = 0


class Target(NamedTuple):
    """An additional record that a client will ask for next: the address of an SRV target."""

    name: str
    address: str


@dataclass(frozen=True, slots=True)
class Found:
    """All records of a name; none: the name exists only as the parent of others."""

    records: Sequence[Record] = ()
    targets: Sequence[Target] = ()


@dataclass(frozen=True, slots=True)
class _Endpoint:
    hostname: str
    address: str


class ClusterNames:
    """Looks names up in the caches of Services, EndpointSlices and Namespaces.

    `domain` is the cluster's (``cluster.local``); `server_address` the one that the server is reached at.
    """

    def __init__(self, factory: InformerFactory, *, domain: str = "cluster.local", server_address: str) -> None:
        self.domain = domain.rstrip(".").lower()
        self._server_address = server_address
        self._depth = self.domain.count(".") + 1
        services = factory.informer(SERVICES)
        slices = factory.informer(ENDPOINTSLICES)
        namespaces = factory.informer(NAMESPACES, metadata_only=True)
        services.add_index(_BY_ADDRESS, _cluster_ips)
        slices.add_index(_BY_SERVICE, _service_of)
        slices.add_index(_BY_ADDRESS, _addresses_of)
        self._informers = (services, slices, namespaces)
        self._services, self._slices, self._namespaces = services.lister, slices.lister, namespaces.lister

    @property
    def synced(self) -> bool:
        """Whether every name can be looked up: until then a name that is not found may well exist."""
        return all(informer.synced for informer in self._informers)

    async def wait_synced(self) -> None:
        """Wait until every name can be looked up."""
        for informer in self._informers:
            await informer.wait_synced()

    def owns(self, labels: Sequence[str]) -> bool:
        """Tell whether a name (lower-case labels) is in the cluster's domain."""
        return ".".join(labels[-self._depth :]) == self.domain

    def lookup(self, labels: Sequence[str]) -> Found | None:
        """Return what there is at a name of the domain, None when it does not exist."""
        match list(labels[: -self._depth]):
            case []:
                return Found([Record("NS", f"ns.dns.{self.domain}")])
            case ["dns-version"]:
                return Found([Record("TXT", VERSION)])
            case ["ns", "dns"]:
                return Found([_address(self._server_address)])
            case ["dns"] | ["svc"] | ["pod"]:
                return Found()
            case [namespace, "svc" | "pod"]:
                return Found() if self._namespaces.get(namespace) else None
            case [dashed, namespace, "pod"]:
                return self._pod(dashed, namespace)
            case [*rest, name, namespace, "svc"]:
                service = self._services.get(meta.make_key(namespace, name))
                return self._service(service, rest) if service else None
        return None

    def reverse(self, address: str) -> list[Record]:
        """Return the PTR records of an address: a Service's, or those of the endpoints of headless Services."""
        names = [self._name_of(service) for service in self._services.by_index(_BY_ADDRESS, address)]
        if not names:
            for piece in self._slices.by_index(_BY_ADDRESS, address):
                service = self._services.get(_service_of(piece)[0]) if _service_of(piece) else None
                if service is not None and _is_headless(service):
                    ready = _endpoints([piece], every=_publishes_all(service))
                    names += [f"{e.hostname}.{self._name_of(service)}" for e in ready if e.address == address]
        return [Record("PTR", name) for name in dict.fromkeys(names)]

    def _pod(self, dashed: str, namespace: str) -> Found | None:
        """Return the address that the name spells; the pod itself is not looked for, as CoreDNS' pods insecure."""
        if self._namespaces.get(namespace) is None:
            return None
        for text in (dashed.replace("-", "."), dashed.replace("-", ":")):
            try:
                return Found([_address(str(ip_address(text)))])
            except ValueError:
                continue
        return None

    def _service(self, service: Object, rest: list[str]) -> Found | None:
        spec = service["spec"]
        if spec.get("type") == "ExternalName":
            return Found([Record("CNAME", spec["externalName"].rstrip("."))]) if not rest else None
        match rest:
            case []:
                return self._service_itself(service)
            case [hostname] if not hostname.startswith("_"):
                return self._endpoint(service, hostname)
            case [protocol]:
                return Found() if self._ports(service, None, protocol) else None
            case [port, protocol] if port.startswith("_") and protocol.startswith("_"):
                return self._port(service, port, protocol)
        return None

    def _service_itself(self, service: Object) -> Found | None:
        if not _is_headless(service):
            return Found([_address(ip) for ip in _cluster_ips(service)] + self._ports(service, None, None))
        endpoints = self._ready(service)
        if not endpoints:
            return None  # the specification asks for NXDOMAIN
        addresses = dict.fromkeys(endpoint.address for endpoint in endpoints)
        return Found([_address(ip) for ip in addresses] + self._ports(service, None, None), self._targets(service))

    def _endpoint(self, service: Object, hostname: str) -> Found | None:
        if not _is_headless(service):
            return None
        found = [_address(e.address) for e in self._ready(service) if e.hostname == hostname]
        return Found(found) if found else None

    def _port(self, service: Object, port: str, protocol: str) -> Found | None:
        records = self._ports(service, port, protocol)
        return Found(records, self._targets(service)) if records else None

    def _ports(self, service: Object, port: str | None, protocol: str | None) -> list[Record]:
        """Return SRV records of the ports that the labels (None: any) name."""
        name = self._name_of(service)
        if not _is_headless(service):
            chosen = _chosen(service["spec"].get("ports"), port, protocol)
            return [Record("SRV", name, entry["port"]) for entry in chosen]
        records = []
        for piece in self._pieces(service):
            for entry in _chosen(piece.get("ports"), port, protocol):
                ready = _endpoints([piece], every=_publishes_all(service))
                records += [Record("SRV", f"{e.hostname}.{name}", entry["port"]) for e in ready]
        return list(dict.fromkeys(records))

    def _targets(self, service: Object) -> list[Target]:
        name = self._name_of(service)
        if not _is_headless(service):
            return [Target(name, ip) for ip in _cluster_ips(service)]
        return [Target(f"{e.hostname}.{name}", e.address) for e in self._ready(service)]

    def _ready(self, service: Object) -> list[_Endpoint]:
        return list(_endpoints(self._pieces(service), every=_publishes_all(service)))

    def _pieces(self, service: Object) -> list[Object]:
        return self._slices.by_index(_BY_SERVICE, meta.key_of(service))

    def _name_of(self, service: Object) -> str:
        return f"{meta.name(service)}.{meta.namespace(service)}.svc.{self.domain}"


def _address(ip: str) -> Record:
    return Record("AAAA" if ":" in ip else "A", ip)


def _is_headless(service: Object) -> bool:
    return service["spec"].get("clusterIP") in ("None", "", None)


def _publishes_all(service: Object) -> bool:
    return bool(service["spec"].get("publishNotReadyAddresses"))


def _cluster_ips(service: Object) -> list[str]:
    spec = service["spec"]
    return [ip for ip in spec.get("clusterIPs") or [spec.get("clusterIP")] if ip and ip != "None"]


def _service_of(piece: Object) -> list[str]:
    name = meta.labels(piece).get(_SERVICE_NAME_LABEL)
    return [meta.make_key(meta.namespace(piece), name)] if name else []


def _addresses_of(piece: Object) -> list[str]:
    return [address for entry in piece.get("endpoints") or () for address in entry["addresses"]]


def _endpoints(slices: Iterable[Object], *, every: bool) -> Iterator[_Endpoint]:
    for piece in slices:
        if piece.get("addressType") == "FQDN":
            continue
        for entry in piece.get("endpoints") or ():
            if every or (entry.get("conditions") or {}).get("ready") is not False:
                address = entry["addresses"][0]
                dashed = address.replace(".", "-").replace(":", "-")
                yield _Endpoint((entry.get("hostname") or dashed).lower(), address)


def _chosen(ports: list[dict[str, Any]] | None, port: str | None, protocol: str | None) -> list[dict[str, Any]]:
    return [
        entry
        for entry in ports or ()
        if entry.get("port")
        and (port is None or (entry.get("name") and f"_{entry['name']}".lower() == port))
        and (protocol is None or f"_{entry.get('protocol') or 'TCP'}".lower() == protocol)
    ]
