"""The shape of the validation of one kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.api.field import FieldError
from wherry.api.validation import metadata

Obj = dict[str, Any]
Errors = list[FieldError]
CreateRule = Callable[[Obj], Errors]
UpdateRule = Callable[[Obj, Obj], Errors]


def nothing(obj: Obj) -> Errors:
    """Accept every object."""
    return []


def nothing_changed(obj: Obj, old: Obj) -> Errors:
    """Accept every change."""
    return []


@dataclass(frozen=True, slots=True)
class Rules:
    """How one kind is validated. The shared rules for metadata come before `create` and `update`.

    `create` sees the whole object and runs on update, too, unless `recheck` is false; `create_only` adds what an update
    need not keep, `update` what only holds between two versions (before the others with `update_first`). `subresources`
    replace both for an update through a subresource. `name` returns what is wrong with a name (the second argument: it
    is a prefix). `known_finalizers`: a finalizer without a domain must be one of Kubernetes' own. `metadata_again`:
    with `create` an update repeats the rules for the metadata of a new object, as most kinds of upstream do.
    """

    create: CreateRule = nothing
    update: UpdateRule = nothing_changed
    subresources: Mapping[str, UpdateRule] = field(default_factory=dict)
    name: metadata.NameRule = metadata.subdomain
    recheck: bool = True
    update_first: bool = False
    create_only: CreateRule = nothing
    known_finalizers: bool = True
    metadata_again: bool = True
