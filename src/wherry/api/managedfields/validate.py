"""Checks of an apply configuration against its type, in structured-merge-diff's words."""

from typing import Any

from wherry.api.managedfields.fieldset import show_path, show_value
from wherry.api.managedfields.merge import child_type, element_of, path_element
from wherry.api.schema.types import Type


def typed_errors(kind: Type, value: Any, *, duplicates: bool = False) -> list[str]:
    """Return what is wrong with a configuration, each with its path (``.spec.foo: field not declared in schema``).

    `duplicates`: lists may have several members with equal keys, as those of a stored object may.
    """
    errors: list[str] = []
    _visit(kind, value, "", errors, duplicates)
    return errors


def join_errors(errors: list[str]) -> str:
    """Return the text of one or several errors."""
    return errors[0] if len(errors) == 1 else "errors:\n" + "\n".join(f"  {error}" for error in errors)


def _visit(kind: Type, value: Any, path: str, errors: list[str], duplicates: bool) -> None:
    if value is None:
        return
    match kind.kind:
        case "struct" | "map":
            _object(kind, value, path, errors, duplicates)
        case "list":
            _list(kind, value, path, errors, duplicates)
        case "any" | "one-of":
            return
        case "boolean":
            if not isinstance(value, bool):
                errors.append(f"{path}: expected boolean, got {_show(value)}")
        case "integer" | "number":
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                errors.append(f"{path}: expected numeric (int or float), got {_go_type(value)}")
        case "string" | "bytes":
            if not isinstance(value, str):
                errors.append(f"{path}: expected string, got &value.valueUnstructured{{Value:{_show_go(value)}}}")
        case _:
            if isinstance(value, (dict, list)):
                errors.append(f"{path}: expected any scalar, got {_show(value)}")


def _object(kind: Type, value: Any, path: str, errors: list[str], duplicates: bool) -> None:
    if not isinstance(value, dict):
        errors.append(f"{path}: expected map, got {_show(value)}")
        return
    for name, item in value.items():
        if kind.kind == "struct" and name not in kind.fields and not kind.keep_unknown:
            errors.append(f"{path}.{name}: field not declared in schema")
        else:
            _visit(child_type(kind, name), item, f"{path}.{name}", errors, duplicates)


def _list(kind: Type, value: Any, path: str, errors: list[str], duplicates: bool) -> None:
    if not isinstance(value, list):
        errors.append(f"{path}: expected list, got {_show(value)}")
        return
    seen: set[str] = set()
    for at, item in enumerate(value):
        where = f"{path}[{at}]"
        if not kind.atomic:
            problem = _key_problem(kind, item)
            if problem:
                errors.append(f"{path}: element {at}: {problem}")
                return
            element = path_element(kind, item)
            where = path + show_path((element,))
            if element in seen and not duplicates:
                errors.append(f"{path}: duplicate entries for key {show_path((element,))}")
            seen.add(element)
        _visit(element_of(kind), item, where, errors, duplicates)


def _key_problem(kind: Type, item: Any) -> str | None:
    if kind.list_type == "set":
        if isinstance(item, dict):
            return "associative list without keys has an element that's a map type"
        if isinstance(item, list):
            return "not supported: associative list with lists as elements"
        return "associative list without keys has an element that's an explicit null" if item is None else None
    if item is None:
        return "associative list with keys may not have a null element"
    if not isinstance(item, dict):
        return "associative list with keys may not have non-map elements"
    fields = element_of(kind).fields
    for key in kind.keys:
        if key in item or key in kind.key_defaults or (key in fields and fields[key].emit == "keep"):
            return None
    keys = " ".join(show_value(key) for key in kind.keys)
    return (
        f"associative list with keys has an element that omits all key fields [{keys}] "
        "(and doesn't have default values for any key fields)"
    )


def _show(value: Any) -> str:
    return f"&{{{_show_go(value)}}}"


def _show_go(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{_show_go(value[name])}" for name in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_show_go(item) for item in value) + "]"
    return show_value(value) if not isinstance(value, str) else value


def _go_type(value: Any) -> str:
    if isinstance(value, str):
        return "string"
    if isinstance(value, bool):
        return "bool"
    return "map[string]interface {}" if isinstance(value, dict) else "[]interface {}"
