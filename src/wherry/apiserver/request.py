"""One request on a resource and its answer, however they travel (HTTPS or in process)."""

from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api.errors import StatusError
from wherry.api.managedfields.fieldset import Node
from wherry.api.resources import Resource
from wherry.apiserver.attributes import UserInfo
from wherry.store.protocol import Record

Object = dict[str, Any]


@dataclass(slots=True)
class Request:
    """A request on a resource after its path was taken apart.

    `body` are the bytes of the wire, or with `given` the object itself (a request in process, not to be changed).
    `warnings` collects what is sent as ``Warning`` headers, `annotations` what the audit event says, of the object too
    with `wants_details`. `fields` are those of a new object beside metadata that its maker owns, where known.
    """

    verb: str
    resource: Resource
    namespace: str
    name: str
    subresource: str
    user: UserInfo
    params: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    given: Any = None
    content_type: str = ""
    user_agent: str = ""
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    wants_details: bool = False
    fields: Node | None = None

    @property
    def manager(self) -> str:
        """The field manager: as asked, or the user agent up to its first slash."""
        return self.params.get("fieldManager") or self.user_agent.partition("/")[0][:128] or "unknown"


@dataclass(slots=True)
class Stored:
    """The answer is a stored object."""

    record: Record
    resource: Resource
    code: int = 200


@dataclass(slots=True)
class Made:
    """The answer is an object that is not (or not so) in the store; shared, never changed."""

    obj: Object
    resource: Resource | None = None
    code: int = 200


@dataclass(slots=True)
class Listed:
    """The answer is a list. `version` is the collection's when all of it (or of a namespace) was listed, else None."""

    records: Sequence[Record]
    resource: Resource
    revision: int
    namespace: str = ""
    next: str = ""
    remaining: int | None = None
    version: int | None = None
    code: int = 200


class Watched(ABC):
    """The answer is a watch of `resource`: `begin`, then what is taken until it is `over`; or all of it by `stream`.

    Who takes is told in the very step in which events come (`follow`), so a consumer needs no task that wakes for them.
    """

    resource: Resource
    over: bool

    @abstractmethod
    def begin(self) -> AsyncGenerator[Sequence["Change"], None]:
        """Yield what comes first: the objects that there are, where they are asked for, or an ERROR and no more."""

    @abstractmethod
    def follow(self, notify: Callable[[], None]) -> None:
        """Call `notify` from now on when events have come where none waited, and when the watch ended because nobody
        took them. It must not raise."""

    @abstractmethod
    def take(self) -> list["Change"]:
        """Return the next changes: some, not all that wait. None: a bookmark when one is due, and the end when the
        time is up. Not for a resource whose form a webhook makes."""

    @property
    @abstractmethod
    def waits(self) -> bool:
        """Whether events have come that were not taken."""

    @abstractmethod
    async def idle(self) -> None:
        """Wait until something is due though nothing happens or until `interrupt`."""

    @abstractmethod
    def interrupt(self, failure: Exception | None = None) -> None:
        """End the waiting in `idle`; with a `failure` that raises it, now or when it is called next."""

    @abstractmethod
    def hold(self, *, held: bool) -> None:
        """Note that nothing is taken because the client does not read: the watch ends when too much waits."""

    @abstractmethod
    def stream(self) -> AsyncGenerator[Sequence["Change"], None]:
        """Yield everything, in batches; closes the watch."""

    @abstractmethod
    def close(self) -> None:
        """End it."""


@dataclass(slots=True, eq=False)
class Change:
    """One event of a watch: `record` for ADDED, MODIFIED and DELETED, `obj` for BOOKMARK and ERROR.

    Watches without selectors share it.
    """

    type: str
    record: Record | None = None
    obj: Object | None = None


Answer = Stored | Made | Listed | Watched


def status_of(error: StatusError) -> Made:
    """Return the answer for an error."""
    return Made(error.to_status(), None, error.status_code)
