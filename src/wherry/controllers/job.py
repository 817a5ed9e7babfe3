"""The Job controller: runs pods until enough of them have succeeded.

Watches Jobs and their pods. Writes pods (create, delete, adopt, and the finalizer that keeps a finished pod until it is
counted) and the Job's status. Guarantees that each finished pod is counted exactly once, even when it is deleted or
this process dies in between: its UID is in ``uncountedTerminatedPods`` before its finalizer goes, and its number in
``succeeded`` or ``failed`` after that. ``Complete`` and ``Failed`` come only when no pod of the Job runs any more. Does
not delete finished pods or Jobs. Leaves Jobs with another ``managedBy`` alone.
"""

from collections.abc import Iterable

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import JOBS, PODS
from wherry.api.selectors import labels
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import indexes
from wherry.controllers import pods as podutil
from wherry.controllers.controller import TOGETHER, Controller, gather_all, is_namespace_terminating, slow_start
from wherry.controllers.jobplan import FINALIZER, Inputs, NewPod, Plan, has_finalizer, is_job_finished, plan
from wherry.controllers.refs import CONTROLLER, candidates, claim, index_claims, plan_claims
from wherry.util import clock

_MANAGER = "kubernetes.io/job-controller"
_OWNER_KEY = "job"
_LONE_POD = "pod:"


class JobController(Controller):
    name = "job-controller"
    retry_delays = (1.0, 60.0)

    def register(self) -> None:
        self._jobs = self.watch(JOBS)
        self._pods = self.watch_owned(PODS, JOBS, orphans=self._adopters, delay=TOGETHER)
        index_claims(self._pods)
        self._pods.add_index(_OWNER_KEY, _owner_key)

    def _adopters(self, pod: Object) -> Iterable[str]:
        found = [
            meta.key_of(job)
            for job in self._jobs.lister.list(meta.namespace(pod))
            # A Job that goes adopts nothing: what its deletion orphans is to be let go.
            if not is_job_finished(job)
            and not meta.is_deleting(job)
            and labels.from_selector(job["spec"].get("selector")).matches(meta.labels(pod))
        ]
        return found or ([f"{_LONE_POD}{meta.key_of(pod)}"] if has_finalizer(pod) else [])

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_LONE_POD):
            pod = self._pods.lister.get(key.removeprefix(_LONE_POD))
            if pod is not None and meta.controller_of(pod) is None:
                await self._release(key, pod)
            return None
        job = self._jobs.lister.get(key)
        await self._release_strays(key, job)
        if job is None or job["spec"].get("managedBy", _MANAGER) != _MANAGER:
            return None
        if is_job_finished(job):
            await gather_all(self._release(key, pod) for pod in self._pods.lister.by_index(CONTROLLER, meta.uid(job)))
            return None
        selector = labels.from_selector(job["spec"].get("selector"))
        claims = plan_claims(job, candidates(self._pods, job), selector)
        pods = await claim(self.client, JOBS, job, PODS, claims)
        todo = plan(Inputs(job, tuple(pods), clock.now()))
        began = clock.monotonic()
        try:
            await self._carry_out(key, job, todo)
        except errors.StatusError:
            self._measure(job, todo, "error", began)
            raise
        self._measure(job, todo, "success", began)
        return todo.again

    def _measure(self, job: Object, todo: Plan, result: str, began: float) -> None:
        action = "pods_created" if todo.create else "pods_deleted" if todo.delete else "reconciling"
        if todo.release and not todo.create and not todo.delete:
            action = "tracking"
        labels = {
            "completion_mode": job["spec"].get("completionMode", "NonIndexed"),
            "result": result,
            "action": action,
        }
        self.meter.count("job_controller_job_syncs_total", **labels)
        self.meter.observe("job_controller_job_sync_duration_seconds", clock.monotonic() - began, **labels)

    async def _carry_out(self, key: str, job: Object, todo: Plan) -> None:
        await gather_all(self._delete(key, job, pod) for pod in todo.delete)
        refused = await self._create_all(key, job, todo)
        # What is to be counted is on record before the finalizers go.
        await gather_all(self._release(key, pod) for pod in todo.release)
        if refused is not None and not is_namespace_terminating(refused):
            raise refused

    async def _create_all(self, key: str, job: Object, todo: Plan) -> errors.StatusError | None:
        """Create the pods, then record the status with those that there are; return why some could not be created."""
        pending = list(reversed(todo.create))
        missing, refused = len(pending), None

        async def create_next() -> None:
            nonlocal missing
            await self._create(key, job, pending.pop())
            missing -= 1

        try:
            await slow_start(len(pending), create_next)
        except errors.StatusError as error:
            refused = error
        status = meta.copy(todo.status)
        if active := status.pop("active", 0) - missing:
            status["active"] = active
        await self._update_status(key, job, todo, status)
        return refused

    async def _update_status(self, key: str, job: Object, todo: Plan, status: Object) -> None:
        if status == job.get("status"):
            return
        try:
            self.wrote(key, JOBS, await self.client.update_status(JOBS, {**job, "status": status}))
        except errors.NotFound:
            return
        for event in todo.events:
            self.recorder.event(job, event.type, event.reason, event.message)
        for kind, result in (("Complete", "succeeded"), ("Failed", "failed")):
            condition = meta.condition({"status": todo.status}, kind)
            if condition is not None and condition["status"] == "True":
                mode = job["spec"].get("completionMode", "NonIndexed")
                labels = {"completion_mode": mode, "result": result, "reason": condition.get("reason", "")}
                self.meter.count("job_controller_jobs_finished_total", **labels)

    async def _create(self, key: str, job: Object, new: NewPod) -> None:
        pod = new_pod(job, new)
        try:
            made = self.wrote(key, PODS, await self.client.create(PODS, pod))
        except errors.StatusError as error:
            if not is_namespace_terminating(error):
                self.recorder.event(job, WARNING, "FailedCreate", f"Error creating: {error}")
            raise
        self.recorder.event(job, NORMAL, "SuccessfulCreate", f"Created pod: {meta.name(made)}")

    async def _delete(self, key: str, job: Object, pod: Object) -> None:
        try:
            gone = await self.client.delete(PODS, meta.name(pod), meta.namespace(pod))
        except errors.NotFound:
            return
        except errors.StatusError as error:
            self.recorder.event(job, WARNING, "FailedDelete", f"Error deleting: {error}")
            raise
        self.wrote(key, PODS, gone)
        self.recorder.event(job, NORMAL, "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}")

    async def _release_strays(self, key: str, job: Object | None) -> None:
        """Let go of pods whose Job is no more, or that a Job of another life of the name made."""
        uid = meta.uid(job) if job is not None and not meta.is_deleting(job) else ""
        strays = [
            pod
            for pod in self._pods.lister.by_index(_OWNER_KEY, key)
            if (ref := meta.controller_of(pod)) is not None and ref["uid"] != uid
        ]
        await gather_all(self._release(key, pod) for pod in strays)

    async def _release(self, key: str, pod: Object) -> None:
        """Take the tracking finalizer from a pod."""
        if not has_finalizer(pod):
            return
        kept = [name for name in pod["metadata"]["finalizers"] if name != FINALIZER]
        metadata = {
            "finalizers": kept or None,
            "uid": meta.uid(pod),
            "resourceVersion": pod["metadata"]["resourceVersion"],
        }
        try:
            answer = await self.client.patch(PODS, meta.name(pod), {"metadata": metadata}, meta.namespace(pod))
        except errors.NotFound:
            return
        self.wrote(key, PODS, answer)


def _owner_key(pod: Object) -> Iterable[str]:
    ref = meta.controller_of(pod)
    if ref is None or ref["kind"] != "Job" or not has_finalizer(pod):
        return ()
    return (meta.make_key(meta.namespace(pod), ref["name"]),)


def new_pod(job: Object, new: NewPod) -> Object:
    """Return the pod to create; of an Indexed Job with its index in name, host name, labels and environment."""
    pod = podutil.from_template(job["spec"]["template"], job)
    md = pod["metadata"]
    md["finalizers"] = [*md.get("finalizers", ()), FINALIZER]
    md.setdefault("annotations", {}).update(new.annotations)
    if new.index is not None:
        md["generateName"] = f"{meta.name(job)[:52]}-{new.index}-"
        md["annotations"][indexes.COMPLETION_INDEX] = str(new.index)
        md.setdefault("labels", {})[indexes.COMPLETION_INDEX] = str(new.index)
        pod["spec"].setdefault("hostname", f"{meta.name(job)}-{new.index}")
        _add_index_variable(pod["spec"])
    if not md["annotations"]:
        del md["annotations"]
    return pod


def _add_index_variable(spec: Object) -> None:
    path = f"metadata.labels['{indexes.COMPLETION_INDEX}']"
    variable = {"name": "JOB_COMPLETION_INDEX", "valueFrom": {"fieldRef": {"fieldPath": path}}}
    for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
        variables = container.setdefault("env", [])
        if not any(entry["name"] == "JOB_COMPLETION_INDEX" for entry in variables):
            variables.append(variable)
