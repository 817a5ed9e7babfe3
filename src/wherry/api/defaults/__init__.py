"""What Kubernetes fills in when a field is absent (the ``SetDefaults_*`` functions of each version).

Promises: `default` changes the object in place, needs no other object, and does nothing more when it is called again;
only the time of a device's new taint comes from the clock. It allocates nothing (cluster IPs, node ports) and knows no
admission.

One module per group (or family) holds a table ``DEFAULTS`` of (group, plural) to function; a new module is found by
being here. A module without a table holds what several groups share.
"""

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from wherry.api.resources import Resource

Defaulter = Callable[[dict[str, Any]], None]


def _collect() -> dict[tuple[str, str], Defaulter]:
    table: dict[tuple[str, str], Defaulter] = {}
    for module in iter_modules(__path__):
        table.update(getattr(import_module(f"{__name__}.{module.name}"), "DEFAULTS", {}))
    return table


_TABLE = _collect()


def default(resource: Resource, obj: dict[str, Any], *, applied: bool = False) -> None:
    """Fill in the absent fields of `obj` in place; it must have been decoded and pruned by its schema before.

    `applied`: it comes of a server-side apply.
    """
    if resource.custom is not None:
        resource.custom.default(obj, applied=applied)
        return
    apply = _TABLE.get((resource.group, resource.plural))
    if apply is not None:
        apply(obj)
