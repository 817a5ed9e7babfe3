"""What create and update do to an object before it is validated (the registry strategies).

Promises: `prepare_create` and `prepare_update` change `obj` in place and nothing else; after them `obj` may share parts
with `old`, so neither may be changed any more. No I/O and no allocation. Call order: decode, default, mutating
admission, then these, then validation.

One module per group holds a table ``STRATEGIES`` of (group, plural) to `rules.Strategy`; a new module is found by being
here. Kinds without a row take the plain strategy; custom resources carry theirs.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from wherry.api.resources import Resource
from wherry.api.strategy.disabled import drop_disabled
from wherry.api.strategy.rules import Getter, Strategy

ALL_METADATA = ("labels", "annotations", "finalizers", "ownerReferences")


def _collect() -> dict[tuple[str, str], Strategy]:
    table: dict[tuple[str, str], Strategy] = {}
    for module in iter_modules(__path__):
        table.update(getattr(import_module(f"{__name__}.{module.name}"), "STRATEGIES", {}))
    return table


_TABLE = _collect()
_PLAIN = Strategy()

_SETS_CONDITIONS = frozenset({"approval", "binding"})
"""Subresources besides the status itself whose changes are conditions: Approved or Denied, PodScheduled."""


def of(resource: Resource) -> Strategy:
    """Return the strategy of a resource."""
    if resource.custom is not None:
        return resource.custom.strategy
    return _TABLE.get((resource.group, resource.plural), _PLAIN)


def prepare_create(resource: Resource, obj: dict[str, Any]) -> None:
    """Reset what a client cannot give to a new object: status, generation, deletion.

    ``metadata.uid``, ``name`` and ``creationTimestamp`` must be set already (a Job's selector is made of its UID).
    """
    strategy = of(resource)
    prepare_metadata(resource, obj)
    if "status" in resource.subresources and not strategy.keeps_status:
        obj.pop("status", None)
    drop_disabled((resource.group, resource.plural), obj)
    strategy.create(obj)


def prepare_metadata(resource: Resource, obj: dict[str, Any]) -> None:
    """Reset what a client cannot give to a new object in its metadata; a part of `prepare_create`."""
    strategy = of(resource)
    meta = obj["metadata"]
    meta.pop("deletionTimestamp", None)
    meta.pop("deletionGracePeriodSeconds", None)
    if strategy.generation is not None and strategy.first_generation:
        meta["generation"] = 1


def prepare_update(resource: Resource, obj: dict[str, Any], old: dict[str, Any], subresource: str = "") -> None:
    """Carry over from `old` what an update (through a subresource, if named) cannot change; count generations."""
    strategy = of(resource)
    meta, old_meta = obj["metadata"], old["metadata"]
    _keep(meta, old_meta, "generation")
    hook = strategy.subresources.get(subresource) if subresource else strategy.update
    if subresource == "status":
        _keep_all_but_status(obj, old, strategy)
    elif subresource not in _SETS_CONDITIONS and "status" in resource.subresources:
        _keep(obj, old, "status")
    if subresource in ("", "status"):
        drop_disabled((resource.group, resource.plural), obj, old, status=bool(subresource))
    if hook is not None:
        hook(obj, old)
        meta = obj["metadata"]
    # That a pod is given a node changes nothing of what was asked for.
    if subresource not in ("status", "binding") and strategy.generation is not None and strategy.generation(obj, old):
        meta["generation"] = old_meta.get("generation", 0) + 1
    _keep_system_metadata(meta, old_meta)


def _keep(obj: dict[str, Any], old: dict[str, Any], member: str) -> None:
    if member in old:
        obj[member] = old[member]
    else:
        obj.pop(member, None)


def _keep_all_but_status(obj: dict[str, Any], old: dict[str, Any], strategy: Strategy) -> None:
    for member in (obj.keys() | old.keys()) - {"status", "metadata", "apiVersion", "kind"}:
        _keep(obj, old, member)
    for member in strategy.status_keeps_metadata:
        _keep(obj["metadata"], old["metadata"], member)


def _keep_system_metadata(meta: dict[str, Any], old_meta: dict[str, Any]) -> None:
    if not meta.get("uid"):
        meta["uid"] = old_meta.get("uid", "")
    _keep(meta, old_meta, "creationTimestamp")
    if old_meta.get("deletionTimestamp"):
        meta["deletionTimestamp"] = old_meta["deletionTimestamp"]
    if old_meta.get("deletionGracePeriodSeconds") is not None and meta.get("deletionGracePeriodSeconds") is None:
        meta["deletionGracePeriodSeconds"] = old_meta["deletionGracePeriodSeconds"]


def allows_unconditional_update(resource: Resource) -> bool:
    """Tell whether an update may leave out ``metadata.resourceVersion``."""
    return of(resource).unconditional_update


def allows_create_on_update(resource: Resource) -> bool:
    """Tell whether a PUT of an object that does not exist creates it."""
    return of(resource).create_on_update


def _name(obj: dict[str, Any]) -> str:
    return obj["metadata"].get("name") or ""


def _namespace(obj: dict[str, Any]) -> str:
    return obj["metadata"].get("namespace") or ""


def selectable_fields(resource: Resource) -> Mapping[str, Getter]:
    """Return field label to getter: what ``fieldSelector`` accepts for a resource; a getter returns '' when absent."""
    fields: dict[str, Getter] = {"metadata.name": _name}
    if resource.namespaced:
        fields["metadata.namespace"] = _namespace
    fields.update(of(resource).fields)
    return fields
