"""What carries a client's calls: HTTPS (``client.http``) or the API server in process (``apiserver.inprocess``)."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

from wherry.api.resources import Resource


@dataclass(slots=True)
class Call:
    """One API request in terms of the API.

    `verb` is get, list, watch, create, update, patch, delete or deletecollection; ``discover`` asks for the resources
    of the group version of `resource`, which has no plural then. `params` are query parameters as on
    the wire (``labelSelector``, ``fieldManager``, ``dryRun`` …). `body` is an object (or a JSON patch's list); it must
    not be changed after the call.
    """

    verb: str
    resource: Resource
    namespace: str | None = None
    name: str | None = None
    subresource: str | None = None
    params: dict[str, str] = field(default_factory=dict)
    body: Any = None
    content_type: str = "application/json"


class WatchEvent(NamedTuple):
    """`type` is ADDED, MODIFIED, DELETED, BOOKMARK or ERROR (then `object` is a Status)."""

    type: str
    object: dict[str, Any]


class Transport(Protocol):
    """Carries calls as one authenticated user."""

    async def call(self, call: Call) -> dict[str, Any]:
        """Return the object, list or Status answered; it may be shared and must not be changed.

        Raises `wherry.api.errors.StatusError` (of the answer's reason), OSError when the server cannot be reached.
        """
        ...

    def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        """Iterate over the events of a watch until the server ends it; raises as `call` does."""
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


Take = Callable[[Sequence[WatchEvent]], None]


@runtime_checkable
class Pushing(Protocol):
    """A `Transport` that tells the events of a watch in the step in which they happen."""

    async def follow(self, call: Call, take: Take) -> None:
        """Call `take` with the events of a watch, in batches, until the server ends it; raises as `call` does, and what
        `take` raises."""
        ...
