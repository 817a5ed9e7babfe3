"""One request on a resource and its answer, however they travel (HTTPS or in process)."""

from collections.abc import AsyncGenerator, Mapping, Sequence
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
    `warnings` collects what is sent as ``Warning`` headers. A `paced` watch may hold back events for some milliseconds
    so that more go together. `fields` are those of a new object beside metadata that its maker owns, where known.
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
    paced: bool = True
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


@dataclass(slots=True)
class Watched:
    """The answer is a stream of batches of changes, each ready to be encoded."""

    events: AsyncGenerator[Sequence["Change"], None]
    resource: Resource


@dataclass(slots=True)
class Change:
    """One event of a watch: `record` for ADDED, MODIFIED and DELETED, `obj` for BOOKMARK and ERROR.

    Watches without selectors share it; `joined` is what their encoder made of the batch that begins with it.
    """

    type: str
    record: Record | None = None
    obj: Object | None = None
    joined: Any = None


Answer = Stored | Made | Listed | Watched


def status_of(error: StatusError) -> Made:
    """Return the answer for an error."""
    return Made(error.to_status(), None, error.status_code)
