"""From metrics to a number of replicas (kubernetes ``pkg/controller/podautoscaler/replica_calculator.go``).

Amounts are integers in thousandths, as upstream computes with. Pods without a metric count against a change: as if at
their target (or their request) before shrinking, as if idle before growing; pods that are not ready yet as if idle.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from wherry.api import meta, quantity
from wherry.api.meta import Object
from wherry.controllers import pods as podutil
from wherry.util import clock

_CPU_INITIALIZATION = timedelta(minutes=5)
_INITIAL_READINESS = timedelta(seconds=30)


class Uncomputable(Exception):
    """No number follows from the metrics; the message is Kubernetes'."""


class Sample(NamedTuple):
    """One pod's metric in thousandths, when it was taken and over which time."""

    value: int
    at: datetime
    window: timedelta


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far a ratio may be from 1 without a change."""

    up: float
    down: float

    def holds(self, ratio: float) -> bool:
        """Tell whether `ratio` calls for no change."""
        return 1 - self.down <= ratio <= 1 + self.up


class Proposal(NamedTuple):
    """A size; `raw` is the average of a pod in thousandths, `utilization` that in percent of its request."""

    replicas: int
    raw: int
    utilization: int | None = None


@dataclass(frozen=True, slots=True)
class _Groups:
    ready: int
    unready: frozenset[str]
    missing: frozenset[str]
    ignored: frozenset[str]


def _group(pods: Iterable[Object], samples: Mapping[str, Sample], *, resource: str, now: datetime) -> _Groups:
    ready = 0
    groups: dict[str, set[str]] = {"unready": set(), "missing": set(), "ignored": set()}
    for pod in pods:
        name = meta.name(pod)
        sample = samples.get(name)
        if meta.is_deleting(pod) or podutil.phase(pod) == "Failed":
            groups["ignored"].add(name)
        elif podutil.phase(pod) == "Pending":
            groups["unready"].add(name)
        elif sample is None:
            groups["missing"].add(name)
        elif resource == "cpu" and _is_starting(pod, sample, now=now):
            groups["unready"].add(name)
        else:
            ready += 1
    return _Groups(ready, *(frozenset(groups[name]) for name in ("unready", "missing", "ignored")))


def _is_starting(pod: Object, sample: Sample, *, now: datetime) -> bool:
    """Tell whether the CPU that a pod uses may be that of its start."""
    condition = meta.condition(pod, "Ready")
    started = (pod.get("status") or {}).get("startTime")
    if condition is None or not started:
        return True
    begin, turned = clock.parse(started), clock.parse(condition["lastTransitionTime"])
    if now < begin + _CPU_INITIALIZATION:
        return condition["status"] == "False" or sample.at < turned + sample.window
    return condition["status"] == "False" and turned < begin + _INITIAL_READINESS


def _checked(
    pods: Sequence[Object], samples: Mapping[str, Sample], *, resource: str, now: datetime
) -> tuple[dict[str, int], _Groups]:
    """Return the values that count, and the groups of the pods. Raises Uncomputable."""
    if not pods:
        raise Uncomputable("no pods returned by selector while calculating replica count")
    groups = _group(pods, samples, resource=resource, now=now)
    left_out = groups.ignored | groups.unready
    values = {name: sample.value for name, sample in samples.items() if name not in left_out}
    if not values:
        raise Uncomputable("did not receive metrics for targeted pods (pods might be unready)")
    return values, groups


def requests_of(pods: Iterable[Object], resource: str, *, container: str = "") -> dict[str, int]:
    """Return what the pods' containers (or that one) request of a resource. Raises Uncomputable."""
    return {meta.name(pod): _request_of(pod, resource, container) for pod in pods}


def _request_of(pod: Object, resource: str, container: str) -> int:
    spec = pod["spec"]
    if not container and (whole := _request(spec, resource)) is not None:
        return whole
    sidecars = [entry for entry in spec.get("initContainers") or () if entry.get("restartPolicy") == "Always"]
    total = 0
    for entry in [*spec["containers"], *sidecars]:
        if container in ("", entry["name"]):
            amount = _request(entry, resource)
            if amount is None:
                raise Uncomputable(
                    f"missing request for {resource} in container {entry['name']} of Pod {meta.name(pod)}"
                )
            total += amount
    return total


def _request(holder: Object, resource: str) -> int | None:
    given = ((holder.get("resources") or {}).get("requests") or {}).get(resource)
    return None if given is None else quantity.parse(given).milli()


def _utilization(values: Mapping[str, int], requests: Mapping[str, int], target: int) -> tuple[float, int, int]:
    known = [name for name in values if name in requests]
    requested = sum(requests[name] for name in known)
    if requested == 0:
        raise Uncomputable("no metrics returned matched known pods")
    used = sum(values[name] for name in known)
    percent = used * 100 // requested
    return percent / target, percent, used // len(known)


def by_utilization(
    current: int,
    target: int,
    samples: Mapping[str, Sample],
    pods: Sequence[Object],
    *,
    resource: str,
    container: str,
    tolerance: Tolerance,
    now: datetime,
) -> Proposal:
    """Return the size for an average utilization of `target` percent of the requests. Raises Uncomputable.

    3 pods at 80 percent, wanted are 50: 5 (4.8 rounded up).
    """
    values, groups = _checked(pods, samples, resource=resource, now=now)
    requests = requests_of(pods, resource, container=container)
    ratio, percent, raw = _utilization(values, requests, target)
    if not (groups.unready and ratio > 1) and not groups.missing:
        replicas = current if tolerance.holds(ratio) else math.ceil(ratio * groups.ready)
        return Proposal(replicas, raw, percent)
    # A missing pod may use what it requests, or its target where that is more.
    supposed = {name: requests[name] * max(100, target) // 100 for name in groups.missing}
    filled = _filled(values, groups, supposed, ratio=ratio)
    new_ratio, _, _ = _utilization(filled, requests, target)
    return Proposal(_rebalanced(current, ratio, new_ratio, len(filled), tolerance), raw, percent)


def by_average(
    current: int,
    target: int,
    samples: Mapping[str, Sample],
    pods: Sequence[Object],
    *,
    resource: str,
    tolerance: Tolerance,
    now: datetime,
) -> Proposal:
    """Return the size for an average of `target` thousandths a pod. Raises Uncomputable."""
    values, groups = _checked(pods, samples, resource=resource, now=now)
    raw = sum(values.values()) // len(values)
    ratio = raw / target
    if not (groups.unready and ratio > 1) and not groups.missing:
        return Proposal(current if tolerance.holds(ratio) else math.ceil(ratio * groups.ready), raw)
    filled = _filled(values, groups, dict.fromkeys(groups.missing, target), ratio=ratio)
    new_ratio = sum(filled.values()) // len(filled) / target
    return Proposal(_rebalanced(current, ratio, new_ratio, len(filled), tolerance), raw)


def _filled(values: dict[str, int], groups: _Groups, supposed: Mapping[str, int], *, ratio: float) -> dict[str, int]:
    filled = dict(values)
    if ratio < 1:
        filled |= supposed
    elif ratio > 1:
        filled |= dict.fromkeys(groups.missing, 0)
        filled |= dict.fromkeys(groups.unready, 0)
    return filled


def _rebalanced(current: int, ratio: float, new_ratio: float, count: int, tolerance: Tolerance) -> int:
    """Return the size by the filled-up metrics, `current` where they contradict the real ones."""
    if tolerance.holds(new_ratio) or (ratio < 1 < new_ratio) or (new_ratio < 1 < ratio):
        return current
    replicas = math.ceil(new_ratio * count)
    contradicts = (new_ratio < 1 and replicas > current) or (new_ratio > 1 and replicas < current)
    return current if contradicts else replicas


def by_total(current: int, target: int, usage: int, pods: Sequence[Object], *, tolerance: Tolerance) -> Proposal:
    """Return the size for a metric that is not of pods, `usage` now and to be `target`. Raises Uncomputable."""
    ratio = usage / target
    if current == 0:
        return Proposal(math.ceil(ratio), usage)
    if tolerance.holds(ratio):
        return Proposal(current, usage)
    if not pods:
        raise Uncomputable("no pods returned by selector while calculating replica count")
    ready = sum(podutil.phase(pod) == "Running" and podutil.is_ready(pod) for pod in pods)
    return Proposal(math.ceil(ratio * ready), usage)


def by_share(replicas: int, target: int, usage: int, *, tolerance: Tolerance) -> Proposal:
    """Return the size for a metric of which each of `replicas` pods is to have `target`."""
    share = math.ceil(usage / replicas) if replicas else usage
    if replicas and tolerance.holds(usage / (target * replicas)):
        return Proposal(replicas, share)
    return Proposal(math.ceil(usage / target), share)
