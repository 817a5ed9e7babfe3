"""Which IP families a Service has: what its client left open follows from the rest and from the cluster."""

from collections.abc import Collection, Sequence
from typing import Any

from wherry.api.field import FieldError, invalid
from wherry.api.validation.service import cluster_ips

Object = dict[str, Any]
Errors = list[FieldError]

_POLICY = "spec.ipFamilyPolicy"
_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


def default_families(spec: Object, old: Object, configured: Sequence[str]) -> Errors:
    """Fill in ``ipFamilyPolicy`` and ``ipFamilies``; return what is wrong with them (core ``initIPFamilyFields``).

    `old` is the spec before an update, empty for a new Service; `configured` are the cluster's families, the default
    first. Upstream does this before it looks at the rest of the object.
    """
    if spec.get("type") == "ExternalName":
        return []
    free = spec.get("clusterIP") == "None" and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        spec["ipFamilyPolicy"] = old.get("ipFamilyPolicy") or ("RequireDualStack" if free else "SingleStack")
    errors = cluster_ips(spec)
    if errors:
        return errors
    errors = _narrow(spec, old) if old else []
    errors += _single(spec)
    families: list[str] = list(spec.get("ipFamilies") or ())
    errors += _infer(spec, families, configured)
    if errors:
        return errors
    # Nobody routes to a headless Service without a selector: it may have families that the cluster has not.
    if not free:
        errors = _configured(spec, families, configured)
        if errors:
            return errors
    families = families or [configured[0]]
    if len(families) == 1 and spec["ipFamilyPolicy"] != "SingleStack" and (free or len(configured) > 1):
        families.append(_OTHER[families[0]])
    spec["ipFamilies"] = families
    return []


def _narrow(spec: Object, old: Object) -> Errors:
    """Who gives up a family says so with the policy."""
    errors: Errors = []
    for member, what in (("clusterIPs", "secondary cluster IP"), ("ipFamilies", "secondary IP family")):
        new, before = spec.get(member) or [], old.get(member) or []
        if spec["ipFamilyPolicy"] == "SingleStack":
            if new == before and len(new) > 1:
                spec[member] = new[:1]
        elif new and len(new) < len(before) and before[: len(new)] == new:
            errors.append(invalid(_POLICY, spec["ipFamilyPolicy"], f"must be 'SingleStack' to release the {what}"))
    return errors


def _single(spec: Object) -> Errors:
    if spec["ipFamilyPolicy"] != "SingleStack":
        return []
    detail = "must be 'RequireDualStack' or 'PreferDualStack' when multiple {} are specified"
    return [
        invalid(_POLICY, "SingleStack", detail.format(what))
        for member, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families"))
        if len(spec.get(member) or ()) == 2
    ]


def _infer(spec: Object, families: list[str], configured: Collection[str]) -> Errors:
    errors: Errors = []
    ips = spec.get("clusterIPs") or []
    for i, ip in enumerate(ips):
        if ip == "None":
            break
        family = "IPv6" if ":" in ip else "IPv4"
        if i < len(families):
            continue
        if family not in configured:
            errors.append(invalid(f"spec.clusterIPs[{i}]", ips, f"{family} is not configured on this cluster"))
        else:
            families.append(family)
    return errors


def _configured(spec: Object, families: list[str], configured: Collection[str]) -> Errors:
    errors: Errors = []
    if spec["ipFamilyPolicy"] == "RequireDualStack" and len(configured) < 2:
        errors.append(invalid(_POLICY, "RequireDualStack", "this cluster is not configured for dual-stack services"))
    for i, family in enumerate(families):
        if family not in configured:
            errors.append(invalid(f"spec.ipFamilies[{i}]", family, "not configured on this cluster"))
    return errors
