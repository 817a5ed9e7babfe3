"""The EndpointSlice mirroring controller: slices for Endpoints that people write by hand.

Watches Endpoints, Services and its own EndpointSlices. Writes slices for the Endpoints of Services without a selector,
owned by the Endpoints. Guarantees that they follow the Endpoints and go with them or with the Service. Leaves Endpoints
alone that are labelled to be skipped or that only serve a leader election.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTS, ENDPOINTSLICES, SERVICES
from wherry.client.events import WARNING
from wherry.controllers.controller import Controller, gather_all
from wherry.controllers.endpointslices import MANAGED_BY, SERVICE_NAME, delete_slice, keys_of, write_slices
from wherry.controllers.services import HEADLESS, LAST_CHANGE, family_of, is_headless

MANAGER = "endpointslicemirroring-controller.k8s.io"
_SKIP = "endpointslice.kubernetes.io/skip-mirror"
_LEADER = "control-plane.alpha.kubernetes.io/leader"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
_MAX = 1000
_BY_ENDPOINTS = "mirrored"
_endpoints_of = keys_of(MANAGER)

Ports = tuple[tuple[tuple[str, Any], ...], ...]
Group = tuple[str, Ports]


@dataclass(frozen=True, slots=True)
class Inputs:
    """`slices` are the controller's slices of the endpoints."""

    service: Object
    endpoints: Object
    slices: Sequence[Object]


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do with slices; `invalid` are addresses that are none."""

    create: tuple[Object, ...] = ()
    update: tuple[Object, ...] = ()
    delete: tuple[Object, ...] = ()
    invalid: tuple[str, ...] = ()


def is_mirrored(endpoints: Object | None, service: Object | None) -> bool:
    """Tell whether slices are to be kept for these endpoints."""
    if endpoints is None or service is None or meta.is_deleting(endpoints) or meta.is_deleting(service):
        return False
    if meta.labels(endpoints).get(_SKIP) == "true" or _LEADER in meta.annotations(endpoints):
        return False
    return not service["spec"].get("selector") and service["spec"].get("type") != "ExternalName"


def plan(inputs: Inputs) -> Plan:
    """Return the writes that make the slices mirror the endpoints."""
    wanted, invalid = _wanted(inputs.endpoints)
    left: dict[Group, list[Object]] = {}
    for found in inputs.slices:
        left.setdefault((found["addressType"], _ports_of(found)), []).append(found)
    create: list[Object] = []
    update: list[Object] = []
    for (family, ports), endpoints in wanted.items():
        existing = left.get((family, ports), [])
        for start in range(0, len(endpoints), _MAX):
            part = endpoints[start : start + _MAX]
            reused = existing.pop(0) if existing else None
            made = _slice(inputs, family, ports, part)
            if reused is None:
                create.append(made)
            elif (changed := _changed(reused, made)) is not None:
                update.append(changed)
    delete = [found for unused in left.values() for found in unused]
    return Plan(tuple(create), tuple(update), tuple(delete), tuple(invalid))


def _wanted(endpoints: Object) -> tuple[dict[Group, list[Object]], list[str]]:
    wanted: dict[Group, dict[str, Object]] = {}
    invalid: list[str] = []
    for subset in endpoints.get("subsets") or ():
        ports = tuple(sorted(_port(entry) for entry in subset.get("ports") or ()))
        for member, ready in (("addresses", True), ("notReadyAddresses", False)):
            for address in subset.get(member) or ():
                try:
                    family = family_of(address["ip"])
                except ValueError:
                    invalid.append(address["ip"])
                    continue
                wanted.setdefault((family, ports), {}).setdefault(address["ip"], _endpoint(address, ready=ready))
    return {group: list(found.values()) for group, found in wanted.items()}, invalid


def _port(entry: Object) -> tuple[tuple[str, Any], ...]:
    port = {"name": entry.get("name", ""), "port": entry["port"], "protocol": entry.get("protocol", "TCP")}
    if entry.get("appProtocol"):
        port["appProtocol"] = entry["appProtocol"]
    return tuple(sorted(port.items()))


def _ports_of(found: Object) -> Ports:
    return tuple(sorted(tuple(sorted({"name": "", **port}.items())) for port in found.get("ports") or ()))


def _endpoint(address: Object, *, ready: bool) -> Object:
    kept = {name: address[name] for name in ("targetRef", "nodeName", "hostname") if address.get(name)}
    return {"addresses": [address["ip"]], "conditions": {"ready": ready}, **kept}


def _slice(inputs: Inputs, family: str, ports: Ports, endpoints: list[Object]) -> Object:
    owner = inputs.endpoints
    labels = {
        **{name: value for name, value in meta.labels(owner).items() if name != HEADLESS},
        **({HEADLESS: ""} if is_headless(inputs.service) else {}),
        SERVICE_NAME: meta.name(owner),
        MANAGED_BY: MANAGER,
    }
    md: Object = {
        "generateName": f"{meta.name(owner)}-",
        "namespace": meta.namespace(owner),
        "labels": labels,
        "ownerReferences": [meta.controller_ref(owner)],
    }
    skipped = (LAST_CHANGE, _LAST_APPLIED)
    annotations = {name: value for name, value in meta.annotations(owner).items() if name not in skipped}
    if annotations:
        md["annotations"] = annotations
    return {
        "kind": "EndpointSlice",
        "apiVersion": "discovery.k8s.io/v1",
        "metadata": md,
        "addressType": family,
        "endpoints": endpoints,
        "ports": [dict(port) for port in ports] or None,
    }


def _changed(found: Object, made: Object) -> Object | None:
    """Return the slice to write, None when it is right."""
    same = all(getattr(meta, part)(found) == getattr(meta, part)(made) for part in ("labels", "annotations"))
    if same and found.get("endpoints") == made["endpoints"]:
        return None
    metadata = {**found["metadata"], "labels": meta.labels(made), "annotations": meta.annotations(made)}
    return {**found, "metadata": metadata, "endpoints": made["endpoints"]}


class EndpointSliceMirroringController(Controller):
    name = "endpointslicemirroring-controller"
    component = "endpoint-slice-mirroring-controller"

    def register(self) -> None:
        self._endpoints = self.watch(ENDPOINTS)
        self._services = self.watch(SERVICES, changed=lambda old, new: old["spec"] != new["spec"])
        self._slices = self.watch(ENDPOINTSLICES, _endpoints_of)
        self._slices.add_index(_BY_ENDPOINTS, _endpoints_of)

    async def reconcile(self, key: str) -> float | None:
        endpoints, service = self._endpoints.lister.get(key), self._services.lister.get(key)
        slices = [found for found in self._slices.lister.by_index(_BY_ENDPOINTS, key) if not meta.is_deleting(found)]
        if endpoints is None or service is None or not is_mirrored(endpoints, service):
            await gather_all(delete_slice(self, key, found) for found in slices)
            return None
        todo = plan(Inputs(service, endpoints, slices))
        for address in todo.invalid:
            text = f"Skipped invalid IP {address} when mirroring to EndpointSlices"
            self.recorder.event(endpoints, WARNING, "InvalidIPAddress", text)
        await write_slices(self, key, todo)
        return None
