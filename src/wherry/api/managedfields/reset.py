"""Which fields an endpoint resets: nobody owns ``status`` through the main resource, ``spec`` through ``/status``."""

from functools import cache
from importlib import resources as package_data

from wherry.api.managedfields.fieldset import LEAF, Node, union
from wherry.api.resources import TABLE, Resource


def reset_fields(resource: Resource, subresource: str | None = None) -> Node:
    """Return the set of fields that a resource's endpoint does not write; empty for other subresources."""
    return _reset(
        resource.group, resource.plural, subresource or "", _is_custom(resource), "status" in resource.subresources
    )


def _is_custom(resource: Resource) -> bool:
    return TABLE.find(resource.group, resource.version, resource.plural) is not resource


@cache
def _reset(group: str, plural: str, subresource: str, custom: bool, has_status: bool) -> Node:
    if custom:
        return _custom(subresource, has_status)
    if not has_status:
        return {}
    rows = _rows()
    found = rows.get((group, plural, subresource)) or rows.get(("*", "*", subresource))
    return found or {}


def _custom(subresource: str, has_status: bool) -> Node:
    """A custom resource with a status subresource: the main endpoint resets status, ``/status`` all else."""
    if not has_status:
        return {}
    if not subresource:
        return {"f:status": LEAF}
    return {"f:spec": LEAF, "f:metadata": LEAF} if subresource == "status" else {}


@cache
def _rows() -> dict[tuple[str, str, str], Node]:
    text = (package_data.files("wherry.api") / "data" / "resetfields.tsv").read_text()
    out: dict[tuple[str, str, str], Node] = {}
    for line in text.splitlines():
        if not line.startswith("#"):
            group, plural, subresource, fields = line.split("\t")
            out[group, plural, subresource] = _set(fields.split(" "))
    return out


def _set(paths: list[str]) -> Node:
    out: Node = {}
    for path in paths:
        node = LEAF
        for name in reversed(path.split(".")):
            node = {f"f:{name}": node}
        out = union(out, node)
    return out
