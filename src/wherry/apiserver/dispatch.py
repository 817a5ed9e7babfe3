"""From a request on a resource to its handler: by verb, or by subresource where that has its own."""

from collections.abc import Awaitable, Callable

from wherry.api.errors import BadRequest, MethodNotAllowed, NotFound
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
    """Return the handler of a request. Raises BadRequest, MethodNotAllowed, NotFound."""
    resource, sub = request.resource, request.subresource
    if resource.custom is not None:
        return _find_custom(api, request)
    served = resource.subresources[sub].verbs if sub else resource.verbs
    if request.name and not sub and not resource.verbs & _NAMED:
        raise NotFound.path()
    if resource.namespaced and not request.namespace and request.verb not in _READS:
        # Across namespaces there is one route, which reads collections.
        if request.name or "list" not in resource.verbs:
            raise NotFound.path()
        raise MethodNotAllowed(details={})
    misplaced = not sub and (request.verb in _NAMED) is not bool(request.name)
    if request.verb not in served or misplaced:
        raise MethodNotAllowed(details={})
    return _handler(api, request)


def _find_custom(api: Api, request: Request) -> Handler:
    """Custom kinds have one handler and no routes: it words what it does not do in its own way."""
    resource, sub, verb = request.resource, request.subresource, request.verb
    if sub and sub not in resource.subresources:
        raise NotFound.of(resource.plural, request.name, resource.group)
    whole = not sub and verb == "create"  # the handler says why it creates nothing
    if not whole and verb not in (resource.subresources[sub].verbs if sub else resource.verbs):
        kind = f"{resource.plural}.{resource.group}"
        raise MethodNotAllowed(
            f'{verb} is not supported on resources of kind "{kind}"', {"group": resource.group, "kind": resource.plural}
        )
    if verb in _NAMED and not request.name:
        raise BadRequest("name must be provided")
    if verb == "create":
        request.name = ""
    return _handler(api, request)


def _handler(api: Api, request: Request) -> Handler:
    resource, sub = request.resource, request.subresource
    own = api.extensions.get((resource.group, resource.plural, sub)) or SUBRESOURCES.get(
        (resource.group, resource.plural, sub)
    )
    if own is None and sub:
        own = SUBRESOURCES.get(("", "", sub))
    return own or _VERBS[request.verb]
