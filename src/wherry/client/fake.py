"""An API in memory for unit tests: what a consumer of the API can observe, without a server.

It knows resource versions, selectors, status subresources, finalizers, graceful deletion of bound pods, namespace
finalization, bindings, evictions and scale. It does not default, validate, authorize or run admission.
"""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import jsonpatch

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import NAMESPACES, PODS, TABLE, Resource
from wherry.api.selectors import fields, labels
from wherry.client.cache import Objects
from wherry.client.client import APPLY_PATCH, JSON_PATCH, STRATEGIC_PATCH
from wherry.client.transport import Call, WatchEvent
from wherry.util import clock

Calls = list[Call]
Reactor = Callable[[Call], Any]
"""Called before a call is carried out; it may raise, or return an answer to give instead (None: go on)."""

_MERGE_KEYS = {
    "conditions": "type", "ownerReferences": "uid", "containers": "name", "initContainers": "name", "env": "name",
    "volumes": "name", "addresses": "type", "podIPs": "ip", "taints": "key",
}  # fmt: skip


class _Watch:
    def __init__(self, resource: Resource, selects: Callable[[Object], bool], bookmarks: bool) -> None:
        self.resource, self.selects, self.bookmarks = resource, selects, bookmarks
        self.queue: asyncio.Queue[WatchEvent | None] = asyncio.Queue()


class FakeTransport:
    """A `Transport` over objects in memory.

    `calls` holds every call made. ``react`` makes calls fail; ``drop_watches`` ends all watches as a restarted server
    does; ``expire`` forgets the past, so that a watch from an earlier revision answers 410. ``put``, ``get``, ``list``
    and ``remove`` act on the objects directly, as another client would, without a call being recorded. `latency` is
    the duration of each call in seconds.
    """

    def __init__(self, *objects: Object, latency: float = 0.0) -> None:
        self.calls: list[Call] = []
        self.latency = latency
        self._objects: dict[Resource, dict[str, Object]] = {}
        self._revision = 1
        self._oldest = 0
        self._history: list[tuple[int, Resource, Object | None, Object | None]] = []
        self._watches: list[_Watch] = []
        self._reactors: list[Reactor] = []
        for obj in objects:
            self.put(obj)

    # What tests do.

    def put(self, obj: Object, resource: Resource | None = None) -> Object:
        """Create or replace an object with its status, and return it as stored."""
        resource = resource or _resource_of(obj)
        old = self._of(resource).get(meta.key_of(obj))
        return self._store(resource, meta.copy(obj), old)

    def get(self, resource: Resource, key: str) -> Object | None:
        """Return a copy of the object of `key`, None when there is none."""
        found = self._of(resource).get(key)
        return meta.copy(found) if found else None

    def list(self, resource: Resource, namespace: str | None = None) -> Objects:
        """Return copies of all objects in the order of their keys."""
        objects = sorted(self._of(resource).items())
        return [meta.copy(obj) for _, obj in objects if namespace is None or meta.namespace(obj) == namespace]

    def remove(self, resource: Resource, key: str) -> None:
        """Delete an object at once, whatever finalizers it has."""
        if key in self._of(resource):
            self._erase(resource, self._of(resource)[key])

    def react(self, reactor: Reactor) -> None:
        """Ask `reactor` before each call from now on."""
        self._reactors.append(reactor)

    def fail(self, verb: str, resource: Resource, error: Exception, *, times: int = 1) -> None:
        """Answer the next `times` calls of a verb on a resource with `error`."""
        left = times

        def reactor(call: Call) -> None:
            nonlocal left
            if left and call.verb == verb and call.resource is resource:
                left -= 1
                raise error

        self.react(reactor)

    def drop_watches(self) -> None:
        """End every watch."""
        for watch in self._watches:
            watch.queue.put_nowait(None)

    def expire(self) -> None:
        """Forget all changes so far: watches from an earlier revision answer 410."""
        self._oldest = self._revision
        self._history.clear()

    def bookmark(self) -> None:
        """Send a bookmark on every watch that asked for them."""
        for watch in self._watches:
            if watch.bookmarks:
                obj = {
                    "kind": watch.resource.kind,
                    "apiVersion": watch.resource.api_version,
                    "metadata": {"resourceVersion": str(self._revision)},
                }
                watch.queue.put_nowait(WatchEvent("BOOKMARK", obj))

    def written(self, verb: str, resource: Resource) -> Calls:
        """Return the calls of a verb on a resource."""
        return [call for call in self.calls if call.verb == verb and call.resource is resource]

    # The transport.

    async def call(self, call: Call) -> dict[str, Any]:
        """Carry out one call."""
        self.calls.append(call)
        await clock.sleep(self.latency)
        for reactor in self._reactors:
            if (answer := reactor(call)) is not None:
                return answer
        result = getattr(self, f"_{call.verb}")(call)
        return meta.copy(result)

    async def watch(self, call: Call) -> AsyncIterator[WatchEvent]:
        """Iterate over changes."""
        self.calls.append(call)
        await clock.sleep(self.latency)
        for reactor in self._reactors:
            reactor(call)
        watch = _Watch(call.resource, self._selects(call), call.params.get("allowWatchBookmarks") == "true")
        since = int(call.params.get("resourceVersion") or 0)
        if since == 0:
            for obj in self._of(call.resource).values():
                self._send(watch, None, obj)
        elif since < self._oldest:
            raise errors.Expired(f"too old resource version: {since} ({self._oldest})")
        else:
            for revision, resource, old, new in self._history:
                if revision > since and resource is call.resource:
                    self._send(watch, old, new)
        self._watches.append(watch)
        try:
            while (event := await watch.queue.get()) is not None:
                yield event
        finally:
            self._watches.remove(watch)

    async def close(self) -> None:
        """End every watch."""
        self.drop_watches()

    # Verbs.

    def _get(self, call: Call) -> Object:
        found = self._find(call)
        if call.subresource == "scale":
            return _scale(found)
        return found

    def _discover(self, call: Call) -> Object:
        raise errors.NotFound.path()

    def _list(self, call: Call) -> Object:
        selects = self._selects(call)
        items = [_bare(obj) for _, obj in sorted(self._of(call.resource).items()) if selects(obj)]
        return {
            "kind": f"{call.resource.kind}List",
            "apiVersion": call.resource.api_version,
            "metadata": {"resourceVersion": str(self._revision)},
            "items": items,
        }

    def _create(self, call: Call) -> Object:
        if call.subresource:
            return self._post_subresource(call)
        obj = meta.copy(call.body)
        md = obj.setdefault("metadata", {})
        if call.resource.namespaced:
            md["namespace"] = call.namespace
        if "name" not in md:
            md["name"] = md["generateName"] + uuid.uuid4().hex[:5]
        key = meta.key_of(obj)
        if key in self._of(call.resource):
            raise errors.AlreadyExists.of(call.resource.plural, md["name"], group=call.resource.group)
        if call.params.get("dryRun"):
            return obj
        return self._store(call.resource, obj, None)

    def _post_subresource(self, call: Call) -> Object:
        pod = self._find(call)
        new = meta.copy(pod)
        if call.subresource == "binding":
            new["spec"]["nodeName"] = call.body["target"]["name"]
            self._store(PODS, new, pod)
        elif call.subresource == "eviction":
            self._delete(Call("delete", PODS, call.namespace, call.name, body=call.body.get("deleteOptions")))
        else:
            raise errors.MethodNotAllowed()
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}

    def _update(self, call: Call) -> Object:
        old = self._find(call)
        return self._replace(call, old, meta.copy(call.body))

    def _patch(self, call: Call) -> Object:
        old = self._of(call.resource).get(meta.make_key(call.namespace, call.name or ""))
        if old is None and call.content_type == APPLY_PATCH:
            return self._create(Call("create", call.resource, call.namespace, body=call.body))
        old = self._find(call)
        if call.content_type == JSON_PATCH:
            new = jsonpatch.apply_patch(old, call.body)
        else:
            new = _merge(old, call.body, strategic=call.content_type in (STRATEGIC_PATCH, APPLY_PATCH))
        return self._replace(call, old, new)

    def _delete(self, call: Call) -> Object:
        old = self._find(call)
        options = {**call.params, **(call.body or {})}
        uid = (options.get("preconditions") or {}).get("uid")
        if uid and uid != meta.uid(old):
            raise errors.Conflict.of(call.resource.plural, meta.name(old), "the UID in the precondition does not match")
        if meta.is_deleting(old) and options.get("gracePeriodSeconds") != 0:
            return old
        new = meta.copy(old)
        finalizers = new["metadata"].setdefault("finalizers", [])
        policy = options.get("propagationPolicy")
        extra = {"Foreground": "foregroundDeletion", "Orphan": "orphan"}.get(policy or "")
        if extra and extra not in finalizers:
            finalizers.append(extra)
        grace = options.get("gracePeriodSeconds", (old.get("spec") or {}).get("terminationGracePeriodSeconds", 30))
        running = call.resource is PODS and (old.get("spec") or {}).get("nodeName") and int(grace) > 0
        held = call.resource is NAMESPACES and (old.get("spec") or {}).get("finalizers")
        if not finalizers and not running and not held:
            del new["metadata"]["finalizers"]
            return self._erase(call.resource, old)
        if not finalizers:
            del new["metadata"]["finalizers"]
        seconds = int(grace) if running else 0
        new["metadata"]["deletionTimestamp"] = clock.timestamp(clock.now() + timedelta(seconds=seconds))
        new["metadata"]["deletionGracePeriodSeconds"] = seconds
        if held:
            new["status"] = {**(new.get("status") or {}), "phase": "Terminating"}
        return self._store(call.resource, new, old)

    def _deletecollection(self, call: Call) -> Object:
        selects = self._selects(call)
        for obj in [obj for obj in self._of(call.resource).values() if selects(obj)]:
            self._delete(Call("delete", call.resource, call.namespace, meta.name(obj), None, call.params, call.body))
        return {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success"}

    # Writing.

    def _replace(self, call: Call, old: Object, new: Object) -> Object:
        wanted = new["metadata"].get("resourceVersion")
        if wanted and wanted != old["metadata"]["resourceVersion"]:
            raise errors.Conflict.modified(call.resource.plural, meta.name(old), call.resource.group)
        if meta.uid(new) and meta.uid(new) != meta.uid(old):
            raise errors.Conflict.of(call.resource.plural, meta.name(old), "the UID in the precondition does not match")
        if call.subresource == "scale":
            new = {**old, "spec": {**old["spec"], "replicas": new["spec"]["replicas"]}}
        elif call.subresource == "status":
            metadata = {**old["metadata"], "annotations": new["metadata"].get("annotations")}
            if not metadata["annotations"]:
                del metadata["annotations"]
            new = {**old, "metadata": metadata, "status": new.get("status")}
        elif call.subresource != "finalize" and "status" in call.resource.subresources:
            new = {**new, "status": old.get("status")}
        if new.get("status") is None:
            new.pop("status", None)
        for name in ("uid", "creationTimestamp", "deletionTimestamp", "generation", "resourceVersion"):
            if name in old["metadata"]:
                new["metadata"] = {**new["metadata"], name: old["metadata"][name]}
        if new == old:
            return old
        return self._store(call.resource, new, old)

    def _store(self, resource: Resource, new: Object, old: Object | None) -> Object:
        new.setdefault("kind", resource.kind)
        new.setdefault("apiVersion", resource.api_version)
        md = new["metadata"] = dict(new["metadata"])
        if old is None:
            md.setdefault("uid", str(uuid.uuid4()))
            md.setdefault("creationTimestamp", clock.timestamp())
            md.setdefault("generation", 1)
            if resource is NAMESPACES:
                new.setdefault("spec", {"finalizers": ["kubernetes"]})
                new.setdefault("status", {"phase": "Active"})
        else:
            for name in ("uid", "creationTimestamp"):
                md.setdefault(name, old["metadata"].get(name))
            changed = new.get("spec") != old.get("spec")
            md["generation"] = old["metadata"].get("generation", 1) + (1 if changed else 0)
        ended = md.get("deletionTimestamp") and not md.get("finalizers") and not md.get("deletionGracePeriodSeconds")
        if ended and not (resource is NAMESPACES and (new.get("spec") or {}).get("finalizers")):
            return self._erase(resource, new)
        self._revision += 1
        md["resourceVersion"] = str(self._revision)
        self._of(resource)[meta.key_of(new)] = new
        self._publish(resource, old, new)
        return new

    def _erase(self, resource: Resource, old: Object) -> Object:
        self._of(resource).pop(meta.key_of(old), None)
        self._revision += 1
        last = {**old, "metadata": {**old["metadata"], "resourceVersion": str(self._revision)}}
        self._publish(resource, last, None)
        return last

    def _publish(self, resource: Resource, old: Object | None, new: Object | None) -> None:
        self._history.append((self._revision, resource, old, new))
        for watch in self._watches:
            if watch.resource is resource:
                self._send(watch, old, new)

    @staticmethod
    def _send(watch: _Watch, old: Object | None, new: Object | None) -> None:
        was = old is not None and watch.selects(old)
        if new is not None and watch.selects(new):
            watch.queue.put_nowait(WatchEvent("MODIFIED" if was else "ADDED", meta.copy(new)))
        elif was and old is not None:
            last = meta.copy(old)
            if new is not None:
                last["metadata"]["resourceVersion"] = new["metadata"]["resourceVersion"]
            watch.queue.put_nowait(WatchEvent("DELETED", last))

    # Reading.

    def _of(self, resource: Resource) -> dict[str, Object]:
        return self._objects.setdefault(resource, {})

    def _find(self, call: Call) -> Object:
        found = self._of(call.resource).get(meta.make_key(call.namespace, call.name or call.body["metadata"]["name"]))
        if found is None:
            raise errors.NotFound.of(call.resource.plural, call.name or "", call.resource.group)
        return found

    @staticmethod
    def _selects(call: Call) -> Callable[[Object], bool]:
        by_labels = labels.parse(call.params.get("labelSelector", ""))
        by_fields = fields.parse(call.params.get("fieldSelector", ""))

        def selects(obj: Object) -> bool:
            if call.namespace and meta.namespace(obj) != call.namespace:
                return False
            values = {r.field: _field(obj, r.field) for r in by_fields.requirements}
            return by_labels.matches(meta.labels(obj)) and by_fields.matches(values)

        return selects


def _resource_of(obj: Object) -> Resource:
    resource = TABLE.for_object(obj["apiVersion"], obj["kind"])
    if resource is None:
        raise KeyError(f"{obj['apiVersion']} {obj['kind']}: pass its resource")
    return resource


def _field(obj: Any, path: str) -> str:
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return "" if obj is None else str(obj).lower() if isinstance(obj, bool) else str(obj)


def _bare(obj: Object) -> Object:
    return {name: value for name, value in obj.items() if name not in ("kind", "apiVersion")}


def _scale(obj: Object) -> Object:
    replicas = obj.get("spec", {}).get("replicas", 1)
    status = {"replicas": (obj.get("status") or {}).get("replicas", 0)}
    named = {name: obj["metadata"].get(name) for name in ("name", "namespace", "uid", "resourceVersion")}
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": named,
        "spec": {"replicas": replicas},
        "status": status,
    }


def _merge(old: Any, patch: Any, *, strategic: bool, field: str = "") -> Any:
    if isinstance(patch, dict):
        result = dict(old) if isinstance(old, dict) else {}
        for name, value in patch.items():
            if value is None:
                result.pop(name, None)
            else:
                result[name] = _merge(result.get(name), value, strategic=strategic, field=name)
        return result
    key = _MERGE_KEYS.get(field)
    if strategic and key and isinstance(patch, list) and isinstance(old, list):
        removed = {entry.get(key) for entry in patch if entry.get("$patch") == "delete"}
        changed = {entry.get(key): entry for entry in patch if "$patch" not in entry}
        merged = [
            _merge(entry, changed.pop(entry.get(key), {}), strategic=True)
            for entry in old
            if entry.get(key) not in removed
        ]
        return merged + list(changed.values())
    return patch
