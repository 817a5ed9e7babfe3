"""Nodes (core ``ValidateNode``)."""

import json
import re
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, resources
from wherry.api.validation.rules import Rules
from wherry.api.validation.scheduling import TAINT_EFFECTS
from wherry.api.validation.shared import POSITIVE, named

Obj = dict[str, Any]
Errors = list[FieldError]

_FEATURE = re.compile(r"[A-Z][A-Za-z0-9]*(/[A-Za-z0-9]+)*")
_MAX_FEATURE = 253


def _node(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors = _taints(spec.get("taints") or [], "metadata.taints")
    status = obj.get("status") or {}
    errors += _resources(status) + _swap(status) + _features(status.get("declaredFeatures") or [])
    cidrs = spec.get("podCIDRs") or []
    for i, cidr in enumerate(cidrs):
        errors += named(cidr, f"spec.podCIDRs[{i}]", checks.cidr)
    if len(cidrs) > 2 or (len(cidrs) == 2 and (":" in cidrs[0]) == (":" in cidrs[1])):
        errors.append(field.invalid("spec.podCIDRs", cidrs, "may specify no more than one CIDR for each IP family"))
    return errors + [field.duplicate(f"spec.podCIDRs[{i}]", c) for i, c in enumerate(cidrs) if c in cidrs[:i]]


def _taints(found: list[Obj], path: str) -> Errors:
    errors: Errors = []
    seen: set[tuple[Any, Any]] = set()
    for i, taint in enumerate(found):
        at = f"{path}[{i}]"
        key, value, effect = taint.get("key", ""), taint.get("value", ""), taint.get("effect", "")
        errors += named(key, f"{at}.key", checks.qualified_name)
        wrong = checks.label_value(value)
        if wrong:
            errors.append(field.invalid(f"{at}.value", value, ";".join(wrong)))
        if not effect:
            errors.append(field.required(f"{at}.effect"))
        elif effect not in TAINT_EFFECTS:
            errors.append(field.not_supported(f"{at}.effect", effect, TAINT_EFFECTS, ordered=True))
        if (key, effect) in seen:
            twice = field.duplicate(at, taint)
            detail = "taints must be unique by key and effect pair"
            errors.append(FieldError(twice.reason, twice.field, f"{twice.text}: {detail}"))
        seen.add((key, effect))
    return errors


def _resources(status: Obj) -> Errors:
    errors: Errors = []
    for member in ("capacity", "allocatable"):
        for name, amount in (status.get(member) or {}).items():
            errors += resources.amount(name, amount, f"status.{member}.{name}")
    return errors


def _swap(status: Obj) -> Errors:
    capacity = ((status.get("nodeInfo") or {}).get("swap") or {}).get("capacity")
    if capacity is None or capacity > 0:
        return []
    # The path is upstream's.
    return [field.invalid("metadata.nodeSwapStatus.capacity", capacity, POSITIVE)]


def _features(found: list[str]) -> Errors:
    errors: Errors = []
    before, path = "", "status.declaredFeatures"
    for i, name in enumerate(found):
        if i and name == before:
            errors.append(field.duplicate(f"{path}[{i}]", name))
        elif name < before:
            errors.append(field.invalid(f"{path}[{i}]", name, "list must be sorted alphabetically"))
        wrong = _feature_error(name)
        if wrong:
            errors.append(field.invalid(f"{path}[{i}]", name, f"invalid feature name {json.dumps(name)}: {wrong}"))
        before = name
    return errors


def _feature_error(name: str) -> str:
    if len(name) > _MAX_FEATURE:
        return f"must be no more than {_MAX_FEATURE} characters"
    if _FEATURE.fullmatch(name):
        return ""
    return (
        "must start with an UpperCamelCase segment, with subsequent segments separated by '/' "
        "(e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes"
    )


def _update(obj: Obj, old: Obj) -> Errors:
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    status = obj.get("status") or {}
    errors = _resources(status) + _features(status.get("declaredFeatures") or []) + _addresses(status)
    cidrs, old_cidrs = spec.get("podCIDRs") or [], before.get("podCIDRs") or []
    if old_cidrs:
        detail = 'node updates may not change podCIDR except from "" to valid'
        same_count = len(cidrs) == len(old_cidrs)
        changed = sum(a != b for a, b in zip(cidrs, old_cidrs, strict=True)) if same_count else 1
        errors += [field.forbidden("spec.podCIDRs", detail)] * changed
    if before.get("providerID") and spec.get("providerID") != before["providerID"]:
        detail = 'node updates may not change providerID except from "" to valid'
        errors.append(field.forbidden("spec.providerID", detail))
    if spec.get("configSource") is not None:
        errors += _config_source(spec["configSource"], "spec.configSource", in_status=False)
    for member in ("assigned", "active", "lastKnownGood"):
        source = (status.get("config") or {}).get(member)
        if source is not None:
            errors += _config_source(source, f"status.config.{member}", in_status=True)
    errors += _taints(spec.get("taints") or [], "metadata.taints")
    if (spec.get("externalID") or "") != (before.get("externalID") or ""):
        errors.append(field.forbidden("spec.externalID", "may not be updated"))
    return errors


def _config_source(source: Obj, path: str, *, in_status: bool) -> Errors:
    """Check where a node's configuration came from, when nodes took it from the API: upstream still does."""
    found, at = source.get("configMap"), f"{path}.configMap"
    if found is None:
        return [field.invalid(path, source, "exactly one reference subfield must be non-nil")]
    errors: Errors = []
    for member in ("uid", "resourceVersion"):
        if in_status and not found.get(member):
            errors.append(field.required(f"{at}.{member}", f"{member} must be set in status"))
        elif not in_status and found.get(member):
            errors.append(field.forbidden(f"{at}.{member}", f"{member} must not be set in spec"))
    rules = (("namespace", checks.label), ("name", checks.subdomain), ("kubeletConfigKey", checks.config_key))
    for member, rule in rules:
        value = found.get(member)
        detail = f"{member} must be set"
        errors += named(value, f"{at}.{member}", rule) if value else [field.required(f"{at}.{member}", detail)]
    return errors


def _addresses(status: Obj) -> Errors:
    found = status.get("addresses") or []
    return [field.duplicate(f"status.addresses[{i}]", a) for i, a in enumerate(found) if a in found[:i]]


RULES = {("", "nodes"): Rules(create=_node, update=_update, subresources={"status": _update})}
