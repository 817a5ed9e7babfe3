"""The lives of pods that a kill of the node process may fall into: what each goes through, and how one knows it well.

Every container of every life notes each of its starts in a file of the host, so that one that was started twice, or was
lost and replaced without a restart being counted, shows.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Object = dict[str, Any]

_REMAIN = "trap exit TERM; sleep 1d & wait"
STARTS = "/starts"


@dataclass(frozen=True, kw_only=True)
class Life:
    """`spec` is the pod's spec for an image. The pod has come through its beginning when `settled` says so of it, and
    through its middle when `later` does; `change` is a patch of its resources that begins the middle."""

    spec: Callable[[str], Object]
    settled: Callable[[Object], bool]
    later: Callable[[Object], bool] | None = None
    change: Object | None = None
    pulls: bool = False


def container(name: str, script: str, image: str, **more: Any) -> Object:
    """Return a container that notes its start under its name and runs `script`."""
    note = f'echo started >>"{STARTS}/$POD-{name}"; '
    variable = {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}}
    return {
        "name": name,
        "image": image,
        "command": ["sh", "-c", note + script],
        "env": [variable],
        "volumeMounts": [{"name": "starts", "mountPath": STARTS}],
        **more,
    }


def statuses(pod: Object) -> list[Object]:
    """Return the statuses of all containers of a pod, of the init containers first."""
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def miscounted(pod: Object, directory: Path) -> list[str]:
    """Return where the starts that containers noted are not the starts that the pod's status tells of."""
    wrong = []
    for status in statuses(pod):
        path = directory / f"{pod['metadata']['uid']}-{status['name']}"
        noted = len(path.read_text().split()) if path.exists() else 0
        began = any(status[member].get(kind) for member in ("state", "lastState") for kind in ("running", "terminated"))
        told = status["restartCount"] + 1 if began else 0
        if noted != told:
            wrong.append(f"{pod['metadata']['name']}/{status['name']} started {noted} times, told of {told}")
    return wrong


def _two(image: str) -> Object:
    return {"containers": [container(name, _REMAIN, image) for name in ("a", "b")], "restartPolicy": "Never"}


def _hooked(image: str) -> Object:
    hook = {"exec": {"command": ["sh", "-c", "sleep 0.3"]}}
    hooks = {"lifecycle": {"postStart": hook, "preStop": hook}}
    before = container("first", "sleep 0.2", image)
    beside = container("beside", _REMAIN, image, restartPolicy="Always")
    return {
        "initContainers": [before, beside],
        "containers": [container("a", _REMAIN, image, **hooks)],
        "restartPolicy": "Always",
    }


def _failing(image: str) -> Object:
    again = f'test $(wc -l <"{STARTS}/$POD-a") -ge 2'
    return {"containers": [container("a", f"sleep 0.2; {again}", image)], "restartPolicy": "OnFailure"}


def _probed(image: str) -> Object:
    """The liveness probe of a container fails in its first attempt alone."""
    script = f'test $(wc -l <"{STARTS}/$POD-a") -ge 2 && touch /tmp/well; {_REMAIN}'
    check = {"exec": {"command": ["test", "-e", "/tmp/well"]}, "periodSeconds": 1}
    probes = {"livenessProbe": {**check, "failureThreshold": 2}, "readinessProbe": check}
    return {"containers": [container("a", script, image, **probes)]}


def _resized(image: str) -> Object:
    resources = {"requests": {"cpu": "10m", "memory": "16Mi"}, "limits": {"cpu": "100m", "memory": "32Mi"}}
    return {"containers": [container("a", _REMAIN, image, resources=resources)]}


def _finished(image: str) -> Object:
    return {"containers": [container(name, "sleep 0.2", image) for name in ("a", "b")], "restartPolicy": "Never"}


def _run(pod: Object) -> bool:
    found = (pod.get("status") or {}).get("containerStatuses") or ()
    return len(found) == len(pod["spec"]["containers"]) and all(s["state"].get("running") and s["ready"] for s in found)


def _run_undisturbed(pod: Object) -> bool:
    return _run(pod) and all(status["restartCount"] == 0 for status in statuses(pod))


def _succeeded(pod: Object) -> bool:
    return bool((pod.get("status") or {}).get("phase") == "Succeeded")


def _was_resized(pod: Object) -> bool:
    held = [status.get("resources", {}).get("limits", {}).get("cpu") for status in statuses(pod)]
    return _run_undisturbed(pod) and held == ["200m"]


_MORE = {"requests": {"cpu": "20m", "memory": "16Mi"}, "limits": {"cpu": "200m", "memory": "32Mi"}}

LIVES = {
    "two": Life(spec=_two, settled=_run_undisturbed),
    "hooked": Life(spec=_hooked, settled=_run_undisturbed),
    "finished": Life(spec=_finished, settled=_succeeded),
    "failing": Life(spec=_failing, settled=_succeeded),
    "probed": Life(spec=_probed, settled=_run),
    "pulled": Life(spec=_two, settled=_run_undisturbed, pulls=True),
    "resized": Life(
        spec=_resized,
        settled=_run_undisturbed,
        later=_was_resized,
        change={"spec": {"containers": [{"name": "a", "resources": _MORE}]}},
    ),
}
