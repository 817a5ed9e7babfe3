"""Strategy of EndpointSlices."""

from typing import Any

from wherry.api.strategy.rules import Strategy, content_changed

Obj = dict[str, Any]

_HOSTNAME = "kubernetes.io/hostname"


def _topologies(obj: Obj) -> list[Obj]:
    return [endpoint.get("deprecatedTopology") or {} for endpoint in obj.get("endpoints") or ()]


def _create(obj: Obj) -> None:
    _drop_topology(obj, set())


def _update(obj: Obj, old: Obj) -> None:
    if obj.get("endpoints") != old.get("endpoints"):
        _drop_topology(obj, {topology[_HOSTNAME] for topology in _topologies(old) if _HOSTNAME in topology})


def _drop_topology(obj: Obj, nodes: set[str]) -> None:
    """The topology was a map in the beta of this version; what it said of known nodes becomes ``nodeName``."""
    if not any(_topologies(obj)):
        return
    endpoints = []
    for endpoint in obj["endpoints"]:
        kept = {member: value for member, value in endpoint.items() if member != "deprecatedTopology"}
        node = (endpoint.get("deprecatedTopology") or {}).get(_HOSTNAME)
        if node in nodes and kept.get("nodeName") is None:
            kept["nodeName"] = node
        endpoints.append(kept)
    obj["endpoints"] = endpoints


def _changed(obj: Obj, old: Obj) -> bool:
    return content_changed(obj, old) or (obj["metadata"].get("labels") or {}) != (old["metadata"].get("labels") or {})


STRATEGIES = {
    ("discovery.k8s.io", "endpointslices"): Strategy(create=_create, update=_update, generation=_changed),
}
