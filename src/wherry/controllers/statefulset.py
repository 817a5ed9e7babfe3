"""The StatefulSet controller: pods with a stable name, host name and storage.

Watches StatefulSets, their pods and revisions, and claims. Writes pods, PersistentVolumeClaims, ControllerRevisions and
the status. Guarantees at most one pod of each ordinal, made only after its claims; with the policy OrderedReady pods
come up from the lowest ordinal and go from the highest, one at a time, each after its predecessor is available. A
rolling update goes from the highest ordinal down to the partition. Claims stay unless the retention policy says
otherwise.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CONTROLLERREVISIONS, PERSISTENTVOLUMECLAIMS, PODS, STATEFULSETS
from wherry.api.selectors import labels
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller, gather_all, is_namespace_terminating
from wherry.controllers.refs import CONTROLLER, candidates, claim, index_claims, plan_claims
from wherry.controllers.revisions import POD_HASH, sync_revision, template_of, truncate
from wherry.controllers.rollout import replicas_of, scaled_value
from wherry.util import clock

POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"
_ORDINAL = re.compile(r"(.*)-([0-9]+)")


@dataclass(frozen=True, slots=True)
class Inputs:
    """`pods` are those of the set; `current` and `update` the revisions that it comes from and goes to."""

    stateful_set: Object
    pods: tuple[Object, ...]
    current: Object
    update: Object
    collisions: int | None
    now: datetime


@dataclass(slots=True)
class Plan:
    """Pods to create and to delete, then the status."""

    create: list[Object] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    again: float | None = None


def ordinal_of(stateful_set: Object, pod: Object) -> int | None:
    """Return the pod's ordinal, None when its name is not one of the set's."""
    match = _ORDINAL.fullmatch(meta.name(pod))
    return int(match[2]) if match and match[1] == meta.name(stateful_set) else None


def claim_name(stateful_set: Object, template: Object, ordinal: int) -> str:
    """Return the name of the claim of one ordinal."""
    return f"{meta.name(template)}-{meta.name(stateful_set)}-{ordinal}"


def new_pod(stateful_set: Object, ordinal: int, revision: Object) -> Object:
    """Return the pod of an ordinal in a revision."""
    name = f"{meta.name(stateful_set)}-{ordinal}"
    pod = podutil.from_template(template_of(revision), stateful_set, name=name)
    pod["metadata"].setdefault("labels", {}).update(
        {POD_NAME: name, POD_INDEX: str(ordinal), POD_HASH: meta.name(revision)}
    )
    spec = pod["spec"]
    spec["hostname"] = name
    if stateful_set["spec"].get("serviceName"):
        spec["subdomain"] = stateful_set["spec"]["serviceName"]
    templates = stateful_set["spec"].get("volumeClaimTemplates") or ()
    claimed = {meta.name(template) for template in templates}
    volumes = [volume for volume in spec.get("volumes") or () if volume["name"] not in claimed]
    volumes += [
        {
            "name": meta.name(template),
            "persistentVolumeClaim": {"claimName": claim_name(stateful_set, template, ordinal)},
        }
        for template in templates
    ]
    if volumes:
        spec["volumes"] = volumes
    return pod


def plan(inputs: Inputs) -> Plan:
    """Return the next step of a StatefulSet.

    Want 3, have web-0 ready and web-1 not: wait. Want 1, have web-0 to web-2: delete web-2.
    """
    return _Step(inputs).run()


class _Step:
    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.set = inputs.stateful_set
        self.spec = self.set["spec"]
        self.start = (self.spec.get("ordinals") or {}).get("start", 0)
        self.end = self.start + replicas_of(self.set)
        self.ordered = self.spec.get("podManagementPolicy", "OrderedReady") != "Parallel"
        self.min_ready = self.spec.get("minReadySeconds", 0)
        self.todo = Plan()
        members: dict[int, Object] = {}
        for pod in inputs.pods:
            ordinal = ordinal_of(self.set, pod)
            if ordinal is not None:
                members[ordinal] = pod
        self.members = members
        self.condemned = sorted((o for o in members if not self.start <= o < self.end), reverse=True)

    def run(self) -> Plan:
        if not meta.is_deleting(self.set) and self._scale() and self._shrink():
            self._update()
        self.todo.status = self._status()
        return self.todo

    def _healthy(self, pod: Object) -> bool:
        return podutil.phase(pod) == "Running" and podutil.is_ready(pod) and not meta.is_deleting(pod)

    def _available(self, pod: Object) -> bool:
        left = podutil.available_in(pod, self.min_ready, self.inputs.now)
        if left:
            self.todo.again = left if self.todo.again is None else min(left, self.todo.again)
        return self._healthy(pod) and left == 0.0

    def _revision_for(self, ordinal: int) -> Object:
        """Return the revision in which a missing pod is made."""
        strategy = self.spec.get("updateStrategy") or {}
        rolling = strategy.get("rollingUpdate") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return self.inputs.update
        partition = rolling.get("partition") or 0
        below = partition or (self.set.get("status") or {}).get("currentReplicas", 0)
        return self.inputs.current if ordinal < self.start + below else self.inputs.update

    def _scale(self) -> bool:
        """Make what is missing; tell whether to go on."""
        for ordinal in range(self.start, self.end):
            pod = self.members.get(ordinal)
            if pod is None:
                self.todo.create.append(new_pod(self.set, ordinal, self._revision_for(ordinal)))
                settled = False
            elif podutil.is_finished(pod):
                # Its successor needs its name.
                if not meta.is_deleting(pod):
                    self.todo.delete.append(pod)
                settled = False
            else:
                settled = self._available(pod)
            if not settled and self.ordered:
                return False
        return True

    def _shrink(self) -> bool:
        """Delete what is too many; tell whether to go on."""
        unhealthy = [o for o in sorted(self.members) if not self._healthy(self.members[o])]
        for ordinal in self.condemned:
            pod = self.members[ordinal]
            if meta.is_deleting(pod):
                if self.ordered:
                    return False
                continue
            if self.ordered and not self._available(pod) and ordinal != (unhealthy or [ordinal])[0]:
                return False
            self.todo.delete.append(pod)
            if self.ordered:
                return False
        return True

    def _update(self) -> None:
        strategy = self.spec.get("updateStrategy") or {}
        if strategy.get("type", "RollingUpdate") != "RollingUpdate":
            return
        rolling = strategy.get("rollingUpdate") or {}
        partition, budget = rolling.get("partition") or 0, 1
        if rolling.get("maxUnavailable") is not None:
            budget = max(1, scaled_value(rolling["maxUnavailable"], replicas_of(self.set), round_up=True))
        deleted = {meta.uid(pod) for pod in self.todo.delete}
        inside = {o: pod for o, pod in self.members.items() if self.start <= o < self.end}
        unavailable = sum(not self._available(pod) for pod in inside.values())
        for ordinal in sorted(inside, reverse=True):
            pod = inside[ordinal]
            if ordinal < self.start + partition:
                return
            outdated = meta.labels(pod).get(POD_HASH) != meta.name(self.inputs.update)
            if outdated and not meta.is_deleting(pod) and meta.uid(pod) not in deleted:
                already = not self._available(pod)
                if unavailable >= budget and not already:
                    return
                self.todo.delete.append(pod)
                unavailable += 0 if already else 1
                if budget == 1:
                    return
            elif not self._available(pod) and budget == 1:
                return

    def _status(self) -> Object:
        pods = list(self.members.values())
        old = self.set.get("status") or {}
        current, update = meta.name(self.inputs.current), meta.name(self.inputs.update)

        gone = {meta.uid(pod) for pod in self.todo.delete}
        alive = [pod for pod in pods if not meta.is_deleting(pod) and meta.uid(pod) not in gone] + self.todo.create

        def of_revision(name: str) -> int:
            return sum(meta.labels(pod).get(POD_HASH) == name for pod in alive)

        ready = sum(podutil.phase(pod) == "Running" and podutil.is_ready(pod) for pod in pods)
        available = sum(self._available(pod) for pod in pods)
        updated, kept = of_revision(update), of_revision(current)
        wanted = replicas_of(self.set)
        rolls = (self.spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
        if rolls and updated == len(pods) == ready == wanted:
            current, kept = update, updated
        status: Object = {"replicas": len(pods) + len(self.todo.create), "availableReplicas": available}
        counts = {"readyReplicas": ready, "currentReplicas": kept, "updatedReplicas": updated}
        status |= {name: count for name, count in counts.items() if count}
        status |= {"currentRevision": current, "updateRevision": update}
        status["observedGeneration"] = self.set["metadata"].get("generation", 0)
        status["collisionCount"] = self.inputs.collisions or 0
        if old.get("conditions"):
            status["conditions"] = old["conditions"]
        return status


class StatefulSetController(Controller):
    name = "statefulset-controller"

    def register(self) -> None:
        self._sets = self.watch(STATEFULSETS)
        self._pods = self.watch_owned(PODS, STATEFULSETS, orphans=self._adopters)
        self._revisions = self.watch_owned(CONTROLLERREVISIONS, STATEFULSETS)
        self._claims = self.informer(PERSISTENTVOLUMECLAIMS)
        index_claims(self._pods)
        index_claims(self._revisions)

    def _adopters(self, pod: Object) -> Iterable[str]:
        match = _ORDINAL.fullmatch(meta.name(pod))
        found = self._sets.lister.get(f"{meta.namespace(pod)}/{match[1]}") if match else None
        if found is None or not labels.from_selector(found["spec"].get("selector")).matches(meta.labels(pod)):
            return ()
        return (meta.key_of(found),)

    async def reconcile(self, key: str) -> float | None:
        found = self._sets.lister.get(key)
        if found is None:
            return None
        selector = labels.from_selector(found["spec"].get("selector"))
        own = [pod for pod in candidates(self._pods, found) if ordinal_of(found, pod) is not None]
        pods = await claim(self.client, STATEFULSETS, found, PODS, plan_claims(found, own, selector))
        history = self._revisions.lister.by_index(CONTROLLER, meta.uid(found))
        update, collisions = await sync_revision(self.client, found, history)
        self.wrote(key, CONTROLLERREVISIONS, update)
        current_name = (found.get("status") or {}).get("currentRevision")
        current = next((revision for revision in history if meta.name(revision) == current_name), update)
        todo = plan(Inputs(found, tuple(pods), current, update, collisions, clock.now()))
        await gather_all(self._delete(key, found, pod) for pod in todo.delete)
        status, error = await self._create_all(key, found, todo)
        await self._retain_claims(found, pods)
        if status != found.get("status"):
            answer = await self.client.update_status(STATEFULSETS, {**found, "status": status})
            self.wrote(key, STATEFULSETS, answer)
        live = {meta.name(current), meta.name(update), *(meta.labels(pod).get(POD_HASH, "") for pod in pods)}
        await truncate(self.client, history, live=live, limit=found["spec"].get("revisionHistoryLimit", 10))
        if error is not None:
            raise error
        return todo.again

    async def _create_all(self, key: str, owner: Object, todo: Plan) -> tuple[Object, BaseException | None]:
        """Create the pods; return the status with those that there are, and why one could not be created."""
        made = await asyncio.gather(*(self._create(key, owner, pod) for pod in todo.create), return_exceptions=True)
        failures = [(pod, error) for pod, error in zip(todo.create, made, strict=True) if error is not None]
        if not failures:
            return todo.status, None
        status = {**todo.status, "replicas": todo.status["replicas"] - len(failures)}
        for count, revision in (("currentReplicas", "currentRevision"), ("updatedReplicas", "updateRevision")):
            missing = sum(meta.labels(pod).get(POD_HASH) == status[revision] for pod, _ in failures)
            if left := status.pop(count, 0) - missing:
                status[count] = left
        return status, failures[0][1]

    async def _create(self, key: str, owner: Object, pod: Object) -> None:
        ordinal = ordinal_of(owner, pod) or 0
        try:
            for template in owner["spec"].get("volumeClaimTemplates") or ():
                await self._create_claim(owner, template, pod, ordinal=ordinal)
            self.wrote(key, PODS, await self.client.create(PODS, pod))
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return
            message = f"create Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} failed error: {error}"
            self.recorder.event(owner, WARNING, "FailedCreate", message)
            raise
        message = f"create Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} successful"
        self.recorder.event(owner, NORMAL, "SuccessfulCreate", message)

    async def _create_claim(self, owner: Object, template: Object, pod: Object, *, ordinal: int) -> None:
        name = claim_name(owner, template, ordinal)
        if self._claims.lister.get(f"{meta.namespace(owner)}/{name}") is not None:
            return
        made = meta.copy(template)
        selector = owner["spec"]["selector"].get("matchLabels") or {}
        md = {**made.get("metadata", {}), "name": name, "namespace": meta.namespace(owner)}
        md["labels"] = {**(md.get("labels") or {}), **selector}
        made = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": md, "spec": made["spec"]}
        if _policy(owner, "whenDeleted") == "Delete":
            md["ownerReferences"] = [_claim_owner(owner)]
        try:
            await self.client.create(PERSISTENTVOLUMECLAIMS, made)
        except errors.AlreadyExists:
            return
        message = f"create Claim {name} Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} success"
        self.recorder.event(owner, NORMAL, "SuccessfulCreate", message)

    async def _retain_claims(self, owner: Object, pods: list[Object]) -> None:
        """Let claims be owned as the retention policy says: by the set, by a condemned pod, or by nobody."""
        start = (owner["spec"].get("ordinals") or {}).get("start", 0)
        for pod in pods:
            ordinal = ordinal_of(owner, pod) or 0
            condemned = not start <= ordinal < start + replicas_of(owner)
            for template in owner["spec"].get("volumeClaimTemplates") or ():
                found = self._claims.lister.get(f"{meta.namespace(owner)}/{claim_name(owner, template, ordinal)}")
                if found is None:
                    continue
                refs = [
                    ref
                    for ref in found["metadata"].get("ownerReferences") or ()
                    if ref["uid"] not in (meta.uid(owner), meta.uid(pod))
                ]
                if _policy(owner, "whenScaled") == "Delete" and condemned:
                    refs.append(_claim_owner(pod))
                elif _policy(owner, "whenDeleted") == "Delete":
                    refs.append(_claim_owner(owner))
                if refs != (found["metadata"].get("ownerReferences") or []):
                    changed = {**found, "metadata": {**found["metadata"], "ownerReferences": refs}}
                    await self.client.update(PERSISTENTVOLUMECLAIMS, changed)

    async def _delete(self, key: str, owner: Object, pod: Object) -> None:
        try:
            gone = await self.client.delete(PODS, meta.name(pod), meta.namespace(pod))
        except errors.NotFound:
            return
        self.wrote(key, PODS, gone)
        message = f"delete Pod {meta.name(pod)} in StatefulSet {meta.name(owner)} successful"
        self.recorder.event(owner, NORMAL, "SuccessfulDelete", message)


def _policy(owner: Object, when: str) -> str:
    return (owner["spec"].get("persistentVolumeClaimRetentionPolicy") or {}).get(when, "Retain")


def _claim_owner(owner: Object) -> Object:
    named = {name: owner["metadata"][name] for name in ("name", "uid")}
    return {"apiVersion": owner["apiVersion"], "kind": owner["kind"], **named}
