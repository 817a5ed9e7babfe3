"""Classifies requests and gives them their seats."""

from collections.abc import Iterator
from typing import NamedTuple

from wherry.api.resources import builtin
from wherry.apiserver.attributes import Attributes, Reader
from wherry.apiserver.flowcontrol import matching
from wherry.apiserver.flowcontrol.dump import levels_table
from wherry.apiserver.flowcontrol.level import Level
from wherry.util.metrics import COUNTER, GAUGE, HISTOGRAM, Family, Sample

FLOWSCHEMAS = builtin("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")
LEVELS = builtin("flowcontrol.apiserver.k8s.io", "v1", "prioritylevelconfigurations")

TOTAL_SEATS = 600
"""As upstream's ``--max-requests-inflight`` and ``--max-mutating-requests-inflight`` together."""

_MAX_FLOWS = 20_000
_MAX_LIST_SEATS = 10
_OBJECTS_PER_SEAT = 100

_OF = "by flow schema and priority level."
FAMILIES = {
    "apiserver_flowcontrol_dispatched_requests_total": Family(COUNTER, f"Requests that went on {_OF}"),
    "apiserver_flowcontrol_rejected_requests_total": Family(COUNTER, f"Requests that were refused, by reason, {_OF}"),
    "apiserver_flowcontrol_current_inqueue_requests": Family(GAUGE, "Requests that wait by priority level."),
    "apiserver_flowcontrol_current_inqueue_seats": Family(GAUGE, "Seats that are waited for by priority level."),
    "apiserver_flowcontrol_current_executing_requests": Family(GAUGE, "Requests under way by priority level."),
    "apiserver_flowcontrol_current_executing_seats": Family(GAUGE, "Seats in use by priority level."),
    "apiserver_flowcontrol_nominal_limit_seats": Family(GAUGE, "Nominal number of seats by priority level."),
    "apiserver_flowcontrol_lower_limit_seats": Family(GAUGE, "Seats that are not lent by priority level."),
    "apiserver_flowcontrol_upper_limit_seats": Family(GAUGE, "Seats that it may ever have by priority level."),
    "apiserver_flowcontrol_request_wait_duration_seconds": Family(HISTOGRAM, "Seconds in queues by priority level."),
    "apiserver_flowcontrol_request_execution_seconds": Family(HISTOGRAM, "Seconds under way by priority level."),
}


_LONG_SUBRESOURCES = frozenset({"log", "exec", "attach", "portforward", "proxy"})


def is_long(verb: str, subresource: str) -> bool:
    """Tell whether a request runs for as long as its client likes."""
    return verb == "watch" or subresource in _LONG_SUBRESOURCES


def list_seats(objects: int, limit: int) -> int:
    """Return how many seats a list takes: one for every hundred objects that it goes through."""
    looked_at = min(objects, limit) if limit else objects
    return max(1, min(_MAX_LIST_SEATS, -(-looked_at // _OBJECTS_PER_SEAT)))


class Flow(NamedTuple):
    """What a request belongs to. `key` names the flow; `headers` say it to the client."""

    schema: str
    level: Level
    key: str
    headers: tuple[tuple[str, str], ...]


class FlowControl:
    """API priority and fairness over the FlowSchemas and PriorityLevelConfigurations of a reader."""

    def __init__(self, reader: Reader, *, total: int = TOTAL_SEATS) -> None:
        self._reader = reader
        self._total = total
        self._versions = (-1, -1)
        self._levels: dict[str, Level] = {}
        self._schemas: list[tuple[dict[str, object], Level]] = []
        self._flows: dict[tuple[str, ...], Flow | None] = {}

    def classify(self, attributes: Attributes) -> Flow | None:
        """Return the flow of a request, None before the first configuration exists."""
        reader = self._reader
        versions = (reader.version(FLOWSCHEMAS), reader.version(LEVELS))
        if versions != self._versions:
            self._configure()
            self._versions = versions
        a = attributes
        key = (a.user.name, *a.user.groups, "\n", a.verb, a.group, a.resource, a.subresource, a.namespace, a.path)
        try:
            return self._flows[key]
        except KeyError:
            if len(self._flows) >= _MAX_FLOWS:
                self._flows.clear()
            found = self._flows[key] = self._find(attributes)
            return found

    def _find(self, attributes: Attributes) -> Flow | None:
        for schema, level in self._schemas:
            if matching.matches(schema, attributes):
                metadata, spec = schema["metadata"], schema["spec"]
                assert isinstance(metadata, dict) and isinstance(spec, dict)
                method = (spec.get("distinguisherMethod") or {}).get("type", "")
                of = {"ByUser": attributes.user.name, "ByNamespace": attributes.namespace}.get(method, "")
                headers = (
                    ("X-Kubernetes-Pf-Flowschema-Uid", metadata.get("uid", "")),
                    ("X-Kubernetes-Pf-Prioritylevel-Uid", level.uid),
                )
                return Flow(metadata["name"], level, f"{metadata['name']}\n{of}", headers)
        return None

    def _configure(self) -> None:
        """Read the configuration. Levels that stay as they were keep who runs and waits in them."""
        before, self._levels = self._levels, {}
        for obj in self._reader.list(LEVELS):
            name, uid, spec = obj["metadata"]["name"], obj["metadata"].get("uid", ""), obj["spec"]
            known = before.get(name)
            same = known is not None and (known.uid, known.spec) == (uid, spec)
            self._levels[name] = known if known is not None and same else Level(name, uid, spec)
        levels = list(self._levels.values())
        shares = sum(level.shares for level in levels)
        for level in levels:
            level.settle(self._total, shares, levels)
        for name, level in before.items():
            if self._levels.get(name) is not level:
                level.abandon()
        schemas = sorted(
            self._reader.list(FLOWSCHEMAS),
            key=lambda s: (s["spec"].get("matchingPrecedence", 1000), s["metadata"]["name"]),
        )
        named = ((s, self._levels.get(s["spec"]["priorityLevelConfiguration"]["name"])) for s in schemas)
        self._schemas = [(schema, level) for schema, level in named if level is not None]
        self._flows.clear()

    def table(self) -> bytes:
        """Return the levels as a table for people."""
        return levels_table(self._levels.values()).encode()

    def samples(self) -> Iterator[Sample]:
        """Yield the metrics of all levels."""
        prefix = "apiserver_flowcontrol_"
        for level in self._levels.values():
            labels = {"priority_level": level.name}
            yield Sample(f"{prefix}current_inqueue_requests", labels, level.waiting)
            yield Sample(f"{prefix}current_inqueue_seats", labels, level.waiting_seats)
            yield Sample(f"{prefix}current_executing_requests", labels, level.running)
            yield Sample(f"{prefix}current_executing_seats", labels, level.used)
            yield Sample(f"{prefix}nominal_limit_seats", labels, level.nominal)
            yield Sample(f"{prefix}lower_limit_seats", labels, level.nominal - level.lendable)
            upper = self._total if level.upper is None else min(level.upper, self._total)
            yield Sample(f"{prefix}upper_limit_seats", labels, upper)
            yield from level.wait_seconds.samples(f"{prefix}request_wait_duration_seconds", labels)
            yield from level.run_seconds.samples(f"{prefix}request_execution_seconds", labels)
            for schema, number in level.dispatched.items():
                yield Sample(f"{prefix}dispatched_requests_total", {**labels, "flow_schema": schema}, number)
            for (schema, reason), number in level.rejected.items():
                found = {**labels, "flow_schema": schema, "reason": reason}
                yield Sample(f"{prefix}rejected_requests_total", found, number)
