"""The pods of all fake nodes: started, run to their end where they have one, stopped and taken out of the API."""

import asyncio
import hashlib
import ipaddress
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import PODS
from wherry.client.cache import by_node
from wherry.client.client import STRATEGIC_PATCH, Client
from wherry.client.informer import InformerFactory
from wherry.client.workqueue import Workqueue
from wherry.kubelet import labels, podspec
from wherry.kubelet.fake import EXIT_CODE, RUN_SECONDS, STOP_SECONDS, FakeConfig
from wherry.kubelet.fake.work import work
from wherry.kubelet.runtime_cache import PodRuntime
from wherry.kubelet.status import Observed, Waiting, pod_status
from wherry.kubelet.status_manager import make_patch
from wherry.runtime.protocol import EXITED, RUNNING, ContainerStatus, SandboxStatus
from wherry.util import clock

_WORKERS = 64  # so many writes share the store's commits
_BY_NODE = "node"
_NETWORK = ipaddress.ip_network("198.18.0.0/15")
"""Addresses of fake pods: kept for measuring devices (RFC 2544), so that nobody is behind them."""

_FOREVER = float("inf")
_MOMENT = 1.0
_CRASH_BACKOFF = (10.0, 300.0)


@dataclass(slots=True)
class _Run:
    """What goes on in a pod: its containers' `attempt` began, or will, at `began` (seconds since the epoch).

    `before` is when the attempt before it began and ended; None where this process did not see it.
    """

    ip: str
    start_time: str
    began: float
    attempt: int = 0
    before: tuple[float, float] | None = None
    deleted: bool = False


class FakePods:
    """Does for the pods on fake nodes what their kubelets would; `present(node)` tells whether that node is alive."""

    def __init__(
        self,
        config: FakeConfig,
        informers: InformerFactory,
        *,
        clients: Mapping[str, Client],
        present: Callable[[str], bool],
    ) -> None:
        self._config = config
        self._clients = clients
        self._present = present
        self._informer = informers.informer(PODS)
        self._informer.add_index(_BY_NODE, by_node)
        self._queue: Workqueue[str] = Workqueue("fake-pods")
        self._runs: dict[str, _Run] = {}
        self._addresses = Addresses()

    async def run(self) -> None:
        """Take over the pods that are there, then follow all of them until cancelled."""
        await self._informer.wait_synced()
        for node in self._clients:
            for pod in self._informer.lister.by_index(_BY_NODE, node):
                self._adopt(pod)
        self._informer.add_handler(on_add=self._enqueue, on_update=self._updated, on_delete=self._gone)
        async with asyncio.TaskGroup() as group:
            for number in range(_WORKERS):
                group.create_task(work(self._queue, self._reconcile), name=f"fake pods/{number}")

    def samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """Yield the metrics of the work queue as (name, labels, value)."""
        return self._queue.samples()

    def enqueue_node(self, node: str) -> None:
        """Look at the pods of a node that came back."""
        for pod in self._informer.lister.by_index(_BY_NODE, node):
            self._queue.add(meta.key_of(pod))

    def _enqueue(self, pod: Object) -> None:
        if _node_of(pod) in self._clients:
            self._queue.add(meta.key_of(pod))

    def _updated(self, old: Object, new: Object) -> None:
        self._enqueue(new)

    def _gone(self, pod: Object) -> None:
        self._release(pod)

    def _release(self, pod: Object) -> None:
        run = self._runs.pop(meta.uid(pod), None)
        if run is not None:
            self._addresses.give_back(run.ip)

    async def _reconcile(self, key: str) -> float | None:
        """Bring one pod to where it should be now, and return the seconds until there is more to do."""
        pod = self._informer.lister.get(key)
        if pod is None or not self._present(_node_of(pod)):
            return None
        if meta.is_deleting(pod):
            return await self._stop(pod)
        if _has_ended(pod):
            self._release(pod)
            return None
        run, now = self._run_of(pod), clock.seconds()
        ends = run.began + _run_seconds(pod)
        if now < run.began:
            if run.attempt:
                await self._report(pod, self._observed(pod, run, waiting=True))
            return run.began - now
        if now < ends:
            await self._report(pod, self._observed(pod, run))
            return ends - now if ends < _FOREVER else None
        await self._report(pod, self._observed(pod, run, ended=True))
        if not any(podspec.restarts_after(pod, c, _exit_code(pod)) for c in podspec.containers(pod)):
            return None
        run.before = (run.began, now)
        run.attempt += 1
        run.began = now + _backoff(run.attempt)
        return run.began - now

    async def _stop(self, pod: Object) -> float | None:
        """End a pod's containers, say so, and take the pod out of the API, as kubelets do; finalizers may keep it."""
        due = _stops_at(pod)
        if (left := due - clock.seconds()) > 0:
            return left
        run = self._run_of(pod)
        if run.deleted:
            return None
        if not _has_ended(pod):
            began = run.began <= clock.seconds()
            await self._report(pod, self._observed(pod, run, ended=began, stopped=True))
        options = {"gracePeriodSeconds": 0, "preconditions": {"uid": meta.uid(pod)}}
        try:
            await self._clients[_node_of(pod)].delete(PODS, meta.name(pod), meta.namespace(pod), options=options)
        except (errors.NotFound, errors.Conflict):
            return None
        run.deleted = True
        return None

    async def _report(self, pod: Object, seen: Observed) -> None:
        patch = make_patch(pod.get("status") or {}, pod_status(pod, seen))
        if not patch:
            return
        body = {"metadata": {"uid": meta.uid(pod)}, "status": patch}
        client = self._clients[_node_of(pod)]
        try:
            await client.patch(
                PODS, meta.name(pod), body, meta.namespace(pod), content_type=STRATEGIC_PATCH, subresource="status"
            )
        except (errors.NotFound, errors.Conflict):
            # The uid is another's, or nobody's: this pod is gone, and the informer will say so.
            return

    def _run_of(self, pod: Object) -> _Run:
        run = self._runs.get(meta.uid(pod))
        if run is None:
            ip = self._config.address if pod["spec"].get("hostNetwork") else self._addresses.take()
            run = _Run(ip, clock.timestamp(), clock.seconds() + self._config.delay)
            self._runs[meta.uid(pod)] = run
        return run

    def _adopt(self, pod: Object) -> None:
        """Take over a pod that an earlier process started; what it knew is in the pod's status."""
        status = pod.get("status") or {}
        if _has_ended(pod) or not status.get("podIP"):
            return
        self._addresses.note(status["podIP"])
        run = _Run(status["podIP"], status["startTime"], clock.seconds())
        for found in status.get("containerStatuses") or ():
            run.attempt = int(found.get("restartCount") or 0)
            if running := found["state"].get("running"):
                run.began = clock.parse(running["startedAt"]).timestamp()
            else:
                run.attempt += 1
        self._runs[meta.uid(pod)] = run

    def _observed(
        self, pod: Object, run: _Run, *, waiting: bool = False, ended: bool = False, stopped: bool = False
    ) -> Observed:
        """Return what a kubelet would have seen: the attempt runs, is `waiting` to be restarted, or has `ended`."""
        runtime = PodRuntime(containers={c.id: c for c in _containers(pod, run, waiting=waiting, ended=ended)})
        runtime.sandboxes[""] = SandboxStatus(
            id="", ready=not stopped, labels={}, created_at=run.began, network_namespace=None
        )
        ids = frozenset(c.id for c in runtime.running())
        text = "back-off restarting failed container"
        names = [c["name"] for c in podspec.containers(pod)] if waiting else []
        return Observed(
            runtime=runtime,
            now=clock.timestamp(),
            start_time=run.start_time,
            host_ip=self._config.address,
            pod_ips=(run.ip,),
            waiting=dict.fromkeys(names, Waiting("CrashLoopBackOff", text)),
            ready=ids,
            started=ids,
            stopped=stopped,
        )


def _containers(pod: Object, run: _Run, *, waiting: bool, ended: bool) -> Iterator[ContainerStatus]:
    for container in podspec.init_containers(pod):
        runs = podspec.is_sidecar(container) and not ended
        yield _container(pod, container, attempt=0, times=(run.began, 0.0 if runs else clock.seconds()), exit_code=0)
    for container in podspec.containers(pod):
        code = _exit_code(pod)
        if run.before is not None:
            yield _container(pod, container, attempt=run.attempt - 1, times=run.before, exit_code=code)
        if not waiting:
            code = 0 if meta.is_deleting(pod) else code
            times = (run.began, clock.seconds() if ended else 0.0)
            yield _container(pod, container, attempt=run.attempt, times=times, exit_code=code)


def _container(
    pod: Object, container: Object, *, attempt: int, times: tuple[float, float], exit_code: int
) -> ContainerStatus:
    """Return a container that began and ended at `times`; the end is 0 while it runs."""
    began, ended = times
    named = f"{meta.uid(pod)}/{container['name']}/{attempt}"
    return ContainerStatus(
        id=hashlib.sha256(named.encode()).hexdigest(),
        sandbox_id="",
        name=container["name"],
        state=EXITED if ended else RUNNING,
        pid=0,
        labels={labels.RESTART_COUNT: str(attempt)},
        created_at=began,
        started_at=began,
        finished_at=ended,
        exit_code=exit_code if ended else 0,
    )


class Addresses:
    """Gives out the addresses of fake pods, each to one pod at a time."""

    def __init__(self) -> None:
        self._used: set[int] = set()
        self._next = 1

    def take(self) -> str:
        """Return an address that no pod has. Raises OSError when there is none."""
        size = _NETWORK.num_addresses - 2
        if len(self._used) >= size:
            raise OSError(f"no address of {_NETWORK} is free")
        while self._next in self._used:
            self._next = self._next % size + 1
        number, self._next = self._next, self._next % size + 1
        self._used.add(number)
        return str(_NETWORK[number])

    def note(self, address: str) -> None:
        """Mark an address as given out, by an earlier process; one of another network is not ours to give."""
        self._used.add(int(ipaddress.ip_address(address)) - int(_NETWORK[0]))

    def give_back(self, address: str) -> None:
        """Let another pod have an address."""
        self._used.discard(int(ipaddress.ip_address(address)) - int(_NETWORK[0]))


def _node_of(pod: Object) -> str:
    return pod["spec"].get("nodeName") or ""


def _has_ended(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _run_seconds(pod: Object) -> float:
    """Return how long an attempt of the pod's containers lasts."""
    ends = (pod["spec"].get("restartPolicy") or "Always") != "Always"
    return _number(pod, RUN_SECONDS, default=_MOMENT if ends else _FOREVER)


def _exit_code(pod: Object) -> int:
    return int(_number(pod, EXIT_CODE, default=0.0))


def _stops_at(pod: Object) -> float:
    """Return when the containers of a pod that is being deleted have stopped, in seconds since the epoch."""
    grace = float(pod["metadata"].get("deletionGracePeriodSeconds") or 0)
    deadline = clock.parse(pod["metadata"]["deletionTimestamp"]).timestamp()
    return deadline - grace + min(grace, _number(pod, STOP_SECONDS, default=0.0))


def _number(pod: Object, annotation: str, *, default: float) -> float:
    try:
        return max(0.0, float(meta.annotations(pod)[annotation]))
    except (KeyError, ValueError):
        return default


def _backoff(attempt: int) -> float:
    """Return how long attempt `attempt` of containers that end waits: none at first, then as kubelets do."""
    initial, maximum = _CRASH_BACKOFF
    return 0.0 if attempt <= 1 else min(maximum, initial * 2.0 ** min(attempt - 2, 10))
