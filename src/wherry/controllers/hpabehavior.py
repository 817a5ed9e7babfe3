"""How fast a HorizontalPodAutoscaler may follow its metrics (kubernetes ``pkg/controller/podautoscaler``).

First the recommendation is stabilised: the least of a window before growing, the greatest before shrinking. Then the
step is limited: by the policies of ``spec.behavior``, or without one to the double (at least 4) when growing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from wherry.api import quantity
from wherry.api.meta import Object

_MAX = 2**31 - 1
_RECORD_FOR = 3600.0


class Entry(NamedTuple):
    """A recommended size, or a change of the size, and when it was (seconds of any one clock)."""

    at: float
    replicas: int


@dataclass(slots=True)
class History:
    """What is remembered of one autoscaler: recommendations, and by how many it grew and shrank when."""

    recommendations: list[Entry] = field(default_factory=list)
    grown: list[Entry] = field(default_factory=list)
    shrunk: list[Entry] = field(default_factory=list)


class Reason(NamedTuple):
    """Reason and message of a condition."""

    reason: str
    message: str


_READY = Reason("ReadyForNewScale", "recommended size matches current size")
_UP_STABILIZED = Reason(
    "ScaleUpStabilized", "recent recommendations were lower than current one, applying the lowest recent recommendation"
)
_DOWN_STABILIZED = Reason(
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
)
_WITHIN = Reason("DesiredWithinRange", "the desired count is within the acceptable range")
_TOO_FEW = Reason("TooFewReplicas", "the desired replica count is less than the minimum replica count")
_TOO_MANY = Reason("TooManyReplicas", "the desired replica count is more than the maximum replica count")
_UP_LIMIT = Reason("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate")
_DOWN_LIMIT = Reason("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate")


@dataclass(frozen=True, slots=True)
class Inputs:
    """`desired` is what the metrics ask for; `default_window` stabilises shrinking where nothing else is said."""

    current: int
    desired: int
    least: int
    most: int
    behavior: Object | None
    history: History
    default_window: float
    now: float


class Decision(NamedTuple):
    """The size to have; `able` is for the condition AbleToScale, `limited` and `limit` are for ScalingLimited."""

    replicas: int
    able: Reason
    limited: bool
    limit: Reason


def decide(inputs: Inputs) -> Decision:
    """Return the size to have now. The unstabilised recommendation is for the caller to remember.

    Has 4, metrics ask for 20, no behavior: 8, because it may at most double; ScalingLimited with ScaleUpLimit.
    """
    stable, able = _stabilized(inputs)
    if inputs.behavior is None:
        replicas, limit = _limited_by_default(inputs, stable)
    else:
        replicas, limit = _limited_by_policies(inputs, stable)
    return Decision(replicas, able, replicas != stable, limit)


def _rules(behavior: Object | None, direction: str) -> Object:
    return (behavior or {}).get(direction) or {}


def _window(inputs: Inputs, direction: str) -> float:
    default = inputs.default_window if direction == "scaleDown" else 0.0
    given = _rules(inputs.behavior, direction).get("stabilizationWindowSeconds")
    return default if given is None else float(given)


def _stabilized(inputs: Inputs) -> tuple[int, Reason]:
    recent = inputs.history.recommendations
    if inputs.behavior is None:
        after = inputs.now - inputs.default_window
        highest = max((entry.replicas for entry in recent if entry.at > after), default=0)
        stable = max(inputs.desired, highest)
        return stable, _READY if stable == inputs.desired else _DOWN_STABILIZED
    up, down = inputs.now - _window(inputs, "scaleUp"), inputs.now - _window(inputs, "scaleDown")
    low = min([inputs.desired, *(entry.replicas for entry in recent if entry.at > up)])
    high = max([inputs.desired, *(entry.replicas for entry in recent if entry.at > down)])
    stable = min(max(inputs.current, low), high)
    if stable == inputs.desired:
        return stable, _READY
    return stable, _UP_STABILIZED if inputs.desired >= inputs.current else _DOWN_STABILIZED


def _limited_by_default(inputs: Inputs, desired: int) -> tuple[int, Reason]:
    limit = max(2 * inputs.current, 4)
    if desired < inputs.least:
        return inputs.least, _TOO_FEW
    if desired > min(limit, inputs.most):
        return (limit, _UP_LIMIT) if inputs.most > limit else (inputs.most, _TOO_MANY)
    return desired, _WITHIN


def _limited_by_policies(inputs: Inputs, desired: int) -> tuple[int, Reason]:
    if desired > inputs.current:
        limit = max(_up_limit(inputs), inputs.current)
        if desired > min(limit, inputs.most):
            return (limit, _UP_LIMIT) if inputs.most > limit else (inputs.most, _TOO_MANY)
    elif desired < inputs.current:
        limit = min(_down_limit(inputs), inputs.current)
        if desired < max(limit, inputs.least):
            return (limit, _DOWN_LIMIT) if inputs.least < limit else (inputs.least, _TOO_FEW)
    return desired, _WITHIN


def _start_of_period(inputs: Inputs, policy: Object) -> int:
    """Return the size that the period of a policy began with."""
    after = inputs.now - policy["periodSeconds"]
    grown = sum(entry.replicas for entry in inputs.history.grown if entry.at > after)
    shrunk = sum(entry.replicas for entry in inputs.history.shrunk if entry.at > after)
    return inputs.current - grown + shrunk


def _up_limit(inputs: Inputs) -> int:
    rules = _rules(inputs.behavior, "scaleUp")
    if rules.get("selectPolicy") == "Disabled":
        return inputs.current
    proposals = []
    for policy in rules.get("policies") or ():
        start, value = _start_of_period(inputs, policy), policy["value"]
        proposals.append(start + value if policy["type"] == "Pods" else math.ceil(start * (100 + value) / 100))
    return _select(proposals, least=rules.get("selectPolicy") == "Min", none=_MAX)


def _down_limit(inputs: Inputs) -> int:
    rules = _rules(inputs.behavior, "scaleDown")
    if rules.get("selectPolicy") == "Disabled":
        return inputs.current
    proposals = []
    for policy in rules.get("policies") or ():
        start, value = _start_of_period(inputs, policy), policy["value"]
        proposals.append(start - value if policy["type"] == "Pods" else int(start * (100 - value) / 100))
    # The policy with the least change leaves the most replicas.
    return _select(proposals, least=rules.get("selectPolicy") != "Min", none=0)


def _select(proposals: Sequence[int], *, least: bool, none: int) -> int:
    return (min if least else max)(proposals) if proposals else none


def remember(history: History, *, recommended: int, now: float) -> None:
    """Add a recommendation, and forget what no window reaches any more."""
    history.recommendations = [entry for entry in history.recommendations if entry.at > now - _RECORD_FOR]
    history.recommendations.append(Entry(now, recommended))


def record_change(history: History, *, before: int, after: int, now: float) -> None:
    """Add a change of the size, for the periods of the policies."""
    changes = history.grown if after > before else history.shrunk
    changes[:] = [entry for entry in changes if entry.at > now - _RECORD_FOR]
    changes.append(Entry(now, abs(after - before)))


def tolerance(behavior: Object | None, direction: str, *, default: float) -> float:
    """Return by which part a metric may be off its target without a change."""
    given = _rules(behavior, direction).get("tolerance")
    return default if given is None else float(quantity.parse(given).value)
