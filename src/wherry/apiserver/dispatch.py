"""From a request on a resource to its handler: by verb, or by subresource where that has its own."""

from collections.abc import Awaitable, Callable

from wherry.api.errors import MethodNotAllowed, NotFound
from wherry.apiserver.api import Api
from wherry.apiserver.handlers import create, delete, deletecollection, get, patch, update, watch
from wherry.apiserver.handlers import list as listing
from wherry.apiserver.handlers.subresources import HANDLERS as SUBRESOURCES
from wherry.apiserver.request import Answer, Request

Handler = Callable[[Api, Request], Awaitable[Answer]]

_VERBS: dict[str, Handler] = {
    "get": get.handle,
    "list": listing.handle,
    "watch": watch.handle,
    "create": create.handle,
    "update": update.handle,
    "patch": patch.handle,
    "delete": delete.handle,
    "deletecollection": deletecollection.handle,
}


_NAMED = frozenset({"get", "update", "patch", "delete"})
_READS = frozenset({"list", "watch"})


def find(api: Api, request: Request) -> Handler:
    """Return the handler of a request. Raises MethodNotAllowed, NotFound."""
    resource, sub = request.resource, request.subresource
    served = resource.subresources[sub].verbs if sub else resource.verbs
    if request.name and not sub and not resource.verbs & _NAMED:
        raise NotFound.path()
    if resource.namespaced and not request.namespace and request.verb not in _READS and resource.custom is None:
        # Across namespaces there is one route, which reads collections.
        if request.name or "list" not in resource.verbs:
            raise NotFound.path()
        raise MethodNotAllowed(details={})
    misplaced = not sub and (request.verb in _NAMED) is not bool(request.name)
    if request.verb == "create" and resource.custom is not None and not sub and request.verb not in served:
        details = {"group": resource.group, "kind": resource.plural}
        raise MethodNotAllowed("create not allowed while custom resource definition is terminating", details)
    if request.verb not in served or misplaced:
        raise MethodNotAllowed(details={})
    own = api.extensions.get((resource.group, resource.plural, sub)) or SUBRESOURCES.get(
        (resource.group, resource.plural, sub)
    )
    if own is None and sub:
        own = SUBRESOURCES.get(("", "", sub))
    return own or _VERBS[request.verb]
