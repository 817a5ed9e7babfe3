"""Managed fields of an object as its Scale shows them, and back (apimachinery ``managedfields.ScaleHandler``).

A Scale shows the entries that own the replicas, told as of ``autoscaling/v1``. After a change of it, who no longer owns
the replicas there loses them in the object; who came to own them gets an entry of its own, which has no time.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from wherry.api.managedfields.entries import Entries, decode, encode
from wherry.api.managedfields.fieldset import LEAF, Node, difference, is_member
from wherry.api.meta import Object

VERSION = "autoscaling/v1"
_REPLICAS = ("spec", "replicas")

Paths = Callable[[str], tuple[str, ...] | None]
"""Where a version of the object keeps its replicas: empty where it has no scale, None for an unknown version."""


def to_scale(entries: Iterable[Any] | None, paths: Paths) -> list[Object]:
    """Return what a Scale shows of the entries of its object."""
    out: Entries = {}
    for entry in (decode(entries) or {}).values():
        path = paths(entry.api_version)
        if path and _owns(entry.fields, path):
            shown = replace(entry, api_version=VERSION, fields=_set(_REPLICAS))
            out[shown.key] = shown
    return encode(out)


def to_object(
    entries: Iterable[Any] | None, scale_entries: Iterable[Any] | None, paths: Paths, *, api_version: str
) -> list[Object]:
    """Return the entries of an object, which had `entries`, after a change of its Scale left `scale_entries`.

    `api_version` is that of the object, through whose scale it was changed. Entries of unknown versions go.
    """
    out: Entries = {}
    before, scaled = decode(entries) or {}, decode(scale_entries) or {}
    for key, entry in before.items():
        path = paths(entry.api_version)
        if path is None:
            continue
        if path and _owns(entry.fields, path) and scaled.pop(key, None) is None:
            entry = entry.with_fields(difference(entry.fields, _set(path)))
        if entry.fields:
            out[key] = entry
    held = paths(api_version)
    for key, entry in scaled.items():
        if held and _owns(entry.fields, _REPLICAS):
            time = before[key].time if key in before else None
            out[key] = replace(entry, api_version=api_version, fields=_set(held), time=time)
    return encode(out)


def _owns(fields: Node, path: tuple[str, ...]) -> bool:
    node: Node | None = fields
    for name in path:
        node = node.get(f"f:{name}") if node else None
    return node is not None and is_member(node)


def _set(path: tuple[str, ...]) -> Node:
    node: Node = LEAF
    for name in reversed(path):
        node = {f"f:{name}": node}
    return node
