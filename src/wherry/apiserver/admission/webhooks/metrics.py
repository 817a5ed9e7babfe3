"""What is counted of webhooks, under upstream's names (apiserver ``admission/metrics``)."""

from collections.abc import Iterator

from wherry.util.metrics import COUNTER, HISTOGRAM, Family, Meter, Sample

_PREFIX = "apiserver_admission_webhook_"
_SECONDS = (0.005, 0.025, 0.1, 0.5, 1.0, 2.5, 10, 25)
_MOST_CODE = 600

FAMILIES = {
    f"{_PREFIX}admission_duration_seconds": Family(HISTOGRAM, "Seconds that webhooks took, by name and operation."),
    f"{_PREFIX}fail_open_count": Family(COUNTER, "Failed calls that were passed over."),
    f"{_PREFIX}rejection_count": Family(COUNTER, "Requests that webhooks, or failed calls of them, refused."),
    f"{_PREFIX}request_total": Family(COUNTER, "Calls of webhooks by the code of their answer."),
}

ADMIT, VALIDATING = "admit", "validating"
CALLING_ERROR, SERVER_ERROR, NO_ERROR = "calling_webhook_error", "apiserver_internal_error", "no_error"


class WebhookMetrics:
    """Counts calls. `step` is `ADMIT` or `VALIDATING`, an `error_type` what kind of refusal there was, '' for none."""

    def __init__(self) -> None:
        self._meter = Meter({f"{_PREFIX}admission_duration_seconds": _SECONDS})

    def called(self, name: str, step: str, operation: str, *, seconds: float, code: int, error_type: str = "") -> None:
        """Note one call and what came of it."""
        rejected = "true" if error_type else "false"
        shown = str(min(code, _MOST_CODE))
        labels = {"name": name, "type": step, "operation": operation}
        self._meter.observe(f"{_PREFIX}admission_duration_seconds", seconds, **labels, rejected=rejected)
        self._meter.count(f"{_PREFIX}request_total", 1, **labels, code=shown, rejected=rejected)
        if error_type:
            self._meter.count(f"{_PREFIX}rejection_count", 1, **labels, error_type=error_type, rejection_code=shown)

    def failed_open(self, name: str, step: str) -> None:
        """Note a failed call that refused nothing."""
        self._meter.count(f"{_PREFIX}fail_open_count", name=name, type=step)

    def samples(self) -> Iterator[Sample]:
        """Yield all lines."""
        return self._meter.samples()
