"""What is counted of expressions in admission, under upstream's names (apiserver ``admission/metrics`` and
``admission/plugin/policy``): match conditions, and the checks of policies."""

from collections.abc import Iterator

from wherry.util import clock
from wherry.util.metrics import COUNTER, HISTOGRAM, Family, Meter, Sample

_CONDITION = "apiserver_admission_match_condition_"
_SECONDS = f"{_CONDITION}evaluation_seconds"
_CHECKS = {step: f"apiserver_{step}_admission_policy_check" for step in ("mutating", "validating")}
_CONDITION_BOUNDS = (0.001, 0.005, 0.01, 0.025, 0.1, 0.2, 0.25)
_CHECK_BOUNDS = (0.0000005, 0.001, 0.01, 0.1, 1.0)

FAMILIES = {
    _SECONDS: Family(HISTOGRAM, "Seconds that match conditions took, by name, kind and operation."),
    f"{_CONDITION}exclusions_total": Family(COUNTER, "Requests that match conditions left out."),
    f"{_CONDITION}evaluation_errors_total": Family(COUNTER, "Match conditions that failed."),
    **{f"{check}_total": Family(COUNTER, "Checks of policies by what came of them.") for check in _CHECKS.values()},
    **{f"{check}_duration_seconds": Family(HISTOGRAM, "Seconds that they took.") for check in _CHECKS.values()},
}

WEBHOOK, POLICY = "webhook", "policy"
NO_ERROR, INVALID = "no_error", "invalid_error"


class CheckMetrics:
    """Counts what was evaluated, and how long that took."""

    def __init__(self) -> None:
        durations = {f"{check}_duration_seconds": _CHECK_BOUNDS for check in _CHECKS.values()}
        self._meter = Meter({_SECONDS: _CONDITION_BOUNDS, **durations})

    def conditions(self, kind: str, name: str, step: str, operation: str, *, since: float, met: bool | None) -> None:
        """Note what came of the match conditions of a webhook or a policy (None: an error), which began at `since`."""
        labels = {"kind": kind, "name": name, "operation": operation, "type": step}
        self._meter.observe(_SECONDS, clock.monotonic() - since, **labels)
        if met is None:
            self._meter.count(f"{_CONDITION}evaluation_errors_total", 1, **labels)
        elif not met:
            self._meter.count(f"{_CONDITION}exclusions_total", 1, **labels)

    def mutated(self, policy: str, binding: str, *, since: float, error: str = NO_ERROR) -> None:
        """Note one mutation of a policy, which began at `since`."""
        self._checked("mutating", since, policy=policy, policy_binding=binding, error_type=error)

    def validated(self, policy: str, binding: str, *, since: float, action: str) -> None:
        """Note one validation of a policy that failed, and what a binding does about that."""
        labels = {"policy": policy, "policy_binding": binding, "error_type": INVALID}
        self._checked("validating", since, **labels, enforcement_action=action.lower())

    def _checked(self, step: str, since: float, **labels: str) -> None:
        self._meter.count(f"{_CHECKS[step]}_total", 1, **labels)
        self._meter.observe(f"{_CHECKS[step]}_duration_seconds", clock.monotonic() - since, **labels)

    def samples(self) -> Iterator[Sample]:
        """Yield all lines."""
        return self._meter.samples()
