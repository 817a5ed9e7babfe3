"""Writes pod statuses to the API: the latest wins, one patch for a change, none for no change."""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wherry.api import errors, meta
from wherry.api.resources import PODS
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.kubelet import conditions, podspec
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

SETTLE = 2.0
"""How long an uninteresting status (a pod that is about to run) waits for a better one, in seconds."""
RECONCILE = 10.0
"""How long what somebody else wrote over a status may stay, in seconds: a kubelet looks for it at this interval."""
_GATHER = 0.1
"""How long the news that a generation was seen waits for the next: who changes a pod again and again then seldom meets
a write of its kubelet."""


@dataclass(slots=True)
class _Entry:
    pod: meta.Object
    wanted: dict[str, Any]
    due: float
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    clean: asyncio.Event = field(default_factory=asyncio.Event)
    task: asyncio.Task[None] | None = None
    written: dict[str, Any] | None = None
    version: int = 0
    target: str = ""


class StatusManager:
    """Keeps the API's status of each pod equal to what its worker says.

    `current` returns the pod as the API holds it now, from a cache that may lag behind; of a static pod its mirror.
    """

    def __init__(self, client: Client, scope: Scope, current: Callable[[meta.Object], meta.Object | None]) -> None:
        self._client = client
        self._scope = scope
        self._current = current
        self._entries: dict[str, _Entry] = {}

    def set(self, pod: meta.Object, status: dict[str, Any], *, settle: bool = False) -> None:
        """Take a pod's newest status; with `settle` it waits a moment for a better one before it is written."""
        uid = meta.uid(pod)
        due = clock.monotonic() + (SETTLE if settle else 0.0)
        entry = self._entries.get(uid)
        if entry is None:
            entry = self._entries[uid] = _Entry(pod, status, due)
        else:
            if entry.wanted == status:
                delay = self._drifted(entry, pod)
                if delay is None:
                    return
                due += delay
            elif not settle and _without_seen(entry.wanted) == _without_seen(status):
                due += _GATHER
            # What was due earlier stays so: a status that settles does not put off one that is urgent.
            entry.due = due if entry.clean.is_set() else min(entry.due, due)
            entry.pod, entry.wanted = pod, status
        entry.clean.clear()
        entry.wake.set()
        if entry.task is None or entry.task.done():
            entry.task = self._scope.spawn(self._write(uid, entry), name=f"status {meta.key_of(pod)}", guard=True)

    def get(self, uid: str) -> dict[str, Any] | None:
        """Return the status last set."""
        entry = self._entries.get(uid)
        return entry.wanted if entry else None

    async def flush(self, uid: str) -> None:
        """Wait until the newest status of a pod is written, or its object gone."""
        entry = self._entries.get(uid)
        if entry is not None:
            entry.due = 0.0
            entry.wake.set()
            await entry.clean.wait()

    def forget(self, uid: str) -> None:
        """Drop a pod that is gone."""
        entry = self._entries.pop(uid, None)
        if entry is not None and entry.task is not None:
            entry.task.cancel()

    def _drifted(self, entry: _Entry, pod: meta.Object) -> float | None:
        """Return how soon to write again what the API does not hold as it was written; None while it does."""
        current = self._current(pod) if entry.clean.is_set() else None
        if current is None:
            return None
        if meta.uid(current) != entry.target:
            return 0.0
        changed = _version(current) >= entry.version and make_patch(current.get("status") or {}, entry.wanted)
        return RECONCILE if changed else None

    async def _write(self, uid: str, entry: _Entry) -> None:
        backoff = Backoff(0.2, 10.0)
        while not entry.clean.is_set():
            entry.wake.clear()
            if (wait := entry.due - clock.monotonic()) > 0.001:
                try:
                    await asyncio.wait_for(entry.wake.wait(), wait)
                except TimeoutError:
                    pass
                continue
            wanted = entry.wanted
            try:
                await self._patch(entry, wanted)
            except errors.NotFound:
                entry.clean.set()
                return
            except (TimeoutError, errors.StatusError, OSError) as error:
                if isinstance(error, errors.Conflict) or (_is_anothers(error) and not podspec.is_static(entry.pod)):
                    # The UID is another's: the pod of this worker is gone.
                    entry.clean.set()
                    return
                log.warning("cannot write the status of pod %s: %s", meta.key_of(entry.pod), error)
                await clock.sleep(backoff.next())
                continue
            entry.written = wanted
            if entry.wanted is wanted:
                entry.clean.set()

    async def _patch(self, entry: _Entry, wanted: dict[str, Any]) -> None:
        current = self._current(entry.pod)
        if current is None and podspec.is_static(entry.pod):
            return  # its mirror will be there later, and then this is asked again
        current = current or entry.pod
        if entry.target != meta.uid(current):
            entry.target, entry.written, entry.version = meta.uid(current), None, 0
        before = dict(current.get("status") or {})
        if entry.written is not None and _version(current) < entry.version:
            # The cache has not seen our own last write yet.
            before.update(entry.written)
        patch = make_patch(before, wanted)
        if not patch:
            return
        body = {"metadata": {"uid": entry.target}, "status": patch}
        answer = await self._client.patch(
            PODS,
            meta.name(entry.pod),
            body,
            meta.namespace(entry.pod),
            content_type=STRATEGIC_PATCH,
            subresource="status",
        )
        entry.version = _version(answer)


def _is_anothers(error: Exception) -> bool:
    """Tell whether a patch was refused because the pod of the name has another UID."""
    causes = (error.details or {}).get("causes") or () if isinstance(error, errors.Invalid) else ()
    return any(cause.get("field") == "metadata.uid" for cause in causes)


def _version(pod: meta.Object) -> int:
    return int(pod["metadata"].get("resourceVersion") or 0)


def _without_seen(status: dict[str, Any]) -> dict[str, Any]:
    """Return a status without the generations that were seen."""
    told = [{k: v for k, v in c.items() if k != "observedGeneration"} for c in status.get("conditions") or ()]
    return {k: v for k, v in status.items() if k != "observedGeneration"} | {"conditions": told}


def make_patch(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the strategic merge patch from status `old` to `new`; empty when they agree.

    Members that kubelets do not set (``nominatedNodeName`` …) and conditions of others are left alone.
    """
    patch: dict[str, Any] = {}
    for name, value in new.items():
        if name == "conditions":
            if changed := _changed_conditions(old.get(name) or [], value):
                patch[name] = changed
        elif name in ("podIPs", "hostIPs"):
            if (old.get(name) or []) != value:
                gone = [{"$patch": "delete", "ip": e["ip"]} for e in old.get(name) or () if e not in value]
                patch[name] = value + gone
        elif old.get(name) != value:
            patch[name] = value
    for name in ("reason", "message", "podIP", "podIPs"):
        if old.get(name) and name not in new:
            patch[name] = None if name != "podIPs" else [{"$patch": "delete", "ip": e["ip"]} for e in old[name]]
    return patch


def _changed_conditions(old: list[dict[str, Any]], new: list[dict[str, Any]]) -> list[dict[str, Any]]:
    before = {c["type"]: c for c in old}
    changed: list[dict[str, Any]] = []
    for condition in new:
        kind = condition["type"]
        if kind not in conditions.OWNED + conditions.SHARED or before.get(kind) == condition:
            continue
        # A member that went away must be taken out by name.
        gone: dict[str, Any] = {
            k: None for k in ("reason", "message") if k in before.get(kind, {}) and k not in condition
        }
        changed.append({**condition, **gone})
    names = {c["type"] for c in new}
    dropped = [k for k in before if k in conditions.OWNED and k not in names]
    return changed + [{"$patch": "delete", "type": kind} for kind in dropped]
