"""Hangs the reviews of `wherry.apiserver.reviews` among the handlers."""

from collections.abc import Awaitable, Callable

from wherry.api import managedfields
from wherry.api.resources import TABLE
from wherry.api.schema import TypeSchema
from wherry.apiserver.admission.plugin import CREATE
from wherry.apiserver.api import Api, operation
from wherry.apiserver.authn.reviews import default_token_request
from wherry.apiserver.decode import decode, options_of
from wherry.apiserver.handlers.create import NOT_GIVEN, check_namespace
from wherry.apiserver.request import Answer, Made, Request
from wherry.apiserver.reviews import REVIEWS, Handler, Object, ReviewContext
from wherry.util import clock

_DEFAULTS: dict[tuple[str, str], Callable[[Object], None]] = {("", "serviceaccounts/token"): default_token_request}
_OF_WHAT_IS_STORED = ("uid", "creationTimestamp", *NOT_GIVEN)


def register(api: Api, context: ReviewContext) -> None:
    """Let the reviews answer creates of their resources and subresources."""
    for (group, plural), review in REVIEWS.items():
        parent, _, sub = plural.partition("/")
        api.extensions[group, parent, sub] = _handler(context, review, _DEFAULTS.get((group, plural)))


def _handler(
    context: ReviewContext, review: Handler, default: Callable[[Object], None] | None
) -> Callable[[Api, Request], Awaitable[Answer]]:
    async def handle(api: Api, request: Request) -> Answer:
        dry = options_of(request, "CreateOptions")
        resource = request.resource
        if request.subresource:
            served = resource.subresources[request.subresource]
            api_version, kind = f"{served.group}/{served.version}", served.kind
            schema = api.schemas.of_subresource(served)
            if not request.body and request.given is None:
                request.given = {}
        else:
            api_version, kind, schema = resource.api_version, resource.kind, api.schema(resource)
        obj = decode(request, schema, api_version=api_version, kind=kind)
        if default is not None:
            default(obj)
        metadata = obj.setdefault("metadata", {})
        if not request.subresource:
            check_namespace(request, metadata)
            for member in _OF_WHAT_IS_STORED:
                metadata.pop(member, None)
        _track(request, obj, schema, api_version)
        asked = operation(request, CREATE, obj=obj, dry_run=dry)
        await api.admission.admit(asked)
        obj = asked.obj or obj
        await api.admission.validate(asked)
        answer = await review(context, request.user, request.namespace, request.name, obj)
        return Made(schema.conform(answer).obj, TABLE.for_object(api_version, kind), 201)

    return handle


def _track(request: Request, obj: Object, schema: TypeSchema, api_version: str) -> None:
    """Record whose the fields are, as in what is stored: those reviews that answer with what was asked show it."""
    metadata = obj["metadata"]
    metadata.pop("managedFields", None)
    entries = managedfields.track_create(
        managedfields.given_fields(obj, schema),
        manager=request.manager,
        operation_time=clock.timestamp(),
        api_version=api_version,
        subresource=request.subresource,
    )
    if entries:
        metadata["managedFields"] = entries
