"""Who set which field: ``metadata.managedFields`` and server-side apply.

::

    entries = track_update(old, new, manager="kubectl", operation_time="2030-01-01T00:00:00Z", api_version="v1",
                           subresource="", type_schema=pods, reset=resource_reset)
    new["metadata"]["managedFields"] = entries         # absent when the list is empty

    result = apply(live, config, manager="kubectl", force=False, operation_time=..., api_version="v1",
                   subresource="", type_schema=pods)   # raises Conflict with FieldManagerConflict causes

`old` is None for a create. Nothing given is changed. `operation_time` is put on the entry of `manager` when its set
of fields changed. `reset` names the fields that this endpoint ignores (``reset_fields``). Where a kind has several
versions, `versions` converts: each manager's fields are told in the version in which it wrote.
"""

from wherry.api.managedfields.apply import apply
from wherry.api.managedfields.create import given_fields, track_create
from wherry.api.managedfields.reset import reset_fields
from wherry.api.managedfields.scale import Paths as ReplicasPaths
from wherry.api.managedfields.scale import to_object, to_scale
from wherry.api.managedfields.track import same_but_managed_fields, track_update
from wherry.api.managedfields.validate import join_errors, typed_errors
from wherry.api.managedfields.versions import Unconverted, Undeclared, Versions

__all__ = [
    "ReplicasPaths",
    "Unconverted",
    "Undeclared",
    "Versions",
    "apply",
    "given_fields",
    "join_errors",
    "reset_fields",
    "same_but_managed_fields",
    "to_object",
    "to_scale",
    "track_create",
    "track_update",
    "typed_errors",
]
