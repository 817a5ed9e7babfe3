"""The Deployment controller: one ReplicaSet per pod template, and rollouts from one to the next.

Watches Deployments, their ReplicaSets and, for the strategy Recreate, their pods. Writes ReplicaSets (create, scale,
annotate, adopt, delete beyond the history limit) and the Deployment's status and revision annotation. Guarantees that a
rolling update never has more than ``replicas + maxSurge`` pods in spec, and takes no available pod away below
``replicas - maxUnavailable``. Does not roll back by itself: ``kubectl rollout undo`` writes an old template, whose
ReplicaSet is found again and gets the next revision.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import DEPLOYMENTS, PODS, REPLICASETS
from wherry.api.selectors import labels
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller, is_namespace_terminating
from wherry.controllers.dependents import is_kind
from wherry.controllers.refs import CONTROLLER, candidates, claim, index_claims, plan_claims
from wherry.controllers.rollout import (
    DESIRED_REPLICAS,
    TEMPLATE_HASH,
    annotations_at_revision,
    bare_template,
    by_creation,
    fenceposts,
    find_new,
    proportional_sizes,
    replicas_of,
    revision_of,
    size_annotations,
    status_of,
    template_hash,
)  # fmt: skip
from wherry.util import clock

_NO_DEADLINE = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Inputs:
    """`replica_sets` are those that the deployment controls; `running` tells per ReplicaSet uid whether it has pods
    that have not finished."""

    deployment: Object
    replica_sets: tuple[Object, ...]
    running: frozenset[str]
    now: datetime


@dataclass(frozen=True, slots=True)
class Create:
    """Create a ReplicaSet."""

    replica_set: Object


@dataclass(frozen=True, slots=True)
class Update:
    """Write a ReplicaSet; `before` is its size until now."""

    replica_set: Object
    before: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a ReplicaSet of the history."""

    replica_set: Object


@dataclass(frozen=True, slots=True)
class Plan:
    """`actions` in order, then the status; `revision` is the deployment's revision annotation, None to leave it;
    `again` the seconds until the progress deadline."""

    actions: tuple[Create | Update | Delete, ...]
    status: Object
    revision: int | None = None
    again: float | None = None


def plan(inputs: Inputs) -> Plan:
    """Return the next step of a deployment.

    Want 4 of a new template with maxSurge 1 and maxUnavailable 1, have 4 old: create the new ReplicaSet with 1, scale
    the old to 3; as new pods become available, go on.
    """
    return _Step(inputs).run()


class _Step:
    """The plan in the making: `sets` are the ReplicaSets as they will be after `actions`."""

    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.actions: list[Create | Update | Delete] = []
        self.deployment = self.inputs.deployment
        self.spec = self.deployment["spec"]
        self.now = clock.timestamp(self.inputs.now)
        self.conditions = [dict(entry) for entry in (self.deployment.get("status") or {}).get("conditions") or ()]
        self.revision: int | None = None
        self.surge, self.unavailable = fenceposts(self.deployment)
        self.sets = {meta.name(rs): rs for rs in self.inputs.replica_sets}
        found = find_new(self.deployment, self.sets.values())
        self.new_name = meta.name(found) if found else None

    def run(self) -> Plan:
        if meta.is_deleting(self.deployment):
            return self._finish(rollout=False)
        self._note_pause()
        if self.spec.get("paused") or self._is_scaling():
            self._adopt_revision(create=False)
            self._scale()
            if self.spec.get("paused"):
                self._clean_up()
            return self._finish(rollout=False)
        if (self.spec.get("strategy") or {}).get("type") == "Recreate":
            self._recreate()
        else:
            self._roll()
        return self._finish(rollout=True)

    # The sets.

    @property
    def new(self) -> Object | None:
        return self.sets[self.new_name] if self.new_name else None

    @property
    def old(self) -> list[Object]:
        return [rs for name, rs in self.sets.items() if name != self.new_name]

    def _active(self, sets: Iterable[Object]) -> list[Object]:
        return [rs for rs in sets if replicas_of(rs) > 0]

    def _scale_to(self, rs: Object, size: int) -> bool:
        """Set size and size annotations; tell whether the size changes."""
        wanted = {**meta.annotations(rs), **size_annotations(self.deployment)}
        before = replicas_of(rs)
        if size != before or wanted != meta.annotations(rs):
            self._write(rs, spec={**rs["spec"], "replicas": size}, annotations=wanted)
        return size != before

    def _write(self, rs: Object, *, spec: Object, annotations: dict[str, str]) -> None:
        changed = {**rs, "metadata": {**rs["metadata"], "annotations": annotations}, "spec": spec}
        self.sets[meta.name(rs)] = changed
        for at, action in enumerate(self.actions):
            if not isinstance(action, Delete) and meta.name(action.replica_set) == meta.name(rs):
                self.actions[at] = replace(action, replica_set=changed)
                return
        self.actions.append(Update(changed, replicas_of(rs)))

    # Revisions.

    def _adopt_revision(self, *, create: bool) -> None:
        """Bring revision and annotations of the new ReplicaSet up to date; `create` it where there is none."""
        revision = max((revision_of(rs) for rs in self.old), default=0) + 1
        rs = self.new
        if rs is not None:
            annotations = annotations_at_revision(self.deployment, meta.annotations(rs), revision)
            min_ready = self.spec.get("minReadySeconds", 0)
            same_ready = rs["spec"].get("minReadySeconds", 0) == min_ready
            if annotations != meta.annotations(rs) or not same_ready:
                spec = {**rs["spec"], "minReadySeconds": min_ready}
                self._write(rs, spec=spec if min_ready or not same_ready else rs["spec"], annotations=annotations)
            self._set_revision(int(annotations["deployment.kubernetes.io/revision"]))
            if self._has_deadline() and self._condition("Progressing") is None:
                self._progress("True", "FoundNewReplicaSet", f'Found new replica set "{meta.name(rs)}"')
        elif create:
            self._create_new(revision)

    def _create_new(self, revision: int) -> None:
        template = meta.copy(self.spec["template"])
        collisions = (self.deployment.get("status") or {}).get("collisionCount")
        label = template_hash(template, collisions)
        of_set = {**((template.get("metadata") or {}).get("labels") or {}), TEMPLATE_HASH: label}
        template["metadata"] = {**(template.get("metadata") or {}), "labels": of_set}
        selector = meta.copy(self.spec["selector"])
        selector["matchLabels"] = {**(selector.get("matchLabels") or {}), TEMPLATE_HASH: label}
        name = f"{meta.name(self.deployment)}-{label}"
        spec: Object = {"replicas": 0, "selector": selector, "template": template}
        if self.spec.get("minReadySeconds"):
            spec["minReadySeconds"] = self.spec["minReadySeconds"]
        annotations = annotations_at_revision(self.deployment, {}, revision)
        rs: Object = {
            "kind": "ReplicaSet",
            "apiVersion": "apps/v1",
            "metadata": {
                "name": name,
                "namespace": meta.namespace(self.deployment),
                "labels": dict(of_set),
                "annotations": {**annotations, **size_annotations(self.deployment)},
                "ownerReferences": [meta.controller_ref(self.deployment)],
            },
            "spec": spec,
        }
        spec["replicas"] = self._new_size(rs)
        self.sets[name] = rs
        self.new_name = name
        self.actions.append(Create(rs))
        self._set_revision(revision)
        if self._has_deadline():
            self._progress("True", "NewReplicaSetCreated", f'Created new replica set "{name}"')

    def _set_revision(self, revision: int) -> None:
        if revision_of(self.deployment) != revision:
            self.revision = revision

    def _new_size(self, rs: Object) -> int:
        """Return the size that the new ReplicaSet may have now."""
        desired = replicas_of(self.deployment)
        if (self.spec.get("strategy") or {}).get("type") == "Recreate":
            return desired
        have = sum(replicas_of(other) for other in self.old if other is not rs)
        room = desired + self.surge - have - replicas_of(rs)
        return replicas_of(rs) + max(0, min(room, desired - replicas_of(rs)))

    # Strategies.

    def _is_scaling(self) -> bool:
        desired = str(replicas_of(self.deployment))
        return any(
            meta.annotations(rs).get(DESIRED_REPLICAS, desired) != desired for rs in self._active(self.sets.values())
        )

    def _scale(self) -> None:
        desired = replicas_of(self.deployment)
        active = self._active(self.sets.values())
        if len(active) <= 1:
            latest = active[0] if active else self.new or next(iter(reversed(by_creation(self.old))), None)
            if latest is not None:
                self._scale_to(latest, desired)
        elif self._is_saturated():
            for rs in self._active(self.old):
                self._scale_to(rs, 0)
        elif (self.spec.get("strategy") or {}).get("type") != "Recreate":
            sizes = proportional_sizes(self.deployment, active)
            for rs in active:
                self._scale_to(rs, sizes[meta.name(rs)])

    def _is_saturated(self) -> bool:
        rs, desired = self.new, replicas_of(self.deployment)
        return (
            rs is not None
            and replicas_of(rs) == desired
            and meta.annotations(rs).get(DESIRED_REPLICAS) == str(desired)
            and status_of(rs, "availableReplicas") == desired
        )

    def _recreate(self) -> None:
        self._adopt_revision(create=False)
        scaled = [self._scale_to(rs, 0) for rs in self._active(self.old)]
        if any(scaled) or self._old_pods_running():
            return
        if self.new is None:
            self._adopt_revision(create=True)
        if self.new is not None:
            self._scale_to(self.new, replicas_of(self.deployment))
        self._clean_up_when_complete()

    def _old_pods_running(self) -> bool:
        return any(status_of(rs, "replicas") > 0 or meta.uid(rs) in self.inputs.running for rs in self.old)

    def _roll(self) -> None:
        self._adopt_revision(create=True)
        rs, desired = self.new, replicas_of(self.deployment)
        if rs is not None and replicas_of(rs) != desired:
            size = desired if replicas_of(rs) > desired else self._new_size(rs)
            if self._scale_to(rs, size):
                return
        if not self._shrink_old():
            self._clean_up_when_complete()

    def _shrink_old(self) -> bool:
        old = self._active(self.old)
        if not old or self.new is None:
            return False
        desired = replicas_of(self.deployment)
        floor = desired - self.unavailable
        new_unavailable = replicas_of(self.new) - status_of(self.new, "availableReplicas")
        room = sum(replicas_of(rs) for rs in [*old, self.new]) - floor - new_unavailable
        if room <= 0:
            return False
        changed = False
        # Pods that are not available first: taking them away costs nothing.
        for rs in by_creation(old):
            unhealthy = replicas_of(rs) - status_of(rs, "availableReplicas")
            count = min(room, max(0, unhealthy), replicas_of(rs))
            if count > 0:
                room -= count
                changed |= self._scale_to(self.sets[meta.name(rs)], replicas_of(rs) - count)
        spare = sum(status_of(rs, "availableReplicas") for rs in self.sets.values()) - floor
        for rs in by_creation(self._active(self.old)):
            count = min(replicas_of(rs), spare)
            if count > 0:
                spare -= count
                changed |= self._scale_to(rs, replicas_of(rs) - count)
        return changed

    def _clean_up_when_complete(self) -> None:
        if self._is_complete(self._counts()):
            self._clean_up()

    def _clean_up(self) -> None:
        limit = self.spec.get("revisionHistoryLimit")
        if limit is None or limit == _NO_DEADLINE:
            return
        old = sorted((rs for rs in self.old if not meta.is_deleting(rs)), key=revision_of)
        for rs in old[: max(0, len(old) - limit)]:
            observed = status_of(rs, "observedGeneration") >= rs["metadata"].get("generation", 0)
            if replicas_of(rs) == 0 and status_of(rs, "replicas") == 0 and observed:
                self.actions.append(Delete(rs))

    # Status.

    def _condition(self, kind: str) -> Object | None:
        return next((entry for entry in self.conditions if entry["type"] == kind), None)

    def _set_condition(self, kind: str, status: str, reason: str, message: str) -> None:
        """Set a condition; one with the same status and reason stays as it is."""
        before = self._condition(kind)
        if before and before["status"] == status and before.get("reason") == reason:
            return
        same = before is not None and before["status"] == status
        changed = before["lastTransitionTime"] if before and same else self.now
        new = {
            "type": kind,
            "status": status,
            "lastUpdateTime": self.now,
            "lastTransitionTime": changed,
            "reason": reason,
            "message": message,
        }
        self.conditions = [entry for entry in self.conditions if entry["type"] != kind] + [new]

    def _progress(self, status: str, reason: str, message: str) -> None:
        self._set_condition("Progressing", status, reason, message)

    def _has_deadline(self) -> bool:
        return self.spec.get("progressDeadlineSeconds") not in (None, _NO_DEADLINE)

    def _note_pause(self) -> None:
        current = self._condition("Progressing")
        reason = current.get("reason") if current else None
        if not self._has_deadline() or reason == "ProgressDeadlineExceeded":
            return
        if self.spec.get("paused") and reason != "DeploymentPaused":
            self._progress("Unknown", "DeploymentPaused", "Deployment is paused")
        elif not self.spec.get("paused") and reason == "DeploymentPaused":
            self._progress("Unknown", "DeploymentResumed", "Deployment is resumed")

    def _counts(self) -> Object:
        sets = list(self.sets.values())
        total = sum(status_of(rs, "replicas") for rs in sets)
        available = sum(status_of(rs, "availableReplicas") for rs in sets)
        spec_total = sum(replicas_of(rs) for rs in sets)
        counts = {
            "observedGeneration": self.deployment["metadata"].get("generation", 0),
            "replicas": total,
            "updatedReplicas": status_of(self.new, "replicas") if self.new else 0,
            "readyReplicas": sum(status_of(rs, "readyReplicas") for rs in sets),
            "availableReplicas": available,
            "unavailableReplicas": max(0, spec_total - available),
        }
        status = {name: count for name, count in counts.items() if count}
        if all("terminatingReplicas" in (rs.get("status") or {}) for rs in sets):
            status["terminatingReplicas"] = sum(status_of(rs, "terminatingReplicas") for rs in sets)
        collisions = (self.deployment.get("status") or {}).get("collisionCount")
        return status if collisions is None else {**status, "collisionCount": collisions}

    def _is_complete(self, counts: Object) -> bool:
        desired = replicas_of(self.deployment)
        return all(counts.get(name, 0) == desired for name in ("updatedReplicas", "replicas", "availableReplicas"))

    def _finish(self, *, rollout: bool) -> Plan:
        counts = self._counts()
        if counts.get("availableReplicas", 0) >= replicas_of(self.deployment) - self.unavailable:
            message = "Deployment has minimum availability."
            self._set_condition("Available", "True", "MinimumReplicasAvailable", message)
        else:
            message = "Deployment does not have minimum availability."
            self._set_condition("Available", "False", "MinimumReplicasUnavailable", message)
        again = None
        if rollout:
            self._note_progress(counts)
            self._note_failure()
            again = self._until_deadline(counts)
        status = {**counts, "conditions": self.conditions} if self.conditions else counts
        return Plan(tuple(self.actions), status, self.revision, again)

    def _note_progress(self, counts: Object) -> None:
        if not self._has_deadline():
            self.conditions = [entry for entry in self.conditions if entry["type"] != "Progressing"]
            return
        current = self._condition("Progressing")
        was_complete = current is not None and current.get("reason") == "NewReplicaSetAvailable"
        if counts.get("replicas", 0) == counts.get("updatedReplicas", 0) and was_complete:
            return
        subject = f'ReplicaSet "{self.new_name}"' if self.new_name else f'Deployment "{meta.name(self.deployment)}"'
        if self._is_complete(counts):
            self._progress("True", "NewReplicaSetAvailable", f"{subject} has successfully progressed.")
        elif self._has_progressed(counts):
            # Set anew even when nothing but the time changes: the deadline counts from here.
            since = current["lastTransitionTime"] if current and current["status"] == "True" else self.now
            self.conditions = [entry for entry in self.conditions if entry["type"] != "Progressing"]
            self._progress("True", "ReplicaSetUpdated", f"{subject} is progressing.")
            self.conditions[-1]["lastTransitionTime"] = since
        elif self._timed_out(current):
            self._progress("False", "ProgressDeadlineExceeded", f"{subject} has timed out progressing.")

    def _has_progressed(self, counts: Object) -> bool:
        def of_old(name: str) -> int:
            return status_of(self.deployment, name)

        outdated = counts.get("replicas", 0) - counts.get("updatedReplicas", 0)
        return (
            counts.get("updatedReplicas", 0) > of_old("updatedReplicas")
            or outdated < of_old("replicas") - of_old("updatedReplicas")
            or counts.get("readyReplicas", 0) > of_old("readyReplicas")
            or counts.get("availableReplicas", 0) > of_old("availableReplicas")
        )

    def _timed_out(self, current: Object | None) -> bool:
        if current is None or current.get("reason") == "NewReplicaSetAvailable":
            return False
        if current.get("reason") == "ProgressDeadlineExceeded":
            return True
        return self._deadline(current) < self.inputs.now

    def _deadline(self, current: Object) -> datetime:
        return clock.parse(current["lastUpdateTime"]) + timedelta(seconds=self.spec["progressDeadlineSeconds"])

    def _until_deadline(self, counts: Object) -> float | None:
        current = self._condition("Progressing")
        done = ("NewReplicaSetAvailable", "ProgressDeadlineExceeded")
        if current is None or not self._has_deadline() or current.get("reason") in done or self._is_complete(counts):
            return None
        return max(0.0, (self._deadline(current) - self.inputs.now).total_seconds()) + 1.0

    def _note_failure(self) -> None:
        sets = [self.new, *self.old] if self.new else self.old
        for rs in sets:
            failure = meta.condition(rs, "ReplicaFailure")
            if failure is not None:
                message = failure.get("message", "")
                self._set_condition("ReplicaFailure", failure["status"], failure.get("reason", ""), message)
                return
        self.conditions = [entry for entry in self.conditions if entry["type"] != "ReplicaFailure"]


class DeploymentController(Controller):
    name = "deployment-controller"

    def register(self) -> None:
        self._deployments = self.watch(DEPLOYMENTS)
        self._sets = self.watch_owned(REPLICASETS, DEPLOYMENTS, orphans=self._adopters)
        self._pods = self.informer(PODS)
        self._pods.add_handler(on_delete=self._pod_deleted)
        index_claims(self._sets)
        index_claims(self._pods)

    def _adopters(self, rs: Object) -> list[str]:
        return [
            meta.key_of(deployment)
            for deployment in self._deployments.lister.list(meta.namespace(rs))
            if labels.from_selector(deployment["spec"].get("selector")).matches(meta.labels(rs))
        ]

    def _pod_deleted(self, pod: Object) -> None:
        """Recreate waits for the last old pod to go."""
        ref = meta.controller_of(pod)
        rs = self._sets.lister.get(f"{meta.namespace(pod)}/{ref['name']}") if ref else None
        owner = meta.controller_of(rs) if rs else None
        if owner and is_kind(owner, DEPLOYMENTS):
            self.queue.add(f"{meta.namespace(pod)}/{owner['name']}")

    async def reconcile(self, key: str) -> float | None:
        deployment = self._deployments.lister.get(key)
        if deployment is None:
            return None
        selector = deployment["spec"].get("selector") or {}
        if not selector.get("matchLabels") and not selector.get("matchExpressions"):
            message = "This deployment is selecting all pods. A non-empty selector is required."
            self.recorder.event(deployment, WARNING, "SelectingAll", message)
            return None
        claims = plan_claims(deployment, candidates(self._sets, deployment), labels.from_selector(selector))
        owned = await claim(self.client, DEPLOYMENTS, deployment, REPLICASETS, claims)
        running = frozenset(
            meta.uid(rs)
            for rs in owned
            if any(not podutil.is_finished(pod) for pod in self._pods.lister.by_index(CONTROLLER, meta.uid(rs)))
        )
        todo = plan(Inputs(deployment, tuple(owned), running, clock.now()))
        for action in todo.actions:
            if not await self._carry_out(key, deployment, action):
                return None
        await self._update_status(key, deployment, todo)
        return todo.again

    async def _carry_out(self, key: str, deployment: Object, action: Create | Update | Delete) -> bool:
        """Carry out one action; tell whether the plan still holds."""
        rs, name = action.replica_set, meta.name(action.replica_set)
        if isinstance(action, Create):
            return await self._create(key, deployment, rs)
        if isinstance(action, Delete):
            try:
                await self.client.delete(REPLICASETS, name, meta.namespace(rs))
            except errors.NotFound:
                pass
            return True
        self.wrote(key, REPLICASETS, await self.client.update(REPLICASETS, rs))
        self._scaled(deployment, name, action.before, replicas_of(rs))
        return True

    def _scaled(self, deployment: Object, name: str, before: int, after: int) -> None:
        if before != after:
            direction = "up" if after > before else "down"
            message = f"Scaled {direction} replica set {name} from {before} to {after}"
            self.recorder.event(deployment, NORMAL, "ScalingReplicaSet", message)

    async def _create(self, key: str, deployment: Object, rs: Object) -> bool:
        try:
            made = await self.client.create(REPLICASETS, rs)
        except errors.AlreadyExists:
            await self._count_collision(deployment, rs)
            raise
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return False
            message = f'Failed to create new replica set "{meta.name(rs)}": {error}'
            self.recorder.event(deployment, WARNING, "ReplicaSetCreateError", message)
            await self._note_create_error(key, deployment, message)
            raise
        self.wrote(key, REPLICASETS, made)
        self._scaled(deployment, meta.name(rs), 0, replicas_of(rs))
        return True

    async def _count_collision(self, deployment: Object, rs: Object) -> None:
        """Give the template another hash when the name is taken by a ReplicaSet that is not the one meant."""
        found = await self.client.get(REPLICASETS, meta.name(rs), meta.namespace(rs))
        ref = meta.controller_of(found)
        ours = ref is not None and ref["uid"] == meta.uid(deployment)
        if ours and bare_template(found["spec"]["template"]) == bare_template(rs["spec"]["template"]):
            return
        status = deployment.get("status") or {}
        changed = {**status, "collisionCount": status.get("collisionCount", 0) + 1}
        await self.client.update_status(DEPLOYMENTS, {**deployment, "status": changed})

    async def _note_create_error(self, key: str, deployment: Object, message: str) -> None:
        if deployment["spec"].get("progressDeadlineSeconds") in (None, _NO_DEADLINE):
            return
        now = clock.timestamp()
        status = deployment.get("status") or {}
        condition = {
            "type": "Progressing", "status": "False", "lastUpdateTime": now, "reason": "ReplicaSetCreateError",
            "message": message,
        }  # fmt: skip
        before = meta.condition(deployment, "Progressing")
        if before is not None and before.get("message") == message:
            return
        conditions = meta.with_condition(status.get("conditions") or (), condition, now=now)
        changed = {**deployment, "status": {**status, "conditions": conditions}}
        self.wrote(key, DEPLOYMENTS, await self.client.update_status(DEPLOYMENTS, changed))

    async def _update_status(self, key: str, deployment: Object, todo: Plan) -> None:
        if todo.revision is None and todo.status == deployment.get("status"):
            return
        changed = {**deployment, "status": todo.status}
        if todo.revision is not None:
            annotations = {**meta.annotations(deployment), "deployment.kubernetes.io/revision": str(todo.revision)}
            changed["metadata"] = {**deployment["metadata"], "annotations": annotations}
        try:
            self.wrote(key, DEPLOYMENTS, await self.client.update_status(DEPLOYMENTS, changed))
        except errors.NotFound:
            return
