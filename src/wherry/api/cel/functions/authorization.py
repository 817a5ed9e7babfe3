"""Kubernetes' libraries for admission: what the user of a request may do, asked step by step; paths of JSON patches.

An `Authorizer` is given to expressions as the variable ``authorizer``; who evaluates them gives it the function that
decides.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from wherry.api.cel.functions import add, function


@dataclass(frozen=True, slots=True)
class Access:
    """What is asked: a verb on a path, or on a resource."""

    verb: str
    path: str = ""
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    field_selector: str = ""
    label_selector: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer; `error` is why it could not be found."""

    cel_type: ClassVar[str] = "kubernetes.authorization.Decision"
    allowed: bool
    reason: str = ""
    error: str = ""


Decide = Callable[[str, Access], Decision]
"""Answers for a service account (``namespace:name``), or for the user of the request when that is empty."""


@dataclass(frozen=True, slots=True)
class PathCheck:
    """A path that is no resource's."""

    cel_type: ClassVar[str] = "kubernetes.authorization.PathCheck"
    decide: Decide
    account: str
    path: str


@dataclass(frozen=True, slots=True)
class ResourceCheck:
    """A resource, of which an object or a part may be named."""

    cel_type: ClassVar[str] = "kubernetes.authorization.ResourceCheck"
    decide: Decide
    account: str
    access: Access


@dataclass(frozen=True, slots=True)
class GroupCheck:
    """An API group."""

    cel_type: ClassVar[str] = "kubernetes.authorization.GroupCheck"
    decide: Decide
    account: str
    group: str


@dataclass(frozen=True, slots=True)
class Authorizer:
    """The variable ``authorizer``; `request` is the resource of the request that is being admitted."""

    cel_type: ClassVar[str] = "kubernetes.authorization.Authorizer"
    decide: Decide
    account: str = ""
    request: Access | None = None

    def __getitem__(self, key: str) -> Any:
        if key == "requestResource" and self.request is not None:
            return ResourceCheck(self.decide, self.account, self.request)
        raise KeyError(key)


def _steps(signature: str, member: str) -> None:
    def step(check: ResourceCheck, value: str) -> ResourceCheck:
        return replace(check, access=replace(check.access, **{member: value}))

    add(signature.replace("Check", "kubernetes.authorization.ResourceCheck"), step)


for _name, _member in (
    ("subresource", "subresource"),
    ("namespace", "namespace"),
    ("name", "name"),
    ("fieldSelector", "field_selector"),
    ("labelSelector", "label_selector"),
):
    _steps(f"Check:{_name}(string) -> Check", _member)


@function("kubernetes.authorization.Authorizer:path(string) -> kubernetes.authorization.PathCheck")
def _path(authorizer: Authorizer, path: str) -> PathCheck:
    return PathCheck(authorizer.decide, authorizer.account, path)


@function("kubernetes.authorization.Authorizer:group(string) -> kubernetes.authorization.GroupCheck")
def _group(authorizer: Authorizer, group: str) -> GroupCheck:
    return GroupCheck(authorizer.decide, authorizer.account, group)


@function("kubernetes.authorization.Authorizer:serviceAccount(string, string) -> kubernetes.authorization.Authorizer")
def _service_account(authorizer: Authorizer, namespace: str, name: str) -> Authorizer:
    return replace(authorizer, account=f"{namespace}:{name}")


@function("kubernetes.authorization.GroupCheck:resource(string) -> kubernetes.authorization.ResourceCheck")
def _resource(check: GroupCheck, resource: str) -> ResourceCheck:
    return ResourceCheck(check.decide, check.account, Access("", group=check.group, resource=resource))


@function("kubernetes.authorization.PathCheck:check(string) -> kubernetes.authorization.Decision")
def _check_path(check: PathCheck, verb: str) -> Decision:
    return check.decide(check.account, Access(verb, path=check.path))


@function("kubernetes.authorization.ResourceCheck:check(string) -> kubernetes.authorization.Decision")
def _check_resource(check: ResourceCheck, verb: str) -> Decision:
    return check.decide(check.account, replace(check.access, verb=verb))


@function("kubernetes.authorization.Decision:allowed() -> bool")
def _allowed(decision: Decision) -> bool:
    return decision.allowed


@function("kubernetes.authorization.Decision:reason() -> string")
def _reason(decision: Decision) -> str:
    return decision.reason


@function("kubernetes.authorization.Decision:errored() -> bool")
def _errored(decision: Decision) -> bool:
    return bool(decision.error)


@function("kubernetes.authorization.Decision:error() -> string")
def _error(decision: Decision) -> str:
    return decision.error


@function("jsonpatch.escapeKey(string) -> string")
def _escape_key(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")
