"""What the controllers of EndpointSlices share: whose a slice is, and how planned changes are made."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTSLICES
from wherry.controllers.controller import Controller, gather_all, is_namespace_terminating

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"


class Changes(Protocol):
    """Slices to write and to delete."""

    @property
    def create(self) -> tuple[Object, ...]: ...

    @property
    def update(self) -> tuple[Object, ...]: ...

    @property
    def delete(self) -> tuple[Object, ...]: ...


def keys_of(manager: str) -> Callable[[Object], Iterable[str]]:
    """Return the function that names the Service (or Endpoints) of a slice of `manager`, none for those of others."""

    def keys(found: Object) -> Iterable[str]:
        labels = meta.labels(found)
        if labels.get(MANAGED_BY) != manager or SERVICE_NAME not in labels:
            return ()
        return (meta.make_key(meta.namespace(found), labels[SERVICE_NAME]),)

    return keys


async def write_slices(controller: Controller, key: str, todo: Changes) -> bool:
    """Make the changes; False when nothing can be written because the namespace goes. Raises StatusError."""
    client = controller.client
    try:
        await gather_all(
            [
                *(_write(controller, key, client.create(ENDPOINTSLICES, made)) for made in todo.create),
                *(_write(controller, key, client.update(ENDPOINTSLICES, changed)) for changed in todo.update),
                *(delete_slice(controller, key, gone) for gone in todo.delete),
            ]
        )
    except errors.StatusError as error:
        if is_namespace_terminating(error):
            return False
        raise
    return True


async def delete_slice(controller: Controller, key: str, gone: Object) -> None:
    """Delete a slice that may be gone already."""
    try:
        answer = await controller.client.delete(ENDPOINTSLICES, meta.name(gone), meta.namespace(gone))
    except errors.NotFound:
        return
    controller.wrote(key, ENDPOINTSLICES, answer)


async def _write(controller: Controller, key: str, call: Any) -> None:
    controller.wrote(key, ENDPOINTSLICES, await call)
