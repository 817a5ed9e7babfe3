"""What a request line asks for, worked out once: clients repeat theirs, above all those that make objects."""

from typing import NamedTuple
from urllib.parse import unquote

from aiohttp import hdrs

from wherry.api import warnings
from wherry.api.errors import StatusError
from wherry.apiserver import dispatch
from wherry.apiserver.arrived import method_and_path
from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.http import STREAMED, Frontend, Route
from wherry.apiserver.query import parse_query
from wherry.apiserver.request import Request
from wherry.apiserver.requestinfo import PathInfo, verb_of

_WHOLE = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE"})
_WRITES = frozenset({"create", "update", "patch", "delete"})
_MAX_ROUTES = 20_000
_LONGEST = 1024


class Way(NamedTuple):
    """How a request that came whole is answered; without a `route` by `Frontend.handle`."""

    method: str
    raw_path: str
    path: str
    route: Route | None


class Ways:
    """The ways of a server's requests, by their first lines."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend
        self._known: dict[bytes, Way | None] = {}
        frontend.api.registry.on_table_change.append(self._known.clear)

    def find(self, line: bytes) -> Way | None:
        """Return the way of a request line, None when aiohttp must see it: what streams, or is another server's."""
        try:
            way = self._known[line]
        except KeyError:
            way = self._look_up(line)
            if len(line) <= _LONGEST:
                if len(self._known) >= _MAX_ROUTES:
                    self._known.clear()
                self._known[line] = way
        aggregator = self._frontend.aggregator
        if way is None or (aggregator is not None and aggregator.find(way.path) is not None):
            return None
        return way

    def _look_up(self, line: bytes) -> Way | None:
        found = method_and_path(line)
        if found is None:
            return None
        method, raw_path = found
        path, _, query = raw_path.partition("?")
        if "%" in path:
            return None
        if method not in _WHOLE:
            # aiohttp takes the standard methods alone: it would refuse the others before anybody is asked.
            return Way(method, raw_path, path, None) if method not in hdrs.METH_ALL else None
        info = self._frontend.parser.parse(path)
        if "watch" in unquote(query) or info.resource is None or info.watch or info.subresource in STREAMED:
            return None
        return Way(method, raw_path, path, self._route(method, info, query))

    def _route(self, method: str, info: PathInfo, query: str) -> Route | None:
        """Return the route of an ordinary write, None for what has rules of its own."""
        resource, verb, params = info.resource, verb_of(method, info, watch=False), parse_query(query)
        assert resource is not None
        if verb not in _WRITES or "timeout" in params or info.name in (".", ".."):
            return None
        if resource.custom is not None and resource.namespaced and not info.namespace:
            return None
        namespace = info.namespace if resource.namespaced else ""
        request = Request(verb, resource, namespace, info.name, info.subresource, UserInfo(""), params)
        try:
            handler = dispatch.find(self._frontend.api, request)
        except StatusError:
            return None
        return Route(info, resource, verb, namespace, request.name, params, handler, warnings.for_resource(resource))
