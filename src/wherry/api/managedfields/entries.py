"""Entries of ``metadata.managedFields``: reading, writing, order, and how conflicts name managers."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from wherry.api.managedfields.fieldset import Node, union
from wherry.api.meta import Object

MAX_UPDATE_MANAGERS = 10
ANCIENT = "ancient-changes"
_KINDS = frozenset({"f:", "k:", "v:", "i:"})


@dataclass(frozen=True, slots=True)
class Entry:
    """What one manager owns by one operation. Appliers are told apart without their apiVersion."""

    manager: str
    operation: str
    api_version: str
    subresource: str
    fields: Node
    time: str | None = None

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.manager, self.operation, self.subresource, self.api_version if self.operation == "Update" else ""

    @property
    def is_apply(self) -> bool:
        return self.operation == "Apply"

    def with_fields(self, fields: Node) -> "Entry":
        return replace(self, fields=fields)

    def describe(self) -> str:
        """Return how a conflict names the manager."""
        text = _quote(self.manager)
        if self.subresource:
            text += f" with subresource {_quote(self.subresource)}"
        return text if self.is_apply else f"{text} using {self.api_version}"


Entries = dict[tuple[str, str, str, str], Entry]


def decode(entries: Iterable[Any] | None) -> Entries | None:
    """Return the entries by key, of equal keys the last; None when one is malformed, as if none could be read."""
    out: Entries = {}
    for raw in entries or ():
        if not isinstance(raw, dict) or raw.get("operation") not in ("Apply", "Update"):
            return None
        fields = raw.get("fieldsV1") or {}
        if raw.get("fieldsType") != "FieldsV1" or not raw.get("apiVersion") or not _is_set(fields):
            return None
        entry = Entry(
            raw.get("manager") or "",
            raw["operation"],
            raw["apiVersion"],
            raw.get("subresource") or "",
            fields,
            raw.get("time"),
        )
        out[entry.key] = entry
    return out


def _is_set(node: Any) -> bool:
    if not isinstance(node, dict):
        return False
    return all(element == "." or (element[:2] in _KINDS and _is_set(child)) for element, child in node.items())


def encode(entries: Entries) -> list[Object]:
    """Return the entries for the wire: appliers first, then by time, manager, version and subresource."""
    ordered = sorted(
        entries.values(),
        key=lambda entry: (entry.operation, entry.time or "", entry.manager, entry.api_version, entry.subresource),
    )
    return [_encode(entry) for entry in ordered]


def _encode(entry: Entry) -> Object:
    return wire(
        entry.manager, entry.operation, entry.api_version, entry.fields, time=entry.time, subresource=entry.subresource
    )


def wire(manager: str, operation: str, api_version: str, fields: Node, *, time: str | None, subresource: str) -> Object:
    """Return an entry in the form of the wire."""
    out: Object = {"manager": manager, "operation": operation, "apiVersion": api_version}
    if not manager:
        del out["manager"]
    if time:
        out["time"] = time
    out["fieldsType"] = "FieldsV1"
    out["fieldsV1"] = fields
    if subresource:
        out["subresource"] = subresource
    return out


def cap_updates(entries: Entries) -> Entries:
    """Put the oldest Update entries of a version into one bucket when there are more than ten."""
    if len(entries) <= MAX_UPDATE_MANAGERS:
        return entries
    updates = sorted((entry for entry in entries.values() if not entry.is_apply), key=lambda entry: entry.time or "")
    excess = len(updates) - MAX_UPDATE_MANAGERS
    if excess <= 0:
        return entries
    out = dict(entries)
    first: dict[str, Entry] = {}
    for entry in updates:
        if excess <= 0:
            break
        version = entry.api_version
        bucket = Entry(ANCIENT, "Update", version, "", {})
        if version not in first:
            first[version] = entry
            continue
        if bucket.key not in out:
            out[bucket.key] = replace(bucket, fields=out.pop(first[version].key).fields)
        held = out[bucket.key].fields
        if entry.key != bucket.key:
            out.pop(entry.key, None)
            excess -= 1
        out[bucket.key] = replace(bucket, fields=union(held, entry.fields), time=entry.time)
    return out


def without_times(entries: Iterable[Any] | None) -> list[Any]:
    """Return the entries without their times, to compare them."""
    return [{name: value for name, value in entry.items() if name != "time"} for entry in entries or ()]


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
