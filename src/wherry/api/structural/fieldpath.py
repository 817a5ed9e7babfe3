"""Paths to fields as definitions write them: ``fieldPath`` of a rule, ``jsonPath`` of a selectable field."""

from typing import Any, NamedTuple

Schema = dict[str, Any]


class Found(NamedTuple):
    """The schema of a field, and its path as errors show it (``a.b[key]``)."""

    schema: Schema
    shown: str


def field_at(schema: Schema, path: str, *, brackets: bool = True) -> Found | str:
    """Return what is at ``.a['b'].c``, or what is wrong with the path. `brackets`: names may be written in them."""
    rest, current, shown = path, schema, ""
    while rest:
        if rest[0] == ".":
            end = min((at for at in (rest.find(".", 1), rest.find("[", 1)) if at > 0), default=len(rest))
            name, rest = rest[1:end], rest[end:]
            if not name and not rest:
                return "unexpected end of JSON path"
        elif rest[0] == "[":
            if not brackets:
                return "array notation is not allowed"
            end = rest.find("]")
            name = rest[1:end]
            if end < 0 or len(name) < 2 or name[0] != "'" or name[-1] != "'":
                return f"expected single quoted string but got {name or rest[1:]}"
            name, rest = name[1:-1].replace("\\'", "'"), rest[end + 1 :]
        else:
            return f"expected [ or . but got: {rest.split('.')[0].split('[')[0]}"
        properties, additional = current.get("properties"), current.get("additionalProperties")
        if properties:
            if name not in properties:
                return "does not refer to a valid field"
            current, shown = properties[name], f"{shown}.{name}"
        elif isinstance(additional, dict):
            current, shown = additional, f"{shown}[{name}]"
        else:
            return "does not refer to a valid field"
    return Found(current, shown.removeprefix("."))
