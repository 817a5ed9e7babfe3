"""Adoption and release: which objects a controller owns (the ControllerRef rules).

An object that matches an owner's selector and has no controller is adopted; one that the owner controls and that no
longer matches is released; what another controller owns is left alone.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.api.selectors.labels import Selector
from wherry.client.cache import by_controller_uid
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.client.informer import SharedInformer

CONTROLLER = "controller"
"""The index of objects by the uid of their controller."""

ORPHANS = "orphans"
"""The index of objects without a controller by their namespace."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a controller owns (`mine`), should take (`adopt`) and should let go (`release`)."""

    mine: tuple[Object, ...]
    adopt: tuple[Object, ...]
    release: tuple[Object, ...]


def plan_claims(owner: Object, candidates: Iterable[Object], selector: Selector) -> Claims:
    """Sort candidates of the owner's namespace by what the ControllerRef rules say of them."""
    mine, adopt, release = [], [], []
    deleting = meta.is_deleting(owner)
    for obj in candidates:
        ref = meta.controller_of(obj)
        if ref is not None:
            if ref["uid"] != meta.uid(owner):
                continue
            if selector.matches(meta.labels(obj)):
                mine.append(obj)
            elif not deleting:
                release.append(obj)
        elif not deleting and not meta.is_deleting(obj) and selector.matches(meta.labels(obj)):
            adopt.append(obj)
    return Claims(tuple(mine), tuple(adopt), tuple(release))


def index_claims(informer: SharedInformer) -> None:
    """Add the indexes that `candidates` reads."""
    informer.add_index(CONTROLLER, by_controller_uid)
    informer.add_index(ORPHANS, lambda obj: (meta.namespace(obj),) if meta.controller_of(obj) is None else ())


def candidates(informer: SharedInformer, owner: Object) -> list[Object]:
    """Return what the owner controls and what nobody controls in its namespace."""
    return [
        *informer.lister.by_index(CONTROLLER, meta.uid(owner)),
        *informer.lister.by_index(ORPHANS, meta.namespace(owner)),
    ]


async def claim(
    client: Client, owner_resource: Resource, owner: Object, resource: Resource, claims: Claims
) -> list[Object]:
    """Carry out `claims` and return what the owner controls then.

    Raises StatusError; a vanished object is skipped, and before the first adoption the owner is read from the server,
    so that an owner which was deleted in the meantime adopts nothing.
    """
    owned = list(claims.mine)
    for obj in claims.release:
        await _release(client, owner, resource, obj)
    if claims.adopt:
        fresh = await client.get(owner_resource, meta.name(owner), meta.namespace(owner))
        if meta.uid(fresh) != meta.uid(owner):
            raise errors.NotFound.of(owner_resource.plural, meta.name(owner), owner_resource.group)
        if meta.is_deleting(fresh):
            return owned
    for obj in claims.adopt:
        ref = meta.controller_ref(owner)
        patch = {"metadata": {"ownerReferences": [ref], "uid": meta.uid(obj)}}
        try:
            adopted = await client.patch(
                resource, meta.name(obj), patch, meta.namespace(obj), content_type=STRATEGIC_PATCH
            )
        except (errors.NotFound, errors.Invalid):
            continue
        owned.append(adopted)
    return owned


async def _release(client: Client, owner: Object, resource: Resource, obj: Object) -> None:
    patch = {
        "metadata": {"ownerReferences": [{"$patch": "delete", "uid": meta.uid(owner)}], "uid": meta.uid(obj)},
    }
    try:
        await client.patch(resource, meta.name(obj), patch, meta.namespace(obj), content_type=STRATEGIC_PATCH)
    except (errors.NotFound, errors.Invalid):
        # Gone, or already without the reference.
        return
