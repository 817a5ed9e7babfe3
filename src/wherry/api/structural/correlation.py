"""Which values that did not change are known to be unchanged (apiserver ``cel/common/equality.go``).

An update is not told what is wrong with a value that it leaves alone. Values are compared member by member, as far as
the schema describes them: where it keeps members that it does not name, or where a list-map has an item that no key
tells from the ones before, nothing is known.
"""

from collections.abc import Callable
from typing import Any

Schema = dict[str, Any]
Known = Callable[[Any], bool]


def known_of(schema: Schema) -> Known | None:
    """Return a function that tells of an unchanged value whether that is known; None: it always is."""
    items = schema.get("items")
    if isinstance(items, dict):
        keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        is_map = schema.get("x-kubernetes-list-type") == "map"
        return _of_list_map(keys, known_of(items)) if is_map else None
    members = {name: known_of(member) for name, member in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    other = known_of(additional) if isinstance(additional, dict) else None
    is_open = schema.get("x-kubernetes-preserve-unknown-fields") or schema.get("x-kubernetes-embedded-resource")
    is_open = is_open and not isinstance(additional, dict)
    if not is_open and other is None and not any(members.values()):
        return None
    return _of_object(members, other, bool(is_open))


def _of_list_map(keys: tuple[str, ...], each: Known | None) -> Known:
    def known(value: Any) -> bool:
        seen = []
        for item in value if isinstance(value, list) else ():
            key = [item.get(name) for name in keys] if isinstance(item, dict) else None
            if key is None or None in key or key in seen or (each is not None and not each(item)):
                return False
            seen.append(key)
        return True

    return known


def _of_object(members: dict[str, Known | None], other: Known | None, is_open: bool) -> Known:
    def known(value: Any) -> bool:
        for name, item in value.items() if isinstance(value, dict) else ():
            if is_open and name not in members:
                return False
            inner = members.get(name, other)
            if inner is not None and not inner(item):
                return False
        return True

    return known
