"""What Kubernetes warns about in objects that it accepts (``Warning`` headers).

One module per group holds a table ``WARNINGS`` of (group, plural) to a function of the object and its older version
(None on create); a new module is found by being here.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from wherry.api.resources import Resource

Warner = Callable[[dict[str, Any], dict[str, Any] | None], list[str]]


def _collect() -> dict[tuple[str, str], Warner]:
    table: dict[tuple[str, str], Warner] = {}
    for module in iter_modules(__path__):
        table.update(getattr(import_module(f"{__name__}.{module.name}"), "WARNINGS", {}))
    return table


_TABLE = _collect()


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
