"""The shape of the strategy of one kind."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

Obj = dict[str, Any]
Getter = Callable[[Obj], str]


def nothing(obj: Obj) -> None:
    """Leave a new object as it is."""


def nothing_changed(obj: Obj, old: Obj) -> None:
    """Leave an update as it is."""


def never(obj: Obj, old: Obj) -> bool:
    """The generation stays."""
    return False


def spec_changed(obj: Obj, old: Obj) -> bool:
    """The generation counts changes of ``spec``."""
    return obj.get("spec") != old.get("spec")


def content_changed(obj: Obj, old: Obj) -> bool:
    """The generation counts changes of anything but metadata and status."""
    keys = (obj.keys() | old.keys()) - {"metadata", "status", "apiVersion", "kind"}
    return any(obj.get(k) != old.get(k) for k in keys)


@dataclass(frozen=True, slots=True)
class Strategy:
    """What create and update do to one kind beyond what they do to every kind.

    `create` and `update` change the object in place; `stored` runs between validation and the write: what upstream only
    sees when it reads the object back, as a default that depends on what `create` did. `subresources` replace `update`
    for an update through one. `generation` tells whether an update raises ``metadata.generation``; None: the kind does
    not count, and `first_generation` whether creation sets it to 1. `keeps_status` keeps the status that a client
    creates with. `status_keeps_metadata` names the members of metadata that an update of the status cannot change.
    `fields` are the field labels beyond name and namespace that a field selector accepts.
    """

    create: Callable[[Obj], None] = nothing
    update: Callable[[Obj, Obj], None] = nothing_changed
    stored: Callable[[Obj], None] = nothing
    subresources: Mapping[str, Callable[[Obj, Obj], None]] = field(default_factory=dict)
    generation: Callable[[Obj, Obj], bool] | None = None
    first_generation: bool = True
    keeps_status: bool = False
    status_keeps_metadata: tuple[str, ...] = ()
    unconditional_update: bool = True
    create_on_update: bool = False
    fields: Mapping[str, Getter] = field(default_factory=dict)
