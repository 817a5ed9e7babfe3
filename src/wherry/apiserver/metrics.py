"""What ``/metrics`` shows of the API server, under Kubernetes' names and labels."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from wherry.apiserver.registry import Registry
from wherry.apiserver.requestinfo import KindKey, PathInfo
from wherry.util import metrics, processmetrics
from wherry.util.metrics import COUNTER, GAUGE, HISTOGRAM, Family, Histogram, Sample

_SECONDS = (
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0,
    45.0, 60.0,
)  # fmt: skip
_SIZES = (1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9)
_VERBS = {"create": "POST", "update": "PUT"}

Source = Callable[[], Iterable[tuple[str, Any, float]]]

_RPC = "of the API server by verb, group, version, resource and scope."
FAMILIES = {
    "apiserver_request_total": Family(COUNTER, f"Counter of requests and their HTTP response codes {_RPC}"),
    "apiserver_request_duration_seconds": Family(HISTOGRAM, f"Response latency in seconds {_RPC}"),
    "apiserver_request_sli_duration_seconds": Family(HISTOGRAM, f"Latency without long-running requests {_RPC}"),
    "apiserver_response_sizes": Family(HISTOGRAM, f"Response size in bytes {_RPC}"),
    "apiserver_longrunning_requests": Family(GAUGE, f"Long-running requests under way {_RPC}"),
    "apiserver_current_inflight_requests": Family(GAUGE, "Requests under way by kind, without long-running ones."),
    "apiserver_requested_deprecated_apis": Family(GAUGE, "Deprecated APIs that were asked for."),
    "apiserver_storage_objects": Family(GAUGE, "Number of stored objects by kind."),
    "apiserver_resource_objects": Family(GAUGE, "Number of stored objects by group and resource."),
    "apiserver_storage_events_received_total": Family(COUNTER, "Changes of stored objects by resource."),
    "apiserver_watch_events_total": Family(COUNTER, "Events sent to watch clients by kind."),
    "apiserver_watch_events_sizes": Family(HISTOGRAM, "Size of the batches sent to watch clients in bytes by kind."),
    "apiserver_watch_cache_resource_version": Family(GAUGE, "Revision that reads are answered from."),
    "authentication_attempts": Family(COUNTER, "Authenticated attempts by result."),
    "authenticated_user_requests": Family(COUNTER, "Authenticated requests by user name."),
    "authorization_attempts_total": Family(COUNTER, "Authorization attempts by result."),
    "etcd_requests_total": Family(COUNTER, "Writes to the store by operation and object type."),
    "etcd_request_duration_seconds": Family(HISTOGRAM, "Latency of writes to the store in seconds."),
    "kubernetes_build_info": Family(GAUGE, "The served version, in labels."),
    "workqueue_adds_total": Family(COUNTER, "Total number of adds handled by workqueue."),
    "workqueue_depth": Family(GAUGE, "Current depth of workqueue."),
    "workqueue_longest_running_processor_seconds": Family(GAUGE, "Seconds the longest running processor has run."),
    "workqueue_queue_duration_seconds": Family(HISTOGRAM, "Seconds an item stays in workqueue before being requested."),
    "workqueue_retries_total": Family(COUNTER, "Total number of retries handled by workqueue."),
    "workqueue_unfinished_work_seconds": Family(GAUGE, "Seconds of work in progress that was not observed yet."),
    "workqueue_work_duration_seconds": Family(HISTOGRAM, "Seconds that processing an item from workqueue takes."),
    "scheduler_pending_pods": Family(GAUGE, "Number of pending pods by queue."),
    "scheduler_schedule_attempts_total": Family(COUNTER, "Attempts to schedule pods by result and profile."),
    "scheduler_scheduling_attempt_duration_seconds": Family(HISTOGRAM, "Seconds of an attempt to choose a node."),
    **processmetrics.FAMILIES,
}


class _Kind:
    """The requests of one verb on one resource."""

    __slots__ = ("codes", "seconds", "sizes")

    def __init__(self) -> None:
        self.codes: Counter[int] = Counter()
        self.seconds = Histogram(_SECONDS)
        self.sizes = Histogram(_SIZES)


class Metrics:
    """Counts what is answered. `sources` yield further samples when somebody looks; `families` says of which kind."""

    def __init__(self) -> None:
        self.families: dict[str, Family] = dict(FAMILIES)
        self.sources: list[Source] = [processmetrics.samples]
        self.users: Counter[str] = Counter()
        self.authentications: Counter[str] = Counter()
        self.authorizations: Counter[str] = Counter()
        self.watch_sizes: dict[tuple[str, str, str], Histogram] = {}
        self.watch_events: Counter[tuple[str, str, str]] = Counter()
        self._kinds: dict[tuple[str, KindKey], _Kind] = {}
        self._running: Counter[tuple[str, KindKey]] = Counter()

    def add(self, source: Source, families: Mapping[str, Family] | None = None) -> None:
        """Show what `source` yields, too; `families` says of which kind that is."""
        self.sources.append(source)
        self.families.update(families or {})

    def count(self, verb: str, info: PathInfo, code: int, seconds: float, size: int) -> None:
        """Note one answered request on a resource or path that took `seconds`; its verb is Kubernetes'."""
        key = (verb, info.kind_key)
        kind = self._kinds.get(key)
        if kind is None:
            kind = self._kinds[key] = _Kind()
        kind.codes[code] += 1
        kind.seconds.observe(seconds)
        kind.sizes.observe(size)

    def started(self, verb: str, info: PathInfo, change: int) -> None:
        """Note that a long-running request began (1) or ended (-1)."""
        self._running[verb, info.kind_key] += change

    def watched(self, kind: tuple[str, str, str], events: int, size: int) -> None:
        """Note a batch of events sent to a client; `kind` is group, version and kind."""
        self.watch_events[kind] += events
        sizes = self.watch_sizes.get(kind)
        if sizes is None:
            sizes = self.watch_sizes[kind] = Histogram(_SIZES)
        sizes.observe(size)

    def reset(self) -> None:
        """Forget what was counted here; what is under way still is, and `sources` count for themselves."""
        for counted in (self.users, self.authentications, self.authorizations, self.watch_sizes, self.watch_events):
            counted.clear()
        self._kinds.clear()

    def text(self) -> str:
        """Return all families."""
        found: list[tuple[str, Any, float]] = [*self._requests(), *self._others()]
        for source in self.sources:
            found += source()
        return metrics.text(found, self.families)

    def _requests(self) -> Iterator[Sample]:
        for (verb, key), kind in self._kinds.items():
            labels = {"dry_run": "", **_labels(verb, key)}
            for code, number in kind.codes.items():
                yield Sample("apiserver_request_total", {**labels, "code": str(code)}, number)
            yield from kind.seconds.samples("apiserver_request_duration_seconds", labels)
            if verb != "watch":
                yield from kind.seconds.samples("apiserver_request_sli_duration_seconds", labels)
            yield from kind.sizes.samples("apiserver_response_sizes", _labels(verb, key))

    def _others(self) -> Iterator[Sample]:
        for (verb, key), number in self._running.items():
            yield Sample("apiserver_longrunning_requests", _labels(verb, key), number)
        for kind, number in self.watch_events.items():
            labels = dict(zip(("group", "version", "kind"), kind, strict=True))
            yield Sample("apiserver_watch_events_total", labels, number)
            yield from self.watch_sizes[kind].samples("apiserver_watch_events_sizes", labels)
        for name, number in self.users.items():
            yield Sample("authenticated_user_requests", {"username": name}, number)
        for result, number in self.authentications.items():
            yield Sample("authentication_attempts", {"result": result}, number)
        for result, number in self.authorizations.items():
            yield Sample("authorization_attempts_total", {"result": result}, number)


def _labels(verb: str, key: KindKey) -> dict[str, str]:
    group, version, plural, subresource, scope = key
    return {
        "component": "apiserver",
        "group": group,
        "resource": plural,
        "scope": scope,
        "subresource": subresource,
        "verb": _VERBS.get(verb) or verb.upper(),
        "version": version,
    }


def store_samples(registry: Registry) -> Iterator[Sample]:
    """Yield what the store holds and how quickly it writes."""
    yield Sample("apiserver_watch_cache_resource_version", {}, registry.store.revision)
    for resource in registry.table:
        if registry.stored(resource) is resource and "list" in resource.verbs:
            count = registry.store.count(registry.prefix(resource))
            yield Sample("apiserver_storage_objects", {"resource": resource.group_resource}, count)
            labels = {"group": resource.group, "resource": resource.plural}
            yield Sample("apiserver_resource_objects", labels, count)
    for (operation, kind), seconds in registry.write_seconds.items():
        labels = {"operation": operation, "type": kind}
        yield Sample("etcd_requests_total", labels, sum(seconds.counts))
        yield from seconds.samples("etcd_request_duration_seconds", labels)


def build_info(version: Mapping[str, str]) -> Iterator[Sample]:
    """Yield the version that is served (the document of ``/version``)."""
    names = (
        ("build_date", "buildDate"), ("compiler", "compiler"), ("git_commit", "gitCommit"),
        ("git_tree_state", "gitTreeState"), ("git_version", "gitVersion"), ("go_version", "goVersion"),
        ("major", "major"), ("minor", "minor"), ("platform", "platform"),
    )  # fmt: skip
    yield Sample("kubernetes_build_info", {label: str(version.get(member, "")) for label, member in names}, 1)
