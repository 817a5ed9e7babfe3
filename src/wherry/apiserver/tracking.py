"""Keeps ``metadata.managedFields`` of what is written."""

from typing import Any

from wherry.api import managedfields
from wherry.apiserver.api import Api
from wherry.apiserver.request import Request
from wherry.apiserver.versions import KindVersions, settled
from wherry.util import clock

Object = dict[str, Any]


def create(api: Api, request: Request, obj: Object) -> None:
    """Record in a new object, which has its creation time, that it is its maker's; ``managedFields`` it brings go."""
    resource, schema, metadata = request.resource, api.schema(request.resource), obj["metadata"]
    metadata.pop("managedFields", None)
    if resource.custom is not None and managedfields.typed_errors(schema.root, obj, duplicates=True):
        return  # the values are not of the types of the schema: validation refuses them
    if request.fields is not None:
        fields = {**api.drafts.owned(metadata), **request.fields}
    else:
        reset = managedfields.reset_fields(resource, request.subresource)
        fields = managedfields.given_fields(obj, schema, reset=reset)
    entries = managedfields.track_create(
        fields,
        manager=request.manager,
        operation_time=metadata["creationTimestamp"],
        api_version=resource.api_version,
        subresource=request.subresource,
    )
    if entries:
        metadata["managedFields"] = entries


async def update(api: Api, request: Request, old: Object | None, new: Object, *, now: str = "") -> None:
    """Record in `new` which fields this request set; for every write but server-side apply.

    `now` is the present time where the caller has it already. Raises StatusError when a conversion webhook fails.
    """
    resource = request.resource
    if resource.custom is not None and managedfields.typed_errors(api.schema(resource).root, new, duplicates=True):
        new["metadata"].pop("managedFields", None)
        return  # the values are not of the types of the schema: validation refuses them
    moment = now or clock.timestamp()

    def tracked(versions: KindVersions) -> list[Object]:
        return managedfields.track_update(
            old,
            new,
            manager=request.manager,
            operation_time=moment,
            api_version=resource.api_version,
            subresource=request.subresource,
            type_schema=api.schema(resource),
            reset=managedfields.reset_fields(resource, request.subresource),
            versions=versions,
        )

    try:
        entries = await settled(api, resource, len(request.body), tracked)
    except managedfields.Undeclared:
        entries = []  # as upstream, which loses what it cannot tell
    if entries:
        new["metadata"]["managedFields"] = entries
    else:
        new["metadata"].pop("managedFields", None)
