"""What a controller is: sources that enqueue keys, a work queue, workers that reconcile.

A controller is one file with one subclass of `Controller`; its class goes into the list in ``manager``.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import ClassVar

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.informer import InformerFactory, SharedInformer
from wherry.client.workqueue import ShutDown, Workqueue
from wherry.controllers import metrics
from wherry.controllers.dependents import Dependents
from wherry.util import clock
from wherry.util.metrics import Meter

log = logging.getLogger(__name__)

Keys = Callable[[Object], Iterable[str]]

_OWN_WRITE_TIMEOUT = 30.0
_GIVEN_METADATA = ("uid", "generation", "labels", "annotations", "ownerReferences", "finalizers", "deletionTimestamp")


def _own_key(obj: Object) -> Iterable[str]:
    return (meta.key_of(obj),)


TOGETHER = 0.01
"""The delay of sources of which an owner may have thousands: so many changes in it cost one reconcile."""

_SPACING, _LONGEST = 0.005, 1.0
"""Seconds between the owners that changes of the many wake, and how far this may put one off."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the controllers of a cluster are configured with.

    `root_ca` is the PEM that pods verify the API server with; `signing_cert` and `signing_key` are the PEM of the
    authority that signs certificate requests; `mint_token(account, secret)` makes the token of a ServiceAccount's
    Secret. Nodes get ranges of `cluster_cidr`, those of `node_cidrs` the ones named there. Durations are in seconds,
    named as kube-controller-manager's flags.
    """

    root_ca: str = ""
    signing_cert: str = ""
    signing_key: str = ""
    mint_token: Callable[[Object, Object], str] | None = None
    cluster_signing_duration: float = 365 * 24 * 3600.0
    node_monitor_period: float = 5.0
    node_monitor_grace_period: float = 50.0
    terminated_pod_gc_threshold: int = 12500
    hpa_sync_period: float = 15.0
    hpa_downscale_stabilization: float = 300.0
    hpa_tolerance: float = 0.1
    service_account_issuer: str = ""
    legacy_token_clean_up_period: float = 365 * 24 * 3600.0
    cluster_cidr: str = ""
    node_cidr_mask_size: int = 24
    node_cidrs: dict[str, str] = field(default_factory=dict)
    feature_gates: dict[str, bool] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Context:
    """What a controller is made from. `client` writes as the controller's user; `recorder` is for its events.

    `dependents` are those of the informers, shared by the controllers of a manager.
    """

    client: Client
    informers: InformerFactory
    recorder: EventRecorder
    settings: Settings = field(default_factory=Settings)
    dependents: dict[SharedInformer, Dependents] = field(default_factory=dict)


class Controller(ABC):
    """Drives objects of one kind towards their spec.

    `reconcile` is level-based: it gets a key, never a change, reads the caches and writes what is missing. It is called
    for one key at a time, after the caches hold all that it wrote for that key before (see `wrote`), so it never acts
    twice on one reason. It returns None, or the seconds after which it wants to be called again. What it raises is
    logged and it is called again after a back-off that doubles (`retry_delays`).
    """

    name: ClassVar[str]
    """The name of the controller: of its work queue and, where `account` is empty, of its service account."""

    account: ClassVar[str | None] = ""
    """The service account in kube-system that it acts as; empty: `name`; None: the controller manager itself."""

    component: ClassVar[str] = ""
    """The component that its events name; empty: `name`."""

    workers: ClassVar[int] = 5

    retry_delays: ClassVar[tuple[float, float]] = (0.005, 1000.0)
    """The seconds of the first and of the longest back-off of a key whose reconcile fails."""

    def __init__(self, context: Context) -> None:
        self.client = context.client
        self.informers = context.informers
        self.recorder = context.recorder
        self.settings = context.settings
        self._ownership = context.dependents
        first, longest = self.retry_delays
        self.queue: Workqueue[str] = Workqueue(self.name, initial_delay=first, maximum_delay=longest)
        self.meter = Meter(metrics.BOUNDS)
        self._sources: dict[Resource, SharedInformer] = {}
        self._written: dict[str, dict[Resource, int]] = {}
        self._expected: dict[tuple[Resource, str], Object] = {}
        self._turn = 0.0
        self.register()

    @abstractmethod
    def register(self) -> None:
        """Set up sources (`watch`, `watch_owned`) and indexes."""

    @abstractmethod
    async def reconcile(self, key: str) -> float | None:
        """Bring the object of `key` closer to its spec."""

    def informer(self, resource: Resource, *, field_selector: str = "") -> SharedInformer:
        """Return the shared informer of a resource; the workers start when it is synced."""
        informer = self._sources.get(resource)
        if informer is None:
            informer = self.informers.informer(resource, field_selector=field_selector)
            self._sources[resource] = informer
        return informer

    def watch(
        self,
        resource: Resource,
        keys: Keys = _own_key,
        *,
        changed: Callable[[Object, Object], bool] | None = None,
        moved: Callable[[Object, Object], bool] | None = None,
        delay: float = 0.0,
        field_selector: str = "",
    ) -> SharedInformer:
        """Enqueue ``keys(obj)`` on every change of a resource, on an update those of both states.

        `moved(old, new)` may tell that an update left the keys as they were, so that they are asked for once.
        `changed(old, new)` may tell that an update does not matter, which one that brings just what was expected
        (`expect`) does not either; `delay` seconds let further changes come together, and more of them the more owners
        there are to look at.
        """
        informer = self.informer(resource, field_selector=field_selector)

        def enqueue(obj: Object) -> None:
            for key in keys(obj):
                self._add_later(key, delay)

        def updated(old: Object, new: Object) -> None:
            if self._expected and self._is_expected(resource, new):
                return
            if changed is None or changed(old, new):
                if keys is not _own_key and (moved is None or moved(old, new)):
                    enqueue(old)
                enqueue(new)

        informer.add_handler(on_add=enqueue, on_update=updated, on_delete=enqueue)
        return informer

    def watch_owned(
        self, resource: Resource, owner: Resource, *, orphans: Keys | None = None, delay: float = 0.0
    ) -> SharedInformer:
        """Enqueue the controlling owner of kind `owner` on every change of a resource, after `delay` seconds.

        `orphans` gives the keys for an object without a controller: the owners that may want to adopt it.
        """
        informer = self.informer(resource)

        def adopt(obj: Object) -> None:
            assert orphans is not None
            for key in orphans(obj):
                self._add_later(key, delay)

        dependents = self._ownership.get(informer)
        if dependents is None:
            dependents = self._ownership[informer] = Dependents(informer)
        dependents.add(owner, lambda key: self._add_later(key, delay), orphan=adopt if orphans is not None else None)
        return informer

    def _add_later(self, key: str, delay: float) -> None:
        """Queue a key after `delay`, or when its turn comes among many that wait: no more than 200 a second then.

        A reconcile costs what the owner has; where a thousand owners lose and gain children at once, each is then
        looked at once a second and not once a child, however many there are.
        """
        if not 0 < delay < _LONGEST:
            self.queue.add_after(key, delay)
            return
        now = clock.monotonic()
        turn = min(max(self._turn + _SPACING, now + delay), now + _LONGEST)
        if now + self.queue.wait_of(key) > turn:
            self._turn = turn
            self.queue.add_after(key, turn - now)

    def enqueue(self, obj: Object) -> None:
        """Queue the key of an object."""
        self.queue.add(meta.key_of(obj))

    def wrote(self, key: str, resource: Resource, answer: Object) -> Object:
        """Note an own write for `key` and return the object: the next reconcile of `key` waits until the cache has it.

        Only for resources that the controller watches; an answer without a revision is not waited for.
        """
        revision = int(answer.get("metadata", {}).get("resourceVersion") or 0)
        if revision and resource in self._sources:
            marks = self._written.setdefault(key, {})
            marks[resource] = max(marks.get(resource, 0), revision)
        return answer

    def expect(self, resource: Resource, obj: Object) -> None:
        """Note what is about to be written: that it comes back is no reason to reconcile its key again.

        For objects whose key is that of the reconcile, and writes after which there is nothing left to do.
        """
        self._expected[resource, meta.key_of(obj)] = obj

    def _is_expected(self, resource: Resource, new: Object) -> bool:
        key = resource, meta.key_of(new)
        wanted = self._expected.get(key)
        if wanted is None or any(new.get(name) != value for name, value in wanted.items() if name != "metadata"):
            return False
        before, after = wanted["metadata"], new["metadata"]
        if any(before.get(name) != after.get(name) for name in _GIVEN_METADATA):
            return False
        del self._expected[key]
        return True

    async def run(self) -> None:
        """Reconcile until cancelled."""
        for informer in self._sources.values():
            await informer.wait_synced()
        async with asyncio.TaskGroup() as group:
            for number in range(self.workers):
                group.create_task(self._work(), name=f"{self.name}/{number}")

    async def _work(self) -> None:
        while True:
            try:
                key = await self.queue.get()
            except ShutDown:
                return
            try:
                await self._reconcile_one(key)
            finally:
                self.queue.done(key)

    async def _reconcile_one(self, key: str) -> None:
        try:
            await self._wait_own_writes(key)
            again = await self.reconcile(key)
        except (errors.Conflict, OSError) as error:
            log.debug("%s: %s: %s", self.name, key, error)
            self.queue.add_rate_limited(key)
        except errors.StatusError as error:
            log.warning("%s: %s: %s", self.name, key, error)
            self.queue.add_rate_limited(key)
        except Exception:
            log.exception("%s: %s", self.name, key)
            self.queue.add_rate_limited(key)
        else:
            self.queue.forget(key)
            if again is not None:
                self.queue.add_after(key, again)

    async def _wait_own_writes(self, key: str) -> None:
        marks = self._written.pop(key, None)
        if marks is None:
            return
        try:
            async with asyncio.timeout(_OWN_WRITE_TIMEOUT):
                for resource, revision in marks.items():
                    await self._sources[resource].wait_revision(revision)
        except TimeoutError:
            self._written.setdefault(key, {}).update(marks)
            raise


async def gather_all(calls: Iterable[Awaitable[object]]) -> None:
    """Await all calls side by side; when some fail, raise the first failure after all have ended."""
    results = await asyncio.gather(*calls, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def slow_start(count: int, call: Callable[[], Awaitable[object]], *, initial: int = 1) -> int:
    """Make `count` equal calls in batches of `initial`, twice as many, and so on; return how many succeeded.

    After a batch with a failure no further one starts and the first failure is raised: what fails once (a quota, a
    webhook) then costs a few calls and not `count`.
    """
    done, batch = 0, min(count, initial)
    while batch > 0:
        results = await asyncio.gather(*(call() for _ in range(batch)), return_exceptions=True)
        failures = [result for result in results if isinstance(result, BaseException)]
        done += batch - len(failures)
        if failures:
            raise failures[0]
        batch = min(2 * batch, count - done)
    return done


def is_namespace_terminating(error: errors.StatusError) -> bool:
    """Tell whether a create failed because its namespace is being deleted."""
    return any(cause.get("reason") == "NamespaceTerminating" for cause in (error.details or {}).get("causes") or ())
