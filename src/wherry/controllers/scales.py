"""The scale subresource of whatever kind has one."""

from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.client.client import Client


class NoScale(Exception):
    """The kind exists and its objects cannot be scaled."""

    def __init__(self, resource: Resource) -> None:
        super().__init__(f"{resource.group_resource} does not implement the scale subresource")


async def get_scale(client: Client, resource: Resource, name: str, namespace: str) -> Object:
    """Return the Scale of an object. Raises NoScale, NotFound, StatusError."""
    # What a custom resource serves is for the server to say.
    if resource.subresources and "scale" not in resource.subresources:
        raise NoScale(resource)
    return await client.get(resource, name, namespace, subresource="scale")
