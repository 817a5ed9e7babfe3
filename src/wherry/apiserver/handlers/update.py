"""PUT of an object or of a subresource that is a view of it."""

from typing import Any

from wherry.api import defaults, meta, strategy
from wherry.api.errors import BadRequest
from wherry.apiserver import heavy, tracking
from wherry.apiserver.api import Api
from wherry.apiserver.decode import decode, options_of
from wherry.apiserver.handlers import create
from wherry.apiserver.handlers.writing import change, check_uid, upstream_key
from wherry.apiserver.request import Made, Request, Stored

Object = dict[str, Any]


async def handle(api: Api, request: Request) -> Stored | Made:
    """Replace the object (or what the subresource covers of it); create it where the kind allows that."""
    resource = request.resource
    dry = options_of(request, "UpdateOptions")

    def read() -> Object:
        obj = decode(request, api.schema(resource), api_version=resource.api_version, kind=resource.kind)
        defaults.default(resource, obj)
        return obj

    obj = await heavy.run(len(request.body), read)
    check_name(request, obj["metadata"])
    create.check_namespace(request, obj["metadata"])
    create.drop_duplicate_owners(request, obj["metadata"])
    if not request.subresource and strategy.allows_create_on_update(resource):
        key = api.registry.key(resource, request.namespace, request.name)
        if api.registry.store.latest(key) is None:
            check_uid(request, obj, None, key=upstream_key(request))
            obj["metadata"].pop("resourceVersion", None)
            return await create.create(api, request, obj, dry=dry)

    async def make(old: Object) -> Object:
        new = meta.copy(obj)
        await tracking.update(api, request, old, new)
        return new

    return await change(api, request, make, dry=dry)


def check_name(request: Request, metadata: Object) -> None:
    """Refuse an object of another name than the path's. Raises BadRequest."""
    name = metadata.get("name") or ""
    if not name:
        raise BadRequest(
            f"the name of the object ({request.name} based on URL) was undeterminable: name must be provided"
        )
    if name != request.name:
        raise BadRequest(f"the name of the object ({name}) does not match the name on the URL ({request.name})")
