"""The disruption controller: how many pods of a PodDisruptionBudget may go now.

Watches budgets, pods and the controllers that own pods. Writes budgets' status, and takes a DisruptionTarget condition
back that led to nothing for two minutes. Guarantees that ``disruptionsAllowed`` never counts a pod as healthy that is
about to be evicted (the API server notes it in ``disruptedPods``), and that it becomes 0 when the number of expected
pods cannot be told. Evicts nothing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from wherry.api import errors, intstr, meta
from wherry.api.meta import Object
from wherry.api.resources import (
    DEPLOYMENTS,
    PODDISRUPTIONBUDGETS,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
)
from wherry.api.selectors import labels
from wherry.client.client import STRATEGIC_PATCH
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.catalog import Catalog
from wherry.controllers.controller import TOGETHER, Controller
from wherry.controllers.disruptions import DISRUPTION_TARGET
from wherry.controllers.scales import NoScale, get_scale
from wherry.controllers.services import PODS_BY_LABEL, label_term, pod_terms, relabelled
from wherry.util import clock

_DELETION_TIMEOUT = 120.0
_STALE = 120.0
_POD_KEY = "pod:"
_BY_KUBELET = "TerminationByKubelet"
_BY_TERM = "term"


@dataclass(frozen=True, slots=True)
class Inputs:
    """`pods` are those that the budget selects; `scales` are the replicas of their controllers by uid."""

    budget: Object
    pods: Sequence[Object]
    scales: Mapping[str, int]
    now: datetime


@dataclass(frozen=True, slots=True)
class Plan:
    """The status to write; `late` are pods whose eviction was granted and did not happen; `again` as of reconcile."""

    status: Object
    late: Sequence[Object] = ()
    again: float | None = None


def needs_scales(budget: Object) -> bool:
    """Tell whether the budget is a share of, or a distance from, the number of pods that there should be."""
    spec = budget["spec"]
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def plan(inputs: Inputs) -> Plan:
    """Return the budget's status.

    Of 4 replicas with ``maxUnavailable: 1`` 3 must be healthy: with 4 healthy ones 1 disruption is allowed. Raises
    IntOrStringError.
    """
    disrupted, late, again = _disrupted(inputs)
    healthy = sum(
        podutil.is_ready(pod) and not meta.is_deleting(pod) and meta.name(pod) not in disrupted for pod in inputs.pods
    )
    expected, desired = _numbers(inputs)
    allowed = max(0, healthy - desired) if expected > 0 else 0
    generation = inputs.budget["metadata"].get("generation", 0)
    status: Object = {
        "observedGeneration": generation,
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "conditions": _conditions(
            inputs.budget, allowed > 0, reason="SufficientPods" if allowed else "InsufficientPods", now=inputs.now
        ),
    }
    if disrupted:
        status["disruptedPods"] = disrupted
    return Plan(status, late, again)


def failed_status(budget: Object, message: str, *, now: datetime) -> Object:
    """Return the status of a budget that cannot be computed: nothing may be disrupted."""
    conditions = _conditions(budget, False, reason="SyncFailed", message=message, now=now)
    return {**(budget.get("status") or {}), "disruptionsAllowed": 0, "conditions": conditions}


def _conditions(budget: Object, allowed: bool, *, reason: str, message: str = "", now: datetime) -> list[Object]:
    new = {
        "type": "DisruptionAllowed",
        "status": "True" if allowed else "False",
        "observedGeneration": budget["metadata"].get("generation", 0),
        "reason": reason,
        "message": message,
    }
    before = (budget.get("status") or {}).get("conditions") or ()
    return meta.with_condition(before, new, now=clock.timestamp(now))


def _numbers(inputs: Inputs) -> tuple[int, int]:
    """Return how many pods there should be, and how many of them must be healthy."""
    spec = inputs.budget["spec"]
    if spec.get("maxUnavailable") is not None:
        expected = sum(inputs.scales.values())
        return expected, max(0, expected - intstr.scaled(spec["maxUnavailable"], expected, round_up=True))
    least = spec.get("minAvailable")
    if isinstance(least, str):
        expected = sum(inputs.scales.values())
        return expected, intstr.scaled(least, expected, round_up=True)
    return len(inputs.pods), least or 0


def _disrupted(inputs: Inputs) -> tuple[Object, list[Object], float | None]:
    """Return the evictions that are still to happen, the pods of those that are overdue, and when to look again."""
    noted = (inputs.budget.get("status") or {}).get("disruptedPods") or {}
    kept, late, waits = {}, [], []
    for pod in inputs.pods:
        at = noted.get(meta.name(pod))
        if at is None or meta.is_deleting(pod):
            continue
        left = _DELETION_TIMEOUT - (inputs.now - clock.parse(at)).total_seconds()
        if left <= 0:
            late.append(pod)
        else:
            kept[meta.name(pod)] = at
            waits.append(left)
    return kept, late, min(waits, default=None)


def stale_in(pod: Object, *, now: datetime) -> float | None:
    """Return the seconds until the pod's DisruptionTarget condition means nothing any more, None when never."""
    found = meta.condition(pod, DISRUPTION_TARGET)
    if found is None or found["status"] != "True" or found.get("reason") == _BY_KUBELET or not podutil.is_active(pod):
        return None
    return _STALE - (now - clock.parse(found["lastTransitionTime"])).total_seconds()


def _budget_terms(budget: Object) -> tuple[str]:
    """Return one label that all pods of the budget have, as `pod_terms` does; its namespace where there is none."""
    wanted = (budget["spec"].get("selector") or {}).get("matchLabels") or {}
    namespace = meta.namespace(budget)
    return (label_term(namespace, max(wanted.items())) if wanted else namespace,)


def _matters(old: Object, new: Object) -> bool:
    """Tell whether an update of a pod can change a budget."""
    return (
        podutil.is_ready(old) != podutil.is_ready(new)
        or meta.is_deleting(old) != meta.is_deleting(new)
        or relabelled(old, new)
        or podutil.is_finished(old) != podutil.is_finished(new)
        or meta.condition(old, DISRUPTION_TARGET) != meta.condition(new, DISRUPTION_TARGET)
        or old["metadata"].get("ownerReferences") != new["metadata"].get("ownerReferences")
    )


class DisruptionController(Controller):
    name = "disruption-controller"
    component = "controllermanager"

    def register(self) -> None:
        self._budgets = self.watch(PODDISRUPTIONBUDGETS)
        self._budgets.add_index(_BY_TERM, _budget_terms)
        self._pods = self.watch(PODS, self._concerned, changed=_matters, moved=relabelled, delay=TOGETHER)
        self._pods.add_index(PODS_BY_LABEL, pod_terms)
        self._owners = {
            resource.kind: (resource, self.informer(resource))
            for resource in (REPLICASETS, DEPLOYMENTS, REPLICATIONCONTROLLERS, STATEFULSETS)
        }
        self._catalog = Catalog(self.informers)

    def _concerned(self, pod: Object) -> Iterable[str]:
        terms = [*pod_terms(pod), meta.namespace(pod)]
        for budget in (found for term in terms for found in self._budgets.lister.by_index(_BY_TERM, term)):
            if labels.from_selector(budget["spec"].get("selector")).matches(meta.labels(pod)):
                yield meta.key_of(budget)
        if meta.condition(pod, DISRUPTION_TARGET) is not None and stale_in(pod, now=clock.now()) is not None:
            yield _POD_KEY + meta.key_of(pod)

    async def reconcile(self, key: str) -> float | None:
        if key.startswith(_POD_KEY):
            return await self._clear_stale(key.removeprefix(_POD_KEY))
        budget = self._budgets.lister.get(key)
        if budget is None:
            return None
        selector = labels.from_selector(budget["spec"].get("selector"))
        pods = [pod for pod in self._candidates(budget) if selector.matches(meta.labels(pod))]
        if not pods:
            self.recorder.event(budget, NORMAL, "NoPods", "No matching pods found")
        try:
            todo = plan(Inputs(budget, pods, await self._scales(budget, pods), clock.now()))
        except (NoScale, errors.StatusError, ValueError, LookupError) as error:
            text = f"Failed to calculate the number of expected pods: {error}"
            self.recorder.event(budget, WARNING, "CalculateExpectedPodCountFailed", text)
            await self._write(key, budget, failed_status(budget, str(error), now=clock.now()))
            raise errors.InternalError(str(error)) from error
        for pod in todo.late:
            text = f"Pod was expected by PDB {key} to be deleted but it wasn't"
            self.recorder.event(pod, WARNING, "NotDeleted", text)
        await self._write(key, budget, todo.status)
        return todo.again

    def _candidates(self, budget: Object) -> list[Object]:
        """Return the pods among which the budget's are: those of one of its labels, or of its namespace."""
        (term,) = _budget_terms(budget)
        if term == meta.namespace(budget):
            return self._pods.lister.list(term)
        return self._pods.lister.by_index(PODS_BY_LABEL, term)

    async def _write(self, key: str, budget: Object, status: Object) -> None:
        if status == budget.get("status"):
            return
        wanted = {**budget, "status": status}
        self.expect(PODDISRUPTIONBUDGETS, wanted)
        try:
            answer = await self.client.update_status(PODDISRUPTIONBUDGETS, wanted)
        except errors.NotFound:
            return
        self.wrote(key, PODDISRUPTIONBUDGETS, answer)

    async def _scales(self, budget: Object, pods: Sequence[Object]) -> dict[str, int]:
        """Return the replicas that the pods' controllers want. Raises NoScale, StatusError, LookupError."""
        scales: dict[str, int] = {}
        if not needs_scales(budget):
            return scales
        unmanaged = False
        seen: set[str] = set()
        for pod in pods:
            ref = meta.controller_of(pod)
            if ref is None:
                unmanaged = True
            elif ref["uid"] not in seen:
                seen.add(ref["uid"])
                found = await self._scale_of(pod, ref)
                if found is None:
                    raise LookupError(f'found no controllers for pod "{meta.name(pod)}"')
                scales[found[0]] = found[1]
        if unmanaged:
            self._warn_unmanaged(budget)
        return scales

    async def _scale_of(self, obj: Object, ref: Object) -> tuple[str, int] | None:
        """Return uid and replicas of the controller `ref` of `obj`, or of its Deployment; None when there is none."""
        namespace = meta.namespace(obj)
        resource = self._catalog.find(ref["apiVersion"], ref["kind"])
        builtin = self._owners.get(ref["kind"])
        if builtin is not None and resource is not None and resource.group == builtin[0].group:
            owner = builtin[1].lister.get(f"{namespace}/{ref['name']}")
            if owner is None or meta.uid(owner) != ref["uid"]:
                return None
            above = meta.controller_of(owner)
            if builtin[0] is REPLICASETS and above is not None and above["kind"] == DEPLOYMENTS.kind:
                return await self._scale_of(owner, above)
            return meta.uid(owner), owner["spec"].get("replicas", 1)
        if resource is None:
            return None
        try:
            scale = await get_scale(self.client, resource, ref["name"], namespace)
        except errors.NotFound as error:
            if error.details and error.details.get("name"):
                return None
            raise NoScale(resource) from error
        return ref["uid"], scale["spec"].get("replicas", 0)

    def _warn_unmanaged(self, budget: Object) -> None:
        selector = labels.from_selector(budget["spec"].get("selector"))
        text = (
            f"Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a "
            "result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To "
            'account for these pods please set ".spec.minAvailable" field of the PDB to an integer value.'
        )
        self.recorder.event(budget, WARNING, "UnmanagedPods", text)

    async def _clear_stale(self, key: str) -> float | None:
        pod = self._pods.lister.get(key)
        left = stale_in(pod, now=clock.now()) if pod else None
        if pod is None or left is None or left > 0:
            return left
        condition = {
            "type": DISRUPTION_TARGET,
            "status": "False",
            "reason": None,
            "message": None,
            "lastTransitionTime": clock.timestamp(),
        }
        patch = {
            "metadata": {"uid": meta.uid(pod), "resourceVersion": pod["metadata"]["resourceVersion"]},
            "status": {"conditions": [condition]},
        }
        try:
            await self.client.patch(
                PODS, meta.name(pod), patch, meta.namespace(pod), content_type=STRATEGIC_PATCH, subresource="status"
            )
        except errors.NotFound:
            return None
        return None
