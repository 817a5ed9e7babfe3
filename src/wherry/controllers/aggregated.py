"""The resources that aggregated API servers serve, found out anew at each look as nothing tells of their changes."""

import asyncio
from dataclasses import dataclass, field

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import APISERVICES, Resource
from wherry.client.client import Client
from wherry.client.informer import InformerFactory, SharedInformer


@dataclass(slots=True)
class Discovered:
    """The resources, each in the version that its group prefers, and by group version why some are not known."""

    resources: list[Resource] = field(default_factory=list)
    failures: dict[str, str] = field(default_factory=dict)


class Aggregated:
    """Follows the APIServices that have a Service."""

    def __init__(self, informers: InformerFactory, client: Client) -> None:
        self._client = client
        self.informer: SharedInformer = informers.informer(APISERVICES)

    async def discover(self) -> Discovered:
        """Ask each server for its resources."""
        services = [service for service in self.informer.lister.list() if service["spec"].get("service")]
        found = Discovered()
        if not services:
            return found
        # As the groups' discovery documents have them: a greater priority is before a lesser one.
        services.sort(key=lambda service: -service["spec"].get("versionPriority", 0))
        answers = await asyncio.gather(*(self._ask(service) for service in services))
        known: set[tuple[str, str]] = set()
        for service, listed in zip(services, answers, strict=True):
            group, version = service["spec"]["group"], service["spec"]["version"]
            if listed is None:
                found.failures[f"{group}/{version}"] = f"stale GroupVersion discovery: {group}/{version}"
                continue
            for entry in listed:
                resource = _resource(entry, group, version)
                if (group, resource.plural) not in known and "/" not in resource.plural:
                    known.add((group, resource.plural))
                    found.resources.append(resource)
        return found

    async def _ask(self, service: Object) -> list[Object] | None:
        """Return the resources of a server, None of one that does not answer."""
        if not meta.is_true(service, "Available"):
            return None
        try:
            found = await self._client.discover(service["spec"]["group"], service["spec"]["version"])
        except (errors.StatusError, OSError):
            return None
        return found.get("resources") or []


def _resource(entry: Object, group: str, version: str) -> Resource:
    return Resource(
        group,
        version,
        entry["name"],
        entry.get("singularName") or "",
        entry["kind"],
        bool(entry.get("namespaced")),
        frozenset(entry.get("verbs") or ()),
    )
