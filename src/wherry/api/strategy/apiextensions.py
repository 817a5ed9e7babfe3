"""What create and update do to CustomResourceDefinitions (apiextensions ``registry/customresourcedefinition``)."""

from typing import Any

from wherry.api.strategy.rules import Strategy, spec_changed

Obj = dict[str, Any]


def _create(obj: Obj) -> None:
    status: Obj = {"conditions": None, "acceptedNames": {"plural": "", "kind": ""}, "storedVersions": []}
    obj["status"] = status
    _note_storage(obj)


def _update(obj: Obj, old: Obj) -> None:
    _note_storage(obj)


def _note_storage(obj: Obj) -> None:
    """Add the storage version to the versions in which objects may be stored."""
    status = dict(obj.get("status") or {})
    stored = list(status.get("storedVersions") or ())
    storage = next((v.get("name") for v in obj["spec"].get("versions") or () if v.get("storage")), None)
    if storage is not None and storage not in stored:
        obj["status"] = {**status, "storedVersions": [*stored, storage]}


STRATEGIES = {
    ("apiextensions.k8s.io", "customresourcedefinitions"): Strategy(
        create=_create,
        update=_update,
        generation=spec_changed,
        keeps_status=True,
        unconditional_update=False,
    )
}
