"""ControllerRevisions: the pod templates that StatefulSets and DaemonSets had (kubernetes ``controller/history``)."""

from collections.abc import Iterable, Sequence

import orjson

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CONTROLLERREVISIONS
from wherry.client.client import Client
from wherry.controllers.rollout import fnv32a, safe_encode

HASH = "controller.kubernetes.io/hash"
POD_HASH = "controller-revision-hash"


def data_of(template: Object) -> Object:
    """Return the revision data that sets a pod template: a strategic merge patch of the owner."""
    return {"spec": {"template": {**template, "$patch": "replace"}}}


def template_of(revision: Object) -> Object:
    """Return the pod template that a revision holds."""
    return {name: value for name, value in revision["data"]["spec"]["template"].items() if name != "$patch"}


def new_revision(owner: Object, number: int, *, collisions: int | None) -> Object:
    """Return the revision object of the owner's present template."""
    template = owner["spec"]["template"]
    data = data_of(template)
    content = orjson.dumps(data, option=orjson.OPT_SORT_KEYS)
    if collisions:
        content += str(collisions).encode()
    label = safe_encode(str(fnv32a(content)))
    key = POD_HASH if owner["kind"] == "DaemonSet" else HASH
    labels = {**((template.get("metadata") or {}).get("labels") or {}), key: label}
    made: Object = {
        "kind": "ControllerRevision",
        "apiVersion": "apps/v1",
        "metadata": {
            "name": f"{meta.name(owner)[:223]}-{label}",
            "namespace": meta.namespace(owner),
            "labels": labels,
            "ownerReferences": [meta.controller_ref(owner)],
        },
        "data": data,
        "revision": number,
    }
    if annotations := meta.annotations(owner):
        made["metadata"]["annotations"] = dict(annotations)
    return made


async def sync_revision(client: Client, owner: Object, history: Sequence[Object]) -> tuple[Object, int | None]:
    """Return the revision of the owner's present template, created or moved to the top, and the collision count.

    Raises StatusError.
    """
    collisions: int | None = (owner.get("status") or {}).get("collisionCount")
    top = max((revision["revision"] for revision in history), default=0)
    wanted = new_revision(owner, top + 1, collisions=collisions)
    equal = [revision for revision in history if revision.get("data") == wanted["data"]]
    if equal:
        latest = max(equal, key=lambda revision: revision["revision"])
        if latest["revision"] == top:
            return latest, collisions
        return await client.update(CONTROLLERREVISIONS, {**latest, "revision": top + 1}), collisions
    while True:
        try:
            return await client.create(CONTROLLERREVISIONS, wanted), collisions
        except errors.AlreadyExists:
            found = await client.get(CONTROLLERREVISIONS, meta.name(wanted), meta.namespace(wanted))
            if found.get("data") == wanted["data"] and (meta.controller_of(found) or {}).get("uid") == meta.uid(owner):
                return found, collisions
            collisions = (collisions or 0) + 1
            wanted = new_revision(owner, top + 1, collisions=collisions)


async def truncate(client: Client, history: Iterable[Object], *, live: set[str], limit: int) -> None:
    """Delete the oldest revisions beyond `limit` whose names are not in `live`."""
    unused = sorted((r for r in history if meta.name(r) not in live), key=lambda revision: revision["revision"])
    for revision in unused[: max(0, len(unused) - limit)]:
        try:
            await client.delete(CONTROLLERREVISIONS, meta.name(revision), meta.namespace(revision))
        except errors.NotFound:
            continue
