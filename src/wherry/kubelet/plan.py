"""What to do next for a pod: a pure function of its spec, what runs, and what the probes say.

It follows the rules of the pod lifecycle (kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle): the sandbox before
all, init containers one after the other, sidecars for as long as the pod, regular containers together, ephemeral ones
whenever the sandbox is there. A step that has to wait for another is simply not in the plan; the event that ends the
wait leads to the next plan.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from wherry.api import meta
from wherry.kubelet import labels, podspec
from wherry.kubelet.podspec import Container
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.runtime.protocol import EXITED, RUNNING, ContainerStatus


@dataclass(frozen=True, slots=True)
class Verdicts:
    """What the probes say of container ids: `failed` returns "liveness", "startup" or "" (with the grace override in
    `grace`); `started` tells whether the startup probe and the postStart hook have passed."""

    failed: Callable[[str], str] = lambda container_id: ""
    started: Callable[[str], bool] = lambda container_id: True
    grace: Callable[[str], float | None] = lambda container_id: None


@dataclass(frozen=True, slots=True)
class Start:
    """Start `container` (a member of the pod's list `kind`) as attempt `restart_count`; `after` is the attempt before,
    whose end the back-off counts from."""

    kind: str
    container: Container
    restart_count: int
    after: ContainerStatus | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """Stop one container; `message` goes into the event, `grace` overrides the pod's grace period."""

    container_id: str
    name: str
    message: str
    grace: float | None = None


@dataclass(slots=True)
class Plan:
    """`finished`: nothing of the pod will ever run again; what still runs is to be stopped and its sandbox with it.
    `restart_all`: the end of this container asks that all be ended and started anew in the same sandbox."""

    restart_all: ContainerStatus | None = None
    create_sandbox: bool = False
    kill_sandbox: bool = False
    finished: bool = False
    initialized: bool = False
    kill: list[Kill] = field(default_factory=list)
    start: list[Start] = field(default_factory=list)


def make_plan(pod: meta.Object, runtime: PodRuntime, verdicts: Verdicts) -> Plan:
    """Return the next steps of a pod that is not being deleted."""
    plan = Plan()
    sandbox = runtime.sandbox()
    if (trigger := _restart_trigger(pod, runtime)) is not None:
        plan.restart_all = trigger
        return plan
    if is_finished(pod, runtime):
        plan.finished = plan.initialized = True
        return plan
    if sandbox is None or not sandbox.ready:
        plan.create_sandbox, plan.kill_sandbox = True, sandbox is not None
    view = _View(pod, runtime, "" if plan.create_sandbox or sandbox is None else sandbox.id, verdicts)
    for container in podspec.ephemeral_containers(pod):
        if runtime.latest(container["name"]) is None:
            plan.start.append(Start(podspec.EPHEMERAL, container, 0))
    plan.initialized = _plan_init(plan, view)
    if plan.initialized:
        _plan_regular(plan, view)
    return plan


def _restart_trigger(pod: meta.Object, runtime: PodRuntime) -> ContainerStatus | None:
    for container in (*podspec.init_containers(pod), *podspec.containers(pod)):
        latest = runtime.latest(container["name"])
        if latest is None or latest.state != EXITED:
            continue
        if podspec.exit_action(container, latest.exit_code) == "RestartAllContainers":
            return latest
    return None


def is_finished(pod: meta.Object, runtime: PodRuntime) -> bool:
    """Tell whether no container of the pod will run again: an init container failed for good, or all have ended."""
    for container in podspec.init_containers(pod):
        latest = runtime.latest(container["name"])
        if (
            latest is not None
            and latest.state == EXITED
            and latest.exit_code != 0
            and not podspec.is_sidecar(container)
            and not podspec.init_restarts_after(pod, container, latest.exit_code)
        ):
            return True
    for container in podspec.containers(pod):
        latest = runtime.latest(container["name"])
        if latest is None or latest.state != EXITED or podspec.restarts_after(pod, container, latest.exit_code):
            return False
    return True


@dataclass(slots=True)
class _View:
    pod: meta.Object
    runtime: PodRuntime
    sandbox_id: str
    verdicts: Verdicts

    def current(self, container: Container) -> ContainerStatus | None:
        """Return the newest attempt in the present sandbox."""
        for attempt in self.runtime.attempts(container["name"]):
            if attempt.sandbox_id == self.sandbox_id:
                return attempt
        return None

    def start(self, kind: str, container: Container) -> Start:
        latest = self.runtime.latest(container["name"])
        if latest is None:
            return Start(kind, container, _count_in_status(self.pod, container["name"]))
        before = labels.restart_count(latest.labels)
        # An attempt that was made but never ran (the process ended in between) is not counted as a restart.
        return Start(kind, container, before if latest.state not in (RUNNING, EXITED) else before + 1, latest)

    def check(self, container: Container, status: ContainerStatus) -> Kill | None:
        """Return the reason to kill a running container."""
        name = container["name"]
        if status.labels.get(labels.CONTAINER_HASH) not in (None, labels.container_hash(container)):
            return Kill(status.id, name, f"Container {name} definition changed, will be restarted")
        if failed := self.verdicts.failed(status.id):
            message = f"Container {name} failed {failed} probe, will be restarted"
            return Kill(status.id, name, message, self.verdicts.grace(status.id))
        return None


def _count_in_status(pod: meta.Object, name: str) -> int:
    # After a reboot the runtime knows nothing, but the API remembers how often the container ran.
    status = pod.get("status") or {}
    for kind in ("initContainerStatuses", "containerStatuses"):
        for found in status.get(kind) or ():
            if found["name"] == name and found.get("containerID"):
                return int(found.get("restartCount") or 0) + 1
    return 0


def _plan_init(plan: Plan, view: _View) -> bool:
    """Plan the init containers and return whether the regular ones may run."""
    init = podspec.init_containers(view.pod)
    ran_regular = any(view.current(c) is not None for c in podspec.containers(view.pod))
    statuses = [view.current(c) for c in init]
    frontier = len(init) if ran_regular else max((i for i, s in enumerate(statuses) if s is not None), default=-1)
    for container, status in list(zip(init, statuses, strict=True))[: max(frontier, 0)]:
        if podspec.is_sidecar(container):
            _keep_running(plan, view, podspec.INIT, container, status)
    if frontier == len(init):
        return True
    if frontier >= 0 and not _passed(plan, view, init[frontier], statuses[frontier]):
        return False
    if frontier + 1 < len(init):
        plan.start.append(view.start(podspec.INIT, init[frontier + 1]))
        return False
    return True


def _passed(plan: Plan, view: _View, container: Container, status: ContainerStatus | None) -> bool:
    """Tell whether the init container in turn lets the next one start; plan its restart where it needs one."""
    if podspec.is_sidecar(container):
        _keep_running(plan, view, podspec.INIT, container, status)
        return status is not None and status.state == RUNNING and view.verdicts.started(status.id)
    if status is not None and status.state == EXITED and status.exit_code == 0:
        return True
    if status is None or status.state != RUNNING:
        plan.start.append(view.start(podspec.INIT, container))
    elif kill := view.check(container, status):
        plan.kill.append(kill)
    return False


def _keep_running(plan: Plan, view: _View, kind: str, container: Container, status: ContainerStatus | None) -> None:
    if status is None or status.state != RUNNING:
        plan.start.append(view.start(kind, container))
    elif kill := view.check(container, status):
        plan.kill.append(kill)


def _plan_regular(plan: Plan, view: _View) -> None:
    for container in podspec.containers(view.pod):
        status = view.current(container)
        latest = status or view.runtime.latest(container["name"])
        if latest is not None and latest.state == EXITED:
            if podspec.restarts_after(view.pod, container, latest.exit_code):
                plan.start.append(view.start(podspec.REGULAR, container))
        else:
            _keep_running(plan, view, podspec.REGULAR, container, status)
