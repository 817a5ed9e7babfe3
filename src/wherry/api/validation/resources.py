"""Names and amounts of resources (core ``helper`` and ``ValidateResourceRequirements``)."""

from collections.abc import Callable, Collection
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks
from wherry.api.validation.shared import NON_NEGATIVE

Obj = dict[str, Any]
Errors = list[FieldError]

_CONTAINER = frozenset({"cpu", "memory", "ephemeral-storage"})
_INTEGER = frozenset(
    {
        "pods", "resourcequotas", "services", "replicationcontrollers", "secrets", "configmaps",
        "persistentvolumeclaims", "services.nodeports", "services.loadbalancers",
    }
)  # fmt: skip
_STANDARD = frozenset(
    {
        *_CONTAINER, *_INTEGER, "storage", "requests.cpu", "requests.memory", "requests.storage",
        "requests.ephemeral-storage", "limits.cpu", "limits.memory", "limits.ephemeral-storage",
    }
)  # fmt: skip
_ZERO = Quantity.parse("0")


def is_huge_page(name: str) -> bool:
    """Tell whether a resource is a size of huge pages."""
    return name.startswith("hugepages-")


def is_native(name: str) -> bool:
    """Tell whether a resource is Kubernetes' own."""
    return "/" not in name or "kubernetes.io/" in name


def is_extended(name: str) -> bool:
    """Tell whether a resource is a device plugin's or an operator's."""
    if is_native(name) or name.startswith("requests."):
        return False
    return not checks.qualified_name(f"requests.{name}")


def is_standard(name: str) -> bool:
    """Tell whether a name without a domain is known."""
    return name in _STANDARD or is_huge_page(name) or name.startswith("requests.hugepages-")


def is_quota_standard(name: str) -> bool:
    """Tell whether a quota counts a name without a domain."""
    return name != "storage" and is_standard(name)


def overcommits(name: str) -> bool:
    """Tell whether requests of a resource may be below its limits."""
    return is_native(name) and not is_huge_page(name)


def is_integer(name: str) -> bool:
    """Tell whether a resource comes in whole numbers."""
    return name in _INTEGER or is_extended(name)


def resource_name(name: str, path: str) -> Errors:
    """Check the name of any resource."""
    errors = [field.invalid(path, name, m) for m in checks.qualified_name(name)]
    if not errors and "/" not in name and not is_standard(name):
        errors.append(field.invalid(path, name, "must be a standard resource type or fully qualified"))
    return errors


def container_resource_name(name: str, path: str) -> Errors:
    """Check the name of a resource that a container asks for."""
    if name in _CONTAINER:
        return []
    errors = resource_name(name, path)
    if "/" not in name:
        if not is_huge_page(name):
            errors.append(field.invalid(path, name, "must be a standard resource for containers"))
    elif not is_native(name) and not is_extended(name):
        errors.append(field.invalid(path, name, "doesn't follow extended resource name standard"))
    return errors


def pod_resource_name(name: str, path: str) -> Errors:
    """Check the name of a resource that a pod as a whole asks for."""
    errors = resource_name(name, path)
    if not errors and name not in ("cpu", "memory") and not is_huge_page(name):
        errors.append(field.not_supported(path, name, ("cpu", "hugepages-", "memory")))
    return errors


def quota_resource_name(name: str, path: str) -> Errors:
    """Check the name of a resource in a quota."""
    errors = resource_name(name, path)
    if "/" not in name and not is_quota_standard(name):
        errors.append(field.invalid(path, name, "must be a standard resource for quota"))
    return errors


def non_negative(amount: str, path: str) -> Errors:
    """Check that a quantity is not below zero."""
    return [field.invalid(path, amount, NON_NEGATIVE)] if Quantity.parse(amount) < _ZERO else []


def basic_quantity(amount: str, path: str) -> Errors:
    """Check the size of a volume."""
    value = Quantity.parse(amount).whole()
    return [field.invalid(path, value, "must be a valid resource quantity")] if value < 0 else []


def is_whole(amount: str) -> bool:
    """Tell whether a quantity is a whole number."""
    return Quantity.parse(amount).milli() % 1000 == 0


def amount(name: str, value: str, path: str) -> Errors:
    """Check the amount of a resource."""
    if value.isascii() and value.isdigit():
        return []
    errors = non_negative(value, path)
    if is_integer(name) and not is_whole(value):
        errors.append(field.invalid(path, value, "must be an integer"))
    return errors


def _huge_pages(name: str, value: str, path: str) -> Errors:
    try:
        size = Quantity.parse(name.removeprefix("hugepages-"))
    except ValueError:
        size = _ZERO
    if size <= _ZERO or size.milli() % 1000 or Quantity.parse(value).whole() % size.whole():
        return [field.invalid(path, value, f"{value} is not positive integer multiple of {name}")]
    return []


def requirements(
    found: Obj, path: str, *, name_rule: Callable[[str, str], Errors] = container_resource_name,
    claims: Collection[str] = (),
) -> Errors:  # fmt: skip
    """Check requests, limits and claims; `claims` are the names of the pod's resource claims."""
    errors: Errors = []
    if not found:
        return errors
    limits, requests = found.get("limits") or {}, found.get("requests") or {}
    for name, value in limits.items():
        at = f"{path}.limits[{name}]"
        errors += name_rule(name, at) + amount(name, value, at)
        if is_huge_page(name):
            errors += _huge_pages(name, value, at)
    for name, value in requests.items():
        at = f"{path}.requests[{name}]"
        errors += name_rule(name, at) + amount(name, value, at)
        errors += _within_limit(name, value, limits.get(name), path)
        if is_huge_page(name):
            errors += _huge_pages(name, value, at)
    names = limits.keys() | requests.keys()
    if any(is_huge_page(n) for n in names) and not names & {"cpu", "memory"}:
        errors.append(field.forbidden(path, "HugePages require cpu or memory"))
    if found.get("claims"):
        errors += _claims(found["claims"], claims, f"{path}.claims")
    return errors


def _within_limit(name: str, request: str, limit: str | None, path: str) -> Errors:
    if limit is None:
        if overcommits(name):
            return []
        return [field.required(f"{path}.limits", "Limit must be set for non overcommitable resources")]
    if request == limit:
        return []
    wanted, most = Quantity.parse(request), Quantity.parse(limit)
    if wanted.value != most.value and not overcommits(name):
        return [field.invalid(f"{path}.requests", request, f"must be equal to {name} limit of {limit}")]
    if most < wanted:
        return [field.invalid(f"{path}.requests", request, f"must be less than or equal to {name} limit of {limit}")]
    return []


def _claims(found: list[Obj], names: Collection[str], path: str) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, claim in enumerate(found):
        name, request = claim.get("name", ""), claim.get("request", "")
        at = f"{path}[{i}]"
        if not name:
            errors.append(field.required(at))
            continue
        if name in seen:
            errors.append(field.duplicate(at, name))
        else:
            if request:
                errors += [field.invalid(f"{at}.request", request, m) for m in checks.label(request)]
            key = f"{name}/{request}" if request else name
            if key in seen:
                errors.append(field.duplicate(at, key))
            elif not request:
                # A claim as a whole overlaps with each of its requests.
                errors += [field.duplicate(at, name) for k in seen if k.startswith(f"{name}/")]
            seen.add(key)
        if name not in names:
            detail = "must be one of the names in pod.spec.resourceClaims"
            detail += f": {', '.join(sorted(names))}" if names else " which is empty"
            missing = field.not_found(at, name)
            errors.append(FieldError(missing.reason, missing.field, f"{missing.text}: {detail}"))
    return errors
