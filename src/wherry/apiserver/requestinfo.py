"""What a path asks for (apiserver ``endpoints/request.RequestInfoFactory``)."""

from collections.abc import Callable
from dataclasses import dataclass

from wherry.api.resources import Resource, ResourceTable

_VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "GET": "get", "HEAD": "get", "DELETE": "delete"}
_MAX_PATHS = 20_000
_MAX_REMEMBERED = 1024
_COUNTED = frozenset({"api", "apis", "healthz", "livez", "readyz", "metrics", "openapi", "openid", "version"})

KindKey = tuple[str, str, str, str, str]
"""Group, version, plural, subresource and scope (``resource``, ``namespace`` or ``cluster``): how requests are counted;
of a path that is no resource the first part of it as the subresource."""


@dataclass(frozen=True, slots=True)
class PathInfo:
    """A path taken apart. `resource` is None when nothing is served there (`plural` still says what was asked); a
    custom kind answers for the subresources that it does not have, too.

    `prefix` is ``api`` or ``apis`` for resource paths and empty for others. `rest` is what follows a subresource
    (``proxy``). `watch` says that the deprecated ``/watch/`` form was used.
    """

    path: str
    prefix: str = ""
    group: str = ""
    version: str = ""
    namespace: str = ""
    plural: str = ""
    name: str = ""
    subresource: str = ""
    rest: str = ""
    watch: bool = False
    malformed: bool = False
    resource: Resource | None = None
    kind_key: KindKey = ("", "", "", "", "")

    @property
    def is_resource(self) -> bool:
        return bool(self.plural)


class PathParser:
    """Parses paths against a table of resources; remembers the answers until the table changes."""

    def __init__(self, table: Callable[[], ResourceTable]) -> None:
        self._table = table
        self._known: dict[str, PathInfo] = {}

    def forget(self) -> None:
        """Drop what was remembered: the table changed."""
        self._known.clear()

    def parse(self, path: str) -> PathInfo:
        """Take an unescaped URL path apart."""
        found = self._known.get(path)
        if found is None:
            found = _parse(path, self._table())
            if len(path) > _MAX_REMEMBERED:
                return found
            if len(self._known) >= _MAX_PATHS:
                self._known.clear()
            self._known[path] = found
        return found


def verb_of(method: str, info: PathInfo, *, watch: bool) -> str:
    """Return Kubernetes' verb of an HTTP method on a resource path; empty when the method has none."""
    verb = _VERBS.get(method, "")
    if info.watch and verb == "get":
        return "watch"
    if not info.name and verb == "get":
        return "watch" if watch else "list"
    if not info.name and verb == "delete":
        return "deletecollection"
    return verb


def _parse(path: str, table: ResourceTable) -> PathInfo:
    parts = path.strip("/").split("/")
    root = parts[0]
    if root == "api" and len(parts) >= 3:
        prefix, group, version, rest = "api", "", parts[1], parts[2:]
    elif root == "apis" and len(parts) >= 4:
        prefix, group, version, rest = "apis", parts[1], parts[2], parts[3:]
    else:
        return PathInfo(path, kind_key=("", "", "", f"/{root}" if root in _COUNTED else "", ""))
    malformed = "" in rest or path.startswith("//")
    watch = rest[0] == "watch" and len(rest) > 1
    if watch:
        rest = rest[1:]
    namespace = ""
    scoped = False
    if rest[0] == "namespaces" and len(rest) > 2 and not (prefix == "api" and rest[2] in ("status", "finalize")):
        namespace, rest, scoped = rest[1], rest[2:], True
    elif rest[0] == "namespaces" and prefix == "api" and len(rest) > 1:
        namespace = rest[1]
    plural, name = rest[0], rest[1] if len(rest) > 1 else ""
    subresource = rest[2] if len(rest) > 2 else ""
    tail = "/".join(rest[3:])
    resource = None if malformed and subresource != "proxy" else table.find(group, version, plural)
    unknown = resource is not None and bool(subresource) and subresource not in resource.subresources
    if resource is not None and (
        (scoped and not resource.namespaced)
        or (name and resource.namespaced and not scoped)
        or (unknown and resource.custom is None)
        or (tail and subresource != "proxy")
    ):
        resource = None
    scope = "resource" if name else "namespace" if namespace else "cluster"
    # Names that nobody serves are the client's invention and no labels.
    key = (group, version, plural, subresource, scope) if resource is not None and not unknown else ("", "", "", "", "")
    return PathInfo(
        path, prefix, group, version, namespace, plural, name, subresource, tail, watch, malformed, resource, key
    )
