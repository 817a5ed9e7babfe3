"""The cells of ``kubectl get``: the Table form of every built-in kind (Kubernetes ``pkg/printers/internalversion``).

The columns are data (``api/data/columns.tsv``); the cells of a kind are one function ``(obj) -> list`` in the file of
its family. A kind without a function has the columns Name and Created At.
"""

from collections.abc import Callable, Sequence
from functools import cache
from importlib import resources as package_data
from typing import Any

from wherry.api.meta import Object
from wherry.api.printers import admin, apps, autoscaling, batch, core, events, network, pods, storage
from wherry.api.resources import Resource

Cells = Callable[[Object], list[Any]]

_CELLS: dict[tuple[str, str], Cells] = {
    **core.CELLS,
    **pods.CELLS,
    **events.CELLS,
    **apps.CELLS,
    **autoscaling.CELLS,
    **batch.CELLS,
    **network.CELLS,
    **storage.CELLS,
    **admin.CELLS,
}


@cache
def _columns_by_resource() -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    table: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    text = (package_data.files("wherry.api") / "data" / "columns.tsv").read_text()
    for line in text.splitlines()[1:]:
        group, version, plural, name, kind, shape, priority = line.split("\t")
        table.setdefault((group, version, plural), []).append(_column(name, kind, shape, int(priority)))
    return table


def _column(name: str, kind: str, shape: str = "", priority: int = 0) -> dict[str, Any]:
    return {"name": name, "type": kind, "format": shape, "description": "", "priority": priority}


_PLAIN = [_column("Name", "string", "name"), _column("Created At", "date")]


def columns(resource: Resource) -> list[dict[str, Any]]:
    """Return the column definitions of a resource; shared, not to be changed."""
    if resource.custom is not None:
        return resource.custom.columns.definitions
    return _columns_by_resource().get((resource.group, resource.version, resource.plural), _PLAIN)


def cells(resource: Resource, obj: Object) -> list[Any]:
    """Return the cells of one object, one for each column; of an IPAddress also one that has none."""
    if resource.custom is not None:
        return resource.custom.columns.cells(obj)
    function = _CELLS.get((resource.group, resource.plural))
    if function is not None:
        return function(obj)
    meta = obj.get("metadata") or {}
    return [meta.get("name", ""), meta.get("creationTimestamp", "")]


def ordered(resource: Resource, objects: Sequence[Object]) -> Sequence[Object]:
    """Return the objects of a list in the order of its rows: flow schemas as they are matched, all others as given."""
    if (resource.group, resource.plural) != ("flowcontrol.apiserver.k8s.io", "flowschemas"):
        return objects
    return sorted(objects, key=lambda o: ((o.get("spec") or {}).get("matchingPrecedence", 0), o["metadata"]["name"]))


def row_conditions(resource: Resource, obj: Object) -> list[dict[str, str]]:
    """Return the ``conditions`` of the object's row: of pods that have ended."""
    return pods.row_conditions(obj) if resource.plural == "pods" and not resource.group else []
