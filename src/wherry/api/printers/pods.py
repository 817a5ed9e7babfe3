"""The row of a pod: what it is doing in one word, as ``kubectl get pods`` shows it."""

from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.printers.text import NONE, age, duration, name, spec, status
from wherry.util import clock

_ENDED = {
    "Succeeded": {
        "type": "Completed",
        "status": "True",
        "reason": "Succeeded",
        "message": "The pod has completed successfully.",
    },
    "Failed": {"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."},
}


class _Tally:
    """Ready containers, restarts and the reason, gathered over the container statuses."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        self.ready = 0
        self.restarts = 0
        self.last_restart = ""

    def count(self, container: Object) -> None:
        self.restarts += container.get("restartCount", 0)
        finished = ((container.get("lastState") or {}).get("terminated") or {}).get("finishedAt") or ""
        self.last_restart = max(self.last_restart, finished)

    def words(self) -> str:
        if self.restarts and self.last_restart:
            return f"{self.restarts} ({duration(clock.since(self.last_restart))} ago)"
        return str(self.restarts)


def pod(obj: Object) -> list[Any]:
    """Return the cells of a pod."""
    sidecars = {c["name"] for c in spec(obj).get("initContainers") or () if c.get("restartPolicy") == "Always"}
    tally = _tally(obj, sidecars)
    total = len(spec(obj).get("containers") or ()) + len(sidecars)
    addresses = [a.get("ip") for a in status(obj).get("podIPs") or ()]
    return [
        name(obj),
        f"{tally.ready}/{total}",
        tally.reason,
        tally.words(),
        age(obj),
        addresses[0] if addresses else NONE,
        spec(obj).get("nodeName") or NONE,
        status(obj).get("nominatedNodeName") or NONE,
        _readiness_gates(obj),
    ]


def row_conditions(obj: Object) -> list[dict[str, str]]:
    """Return the row's conditions: whether the pod has ended."""
    ended = _ENDED.get(status(obj).get("phase", ""))
    return [ended] if ended else []


def _tally(obj: Object, sidecars: set[str]) -> _Tally:
    phase = status(obj).get("phase", "")
    tally = _Tally(status(obj).get("reason") or phase)
    scheduled = meta.condition(obj, "PodScheduled")
    if scheduled is not None and scheduled.get("reason") == "SchedulingGated":
        tally.reason = "SchedulingGated"
    initializing, of_sidecars = _init_containers(obj, sidecars, tally)
    if not initializing or meta.is_true(obj, "Initialized"):
        tally.restarts, tally.last_restart = of_sidecars.restarts, of_sidecars.last_restart
        _containers(obj, tally)
    if obj["metadata"].get("deletionTimestamp"):
        if status(obj).get("reason") == "NodeLost":
            tally.reason = "Unknown"
        elif phase not in ("Succeeded", "Failed"):
            tally.reason = "Terminating"
    return tally


def _init_containers(obj: Object, sidecars: set[str], tally: _Tally) -> tuple[bool, _Tally]:
    """Tally the init containers; return whether one is under way, and the restarts of the sidecars alone."""
    of_sidecars = _Tally("")
    total = len(spec(obj).get("initContainers") or ())
    for index, container in enumerate(status(obj).get("initContainerStatuses") or ()):
        tally.count(container)
        restartable = container["name"] in sidecars
        if restartable:
            of_sidecars.count(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if ended is not None and ended.get("exitCode", 0) == 0:
            continue
        if restartable and container.get("started"):
            tally.ready += bool(container.get("ready"))
            continue
        if ended is not None:
            tally.reason = "Init:" + (ended.get("reason") or _exit(ended))
        elif waiting is not None and waiting.get("reason") not in (None, "", "PodInitializing"):
            tally.reason = "Init:" + waiting["reason"]
        else:
            tally.reason = f"Init:{index}/{total}"
        return True, of_sidecars
    return False, of_sidecars


def _containers(obj: Object, tally: _Tally) -> None:
    running = False
    for container in reversed(status(obj).get("containerStatuses") or ()):
        tally.count(container)
        state = container.get("state") or {}
        ended, waiting = state.get("terminated"), state.get("waiting")
        if waiting is not None and waiting.get("reason"):
            tally.reason = waiting["reason"]
        elif ended is not None and ended.get("reason"):
            tally.reason = ended["reason"]
        elif ended is not None:
            tally.reason = _exit(ended)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            tally.ready += 1
    if tally.reason == "Completed" and running:
        tally.reason = "Running" if meta.is_true(obj, "Ready") else "NotReady"


def _exit(ended: Object) -> str:
    return f"Signal:{ended['signal']}" if ended.get("signal") else f"ExitCode:{ended.get('exitCode', 0)}"


def _readiness_gates(obj: Object) -> str:
    gates = spec(obj).get("readinessGates") or ()
    if not gates:
        return NONE
    return f"{sum(meta.is_true(obj, g['conditionType']) for g in gates)}/{len(gates)}"


CELLS = {("", "pods"): pod}
