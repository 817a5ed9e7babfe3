"""ResourceClaims, their templates, and DeviceClasses."""

import re
from functools import partial
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, devices, metadata
from wherry.api.validation.conditions import conditions
from wherry.api.validation.resources import is_extended
from wherry.api.validation.rules import Rules
from wherry.api.validation.scheduling import node_selector
from wherry.api.validation.shared import immutable, named
from wherry.api.validation.volumes import driver_name

Obj = dict[str, Any]
Errors = list[FieldError]
Names = dict[str, set[str]]
"""The requests of a claim by name, each with the names of its alternatives."""

_MODES = ("All", "ExactCount")
_ONE_KIND = "exactly one of `exactly` or `firstAvailable` is required"
_UNKNOWN_REQUEST = (
    "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
)
_MAX_ALTERNATIVES = 8
_MAX_CONSUMERS = 256
_SOURCES = ("FromClaim", "FromClass")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def claim_spec(spec: Obj, path: str) -> Errors:
    """Check the spec of a claim."""
    found, path = spec.get("devices") or {}, f"{path}.devices"
    names = _names(found)
    errors = devices.unique_items(
        found.get("requests") or [], f"{path}.requests", _request, lambda request: request.get("name") or ""
    )
    constraint, config = partial(_constraint, names=names), partial(_config, names=names)
    errors += devices.items(found.get("constraints") or [], f"{path}.constraints", constraint)
    return errors + devices.items(found.get("config") or [], f"{path}.config", config)


def _names(found: Obj) -> Names:
    return {
        request.get("name") or "": {other.get("name") or "" for other in request.get("firstAvailable") or ()}
        for request in found.get("requests") or ()
    }


def _request(request: Obj, path: str) -> Errors:
    errors = devices.label(request.get("name") or "", f"{path}.name")
    exactly, alternatives = request.get("exactly"), request.get("firstAvailable") or []
    if exactly is not None and alternatives:
        return [*errors, field.invalid(path, None, f"{_ONE_KIND}, but multiple fields are set")]
    if alternatives:
        return errors + devices.unique_items(
            alternatives,
            f"{path}.firstAvailable",
            _alternative,
            lambda other: other.get("name") or "",
            _MAX_ALTERNATIVES,
        )
    if exactly is None:
        return [*errors, field.required(path, _ONE_KIND)]
    return errors + _exact(exactly, f"{path}.exactly")


def _alternative(request: Obj, path: str) -> Errors:
    return devices.label(request.get("name") or "", f"{path}.name") + _exact(request, path)


def _exact(request: Obj, path: str) -> Errors:
    name, mode, count = request.get("deviceClassName") or "", request.get("allocationMode"), request.get("count") or 0
    at = f"{path}.deviceClassName"
    errors = named(name, at, checks.subdomain) if name else [field.required(at)]
    errors += devices.selectors(request.get("selectors"), f"{path}.selectors")
    if mode not in _MODES:
        errors.append(field.not_supported(f"{path}.allocationMode", mode or "", _MODES))
    elif mode == "All":
        if count:
            detail = "must not be specified when allocationMode is 'All'"
            errors.append(field.invalid(f"{path}.count", count, detail))
    elif count <= 0:
        errors.append(field.invalid(f"{path}.count", count, "must be greater than zero"))
    for i, found in enumerate(request.get("tolerations") or ()):
        errors += devices.toleration(found, f"{path}.tolerations[{i}]")
    return errors


def _reference(name: str, path: str, names: Names) -> Errors:
    request, slash, alternative = name.partition("/")
    unknown = field.invalid(path, name, _UNKNOWN_REQUEST)
    if "/" in alternative:
        return [unknown]
    errors = devices.label(request, path) + (devices.label(alternative, path) if slash else [])
    known = request in names and (not slash or alternative in names[request])
    return errors if known else [*errors, unknown]


def _references(found: list[str] | None, path: str, names: Names) -> Errors:
    return devices.unique_items(found or [], path, partial(_reference, names=names), lambda name: name)


def _constraint(constraint: Obj, path: str, names: Names) -> Errors:
    errors = _references(constraint.get("requests"), f"{path}.requests", names)
    for member in ("matchAttribute", "distinctAttribute"):
        if constraint.get(member) is not None:
            return errors + devices.fully_qualified_name(constraint[member], f"{path}.{member}")
    detail = 'exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set'
    return [*errors, field.required(path, detail)]


def _config(config: Obj, path: str, names: Names) -> Errors:
    return _references(config.get("requests"), f"{path}.requests", names) + devices.configuration(config, path)


def _claim(obj: Obj) -> Errors:
    return claim_spec(obj.get("spec") or {}, "spec")


def _spec_is_kept(obj: Obj, old: Obj) -> Errors:
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    return [] if spec == before else immutable({"Spec": spec}, {"Spec": before}, "spec")


def _template(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    meta = spec.get("metadata") or {}
    errors = metadata.labels(meta.get("labels") or {}, "spec.metadata.labels")
    errors += metadata.annotations(meta.get("annotations") or {}, "spec.metadata.annotations")
    return errors + claim_spec(spec.get("spec") or {}, "spec.spec")


def _update_status(obj: Obj, old: Obj) -> Errors:
    status, before = obj.get("status") or {}, old.get("status") or {}
    consumers, allocation = status.get("reservedFor") or [], status.get("allocation")
    names = _names((obj.get("spec") or {}).get("devices") or {})
    errors = devices.unique_items(
        consumers, "status.reservedFor", _consumer, lambda consumer: consumer.get("uid") or "", _MAX_CONSUMERS
    )
    allocated = {_identity(result) for result in ((allocation or {}).get("devices") or {}).get("results") or ()}
    states = status.get("devices") or []
    check = partial(_device_status, allocated=allocated)
    errors += devices.unique_items(states, "status.devices", check, _identity, len(states))
    added = any(consumer not in (before.get("reservedFor") or []) for consumer in consumers)
    if consumers:
        if allocation is None:
            errors.append(field.forbidden("status.reservedFor", "may not be specified when `allocated` is not set"))
        elif obj["metadata"].get("deletionTimestamp") and added:
            detail = "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"
            errors.append(field.forbidden("status.reservedFor", detail))
    if allocation is not None and before.get("allocation") is not None:
        now, was = ({"Devices": found} for found in (allocation, before["allocation"]))
        return errors + immutable(now, was, "status.allocation")
    return errors + (_allocation(allocation, "status.allocation", names) if allocation is not None else [])


def _identity(device: Obj) -> str:
    parts = [device.get(m) or "" for m in ("driver", "pool", "device")]
    return "/".join([*parts, device["shareID"]] if device.get("shareID") else parts)


def _consumer(consumer: Obj, path: str) -> Errors:
    return [field.required(f"{path}.{m}") for m in ("resource", "name", "uid") if not consumer.get(m)]


def _device(found: Obj, path: str) -> Errors:
    errors = driver_name(found.get("driver") or "", f"{path}.driver")
    errors += devices.pool_name(found.get("pool") or "", f"{path}.pool")
    return errors + devices.label(found.get("device") or "", f"{path}.device")


def _share(found: Obj, path: str) -> Errors:
    share = found.get("shareID")
    if share is None or _UUID.fullmatch(share):
        return []
    if not _UUID.fullmatch(share.lower()):
        length = len(share.encode())
        wrong = "invalid UUID format" if length == 36 else f"invalid UUID length: {length}"
        return [field.invalid(f"{path}.shareID", share, f"error validating uid: {wrong}")]
    detail = "uid must be in RFC 4122 normalized form, `xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx` with lowercase "
    return [field.invalid(f"{path}.shareID", share, f"{detail}hexadecimal characters")]


def _device_status(found: Obj, path: str, allocated: set[str]) -> Errors:
    errors = _device(found, path) + _share(found, path)
    if _identity(found) not in allocated:
        errors.append(field.invalid(path, _identity(found), "must be an allocated device in the claim"))
    if len(found.get("conditions") or ()) > 8:
        errors.append(field.too_many(f"{path}.conditions", len(found["conditions"]), 8))
    errors += conditions(found.get("conditions"), f"{path}.conditions")
    if found.get("data") is not None:
        errors += devices.raw_object(found["data"], f"{path}.data")
    network = found.get("networkData") or {}
    for member, most in (("interfaceName", 256), ("hardwareAddress", 128)):
        if len((network.get(member) or "").encode()) > most:
            errors.append(field.too_long(f"{path}.networkData.{member}", most))
    at = f"{path}.networkData.ips"
    return errors + devices.unique_items(network.get("ips") or [], at, _interface_address, lambda ip: ip, 16)


def _interface_address(value: str, path: str) -> Errors:
    if checks.sloppy_cidr(value) is None:
        return [
            field.invalid(path, value, "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)")
        ]
    address, length = checks.sloppy_cidr(value) or ("", 0)
    if f"{address}/{length}" != value:
        return [field.invalid(path, value, f'must be in canonical form ("{address}/{length}")')]
    return []


def _allocation(allocation: Obj, path: str, names: Names) -> Errors:
    found, at = allocation.get("devices") or {}, f"{path}.devices"
    result, config = partial(_result, names=names), partial(_allocated_config, names=names)
    errors = devices.items(found.get("results") or [], f"{at}.results", result)
    errors += devices.items(found.get("config") or [], f"{at}.config", config, 2 * devices.MAX_ITEMS)
    selector = allocation.get("nodeSelector")
    return errors + (node_selector(selector, f"{path}.nodeSelector") if selector is not None else [])


def _result(result: Obj, path: str, names: Names) -> Errors:
    errors = _reference(result.get("request") or "", f"{path}.request", names) + _device(result, path)
    return errors + devices.binding_conditions(result, path) + _share(result, path)


def _allocated_config(config: Obj, path: str, names: Names) -> Errors:
    source, at = config.get("source") or "", f"{path}.source"
    if not source:
        errors = [field.required(at)]
    else:
        errors = [] if source in _SOURCES else [field.not_supported(at, source, _SOURCES)]
    return errors + _config(config, path, names)


def _class(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors = devices.selectors(spec.get("selectors"), "spec.selectors")
    errors += devices.items(spec.get("config") or [], "spec.config", devices.configuration)
    name = spec.get("extendedResourceName")
    if name is not None and not is_extended(name):
        errors.append(field.invalid("spec.extendedResourceName", name, "must be a valid extended resource name"))
    return errors


_GROUP = "resource.k8s.io"

RULES = {
    (_GROUP, "resourceclaims"): Rules(
        create=_claim, update=_spec_is_kept, subresources={"status": _update_status}, recheck=False
    ),
    (_GROUP, "resourceclaimtemplates"): Rules(create=_template, update=_spec_is_kept, recheck=False),
    (_GROUP, "deviceclasses"): Rules(create=_class),
}
