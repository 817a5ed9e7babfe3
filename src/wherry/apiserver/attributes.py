"""Who asks for what: the inputs of authorization and admission (apiserver ``authorizer.Attributes``)."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from wherry.api.resources import Resource

ANONYMOUS = "system:anonymous"
AUTHENTICATED_GROUP = "system:authenticated"
UNAUTHENTICATED_GROUP = "system:unauthenticated"
MASTERS_GROUP = "system:masters"


@dataclass(frozen=True, slots=True)
class UserInfo:
    """An authenticated user, as TokenReview's ``status.user``."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    extra: Mapping[str, Sequence[str]] = field(default_factory=dict, hash=False, compare=False)

    def to_dict(self) -> dict[str, Any]:
        """Return authentication.k8s.io/v1 UserInfo without empty members."""
        out: dict[str, Any] = {"username": self.name}
        if self.uid:
            out["uid"] = self.uid
        if self.groups:
            out["groups"] = list(self.groups)
        if self.extra:
            out["extra"] = {k: list(v) for k, v in self.extra.items()}
        return out


class Attributes(NamedTuple):
    """What is asked. A request for a path that is no resource has an empty `resource` and its `path`.

    `resource` is the plural, `verb` Kubernetes' request verb (get, list, watch, create, update, patch, delete,
    deletecollection; of a non-resource path the HTTP method in lower case).
    """

    user: UserInfo
    verb: str
    group: str = ""
    version: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""
    field_selector: str = ""
    label_selector: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`allowed` wins; `denied` says that no other authorizer may allow it; `reason` is for the answer."""

    allowed: bool
    reason: str = ""
    denied: bool = False


class Authenticator(Protocol):
    def at_once(self, credential: bytes | None) -> UserInfo | None:
        """Return the user of an ``Authorization`` header where that takes no waiting, else None; `credential` is what
        `wherry.apiserver.authn.token.digest` makes of the header, None without one."""
        ...

    async def authenticate(
        self, authorization: str | None, certificate: Mapping[str, Any] | None, path: str = ""
    ) -> UserInfo | None:
        """Return the user of an ``Authorization`` header or of a verified client certificate (as
        ``ssl.SSLObject.getpeercert`` gives it), else the one who has no name, where he may come to `path`; else None.
        Raises Unauthorized for wrong credentials. The groups of a user with a name include ``system:authenticated``."""
        ...


class Authorizer(Protocol):
    def authorize(self, attributes: Attributes) -> Decision: ...


Follower = Callable[[str, dict[str, Any] | None], None]
"""Told of one object: a key, the same for the same object, and the object, None when it is gone."""


class Reader(Protocol):
    """Reads stored objects for authorization and admission, without authorization, in process.

    The objects are decoded once, shared, and never to be changed.
    """

    def get(self, resource: Resource, namespace: str | None, name: str) -> dict[str, Any] | None: ...

    def list(self, resource: Resource, namespace: str | None = None) -> Sequence[dict[str, Any]]:
        """Return the objects of a namespace, or of all with None."""
        ...

    def version(self, resource: Resource) -> int:
        """Return a number that changes whenever an object of the resource does: the key of caches made from `list`."""
        ...

    def follow(self, resource: Resource, follower: Follower) -> None:
        """Tell `follower` of every object that there is, then of every change in the step in which `list` shows it."""
        ...
