"""The pod conditions that a kubelet owns (kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-conditions)."""

from collections.abc import Mapping, Sequence
from typing import Any

from wherry.api import meta
from wherry.kubelet import podspec

OWNED = (
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
    "AllContainersRestarting",
)

SHARED = ("DisruptionTarget",)
"""Written by the kubelet among others, and never taken away."""

Condition = dict[str, Any]


def pod_conditions(
    pod: meta.Object,
    status: Mapping[str, Any],
    *,
    before: Mapping[str, Any],
    has_network: bool,
    now: str,
    extra: Sequence[Condition] = (),
) -> list[Condition]:
    """Return the pod's conditions for a status whose phase and container statuses are known.

    The time of the last transition is kept where the status did not change since the status `before`; conditions of
    others are the API's and come after ours.
    """
    in_api = {c["type"]: c for c in (pod.get("status") or {}).get("conditions") or ()}
    own = {c["type"]: c for c in before.get("conditions") or ()}
    containers_ready = _containers_ready(pod, status)
    ours = [
        {"type": "PodReadyToStartContainers", "status": _bool(has_network)},
        _initialized(pod, status),
        _ready(pod, in_api, containers_ready),
        containers_ready,
        {"type": "PodScheduled", "status": "True"},
        *extra,
    ]
    result = []
    for new in ours:
        old = own.get(new["type"]) or {}
        same = old.get("status") == new["status"] and old.get("lastTransitionTime")
        condition = {**new, "lastProbeTime": None, "lastTransitionTime": old["lastTransitionTime"] if same else now}
        if generation := pod["metadata"].get("generation"):
            condition["observedGeneration"] = generation
        result.append(condition)
    written = {c["type"] for c in result}
    return result + [c for kind, c in in_api.items() if kind not in OWNED and kind not in written]


def disruption(message: str) -> Condition:
    """Return the condition that tells a Job that the end of a pod was not the pod's fault."""
    return {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}


def restarting(name: str, exit_code: int, *, still: bool) -> Condition:
    """Return the condition that tells that the end of one container restarts all."""
    message = f"Container {name} exited with code {exit_code}, triggering pod restart"
    return {
        "type": "AllContainersRestarting",
        "status": _bool(still),
        "reason": "ContainerExited",
        "message": message,
    }


def _bool(value: bool) -> str:
    return "True" if value else "False"


def _initialized(pod: meta.Object, status: Mapping[str, Any]) -> Condition:
    sidecars = {c["name"] for c in podspec.init_containers(pod) if podspec.is_sidecar(c)}
    if status["phase"] == "Succeeded":
        return {"type": "Initialized", "status": "True", "reason": "PodCompleted"}
    incomplete = []
    for found in status.get("initContainerStatuses") or ():
        terminated = found["state"].get("terminated")
        ended_well = bool(terminated) and not terminated["exitCode"]
        if not (found.get("started") if found["name"] in sidecars else ended_well):
            incomplete.append(found["name"])
    # Once a regular container has run the pod was initialized, whatever its sidecars do afterwards.
    ran = any(c["state"].get("running") or c["state"].get("terminated") for c in status.get("containerStatuses") or ())
    if not incomplete or (ran and status["phase"] != "Failed"):
        return {"type": "Initialized", "status": "True"}
    message = f"containers with incomplete status: [{' '.join(incomplete)}]"
    return {"type": "Initialized", "status": "False", "reason": "ContainersNotInitialized", "message": message}


def _containers_ready(pod: meta.Object, status: Mapping[str, Any]) -> Condition:
    if status["phase"] in ("Succeeded", "Failed"):
        reason = "PodCompleted" if status["phase"] == "Succeeded" else "PodFailed"
        return {"type": "ContainersReady", "status": "False", "reason": reason}
    sidecars = {c["name"] for c in podspec.init_containers(pod) if podspec.is_sidecar(c)}
    watched = [c for c in status.get("initContainerStatuses") or () if c["name"] in sidecars]
    watched += status.get("containerStatuses") or ()
    unready = [c["name"] for c in watched if not c["ready"]]
    if not unready:
        return {"type": "ContainersReady", "status": "True"}
    message = f"containers with unready status: [{' '.join(unready)}]"
    return {"type": "ContainersReady", "status": "False", "reason": "ContainersNotReady", "message": message}


def _ready(pod: meta.Object, in_api: Mapping[str, Condition], containers_ready: Condition) -> Condition:
    if containers_ready["status"] != "True":
        return {**containers_ready, "type": "Ready"}
    messages = []
    for gate in pod["spec"].get("readinessGates") or ():
        kind = gate["conditionType"]
        found = in_api.get(kind)
        if found is None:
            messages.append(f'corresponding condition of pod readiness gate "{kind}" does not exist.')
        elif found.get("status") != "True":
            messages.append(f'the status of pod readiness gate "{kind}" is not "True", but {found.get("status")}')
    if not messages:
        return {"type": "Ready", "status": "True"}
    message = messages[0] if len(messages) == 1 else f"[{', '.join(messages)}]"
    return {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": message}
