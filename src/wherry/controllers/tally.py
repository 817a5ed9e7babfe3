"""What the objects in one quota use together, kept by difference: a change costs the same however many there are.

What admission has charged counts from then on: its object may be on its way to the disk, and whoever computes the usage
without it admits too much. It counts once when it is there, and no longer when it did not come (it was refused).
"""

from collections.abc import Iterator
from datetime import datetime, timedelta
from fractions import Fraction

from wherry.api import meta, quota
from wherry.api.meta import Object
from wherry.api.quantity import Quantity
from wherry.api.quota import Usage
from wherry.api.resources import PODS, Resource
from wherry.util import clock

_NONE = Quantity(Fraction(0))
_AFTER = 0.001
"""Seconds after the moment from which a pod is past its grace."""

_LOST = 5.0
"""Seconds after which what was charged for will not come."""


class Tally:
    """The usage of the objects that were `put` and not dropped since; those that are alike are counted as one kind.

    `spec` is the quota's, whose scopes say which objects count; only those of `resources` do.
    """

    def __init__(self, spec: Object) -> None:
        self.spec = spec
        self.resources: set[Resource] = set()
        self._scoped = bool(spec.get("scopes") or spec.get("scopeSelector"))
        self._of: dict[tuple[Resource, str], Usage] = {}
        self._kinds: dict[int, tuple[Usage, int]] = {}
        self._ending: dict[str, Object] = {}
        self._awaited: Usage = {}
        self._awaited_until = 0.0
        self._came: list[tuple[Usage, Usage]] = []

    def charge(self, amounts: Usage) -> float:
        """Count what was charged and cannot be seen yet; return the seconds after which it counts no longer."""
        self._awaited = quota.add(self._awaited, amounts)
        self._awaited_until = clock.monotonic() + _LOST
        return _LOST + _AFTER

    def put(self, resource: Resource, obj: Object) -> bool:
        """Count an object as it is now, in place of what it was; tell whether that made a difference."""
        if resource not in self.resources:
            return False
        key = meta.key_of(obj)
        if resource is PODS:
            self._note_end(key, obj)
        if self._scoped and not quota.matches_scopes(self.spec, resource, obj):
            return self._set((resource, key), None)
        return self._set((resource, key), quota.usage(resource, obj))

    def drop(self, resource: Resource, obj: Object) -> bool:
        """Count an object no longer; tell whether it was counted."""
        key = meta.key_of(obj)
        if resource is PODS:
            self._ending.pop(key, None)
        return self._set((resource, key), None)

    def total(self) -> Usage:
        """Return what all of them use, with what was charged."""
        total = self._still_awaited() if self._awaited else {}
        for used, number in self._kinds.values():
            total = quota.add(total, quota.times(used, number))
        return total

    def age(self) -> float | None:
        """Take out the pods that are past their grace by now; return the seconds until the next one is."""
        waits = []
        now = clock.now()
        for key, pod in list(self._ending.items()):
            left = (_end_of(pod) - now).total_seconds()
            if left < 0:
                del self._ending[key]
                self.put(PODS, pod)
            else:
                waits.append(left)
        return min(waits) + _AFTER if waits else None

    def _still_awaited(self) -> Usage:
        for before, used in self._came:
            self._awaited = {name: left for name, left in _without(self._awaited, before, used) if left > _NONE}
        self._came.clear()
        if clock.monotonic() >= self._awaited_until:
            self._awaited = {}
        return self._awaited

    def _note_end(self, key: str, pod: Object) -> None:
        metadata = pod["metadata"]
        ends = metadata.get("deletionTimestamp") and metadata.get("deletionGracePeriodSeconds") is not None
        if ends and clock.now() <= _end_of(pod):
            self._ending[key] = pod
        else:
            self._ending.pop(key, None)

    def _set(self, key: tuple[Resource, str], used: Usage | None) -> bool:
        before = self._of.get(key)
        if before is used or before == used:
            return False
        if before is not None:
            self._count(before, -1)
            del self._of[key]
        if used is not None:
            self._count(used, 1)
            self._of[key] = used
            if self._awaited:
                self._came.append((before or {}, used))
        return True

    def _count(self, used: Usage, change: int) -> None:
        number = self._kinds.get(id(used), (used, 0))[1] + change
        if number:
            self._kinds[id(used)] = (used, number)
        else:
            del self._kinds[id(used)]


def _without(awaited: Usage, before: Usage, used: Usage) -> Iterator[tuple[str, Quantity]]:
    """Yield what is awaited less what one object uses more than it did."""
    for name, left in awaited.items():
        more = used.get(name, _NONE) - before.get(name, _NONE)
        yield name, left - more if more > _NONE else left


def _end_of(pod: Object) -> datetime:
    metadata = pod["metadata"]
    return clock.parse(metadata["deletionTimestamp"]) + timedelta(seconds=metadata["deletionGracePeriodSeconds"])
