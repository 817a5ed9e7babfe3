"""Values against a schema, in the words of kube-apiserver's OpenAPI validator (kube-openapi ``pkg/validation``).

A check takes (value, path, out, old): it adds what is wrong to `out` and returns how many checks it passed, by which
the alternative that came nearest is chosen among those of ``anyOf`` and ``oneOf``. `old` is the value that the update
replaces (`ABSENT` when nothing corresponds to it): what did not change is not complained about.
"""

from collections.abc import Callable
from typing import Any

from wherry.api import field
from wherry.api.cel.regex import PatternError, compile_pattern
from wherry.api.field import FieldError
from wherry.api.meta import Object
from wherry.api.structural import paths
from wherry.api.structural.correlation import known_of
from wherry.api.structural.formats import check_of, known_format
from wherry.api.structural.numbers import is_whole, number_check
from wherry.api.structural.paths import Path

Schema = dict[str, Any]
Out = list[FieldError]
Check = Callable[[Any, Path, Out, Any], int]

ABSENT: Any = object()
_NAMES = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array", dict: "object"}
_FORMAT_NAMES = {int: "int64", float: "float64"}


def validator(schema: Schema) -> Callable[[Object, Any], Out]:
    """Return a function of an object and the one it replaces (`ABSENT` for a new one) that says what is wrong."""
    check = compile_check(schema)

    def validate(obj: Object, old: Any = ABSENT) -> Out:
        out: Out = []
        check(obj, None, out, old)
        return list(dict.fromkeys(out))

    return validate


def compile_check(schema: Schema) -> Check:
    """Return the check of a schema."""
    parts: list[Check] = [_composition(schema)] if _COMPOSED & schema.keys() else []
    for make in (_string, _format, number_check, _list, _enum, _members):
        part = make(schema)
        if part is not None:
            parts.append(part)
    kinds = ["integer", "string"] if schema.get("x-kubernetes-int-or-string") else [schema.get("type") or ""]
    kinds = [kind for kind in kinds if kind]
    is_type = _type_check(kinds, known_format(schema), bool(schema.get("nullable")))
    enum = _enum(schema)
    known = known_of(schema)

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        if old is not ABSENT and old == value and _same_kinds(old, value) and (known is None or known(value)):
            return 1
        count = 2
        if value is None:
            count += is_type(value, path, out, old)
            return count if enum is None else count + enum(value, path, out, old)
        count += is_type(value, path, out, old)
        for part in parts:
            count += part(value, path, out, old)
        return count

    return check


def _same_kinds(old: Any, new: Any) -> bool:
    return (old.__class__ is bool) is (new.__class__ is bool)


def in_body(path: Path) -> str:
    """Return the beginning of a message about a value."""
    return f"{paths.show(path)} in body"


def wrong_type(path: Path, shown: Any, wanted: str) -> FieldError:
    """Return the error of a value of another type, or of text that is not of its format."""
    return field.type_invalid(
        paths.field(path), shown, f"{in_body(path)} must be of type {wanted}: {field.show(shown)}"
    )


def _type_check(kinds: list[str], form: str, nullable: bool) -> Check:
    wanted = ",".join(kinds)
    plain = frozenset(cls for cls, name in _NAMES.items() if name in kinds or (cls is int and "number" in kinds))
    numeric = "number" in kinds or "integer" in kinds

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        if value.__class__ in plain:
            return 1
        if value is None:
            if kinds and not nullable:
                out.append(wrong_type(path, "null", wanted))
                return 0
            return 1
        if not kinds and not form:
            return 1
        cls = value.__class__
        name = _NAMES.get(cls, "object")
        fits = (
            name in kinds
            or (name == "integer" and "number" in kinds)
            or (name == "number" and "integer" in kinds and is_whole(float(value)))
        )
        text = cls is str or cls is list
        if form and not text and not fits and _FORMAT_NAMES.get(cls, "") != form:
            out.append(wrong_type(path, _FORMAT_NAMES.get(cls, ""), form))
            return 0
        if (form and text and not numeric) or fits:
            return 1
        out.append(wrong_type(path, name, wanted))
        return 0

    return check


def _string(schema: Schema) -> Check | None:
    longest, shortest, pattern = schema.get("maxLength"), schema.get("minLength"), schema.get("pattern") or ""
    if longest is None and shortest is None and not pattern:
        return None
    try:
        search = compile_pattern(pattern).is_in if pattern else None
    except PatternError:
        search = None

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        if value.__class__ is not str:
            return 0
        if longest is not None and len(value) > longest:
            out.append(field.too_long(paths.field(path), longest))
        elif shortest is not None and len(value) < shortest:
            detail = f"{in_body(path)} should be at least {shortest} chars long"
            out.append(field.invalid(paths.field(path), value, detail))
        elif search is not None and not search(value):
            out.append(field.invalid(paths.field(path), value, f"{in_body(path)} should match '{pattern}'"))
        return 1

    return check


def _format(schema: Schema) -> Check | None:
    name = known_format(schema)
    good = check_of(name) if name else None
    if good is None:
        return None

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        if value.__class__ is not str:
            return 0
        if not good(value):
            out.append(wrong_type(path, value, name))
        return 1

    return check


def _list(schema: Schema) -> Check | None:
    items = schema.get("items")
    each = compile_check(items) if isinstance(items, dict) else None
    least, most, unique = schema.get("minItems"), schema.get("maxItems"), bool(schema.get("uniqueItems"))
    if each is None and least is None and most is None and not unique:
        return None
    keys = (
        tuple(schema.get("x-kubernetes-list-map-keys") or ()) if schema.get("x-kubernetes-list-type") == "map" else ()
    )

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        if value.__class__ is not list:
            return 0
        count = 2
        if each is not None:
            before = by_keys(old, keys) if keys and old.__class__ is list else None
            for at, item in enumerate(value):
                count += each(item, paths.index(path, at), out, match(before, item, keys))
        size = len(value)
        if least is not None and size < least:
            out.append(field.invalid(paths.field(path), size, f"{in_body(path)} should have at least {least} items"))
        if most is not None and size > most:
            out.append(field.too_many(paths.field(path), size, most))
        if unique and any(item in value[:at] for at, item in enumerate(value)):
            out.append(field.invalid(paths.field(path), value, f"{in_body(path)} shouldn't contain duplicates"))
        return count

    return check


def by_keys(items: Any, keys: tuple[str, ...]) -> dict[tuple[Any, ...], Any]:
    """Return the items of a list-map by their keys; of several the first."""
    out: dict[tuple[Any, ...], Any] = {}
    for item in items or ():
        if isinstance(item, dict):
            out.setdefault(key_of(item, keys), item)
    return out


def key_of(item: Object, keys: tuple[str, ...]) -> tuple[Any, ...]:
    """Return the key of an item of a list-map; what cannot be a key is told apart by its text."""
    return tuple(repr(v) if isinstance(v := item.get(key), (dict, list, bool)) else v for key in keys)


def match(before: dict[tuple[Any, ...], Any] | None, item: Any, keys: tuple[str, ...]) -> Any:
    """Return the item of `before` that has the key of `item`, else `ABSENT`."""
    if not before or not isinstance(item, dict):
        return ABSENT
    return before.get(key_of(item, keys), ABSENT)


def _enum(schema: Schema) -> Check | None:
    allowed = schema.get("enum")
    if not allowed:
        return None
    shown = [value if isinstance(value, str) else field.show(value) for value in allowed]

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        # A null is none of the values, even where they name it.
        if value is None or not any(value == one and _same_kinds(value, one) for one in allowed):
            out.append(field.not_supported(paths.field(path), value, shown, ordered=True))
        return 1

    return check


def _members(schema: Schema) -> Check | None:
    least, most = schema.get("minProperties"), schema.get("maxProperties")
    required = schema.get("required") or ()
    properties = {name: compile_check(member) for name, member in (schema.get("properties") or {}).items()}
    additional = schema.get("additionalProperties")
    other = compile_check(additional) if isinstance(additional, dict) else None
    closed = additional is False
    if least is None and most is None and not (required or properties or other or closed):
        return None

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        if value.__class__ is not dict:
            return 0
        size = len(value)
        if least is not None and size < least:
            detail = f"{in_body(path)} should have at least {least} properties"
            out.append(field.invalid(paths.field(path), size, detail))
        if most is not None and size > most:
            out.append(field.too_many(paths.field(path), size, most))
        count = 1
        before = old if old.__class__ is dict else {}
        for name, item in value.items():
            inner = properties.get(name)
            if inner is None:
                if closed:
                    place = paths.show(path)
                    detail = f"{place}.{name} in body is a forbidden property"
                    out.append(field.invalid(paths.field(path), name, detail))
                inner = other
            if inner is not None:
                count += inner(item, paths.child(path, name), out, before.get(name, ABSENT))
        out.extend(field.required(paths.field(paths.child(path, name))) for name in required if name not in value)
        return count

    return check


_COMPOSED = {"anyOf", "oneOf", "allOf", "not"}


def _composition(schema: Schema) -> Check:
    any_of = [compile_check(one) for one in schema.get("anyOf") or ()]
    # Controller generators write int-or-string in this way, too.
    both = schema.get("anyOf") == [{"type": "integer"}, {"type": "string"}]
    one_of = [compile_check(one) for one in schema.get("oneOf") or ()]
    all_of = [compile_check(one) for one in schema.get("allOf") or ()]
    without = compile_check(schema["not"]) if isinstance(schema.get("not"), dict) else None

    def check(value: Any, path: Path, out: Out, old: Any) -> int:
        count = 1
        if any_of and not (both and value.__class__ in (int, str)):
            valid, best = _alternatives(any_of, value, path, old, first=True)
            if not valid:
                out.append(_composite(path, "must validate at least one schema (anyOf)"))
                out.extend(best)
        if one_of:
            valid, best = _alternatives(one_of, value, path, old, first=False)
            if valid != 1:
                found = f"Found {valid} valid alternatives" if valid else "Found none valid"
                out.append(_composite(path, f"must validate one and only one schema (oneOf). {found}"))
                out.extend(best)
        if all_of:
            valid = 0
            for one in all_of:
                found_wrong: Out = []
                count += one(value, path, found_wrong, old)
                valid += not found_wrong
                out.extend(found_wrong)
            if valid != len(all_of):
                none = "" if valid else ". None validated"
                out.append(_composite(path, f"must validate all the schemas (allOf){none}"))
        if without is not None:
            wrong: Out = []
            without(value, path, wrong, old)
            if not wrong:
                out.append(_composite(path, "must not validate the schema (not)"))
        return count

    return check


def _alternatives(checks: list[Check], value: Any, path: Path, old: Any, *, first: bool) -> tuple[int, Out]:
    """Return how many alternatives hold (at most one with `first`) and what is wrong with the nearest one."""
    best: Out = []
    valid, most = 0, -1
    for check in checks:
        wrong: Out = []
        count = check(value, path, wrong, old)
        if not wrong:
            valid += 1
            best = []
            if first:
                break
        elif not valid and count > most:
            best, most = wrong, count
    return valid, best


def _composite(path: Path, text: str) -> FieldError:
    return field.invalid("<nil>", "", f"{field.show(paths.show(path))} {text}")
