"""A pod's status: a pure function of the pod, what the runtime holds and what the probes say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wherry.api import meta
from wherry.kubelet import conditions, labels, podspec
from wherry.kubelet.podspec import Container
from wherry.kubelet.qos import qos_class
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.runtime.protocol import EXITED, RUNNING, ContainerStatus
from wherry.util import clock

RUNTIME_NAME = "crun"


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a container does not run: a reason and a message as in ``state.waiting``."""

    reason: str
    message: str = ""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a pod failed as a whole: ``status.reason`` and ``status.message`` (DeadlineExceeded, Evicted …).

    A `rejected` pod was never let in: it has no containers to tell of.
    """

    reason: str
    message: str
    rejected: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """All that a status is made of beside the pod. `ready` and `started` hold container ids; `messages` the termination
    messages by id; `now` and `start_time` are RFC 3339; `previous` is the status computed before this one (None: what
    the API has), because the API's lags behind. `allocated` are the resources that containers were granted by name,
    where a resize has not come to pass yet, `actual` those that running ones have. `stopped` is set when the pod will
    not run again and nothing of it is running any more, `restarting` while all containers are ended to run again and
    `restarted` once they were."""

    runtime: PodRuntime
    now: str
    start_time: str
    host_ip: str = ""
    pod_ips: tuple[str, ...] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)
    ready: frozenset[str] = frozenset()
    started: frozenset[str] = frozenset()
    messages: Mapping[str, str] = field(default_factory=dict)
    failure: Failure | None = None
    stopped: bool = False
    restarting: bool = False
    restarted: bool = False
    extra: tuple[dict[str, Any], ...] = ()
    allocated: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    actual: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    previous: Mapping[str, Any] | None = None


def pod_status(pod: meta.Object, seen: Observed) -> dict[str, Any]:
    """Return the whole status; conditions of others than the kubelet are kept from the pod."""
    result: dict[str, Any] = {
        "phase": "Pending",
        "hostIP": seen.host_ip,
        "hostIPs": [{"ip": seen.host_ip}],
        "startTime": seen.start_time,
        "qosClass": qos_class(pod),
    }
    if generation := pod["metadata"].get("generation"):
        result["observedGeneration"] = generation
    if seen.pod_ips:
        result["podIP"] = seen.pod_ips[0]
        result["podIPs"] = [{"ip": ip} for ip in seen.pod_ips]
    for kind, key in _STATUS_LISTS.items() if seen.failure is None or not seen.failure.rejected else ():
        if pod["spec"].get(kind):
            result[key] = [_container_status(pod, kind, c, seen) for c in pod["spec"][kind]]
    result["phase"] = pod_phase(pod, result, stopped=seen.stopped)
    if not seen.stopped and (seen.restarting or (seen.restarted and not _ran(pod, seen))):
        result["phase"] = "Pending"
    if seen.failure is not None:
        result.update(phase="Failed", reason=seen.failure.reason, message=seen.failure.message)
    before = _before(pod, seen)
    if seen.stopped and before.get("phase") in ("Succeeded", "Failed") and seen.failure is None:
        result["phase"] = before["phase"]
        result.update({k: before[k] for k in ("reason", "message") if k in before})
    sandbox = seen.runtime.sandbox()
    network = sandbox is not None and sandbox.ready and not seen.stopped and bool(seen.pod_ips)
    result["conditions"] = conditions.pod_conditions(
        pod, result, before=before, has_network=network, now=seen.now, extra=seen.extra
    )
    return result


def _ran(pod: meta.Object, seen: Observed) -> bool:
    return any(seen.runtime.latest(container["name"]) for container in podspec.containers(pod))


_STATUS_LISTS = {
    podspec.INIT: "initContainerStatuses",
    podspec.REGULAR: "containerStatuses",
    podspec.EPHEMERAL: "ephemeralContainerStatuses",
}


def _container_status(pod: meta.Object, kind: str, container: Container, seen: Observed) -> dict[str, Any]:
    name = container["name"]
    attempts = [a for a in seen.runtime.attempts(name) if a.state in (RUNNING, EXITED)]
    old = _old_status(pod, kind, name, seen)
    result: dict[str, Any] = {
        "name": name,
        "image": container["image"],
        "imageID": "",
        "lastState": {},
        "ready": False,
        "restartCount": int(old.get("restartCount") or 0),
        "started": False,
        "state": {},
    }
    _add_resources(result, kind, container, seen)
    if not attempts:
        result.update(_state_without_attempt(pod, kind, name, seen, old))
        return result
    latest = attempts[0]
    result["containerID"] = container_id(latest.id)
    result["image"] = latest.labels.get(labels.IMAGE) or container["image"]
    result["imageID"] = latest.labels.get(labels.IMAGE_ID) or ""
    result["restartCount"] = labels.restart_count(latest.labels)
    _add_user(result, latest)
    if latest.state == RUNNING:
        result["state"] = {"running": {"startedAt": _time(latest.started_at)}}
        result["started"] = latest.id in seen.started
        result["ready"] = latest.id in seen.ready
        result["lastState"] = _terminated(attempts[1], seen) if len(attempts) > 1 else _last_state(old, latest.id)
    elif (waiting := seen.waiting.get(name)) is not None and not seen.stopped:
        result["state"] = {"waiting": _waiting(waiting)}
        result["lastState"] = _terminated(latest, seen)
    else:
        result["state"] = _terminated(latest, seen)
        result["lastState"] = _terminated(attempts[1], seen) if len(attempts) > 1 else _last_state(old, latest.id)
        # An init container that did its work stays ready: the pod waits for it no more.
        result["ready"] = kind == podspec.INIT and latest.exit_code == 0
    return result


def _state_without_attempt(
    pod: meta.Object, kind: str, name: str, seen: Observed, old: dict[str, Any]
) -> dict[str, Any]:
    waiting = seen.waiting.get(name)
    if seen.restarted and kind != podspec.EPHEMERAL and not seen.stopped:
        return {"state": {"waiting": _waiting(waiting or _default_waiting(pod))}, "lastState": _last_state(old)}
    if (old.get("state") or {}).get("terminated"):
        return {key: old[key] for key in ("state", "lastState", "ready", "containerID", "imageID") if key in old}
    ran = bool((old.get("state") or {}).get("running"))
    if ran or (seen.stopped and _reached(pod, kind, name, seen)):
        gone = {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": None,
            "finishedAt": None,
        }
        if seen.stopped:
            return {"state": {"terminated": gone}}
        return {"state": {"waiting": _waiting(waiting or _default_waiting(pod))}, "lastState": {"terminated": gone}}
    return {"state": {"waiting": _waiting(waiting or _default_waiting(pod))}, "lastState": old.get("lastState") or {}}


def _last_state(old: dict[str, Any], present: str = "") -> dict[str, Any]:
    """Return the end of the attempt before the `present` one (a container's id), of which only `old` still tells."""
    state: dict[str, Any] = old.get("state") or {}
    ended = state.get("terminated") and old.get("containerID") != container_id(present)
    return state if ended else old.get("lastState") or {}


def _reached(pod: meta.Object, kind: str, name: str, seen: Observed) -> bool:
    """Tell whether the pod came far enough to have run a container of which there is no trace (TerminatePod)."""
    if any(seen.runtime.latest(c["name"]) for c in podspec.containers(pod)):
        return kind != podspec.EPHEMERAL
    init = podspec.init_containers(pod)
    if kind == podspec.INIT:
        names = [c["name"] for c in init]
        return any(seen.runtime.latest(later) for later in names[names.index(name) + 1 :])
    last = seen.runtime.latest(init[-1]["name"]) if init else None
    if last is not None and podspec.is_sidecar(init[-1]):
        return kind == podspec.REGULAR and last.id in seen.started
    return kind == podspec.REGULAR and (not init or (last is not None and last.state == EXITED and not last.exit_code))


def _default_waiting(pod: meta.Object) -> Waiting:
    return Waiting("PodInitializing" if podspec.init_containers(pod) else "ContainerCreating")


def _before(pod: meta.Object, seen: Observed) -> Mapping[str, Any]:
    return pod.get("status") or {} if seen.previous is None else seen.previous


def _old_status(pod: meta.Object, kind: str, name: str, seen: Observed) -> dict[str, Any]:
    for found in _before(pod, seen).get(_STATUS_LISTS[kind]) or ():
        if found["name"] == name:
            return found
    return {}


def _add_resources(result: dict[str, Any], kind: str, container: Container, seen: Observed) -> None:
    if kind == podspec.EPHEMERAL:
        result.pop("started")
    allocated = seen.allocated.get(container["name"]) or container.get("resources") or {}
    actual = seen.actual.get(container["name"], allocated)
    result["resources"] = {key: actual[key] for key in ("limits", "requests") if actual.get(key)}
    if allocated.get("requests"):
        result["allocatedResources"] = allocated["requests"]
    mounts = []
    for mount in container.get("volumeMounts") or ():
        entry = {"name": mount["name"], "mountPath": mount["mountPath"]}
        if mount.get("readOnly"):
            entry["readOnly"] = True
            wish = mount.get("recursiveReadOnly") or "Disabled"
            entry["recursiveReadOnly"] = "Enabled" if wish == "IfPossible" else wish
        mounts.append(entry)
    if mounts:
        result["volumeMounts"] = mounts
    if signal := (container.get("lifecycle") or {}).get("stopSignal"):
        result["stopSignal"] = signal


def _add_user(result: dict[str, Any], status: ContainerStatus) -> None:
    uid, _, rest = (status.labels.get(labels.USER) or "").partition(":")
    gid, _, groups = rest.partition(":")
    if uid and gid:
        linux: dict[str, Any] = {"uid": int(uid), "gid": int(gid)}
        if groups:
            linux["supplementalGroups"] = [int(g) for g in groups.split(",")]
        result["user"] = {"linux": linux}


def container_id(runtime_id: str) -> str:
    """Return a container's id as the API shows it."""
    return f"{RUNTIME_NAME}://{runtime_id}"


def _waiting(waiting: Waiting) -> dict[str, str]:
    return {"reason": waiting.reason, **({"message": waiting.message} if waiting.message else {})}


def _terminated(status: ContainerStatus, seen: Observed) -> dict[str, Any]:
    if status.state != EXITED:
        return {}
    state: dict[str, Any] = {
        "containerID": container_id(status.id),
        "exitCode": status.exit_code,
        "finishedAt": _time(status.finished_at),
        "reason": status.reason or ("Completed" if status.exit_code == 0 else "Error"),
        "startedAt": _time(status.started_at),
    }
    if message := seen.messages.get(status.id) or status.message:
        state["message"] = message
    if status.signal:
        state["signal"] = status.signal
    return {"terminated": state}


def _time(seconds: float) -> str | None:
    return clock.timestamp(datetime.fromtimestamp(seconds, UTC)) if seconds else None


def pod_phase(pod: meta.Object, status: Mapping[str, Any], *, stopped: bool) -> str:
    """Return the phase for container statuses (kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase)."""
    policy = pod["spec"].get("restartPolicy") or "Always"
    pending, failed, sidecar_runs = _init_progress(pod, status)
    if failed and (policy == "Never" or stopped):
        return "Failed"
    running = waiting = ended = succeeded = restartable = 0
    by_name = {c["name"]: c for c in podspec.containers(pod)}
    for found in status.get("containerStatuses") or ():
        state, last = found["state"], found.get("lastState") or {}
        if "running" in state:
            running += 1
        elif terminated := state.get("terminated") or last.get("terminated"):
            ended += 1
            succeeded += terminated["exitCode"] == 0 and "terminated" in state
            restartable += podspec.restarts_after(pod, by_name[found["name"]], terminated["exitCode"])
        else:
            waiting += 1
    if stopped:
        return "Succeeded" if ended and succeeded == ended and not waiting else "Failed"
    if pending or waiting:
        return "Pending"
    if running or restartable or sidecar_runs:
        return "Running"
    if ended:
        return "Succeeded" if succeeded == ended else "Failed"
    return "Pending"


def _init_progress(pod: meta.Object, status: Mapping[str, Any]) -> tuple[bool, bool, bool]:
    """Return whether init containers are pending, one failed, a sidecar runs."""
    pending = failed = sidecar_runs = False
    specs = {c["name"]: c for c in podspec.init_containers(pod)}
    for found in status.get("initContainerStatuses") or ():
        state, last = found["state"], found.get("lastState") or {}
        if podspec.is_sidecar(specs[found["name"]]):
            sidecar_runs = sidecar_runs or "running" in state
            pending = pending or not (found.get("started") or last.get("terminated") or state.get("terminated"))
        elif terminated := state.get("terminated"):
            failed = failed or terminated["exitCode"] != 0
            pending = pending or terminated["exitCode"] != 0
        else:
            failed = failed or bool((last.get("terminated") or {}).get("exitCode"))
            pending = True
    return pending, failed, sidecar_runs
