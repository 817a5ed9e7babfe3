"""The variable ``device`` of the selectors of devices (``dynamic-resource-allocation/cel``)."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from wherry.api import quantity
from wherry.api.cel.functions.kubernetes import Quantity, semver
from wherry.api.cel.program import Program, compile  # noqa: A004
from wherry.api.cel.types import BOOL, DYN, STRING, map_of, object_of, opaque

DEVICE = object_of(
    "kubernetes.DRADevice",
    {
        "driver": STRING,
        "attributes": map_of(STRING, map_of(STRING, DYN)),
        "capacity": map_of(STRING, map_of(STRING, opaque("kubernetes.Quantity"))),
        "allowMultipleAllocations": BOOL,
    },
)


class _ByDomain(dict[str, dict[str, Any]]):
    """Every domain has a map: that of one that a device says nothing of is empty."""

    def __missing__(self, domain: str) -> dict[str, Any]:
        return {}


@lru_cache(maxsize=1024)
def selector(expression: str) -> Program:
    """Return a compiled selector. Raises CompileError."""
    return compile(expression, {"device": DEVICE})


def binding(device: Mapping[str, Any], driver: str) -> dict[str, Any]:
    """Return the value of ``device`` for a device of a ResourceSlice. Raises EvalError for a wrong version."""
    attributes, capacity = _ByDomain(), _ByDomain()
    for name, holder in (device.get("attributes") or {}).items():
        domain, identifier = split_name(name, driver)
        attributes.setdefault(domain, {})[identifier] = attribute(holder)
    for name, holder in (device.get("capacity") or {}).items():
        domain, identifier = split_name(name, driver)
        capacity.setdefault(domain, {})[identifier] = Quantity(quantity.parse(holder["value"]))
    shared = bool(device.get("allowMultipleAllocations"))
    return {"driver": driver, "attributes": attributes, "capacity": capacity, "allowMultipleAllocations": shared}


def split_name(name: str, driver: str) -> tuple[str, str]:
    """Return domain and identifier of a name; the domain that it does not say is the driver's."""
    domain, slash, identifier = name.rpartition("/")
    return (domain, identifier) if slash else (driver, name)


def attribute(holder: Mapping[str, Any]) -> Any:
    """Return the value of a DeviceAttribute."""
    for kind in ("int", "bool", "string"):
        if kind in holder:
            return holder[kind]
    return semver(holder["version"])
