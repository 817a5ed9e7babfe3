"""The Namespace controller: empties namespaces that are being deleted.

Watches namespaces, CustomResourceDefinitions, APIServices and the deletion of pods. Deletes all objects of all
namespaced resources, custom ones and those of aggregated servers too, pods before everything else; writes the
namespace's conditions and, when nothing is left, takes its finalizer ``kubernetes`` away. Guarantees that a namespace
does not go before its content. Does not force objects whose finalizers nobody removes: the conditions name them. As
long as an aggregated server does not tell what it serves, the namespace stays, and a condition says so.
"""

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import NAMESPACES, PODS, Resource
from wherry.controllers.aggregated import Aggregated
from wherry.controllers.catalog import Catalog
from wherry.controllers.controller import Controller
from wherry.util import clock

_FINALIZER = "kubernetes"
_LOOK_AGAIN = 1.0
_PODS_LOOK_AGAIN = 5.0


@dataclass(slots=True)
class Content:
    """What an attempt to delete the content left: instances by resource, finalizers on them, and what failed.

    `undiscovered` says by group version why its resources are not known.
    """

    remaining: dict[str, int] = field(default_factory=dict)
    finalizers: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    undiscovered: dict[str, str] = field(default_factory=dict)

    @property
    def empty(self) -> bool:
        return not self.remaining and not self.problems

    @property
    def problems(self) -> list[str]:
        """What makes the attempt fail."""
        return [self.discovery_error, *self.failures] if self.undiscovered else self.failures

    @property
    def discovery_error(self) -> str:
        """Which group versions are not known, as the client library tells it."""
        groups = ", ".join(f"{group}: {why}" for group, why in sorted(self.undiscovered.items()))
        return f"unable to retrieve the complete list of server APIs: {groups}"


def new_conditions(namespace: Object, content: Content, *, now: str) -> list[Object]:
    """Return the namespace's conditions after an attempt, in Kubernetes' words."""
    remaining = ", ".join(f"{name} has {count} resource instances" for name, count in sorted(content.remaining.items()))
    finalizers = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(content.finalizers.items())
    )
    failures, unknown = ", ".join(content.failures), content.undiscovered
    rows = [
        (
            "NamespaceDeletionDiscoveryFailure", bool(unknown),
            "DiscoveryFailed" if unknown else "ResourcesDiscovered",
            f"Discovery failed for some groups, {len(unknown)} failing: {content.discovery_error}" if unknown
            else "All resources successfully discovered",
        ),
        (
            "NamespaceDeletionGroupVersionParsingFailure", False, "ParsedGroupVersions",
            "All legacy kube types successfully parsed",
        ),
        (
            "NamespaceDeletionContentFailure", bool(failures),
            "ContentDeletionFailed" if failures else "ContentDeleted",
            f"Failed to delete all resource types, {len(content.failures)} remaining: {failures}" if failures
            else "All content successfully deleted, may be waiting on finalization",
        ),
        (
            "NamespaceContentRemaining", bool(remaining), "SomeResourcesRemain" if remaining else "ContentRemoved",
            f"Some resources are remaining: {remaining}" if remaining else "All content successfully removed",
        ),
        (
            "NamespaceFinalizersRemaining", bool(finalizers),
            "SomeFinalizersRemain" if finalizers else "ContentHasNoFinalizers",
            f"Some content in the namespace has finalizers remaining: {finalizers}" if finalizers
            else "All content-preserving finalizers finished",
        ),
    ]  # fmt: skip
    conditions = list((namespace.get("status") or {}).get("conditions") or ())
    for kind, status, reason, message in rows:
        new = {"type": kind, "status": "True" if status else "False", "reason": reason, "message": message}
        before = next((entry for entry in conditions if entry["type"] == kind), None)
        if before is None or any(before.get(name) != value for name, value in new.items()):
            conditions = meta.with_condition(conditions, new, now=now)
    return conditions


class NamespaceController(Controller):
    name = "namespace-controller"
    workers = 10
    retry_delays = (0.005, 60.0)

    def register(self) -> None:
        self._namespaces = self.watch(NAMESPACES)
        self._catalog = Catalog(self.informers)
        self._aggregated = Aggregated(self.informers, self.client)
        for followed in (self._catalog, self._aggregated):
            self._sources[followed.informer.resource] = followed.informer
        self.informer(PODS).add_handler(on_delete=self._pod_deleted)

    def _pod_deleted(self, pod: Object) -> None:
        namespace = self._namespaces.lister.get(meta.namespace(pod))
        if namespace is not None and meta.is_deleting(namespace):
            self.enqueue(namespace)

    async def reconcile(self, key: str) -> float | None:
        namespace = self._namespaces.lister.get(key)
        if namespace is None or not meta.is_deleting(namespace):
            return None
        if _FINALIZER not in (namespace["spec"].get("finalizers") or ()):
            return None
        if (namespace.get("status") or {}).get("phase") != "Terminating":
            namespace = await self._write_status(key, namespace, {"phase": "Terminating"})
        content = await self._delete_content(key)
        conditions = new_conditions(namespace, content, now=clock.timestamp())
        if conditions != (namespace.get("status") or {}).get("conditions"):
            namespace = await self._write_status(key, namespace, {"phase": "Terminating", "conditions": conditions})
        if content.problems:
            raise errors.InternalError("; ".join(content.problems))
        if not content.empty:
            return _PODS_LOOK_AGAIN if "pods." in content.remaining else _LOOK_AGAIN
        await self._finalize(key, namespace)
        return None

    async def _write_status(self, key: str, namespace: Object, status: Object) -> Object:
        answer = await self.client.update_status(NAMESPACES, {**namespace, "status": status})
        return self.wrote(key, NAMESPACES, answer)

    async def _finalize(self, key: str, namespace: Object) -> None:
        finalizers = [name for name in namespace["spec"]["finalizers"] if name != _FINALIZER]
        changed = {**namespace, "spec": {**namespace["spec"], "finalizers": finalizers}}
        try:
            await self.client.update(NAMESPACES, changed, subresource="finalize")
        except errors.NotFound:
            return

    async def _delete_content(self, namespace: str) -> Content:
        """Delete all that there is; the rest only after the pods are gone."""
        others = await self._aggregated.discover()
        content = await self._delete_all([PODS], namespace)
        if content.empty:
            resources = [r for r in (*self._catalog, *others.resources) if r.namespaced and r is not PODS]
            content = await self._delete_all([r for r in resources if "delete" in r.verbs], namespace)
        content.undiscovered = others.failures
        return content

    async def _delete_all(self, resources: Sequence[Resource], namespace: str) -> Content:
        content = Content()
        await asyncio.gather(*(self._delete_resource(resource, namespace, content) for resource in resources))
        return content

    async def _delete_resource(self, resource: Resource, namespace: str, content: Content) -> None:
        try:
            if not (await self.client.list(resource, namespace, limit="1")).get("items"):
                return
            if "deletecollection" in resource.verbs:
                await self.client.delete_collection(resource, namespace, propagationPolicy="Background")
            else:
                for obj in (await self.client.list(resource, namespace))["items"]:
                    await self._delete_one(resource, namespace, meta.name(obj))
            left = (await self.client.list(resource, namespace)).get("items") or []
        except (errors.NotFound, errors.MethodNotAllowed):
            return
        except errors.StatusError as error:
            content.failures.append(str(error))
            return
        if left:
            content.remaining[f"{resource.plural}.{resource.group}"] = len(left)
            content.finalizers.update(name for obj in left for name in obj["metadata"].get("finalizers") or ())

    async def _delete_one(self, resource: Resource, namespace: str, name: str) -> None:
        try:
            await self.client.delete(resource, name, namespace, propagationPolicy="Background")
        except errors.NotFound:
            return
