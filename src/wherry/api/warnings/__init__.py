"""What Kubernetes warns about in objects that it accepts (``Warning`` headers).

One module per group holds a table ``WARNINGS`` of (group, plural) to a function of the object and its older version
(None on create), ``STATUS_WARNINGS`` of those about a changed status, and ``GIVEN`` of those about new objects before
their kinds prepare them; a new module is found by being here.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from wherry.api.resources import Resource

Warner = Callable[[dict[str, Any], dict[str, Any] | None], list[str]]
_GIVEN: dict[tuple[str, str], Callable[[dict[str, Any]], list[str]]] = {}
_STATUS: dict[tuple[str, str], Callable[[dict[str, Any]], list[str]]] = {}
_TABLE: dict[tuple[str, str], Warner] = {}
for _module in (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__)):
    _TABLE.update(getattr(_module, "WARNINGS", {}))
    _STATUS.update(getattr(_module, "STATUS_WARNINGS", {}))
    _GIVEN.update(getattr(_module, "GIVEN", {}))


_DEPRECATED = {
    ("", "componentstatuses"): "v1 ComponentStatus is deprecated in v1.19+",
    ("", "endpoints"): "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
}


def for_resource(resource: Resource) -> list[str]:
    """Return the warnings that every request for a resource gets, because the kind is deprecated."""
    if resource.custom is not None:
        return [resource.custom.deprecation] if resource.custom.deprecation else []
    warning = _DEPRECATED.get((resource.group, resource.plural))
    return [warning] if warning else []


def for_object(resource: Resource, obj: dict[str, Any], old: dict[str, Any] | None = None) -> list[str]:
    """Return the warnings for creating `obj`, or for changing `old` to it, in Kubernetes' order and words."""
    if resource.custom is not None:
        return resource.custom.warnings(obj, old)
    warn = _TABLE.get((resource.group, resource.plural))
    return warn(obj, old) if warn is not None else []


def for_status(resource: Resource, obj: dict[str, Any]) -> list[str]:
    """Return the warnings for changing the status of an object through its subresource."""
    warn = _STATUS.get((resource.group, resource.plural))
    return warn(obj) if warn is not None else []


def for_given(resource: Resource, obj: dict[str, Any]) -> list[str]:
    """Return the warnings about a new object as the client gave it, before its kind prepares it."""
    warn = _GIVEN.get((resource.group, resource.plural))
    return warn(obj) if warn is not None else []
