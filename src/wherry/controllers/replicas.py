"""What ReplicaSets and ReplicationControllers share: as many pods as the spec says.

Watches the owners and their pods. Writes pods (create, delete, adopt, release) and the owner's status. Guarantees that
the number of active pods that match the selector converges to ``spec.replicas`` and that no more than 500 pods are
created or deleted in one go. Does not restart finished pods: they are replaced.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import PODS, Resource
from wherry.api.selectors import labels
from wherry.client.cache import by_controller_uid
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.controller import TOGETHER, Controller, gather_all, is_namespace_terminating, slow_start
from wherry.controllers.refs import CONTROLLER, candidates, claim, index_claims, plan_claims
from wherry.util import clock

BURST = 500


@dataclass(frozen=True, slots=True)
class Inputs:
    """`pods` are all that the owner controls, finished and terminating ones too; `related_on_node` counts the active
    pods of the owner and its siblings by node."""

    owner: Object
    pods: tuple[Object, ...]
    related_on_node: dict[str, int]
    now: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """How many pods to create, and which to delete."""

    create: int = 0
    delete: tuple[Object, ...] = ()


def plan(inputs: Inputs) -> Plan:
    """Return what brings the number of active pods to ``spec.replicas``.

    Want 5, have 3: create 2. Want 1, have 3: delete the 2 that rank first for deletion.
    """
    if meta.is_deleting(inputs.owner):
        return Plan()
    active = [pod for pod in inputs.pods if podutil.is_active(pod)]
    excess = len(active) - inputs.owner["spec"].get("replicas", 1)
    if excess <= 0:
        return Plan(create=min(-excess, BURST))
    ranked = podutil.rank_for_deletion(active, related_on_node=inputs.related_on_node, now=inputs.now)
    return Plan(delete=tuple(ranked[: min(excess, BURST)]))


def new_status(inputs: Inputs, *, failure: tuple[str, str] | None, terminating: bool) -> Object:
    """Return the owner's status; `failure` is reason and message; `terminating` reports that count."""
    owner = inputs.owner
    old = owner.get("status") or {}
    active = [pod for pod in inputs.pods if podutil.is_active(pod)]
    template_labels = ((owner["spec"].get("template") or {}).get("metadata") or {}).get("labels") or {}
    min_ready = owner["spec"].get("minReadySeconds", 0)
    counts = {
        "fullyLabeledReplicas": sum(template_labels.items() <= meta.labels(pod).items() for pod in active),
        "readyReplicas": sum(podutil.is_ready(pod) for pod in active),
        "availableReplicas": sum(podutil.is_available(pod, min_ready, inputs.now) for pod in active),
    }
    status: Object = {"replicas": len(active), **{name: count for name, count in counts.items() if count}}
    if terminating:
        status["terminatingReplicas"] = sum(podutil.is_terminating(pod) for pod in inputs.pods)
    status["observedGeneration"] = owner["metadata"].get("generation", 0)
    conditions = [entry for entry in old.get("conditions") or () if entry["type"] != "ReplicaFailure"]
    if failure is not None:
        reason, message = failure
        before = meta.condition(owner, "ReplicaFailure")
        new = {"type": "ReplicaFailure", "status": "True", "reason": reason, "message": message}
        same = before is not None and before.get("reason") == reason
        conditions.append(before if same and before else {**new, "lastTransitionTime": clock.timestamp(inputs.now)})
    if conditions:
        status["conditions"] = conditions
    return status


class ReplicaController(Controller):
    """The controller of `owners`; subclasses say which."""

    owners: ClassVar[Resource]
    reports_terminating: ClassVar[bool] = False

    def register(self) -> None:
        self._owners = self.watch(self.owners)
        self._owners.add_index(CONTROLLER, by_controller_uid)
        self._pods = self.watch_owned(PODS, self.owners, orphans=self._adopters, delay=TOGETHER)
        index_claims(self._pods)

    def selector(self, owner: Object) -> labels.Selector:
        """Return the owner's selector."""
        return labels.from_selector(owner["spec"].get("selector"))

    def _adopters(self, pod: Object) -> Iterable[str]:
        owners = self._owners.lister.list(meta.namespace(pod))
        return [meta.key_of(owner) for owner in owners if self.selector(owner).matches(meta.labels(pod))]

    async def reconcile(self, key: str) -> float | None:
        owner = self._owners.lister.get(key)
        if owner is None:
            return None
        claims = plan_claims(owner, candidates(self._pods, owner), self.selector(owner))
        owned = await claim(self.client, self.owners, owner, PODS, claims)
        related = self._related(owner) if len(owned) > owner["spec"].get("replicas", 1) else {}
        inputs = Inputs(owner, tuple(owned), related, clock.now())
        failure, error = None, None
        try:
            await self._carry_out(key, owner, plan(inputs))
        except errors.StatusError as caught:
            error = caught
            wants_more = len([pod for pod in owned if podutil.is_active(pod)]) < owner["spec"].get("replicas", 1)
            failure = ("FailedCreate" if wants_more else "FailedDelete", str(caught))
        await self._update_status(key, owner, inputs, failure)
        if error is not None:
            raise error
        return self._next_available(inputs)

    async def _carry_out(self, key: str, owner: Object, todo: Plan) -> None:
        async def create() -> None:
            pod = podutil.from_template(owner["spec"]["template"], owner)
            try:
                made = self.wrote(key, PODS, await self.client.create(PODS, pod))
            except errors.StatusError as error:
                if not is_namespace_terminating(error):
                    self.recorder.event(owner, WARNING, "FailedCreate", f"Error creating: {error}")
                raise
            self.recorder.event(owner, NORMAL, "SuccessfulCreate", f"Created pod: {meta.name(made)}")

        async def delete(pod: Object) -> None:
            try:
                gone = await self.client.delete(PODS, meta.name(pod), meta.namespace(pod))
            except errors.NotFound:
                return
            except errors.StatusError as error:
                self.recorder.event(owner, WARNING, "FailedDelete", f"Error deleting: {error}")
                raise
            self.wrote(key, PODS, gone)
            self.recorder.event(owner, NORMAL, "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}")

        if todo.create:
            try:
                await slow_start(todo.create, create)
            except errors.StatusError as error:
                if not is_namespace_terminating(error):
                    raise
        await gather_all(delete(pod) for pod in todo.delete)

    async def _update_status(self, key: str, owner: Object, inputs: Inputs, failure: tuple[str, str] | None) -> None:
        status = new_status(inputs, failure=failure, terminating=self.reports_terminating)
        if status == owner.get("status"):
            return
        wanted = {**owner, "status": status}
        self.expect(self.owners, wanted)
        try:
            answer = await self.client.update_status(self.owners, wanted)
        except errors.NotFound:
            return
        self.wrote(key, self.owners, answer)

    def _related(self, owner: Object) -> dict[str, int]:
        ref = meta.controller_of(owner)
        siblings = self._owners.lister.by_index(CONTROLLER, ref["uid"]) if ref else [owner]
        pods = (pod for sibling in siblings for pod in self._pods.lister.by_index(CONTROLLER, meta.uid(sibling)))
        nodes = Counter(pod["spec"].get("nodeName") for pod in pods if podutil.is_active(pod))
        return {node: count for node, count in nodes.items() if node}

    @staticmethod
    def _next_available(inputs: Inputs) -> float | None:
        min_ready = inputs.owner["spec"].get("minReadySeconds", 0)
        active = (pod for pod in inputs.pods if podutil.is_active(pod))
        waits = [wait for pod in active if (wait := podutil.available_in(pod, min_ready, inputs.now))]
        return min(waits, default=None)
