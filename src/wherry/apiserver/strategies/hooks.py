"""Hooks around the writes of single kinds, for what needs more than the object: allocators, other objects.

A kind registers under (group, plural). All hooks may raise StatusError; what a hook takes it gives back in `undo` when
the write fails.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from wherry.api.field import FieldError
from wherry.api.resources import Resource
from wherry.apiserver.request import Request

Object = dict[str, Any]
Undo = Callable[[], None]


@dataclass(slots=True)
class Hook:
    """`before` is called with (request, new, old, dry_run) before validation of a create (old None) or update, and may
    return an undo; `after` with (new or None, old or None) once the write is durable. `check` adds to the validation of
    creates, updates and updates of subresources what the object itself does not tell."""

    before: Callable[[Request, Object, Object | None, bool], Undo | None] | None = None
    check: Callable[[Request, Object, Object | None], list[FieldError]] | None = None
    after: Callable[[Object | None, Object | None], Awaitable[None]] | None = None


class Hooks:
    """The hooks of all kinds."""

    def __init__(self) -> None:
        self._by_kind: dict[tuple[str, str], Hook] = {}

    def register(self, resource: Resource, hook: Hook) -> None:
        """Set the hook of a kind."""
        self._by_kind[resource.group, resource.plural] = hook

    def of(self, resource: Resource) -> Hook | None:
        """Return the hook of a kind, None when it has none."""
        return self._by_kind.get((resource.group, resource.plural))
