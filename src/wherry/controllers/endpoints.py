"""The Endpoints controller: the addresses behind each Service, in one object of its name.

Watches Services with a selector, their pods and Endpoints. Writes Endpoints, at most 1000 addresses each. Guarantees
that ready pods are in ``addresses`` and others in ``notReadyAddresses``; terminating pods are left out unless the
Service publishes not-ready addresses. Does not touch the Endpoints of Services without a selector.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTS
from wherry.client.events import WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.controller import is_namespace_terminating
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

_MANAGED_BY = {"endpoints.kubernetes.io/managed-by": "endpoint-controller"}
_OVER_CAPACITY = "endpoints.kubernetes.io/over-capacity"
_CAPACITY = 1000


@dataclass(frozen=True, slots=True)
class Inputs:
    """`pods` are those that the service selects; `current` is the Endpoints object there is."""

    service: Object
    pods: tuple[Object, ...]
    current: Object | None


def plan(inputs: Inputs) -> Object | None:
    """Return the Endpoints to write, None when the current ones are right."""
    service, current = inputs.service, inputs.current or {"metadata": {}}
    subsets, truncated = _truncate(repack(_entries(inputs)))
    labels = {name: value for name, value in meta.labels(service).items() if name != HEADLESS}
    labels |= _MANAGED_BY | ({HEADLESS: ""} if is_headless(service) else {})
    old = current["metadata"].get("annotations") or {}
    kept = {name: value for name, value in old.items() if name not in (LAST_CHANGE, _OVER_CAPACITY)}
    if truncated:
        kept[_OVER_CAPACITY] = "truncated"
    unchanged = (
        inputs.current is not None
        and (current.get("subsets") or []) == subsets
        and meta.labels(current) == labels
        and {name: value for name, value in old.items() if name != LAST_CHANGE} == kept
    )
    if unchanged:
        return None
    trigger = max((ready_time(pod) for pod in inputs.pods), default="")
    if not inputs.current and not trigger:
        trigger = service["metadata"].get("creationTimestamp", "")
    if trigger:
        kept[LAST_CHANGE] = trigger
    md = {**current["metadata"], "name": meta.name(service), "namespace": meta.namespace(service), "labels": labels}
    md["annotations"] = kept
    return {"kind": "Endpoints", "apiVersion": "v1", "metadata": md, "subsets": subsets}


def _entries(inputs: Inputs) -> Iterable[tuple[Object, Object | None, bool]]:
    """Yield (address, port or None, ready) of every pod and port."""
    service = inputs.service
    publish_all = bool(service["spec"].get("publishNotReadyAddresses"))
    family = (service["spec"].get("ipFamilies") or ["IPv4"])[0]
    for pod in inputs.pods:
        address = next((ip for ip in pod_ips(pod) if family_of(ip) == family), None)
        if address is None or podutil.is_finished(pod) or (meta.is_deleting(pod) and not publish_all):
            continue
        entry: Object = {"ip": address, "targetRef": pod_reference(pod)}
        if pod["spec"].get("nodeName"):
            entry["nodeName"] = pod["spec"]["nodeName"]
        if hostname := hostname_in(pod, service):
            entry["hostname"] = hostname
        ready = publish_all or podutil.is_ready(pod)
        if not service["spec"].get("ports"):
            yield entry, None, ready
        for port in service["spec"].get("ports") or ():
            number = target_port(port, pod)
            if number is not None:
                found = {"port": number, "protocol": port.get("protocol", "TCP")}
                for name in ("name", "appProtocol"):
                    if port.get(name):
                        found[name] = port[name]
                yield entry, found, ready


def repack(entries: Iterable[tuple[Object, Object | None, bool]]) -> list[Object]:
    """Return subsets in canonical form: addresses with the same ports together, sorted by address and port."""
    ports_of: dict[tuple[str, str], set[tuple[tuple[str, object], ...]]] = {}
    addresses: dict[tuple[str, str], tuple[Object, bool]] = {}
    for address, port, ready in entries:
        key = (address["ip"], address["targetRef"]["uid"])
        addresses[key] = (address, ready)
        ports_of.setdefault(key, set())
        if port is not None:
            ports_of[key].add(tuple(sorted(port.items())))
    groups: dict[frozenset[tuple[tuple[str, object], ...]], Object] = {}
    for key in sorted(addresses):
        address, ready = addresses[key]
        subset = groups.setdefault(frozenset(ports_of[key]), {})
        subset.setdefault("addresses" if ready else "notReadyAddresses", []).append(address)
    for ports, subset in groups.items():
        if ports:
            listed = [dict(port) for port in ports]
            subset["ports"] = sorted(listed, key=lambda port: (port.get("name", ""), port["port"], port["protocol"]))
    return list(groups.values())


def _truncate(subsets: list[Object]) -> tuple[list[Object], bool]:
    """Keep at most a thousand addresses, ready ones first."""
    total = sum(len(subset.get(kind, ())) for subset in subsets for kind in ("addresses", "notReadyAddresses"))
    if total <= _CAPACITY:
        return subsets, False
    room, kept = _CAPACITY, [{"ports": subset["ports"]} if "ports" in subset else {} for subset in subsets]
    for kind in ("addresses", "notReadyAddresses"):
        for subset, new in zip(subsets, kept, strict=True):
            if taken := subset.get(kind, [])[:room]:
                new[kind] = taken
                room -= len(taken)
    return [subset for subset in kept if "addresses" in subset or "notReadyAddresses" in subset], True


class EndpointsController(ServiceController):
    name = "endpoint-controller"

    def register(self) -> None:
        super().register()
        self._endpoints = self.watch(ENDPOINTS)

    async def reconcile(self, key: str) -> float | None:
        service = self._services.lister.get(key)
        current = self._endpoints.lister.get(key)
        if service is None:
            await self._delete(current)
            return None
        if not service["spec"].get("selector") or service["spec"].get("type") == "ExternalName":
            return None
        wanted = plan(Inputs(service, tuple(self.selected(service)), current))
        if wanted is None:
            return None
        self.expect(ENDPOINTS, wanted)
        try:
            if current is None:
                answer = await self.client.create(ENDPOINTS, wanted)
            else:
                answer = await self.client.update(ENDPOINTS, wanted)
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return None
            verb = "create" if current is None else "update"
            message = f"Failed to {verb} endpoint {key}: {error}"
            self.recorder.event(service, WARNING, f"FailedTo{verb.title()}Endpoint", message)
            raise
        self.wrote(key, ENDPOINTS, answer)
        return None

    async def _delete(self, current: Object | None) -> None:
        """Delete what a deleted Service left; Endpoints that somebody else made stay."""
        if current is None or not _MANAGED_BY.items() <= meta.labels(current).items():
            return
        options = {"preconditions": {"uid": meta.uid(current)}}
        try:
            await self.client.delete(ENDPOINTS, meta.name(current), meta.namespace(current), options=options)
        except (errors.NotFound, errors.Conflict):
            return
