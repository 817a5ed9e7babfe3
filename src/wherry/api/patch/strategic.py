"""Strategic merge patch: a merge patch that knows which lists merge and by which key.

Directives (sig-api-machinery ``strategic-merge-patch.md``): ``$patch: delete|replace`` in objects and list elements,
``$retainKeys``, ``$setElementOrder/<field>``, ``$deleteFromPrimitiveList/<field>``.
"""

from collections import deque
from typing import Any

import orjson

from wherry.api.errors import BadRequest, StatusError
from wherry.api.meta import Object
from wherry.api.schema.decode import go_kind
from wherry.api.schema.types import Field, Type, TypeSchema

_PATCH, _RETAIN = "$patch", "$retainKeys"
_ORDER, _DELETE = "$setElementOrder", "$deleteFromPrimitiveList"
_CALLED = {_ORDER: "setElementOrder list", _DELETE: "primitive list"}
_GO_LIST, _GO_OBJECT = "[]interface {}", "map[string]interface {}"


def apply_strategic(obj: Object, patch: Any, type_schema: TypeSchema) -> Object:
    """Return `obj` with `patch` merged in by the strategies of the schema.

    A patch of null changes nothing. Raises BadRequest for malformed directives, StatusError (500) for lists that cannot
    be merged.
    """
    if patch is None:
        return obj
    if not isinstance(patch, dict):
        kind = go_kind(patch)
        raise BadRequest(f"json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}")
    return _merge_object(obj, patch, type_schema.root)


def _failure(message: str) -> StatusError:
    """The error of an exception that upstream does not translate: code 500, no reason."""
    error = StatusError(message)
    error.status_reason = ""
    return error


def _bad_directive(directive: Any, patch: Object) -> StatusError:
    if not isinstance(directive, str):
        kind = {bool: "bool", int: "int64", float: "float64"}.get(type(directive), "")
        shown = _go_map(directive)
        directive = f"%!s({kind}={shown})" if kind else shown
    return _failure(f"unknown patch type: {directive} in map: {_go_map(patch)}")


def _bad_type(expected: str, value: Any) -> StatusError:
    kinds = {str: "string", bool: "bool", int: "int64", float: "float64", list: _GO_LIST, dict: _GO_OBJECT}
    return _failure(f"expected a {expected}, but received a {kinds.get(type(value), '%!s(<nil>)')}")


def _merge_object(original: Object, patch: Object, kind: Type | None) -> Object:
    if _PATCH in patch:
        match patch[_PATCH]:
            case "replace":
                return {name: value for name, value in patch.items() if name != _PATCH}
            case "delete":
                return {}
            case other:
                raise _bad_directive(other, patch)
    out, patch = _retain(original, patch)
    for name in [name for name in patch if name.startswith(_ORDER)]:
        _merge_ordered(out, patch, _named(name, _ORDER), patch.pop(name), kind)
    for key, value in patch.items():
        delete = key.startswith(_DELETE)
        name = _named(key, _DELETE) if delete else key
        if value is None:
            out.pop(name, None)
        elif delete and (not isinstance(value, list) or not isinstance(out.get(name), list)):
            continue
        elif delete and _merges_primitives(out[name], value, _field(kind, name)):
            out[name] = [item for item in out[name] if item not in value]
        elif name not in out or type(out[name]) is not type(value):
            out[name] = _plain(value)
        else:
            out[name] = _merge_member(out[name], value, _field(kind, name))
    return out


def _named(key: str, directive: str) -> str:
    """Return the name of the list that a directive is about."""
    found, slash, name = key.partition("/")
    if found != directive or not slash:
        raise BadRequest(f"invalid patch format of {_CALLED[directive]}")
    return name


def _field(kind: Type | None, name: str) -> Field | None:
    if kind is None:
        return None
    if kind.kind == "map" and kind.element is not None:
        return Field(name, kind.element)
    return kind.fields.get(name)


def _merge_member(original: Any, value: Any, field: Field | None) -> Any:
    strategies = field.strategies if field else frozenset()
    if isinstance(value, dict):
        if "replace" in strategies:
            return _plain(value)
        return _merge_object(original, value, field.type if field else None)
    if isinstance(value, list) and field is not None and "merge" in strategies:
        return _merge_list(original, value, field)
    return value


def _merges_primitives(original: list[Any], value: list[Any], field: Field | None) -> bool:
    merges = field is not None and "merge" in field.strategies
    return merges and not any(isinstance(item, dict) for item in (*original, *value))


def _retain(original: Object, patch: Object) -> tuple[Object, Object]:
    """Return copies of both; `original` without what ``$retainKeys`` does not name."""
    out, rest = dict(original), dict(patch)
    retained = rest.pop(_RETAIN, None)
    if retained is None:
        return out, rest
    if not isinstance(retained, list):
        raise BadRequest("invalid patch format of retainKeys")
    if any(name not in retained for name, value in rest.items() if value is not None and not name.startswith("$")):
        raise BadRequest("invalid patch format of retainKeys")
    return {name: value for name, value in out.items() if name in retained}, rest


def _merge_ordered(out: Object, patch: Object, name: str, order: Any, kind: Type | None) -> None:
    """Merge one list and bring it into the order of ``$setElementOrder``; the list leaves `patch`."""
    field = _field(kind, name)
    if not isinstance(order, list):
        raise _bad_type(_GO_LIST, order)
    if field is None:
        raise _failure(f'unable to find api field in struct {kind.name if kind else ""} for the json field "{name}"')
    changes = patch.pop(name, None)
    for value in (out.get(name), changes):
        if value is not None and not isinstance(value, list):
            raise _bad_type(_GO_LIST, value)
    had, has = isinstance(out.get(name), list), isinstance(changes, list)
    if not had and not has:
        return
    key = field.merge_key
    if has:
        _check_order(changes, order, key)
    merged = original = out[name] if had else []
    if has:
        merged = _merge_member(original, changes, field) if had else _plain(changes)
    if key:
        for item in order:
            _require_key(item, key)
    wanted, others = _partition(merged, order, key)
    out[name] = _interleave(_sorted_like(wanted, order, key), _sorted_like(others, original, key), original, key)


def _check_order(changes: list[Any], order: list[Any], key: str) -> None:
    """Every element of the patch must be in the order list, in the same order; an empty one asks for nothing."""
    if not order:
        return
    where, places = -1, _Places(order, key)
    for item in changes:
        if isinstance(item, dict) and _PATCH in item:
            continue
        at = places.of(item)
        if at < 0 or at <= where:
            shown = f"{_go_map(changes)}\n doesn't match $setElementOrder list:\n{_go_map(order)}"
            raise _failure(f"The order in patch list:\n{shown}\n")
        where = at


def _merge_list(original: list[Any], patch: list[Any], field: Field) -> list[Any]:
    if not original and not patch:
        return original
    if len({type(item) for item in (*original, *patch)}) > 1:
        raise _failure(f"list element types are not identical: {_go_map([original, patch])}")
    key, element = field.merge_key, field.type.element
    if not any(isinstance(item, dict) for item in (*original, *patch)):
        merged: list[Any] = []
        places = _Places(merged, "")
        for item in (*original, *patch):
            if places.of(item) < 0:
                places.add(item, len(merged))
                merged.append(item)
        wanted, others = _partition(merged, patch, "")
        return _interleave(_sorted_like(wanted, patch, ""), _sorted_like(others, original, ""), original, "")
    if not key:
        raise _failure(f"cannot merge lists without merge key for {element.name if element else ''}")
    original, patch = _directives(original, patch, key)
    merged = list(original)
    places = _Places(merged, key)
    for item in patch:
        _require_key(item, key)
        at = places.of(item)
        if at < 0:
            places.add(item, len(merged))
            merged.append(_plain(item))
        else:
            merged[at] = _merge_object(merged[at], item, element)
    wanted, others = _partition(merged, patch, key)
    return _interleave(_sorted_like(wanted, patch, key), _sorted_like(others, original, key), original, key)


def _directives(original: list[Any], patch: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Carry out the elements with ``$patch``; return what is left of both lists."""
    rest, replace, gone = [], False, []
    for item in patch:
        directive = item.get(_PATCH) if isinstance(item, dict) else None
        if directive is None:
            rest.append(item)
        elif directive == "delete":
            _require_key(item, key)
            gone.append(item)
        elif directive == "replace":
            replace = True
        elif directive == "merge":
            raise _failure("merging lists cannot yet be specified in the patch")
        else:
            raise _bad_directive(directive, item)
    if gone:
        places = _Places(gone, key)
        original = [one for one in original if places.of(one) < 0]
    return (rest, []) if replace else (original, rest)


def _require_key(item: Any, key: str) -> None:
    if not isinstance(item, dict):
        raise _bad_type(_GO_OBJECT, item)
    if key not in item:
        raise _failure(f"map: {_go_map(item)} does not contain declared merge key: {key}")


def _go_map(value: Any) -> str:
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{_go_map(value[name])}" for name in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(_go_map(item) for item in value) + "]"
    if value is None:
        return "<nil>"
    return str(value).lower() if isinstance(value, bool) else str(value)


class _Places:
    """Where the elements of a list are: by their key, or without one by their value. Of equal ones the first counts."""

    def __init__(self, items: list[Any], key: str) -> None:
        self._key = key
        self._at: dict[Any, int] = {}
        for at, item in enumerate(items):
            self.add(item, at)

    def add(self, item: Any, at: int) -> None:
        """Note an element; one without the key has no place."""
        name = self._name(item)
        if name is not _NOWHERE:
            self._at.setdefault(name, at)

    def of(self, item: Any) -> int:
        """Return the place of what is the same element as `item`, -1 when there is none."""
        return self._at.get(self._name(item), -1)

    def _name(self, item: Any) -> Any:
        if self._key:
            if not isinstance(item, dict):
                return _NOWHERE
            item = item.get(self._key)
        return orjson.dumps(item, option=orjson.OPT_SORT_KEYS) if isinstance(item, (dict, list)) else item


_NOWHERE: Any = object()


def _partition(merged: list[Any], named: list[Any], key: str) -> tuple[list[Any], list[Any]]:
    """Split into the elements that `named` has and those that only the server has."""
    places = _Places(named, key)
    wanted = [item for item in merged if places.of(item) >= 0]
    return wanted, [item for item in merged if places.of(item) < 0]


def _sorted_like(items: list[Any], order: list[Any], key: str) -> list[Any]:
    """Sort by the place in `order`; what is not there comes last, in its present order."""
    places, last = _Places(order, key), len(order)
    return sorted(items, key=lambda item: at if (at := places.of(item)) >= 0 else last)


def _interleave(wanted: list[Any], others: list[Any], server: list[Any], key: str) -> list[Any]:
    """Merge both lists, keeping the server's relative order where both elements were on the server."""
    places = _Places(server, key)
    out: list[Any] = []
    mine, theirs = deque(wanted), deque(others)
    while mine and theirs:
        left, right = places.of(theirs[0]), places.of(mine[0])
        out.append(theirs.popleft() if 0 <= left < right else mine.popleft())
    return [*out, *theirs, *mine]


def _plain(value: Any) -> Any:
    """Return a new value without directives and nulls, as it stands in a document that did not have it."""
    if isinstance(value, dict):
        return {
            name: _plain(item)
            for name, item in value.items()
            if item is not None and not name.startswith((_ORDER, _DELETE)) and name not in (_PATCH, _RETAIN)
        }
    if isinstance(value, list):
        return [_plain(item) for item in value if not (isinstance(item, dict) and item.get(_PATCH) == "delete")]
    return value
