"""Which endpoints take a service port's traffic, from its EndpointSlices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from wherry.api.meta import Object

SERVICE_NAME_LABEL = "kubernetes.io/service-name"


@dataclass(frozen=True, slots=True, order=True)
class Endpoint:
    """One address and port behind a service port; `local`: on this node."""

    ip: str
    port: int
    local: bool = False


@dataclass(frozen=True, slots=True)
class NodeInfo:
    """The node whose traffic is planned."""

    name: str
    zone: str = ""


@dataclass(frozen=True, slots=True)
class Choice:
    """The endpoints for the traffic policy Cluster and for Local, and whether there are any ready ones at all."""

    cluster: tuple[Endpoint, ...] = ()
    local: tuple[Endpoint, ...] = ()


@dataclass(frozen=True, slots=True)
class _Candidate:
    endpoint: Endpoint
    ready: bool
    fallback: bool
    nodes: frozenset[str]
    zones: frozenset[str]


def choose(slices: Iterable[Object], port_name: str, protocol: str, *, node: NodeInfo) -> Choice:
    """Return the endpoints of one service port.

    Ready endpoints are used; where there are none, those that still serve while they terminate (KEP-1669). Hints
    narrow the policy Cluster (KEP-4444, PreferSameNode and PreferSameZone).
    """
    candidates = _candidates(slices, port_name, protocol, node)
    return Choice(
        cluster=_usable(candidates, node=node),
        local=_usable([candidate for candidate in candidates if candidate.endpoint.local], node=None),
    )


def _candidates(slices: Iterable[Object], port_name: str, protocol: str, node: NodeInfo) -> list[_Candidate]:
    found: dict[tuple[str, int], _Candidate] = {}
    for piece in slices:
        if piece.get("addressType") != "IPv4":
            continue
        port = _port(piece, port_name, protocol)
        if port is None:
            continue
        for entry in piece.get("endpoints") or ():
            candidate = _candidate(entry, port, node)
            key = candidate.endpoint.ip, port
            known = found.get(key)
            # An endpoint may be in two slices while it moves from one to the other.
            if known is None or (candidate.ready and not known.ready):
                found[key] = candidate
    return [found[key] for key in sorted(found)]


def _port(piece: Object, name: str, protocol: str) -> int | None:
    for port in piece.get("ports") or ():
        if (port.get("name") or "") == name and (port.get("protocol") or "TCP") == protocol:
            return port.get("port")
    return None


def _candidate(entry: dict[str, Any], port: int, node: NodeInfo) -> _Candidate:
    conditions = entry.get("conditions") or {}
    ready = conditions.get("ready") is not False
    serving = conditions.get("serving")
    hints = entry.get("hints") or {}
    return _Candidate(
        Endpoint(entry["addresses"][0], port, entry.get("nodeName") == node.name),
        ready=ready,
        fallback=(ready if serving is None else serving) and bool(conditions.get("terminating")),
        nodes=frozenset(hint["name"] for hint in hints.get("forNodes") or ()),
        zones=frozenset(hint["name"] for hint in hints.get("forZones") or ()),
    )


def _usable(candidates: Sequence[_Candidate], *, node: NodeInfo | None) -> tuple[Endpoint, ...]:
    ready = [candidate for candidate in candidates if candidate.ready]
    if not ready:
        return tuple(candidate.endpoint for candidate in candidates if candidate.fallback)
    if node is not None:
        ready = _hinted(ready, node)
    return tuple(candidate.endpoint for candidate in ready)


def _hinted(ready: list[_Candidate], node: NodeInfo) -> list[_Candidate]:
    """Follow hints only where every endpoint has one, so that a half-updated set of slices loses nothing."""
    if all(candidate.nodes for candidate in ready):
        near = [candidate for candidate in ready if node.name in candidate.nodes]
        if near:
            return near
    if node.zone and all(candidate.zones for candidate in ready):
        near = [candidate for candidate in ready if node.zone in candidate.zones]
        if near:
            return near
    return ready
