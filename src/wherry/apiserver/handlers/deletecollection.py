"""DELETE of a collection: every object that the selectors choose."""

from dataclasses import replace

from wherry.api.errors import NotFound
from wherry.apiserver.api import Api
from wherry.apiserver.handlers import list as listing
from wherry.apiserver.handlers.delete import delete_one, read_options
from wherry.apiserver.request import Listed, Request


async def handle(api: Api, request: Request) -> Listed:
    """Delete the chosen objects and answer with them as they were."""
    chosen = await listing.handle(api, request)
    options, dry = read_options(request)
    for record in chosen.records:
        metadata = api.registry.obj(record, request.resource)["metadata"]
        single = replace(request, name=metadata["name"], namespace=metadata.get("namespace") or "")
        try:
            await delete_one(api, single, replace(options), dry=dry)
        except NotFound:
            continue
    return chosen
