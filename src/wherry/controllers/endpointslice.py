"""The EndpointSlice controller: the addresses behind each Service, in slices of at most a hundred.

Watches Services with a selector, their pods, nodes (for the zone) and its own EndpointSlices. Writes EndpointSlices,
per address family and set of target ports. Guarantees that every selected pod with an address is in exactly one slice
of each family, with its conditions ready, serving and terminating, and that few slices are written: endpoints stay in
the slice where they are. A Service without endpoints has one empty slice. Does not touch slices of other managers.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTSLICES, NODES
from wherry.controllers import pods as podutil
from wherry.controllers.endpointslices import MANAGED_BY, SERVICE_NAME, keys_of, write_slices
from wherry.controllers.services import (
    HEADLESS,
    LAST_CHANGE,
    ServiceController,
    family_of,
    hostname_in,
    is_headless,
    pod_ips,
    pod_reference,
    ready_time,
    target_port,
)  # fmt: skip

MANAGER = "endpointslice-controller.k8s.io"
MAX_ENDPOINTS = 100
_ZONE = "topology.kubernetes.io/zone"
_BY_SERVICE = "service"
_service_of = keys_of(MANAGER)

Ports = tuple[tuple[tuple[str, Any], ...], ...]


@dataclass(frozen=True, slots=True)
class Inputs:
    """`pods` are those that the service selects, `slices` the controller's slices of it, `zones` the zone of each
    node that there is (empty when it has none)."""

    service: Object
    pods: tuple[Object, ...]
    slices: tuple[Object, ...]
    zones: dict[str, str]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with slices; `incomplete` when pods were left out because their node is not known yet."""

    create: tuple[Object, ...] = ()
    update: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    incomplete: bool = False


def plan(inputs: Inputs) -> Plan:
    """Return the writes that make the slices right."""
    service = inputs.service
    families = service["spec"].get("ipFamilies") or ["IPv4"]
    create: list[Object] = []
    update: list[Object] = []
    delete = [found for found in inputs.slices if found["addressType"] not in families]
    incomplete = False
    for family in families:
        wanted, left_out = _wanted(inputs, family)
        incomplete |= left_out
        existing = [found for found in inputs.slices if found["addressType"] == family]
        made, changed, dropped = _reconcile_family(inputs, family, wanted, existing=existing)
        create += made
        update += changed
        delete += dropped
    return Plan(tuple(create), tuple(update), tuple(delete), incomplete)


def _wanted(inputs: Inputs, family: str) -> tuple[dict[Ports, dict[str, Object]], bool]:
    """Return endpoints by ports and pod uid."""
    service, left_out = inputs.service, False
    publish_all = bool(service["spec"].get("publishNotReadyAddresses"))
    wanted: dict[Ports, dict[str, Object]] = {}
    for pod in inputs.pods:
        addresses = [address for address in pod_ips(pod) if family_of(address) == family]
        if not addresses or podutil.is_finished(pod):
            continue
        node = pod["spec"].get("nodeName") or ""
        if node not in inputs.zones and not publish_all:
            left_out = True
            continue
        ports = _ports(service, pod)
        endpoint = _endpoint(pod, service, addresses, zone=inputs.zones.get(node, ""))
        wanted.setdefault(ports, {})[meta.uid(pod)] = endpoint
    return wanted, left_out


def _ports(service: Object, pod: Object) -> Ports:
    found = []
    for port in service["spec"].get("ports") or ():
        number = target_port(port, pod)
        if number is not None:
            entry = {"name": port.get("name", ""), "port": number, "protocol": port.get("protocol", "TCP")}
            if port.get("appProtocol"):
                entry["appProtocol"] = port["appProtocol"]
            found.append(tuple(sorted(entry.items())))
    return tuple(sorted(found))


def _endpoint(pod: Object, service: Object, addresses: list[str], *, zone: str) -> Object:
    serving, terminating = podutil.is_ready(pod), meta.is_deleting(pod)
    ready = bool(service["spec"].get("publishNotReadyAddresses")) or (serving and not terminating)
    endpoint: Object = {
        "addresses": addresses,
        "conditions": {"ready": ready, "serving": serving, "terminating": terminating},
        "targetRef": pod_reference(pod),
    }
    if pod["spec"].get("nodeName"):
        endpoint["nodeName"] = pod["spec"]["nodeName"]
    if zone:
        endpoint["zone"] = zone
    if hostname := hostname_in(pod, service):
        endpoint["hostname"] = hostname
    return endpoint


def _reconcile_family(
    inputs: Inputs, family: str, wanted: dict[Ports, dict[str, Object]], *, existing: list[Object]
) -> tuple[list[Object], list[Object], list[Object]]:
    by_ports: dict[Ports, list[Object]] = {}
    for found in existing:
        by_ports.setdefault(_ports_of(found), []).append(found)
    create: list[Object] = []
    update: list[Object] = []
    delete: list[Object] = []
    for ports in dict.fromkeys([*wanted, *by_ports]):
        contents = _fill(wanted.get(ports, {}), by_ports.get(ports, []))
        for held, endpoints in contents:
            if held is None:
                create.append(_slice(inputs, family, ports, endpoints=endpoints))
            elif not endpoints:
                delete.append(held)
            else:
                update += _changed(inputs, held, endpoints)
    if not create and len(delete) == len(existing):
        # A service without endpoints keeps one slice, so that consumers can tell "none" from "not yet known".
        empty = next((found for found in delete if not found.get("endpoints") and not found.get("ports")), None)
        if empty is None:
            create.append(_slice(inputs, family, (), endpoints=[]))
        else:
            delete.remove(empty)
            update += _changed(inputs, empty, [])
    return create, update, delete


def _ports_of(found: Object) -> Ports:
    return tuple(sorted(tuple(sorted({"name": "", **port}.items())) for port in found.get("ports") or ()))


def _fill(wanted: dict[str, Object], existing: Iterable[Object]) -> list[tuple[Object | None, list[Object]]]:
    """Spread endpoints over existing slices and new ones (None): kept where they are, new ones where there is room."""
    rest = dict(wanted)
    contents: list[tuple[Object | None, list[Object]]] = []
    for found in existing:
        kept = [
            rest.pop(uid)
            for endpoint in found.get("endpoints") or ()
            if (uid := (endpoint.get("targetRef") or {}).get("uid")) in rest
        ]
        contents.append((found, kept[:MAX_ENDPOINTS]))
        for endpoint in kept[MAX_ENDPOINTS:]:
            rest[endpoint["targetRef"]["uid"]] = endpoint
    left = list(rest.values())
    for _, endpoints in sorted((entry for entry in contents if entry[1]), key=lambda entry: -len(entry[1])):
        room = MAX_ENDPOINTS - len(endpoints)
        endpoints += left[:room]
        left = left[room:]
    while left:
        reusable = next((entry for entry in contents if not entry[1]), None)
        if reusable is not None:
            reusable[1].extend(left[:MAX_ENDPOINTS])
        else:
            contents.append((None, left[:MAX_ENDPOINTS]))
        left = left[MAX_ENDPOINTS:]
    return contents


def _labels(service: Object) -> dict[str, str]:
    copied = {name: value for name, value in meta.labels(service).items() if name != HEADLESS}
    fixed = {SERVICE_NAME: meta.name(service), MANAGED_BY: MANAGER}
    return {**copied, **fixed, **({HEADLESS: ""} if is_headless(service) else {})}


def _trigger(inputs: Inputs, endpoints: list[Object], *, known: list[Object]) -> dict[str, str]:
    """Return the annotation that says when the change that leads to this write happened."""
    changed = {entry["targetRef"]["uid"] for entry in endpoints if entry not in known}
    times = [ready_time(pod) for pod in inputs.pods if meta.uid(pod) in changed]
    at = max((time for time in times if time), default="")
    if not at and not inputs.slices:
        at = inputs.service["metadata"].get("creationTimestamp", "")
    return {LAST_CHANGE: at} if at else {}


def _slice(inputs: Inputs, family: str, ports: Ports, *, endpoints: list[Object]) -> Object:
    service = inputs.service
    md: Object = {
        "generateName": f"{meta.name(service)}-",
        "namespace": meta.namespace(service),
        "labels": _labels(service),
        "ownerReferences": [meta.controller_ref(service)],
    }
    if annotations := _trigger(inputs, endpoints, known=[]):
        md["annotations"] = annotations
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": md,
        "addressType": family,
        "endpoints": endpoints or None,
        "ports": [dict(port) for port in ports] or None,
    }


def _changed(inputs: Inputs, found: Object, endpoints: list[Object]) -> list[Object]:
    """Return the slice to write, nothing when it is right."""
    labels = _labels(inputs.service)
    known = found.get("endpoints") or []
    if known == endpoints and meta.labels(found) == labels:
        return []
    annotations = {name: value for name, value in meta.annotations(found).items() if name != LAST_CHANGE}
    annotations |= _trigger(inputs, endpoints, known=known)
    md = {**found["metadata"], "labels": labels, "annotations": annotations}
    return [{**found, "metadata": md, "endpoints": endpoints or None}]


class EndpointSliceController(ServiceController):
    name = "endpointslice-controller"

    def register(self) -> None:
        super().register()
        self._slices = self.watch(ENDPOINTSLICES, _service_of)
        self._slices.add_index(_BY_SERVICE, _service_of)
        self._nodes = self.informer(NODES)

    async def reconcile(self, key: str) -> float | None:
        service = self._services.lister.get(key)
        if service is None or meta.is_deleting(service):
            # The garbage collector takes the slices: their owner is the service.
            return None
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None
        pods = self.selected(service)
        slices = [found for found in self._slices.lister.by_index(_BY_SERVICE, key) if not meta.is_deleting(found)]
        todo = plan(Inputs(service, tuple(pods), tuple(slices), self._zones(pods)))
        try:
            if not await write_slices(self, key, todo):
                return None
        except errors.StatusError:
            self.meter.count("endpoint_slice_controller_syncs", result="error")
            raise
        self.meter.count("endpoint_slice_controller_syncs", result="success")
        for operation in ("create", "update", "delete"):
            if number := len(getattr(todo, operation)):
                self.meter.count("endpoint_slice_controller_changes", number, operation=operation)
        return 5.0 if todo.incomplete else None

    def _zones(self, pods: list[Object]) -> dict[str, str]:
        nodes = {name: self._nodes.lister.get(name) for pod in pods if (name := pod["spec"].get("nodeName"))}
        return {name: meta.labels(node).get(_ZONE, "") for name, node in nodes.items() if node is not None}
