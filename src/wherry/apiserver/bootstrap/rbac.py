"""Keep the default roles and bindings whole (kube-apiserver's ``rbac/bootstrap-roles`` post-start hook).

What is missing is created; a role that lost default rules, and a binding that lost default subjects, gets them back,
unless ``rbac.authorization.kubernetes.io/autoupdate`` is ``false``. What was added stays.
"""

import asyncio
from typing import Any

from wherry.api import meta
from wherry.api.errors import AlreadyExists
from wherry.api.resources import TABLE, Resource
from wherry.apiserver.attributes import Reader
from wherry.apiserver.authz import rules
from wherry.apiserver.bootstrap.defaults import rbac_objects
from wherry.client.client import Client

Object = dict[str, Any]

AUTOUPDATE = "rbac.authorization.kubernetes.io/autoupdate"


async def reconcile(reader: Reader, client: Client) -> None:
    """Bring the default RBAC objects up to date; `client` acts as system:masters, the system namespaces exist."""
    async with asyncio.TaskGroup() as group:
        for default in rbac_objects():
            group.create_task(_reconcile_one(reader, client, default))


async def _reconcile_one(reader: Reader, client: Client, default: Object) -> None:
    resource = TABLE.for_object(default["apiVersion"], default["kind"])
    assert resource is not None
    metadata = default["metadata"]
    existing = reader.get(resource, metadata.get("namespace"), metadata["name"])
    if existing is None:
        try:
            await client.create(resource, meta.copy(default))
        except AlreadyExists:  # somebody was quicker; it is whole then
            return
        return
    if meta.annotations(existing).get(AUTOUPDATE) == "false":
        return
    if default.get("roleRef") != existing.get("roleRef"):
        await _replace(client, resource, existing, default)
        return
    mended = merged(existing, default)
    if mended != existing:
        await client.update(resource, mended)


async def _replace(client: Client, resource: Resource, existing: Object, default: Object) -> None:
    """A roleRef cannot be changed: delete the binding that took the name of a default one, and make that."""
    metadata = existing["metadata"]
    await client.delete(
        resource, metadata["name"], metadata.get("namespace"), options={"preconditions": {"uid": metadata["uid"]}}
    )
    await client.create(resource, meta.copy(default))


def merged(existing: Object, default: Object) -> Object:
    """Return a copy of `existing` with what it lacks of `default`; equal to it when it lacks nothing."""
    result = {**existing, "metadata": dict(existing["metadata"])}
    for member in ("labels", "annotations"):
        wanted = default["metadata"].get(member) or {}
        lacking = {k: v for k, v in wanted.items() if k not in (existing["metadata"].get(member) or {})}
        if lacking:
            result["metadata"][member] = {**(existing["metadata"].get(member) or {}), **lacking}
    if "aggregationRule" in default:  # its rules are the aggregation controller's
        selectors = (existing.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        wanted = default["aggregationRule"]["clusterRoleSelectors"]
        if any(selector not in selectors for selector in wanted):
            result["aggregationRule"] = {
                "clusterRoleSelectors": [*selectors, *(s for s in wanted if s not in selectors)]
            }
    elif "rules" in default and default["rules"] != existing.get("rules"):
        lacking_rules = rules.missing(existing.get("rules") or (), default["rules"] or ())
        if lacking_rules:
            result["rules"] = [*(existing.get("rules") or ()), *map(dict, lacking_rules)]
    for subject in default.get("subjects") or ():
        if subject not in (result.get("subjects") or ()):
            result["subjects"] = [*(result.get("subjects") or ()), subject]
    return result
