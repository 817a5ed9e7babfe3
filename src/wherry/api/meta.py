"""Small accessors over objects: keys, owners, conditions, copies."""

from collections.abc import Iterable
from typing import Any, NewType

Object = dict[str, Any]
"""An API object: the JSON of the wire."""

Key = NewType("Key", str)
"""``namespace/name``; of a cluster-scoped object ``name``."""


def key_of(obj: Object) -> Key:
    """Return the key of an object."""
    meta = obj["metadata"]
    namespace = meta.get("namespace")
    return Key(f"{namespace}/{meta['name']}" if namespace else meta["name"])


def make_key(namespace: str | None, name: str) -> Key:
    """Return the key for a namespace (None or empty: cluster-scoped) and a name."""
    return Key(f"{namespace}/{name}" if namespace else name)


def split_key(key: str) -> tuple[str, str]:
    """Return (namespace, name); the namespace is empty for a cluster-scoped object."""
    namespace, _, name = key.rpartition("/")
    return namespace, name


def copy(obj: Object) -> Object:
    """Return a deep copy of a JSON object."""
    return _copy_json(obj)


def _copy_json(value: Any) -> Any:
    if type(value) is dict:
        return {k: _copy_json(v) if type(v) in (dict, list) else v for k, v in value.items()}
    if type(value) is list:
        return [_copy_json(v) if type(v) in (dict, list) else v for v in value]
    return value


def name(obj: Object) -> str:
    return obj["metadata"]["name"]


def namespace(obj: Object) -> str:
    return obj["metadata"].get("namespace") or ""


def uid(obj: Object) -> str:
    return obj["metadata"].get("uid") or ""


def labels(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("labels") or {}


def annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def is_deleting(obj: Object) -> bool:
    """Tell whether the object's deletion has been requested."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def controller_of(obj: Object) -> Object | None:
    """Return the owner reference with ``controller: true``, None when there is none."""
    for ref in obj["metadata"].get("ownerReferences") or ():
        if ref.get("controller"):
            return ref
    return None


def controller_ref(owner: Object) -> Object:
    """Return the owner reference that a controller puts on what it makes (controller and blockOwnerDeletion set)."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def condition(obj: Object, kind: str) -> Object | None:
    """Return the condition of `kind` from ``status.conditions``, None when absent."""
    for found in (obj.get("status") or {}).get("conditions") or ():
        if found.get("type") == kind:
            return found
    return None


def is_true(obj: Object, kind: str) -> bool:
    """Tell whether the condition of `kind` has status ``True``."""
    found = condition(obj, kind)
    return found is not None and found.get("status") == "True"


def with_condition(conditions: Iterable[Object], new: Object, *, now: str) -> list[Object]:
    """Return `conditions` with `new` in place of the one of its type.

    ``lastTransitionTime`` becomes `now` (RFC 3339) when the status changes, and stays otherwise.
    """
    result, done = [], False
    for old in conditions:
        if old.get("type") != new["type"]:
            result.append(old)
        elif not done:
            same = old.get("status") == new.get("status")
            result.append({**new, "lastTransitionTime": old.get("lastTransitionTime", now) if same else now})
            done = True
    if not done:
        result.append({**new, "lastTransitionTime": now})
    return result
