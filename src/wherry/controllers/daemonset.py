"""The DaemonSet controller: one pod on every node that its template allows.

Watches DaemonSets, their pods and revisions, and nodes. Writes pods, ControllerRevisions and the status. Guarantees at
most one running pod on each node (two while a surge replaces one), and that a rolling update keeps within
``maxUnavailable`` or ``maxSurge``. Pods are bound by the scheduler: they carry an affinity to their node. A failed pod
is replaced after a back-off.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CONTROLLERREVISIONS, DAEMONSETS, NODES, PODS
from wherry.api.selectors import labels
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.controller import TOGETHER, Controller, gather_all, is_namespace_terminating, slow_start
from wherry.controllers.nodefit import daemon_verdict
from wherry.controllers.refs import CONTROLLER, candidates, claim, index_claims, plan_claims
from wherry.controllers.revisions import POD_HASH, sync_revision, truncate
from wherry.controllers.rollout import scaled_value
from wherry.util import clock
from wherry.util.backoff import KeyedBackoff

_BURST = 250
_GENERATION = "deprecated.daemonset.template.generation"
_TOLERATIONS = [
    {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute"},
    {"key": "node.kubernetes.io/disk-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/pid-pressure", "operator": "Exists", "effect": "NoSchedule"},
    {"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"},
]
_NETWORK = {"key": "node.kubernetes.io/network-unavailable", "operator": "Exists", "effect": "NoSchedule"}


@dataclass(frozen=True, slots=True)
class Inputs:
    """`pods` are those of the set, `hash` is the label of the present revision."""

    daemon_set: Object
    pods: tuple[Object, ...]
    nodes: tuple[Object, ...]
    hash: str
    now: datetime


@dataclass(slots=True)
class Plan:
    """Names of nodes to create pods for, pods to delete, and which of these have failed."""

    create: list[str] = field(default_factory=list)
    delete: list[Object] = field(default_factory=list)
    failed: list[Object] = field(default_factory=list)
    status: Object = field(default_factory=dict)
    again: float | None = None


def pod_spec(daemon_set: Object) -> Object:
    """Return the pod spec of the template with the tolerations that every daemon pod has."""
    spec = meta.copy(daemon_set["spec"]["template"]["spec"])
    wanted = [*_TOLERATIONS, *([_NETWORK] if spec.get("hostNetwork") else [])]
    present = spec.get("tolerations") or []
    spec["tolerations"] = present + [toleration for toleration in wanted if toleration not in present]
    return spec


def node_of(pod: Object) -> str:
    """Return the node that a daemon pod is on or meant for."""
    spec = pod["spec"]
    if spec.get("nodeName"):
        return str(spec["nodeName"])
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for requirement in term.get("matchFields") or ():
            if requirement.get("key") == "metadata.name" and requirement.get("values"):
                return str(requirement["values"][0])
    return ""


def plan(inputs: Inputs) -> Plan:
    """Return the next step of a DaemonSet.

    Three nodes, one of them tainted, a pod on the first: create one for the second.
    """
    return _Step(inputs).run()


class _Step:
    def __init__(self, inputs: Inputs) -> None:
        self.inputs = inputs
        self.spec = inputs.daemon_set["spec"]
        self.min_ready = self.spec.get("minReadySeconds", 0)
        self.todo = Plan()
        spec = pod_spec(inputs.daemon_set)
        self.verdicts = {meta.name(node): daemon_verdict(spec, node) for node in inputs.nodes}
        self.on: dict[str, list[Object]] = {}
        for pod in inputs.pods:
            self.on.setdefault(node_of(pod), []).append(pod)
        self.wanted = [name for name, (runs, _) in self.verdicts.items() if runs]
        rolling = (self.spec.get("updateStrategy") or {}).get("rollingUpdate") or {}
        self.rolls = (self.spec.get("updateStrategy") or {}).get("type", "RollingUpdate") == "RollingUpdate"
        desired = len(self.wanted)
        self.surge = scaled_value(rolling.get("maxSurge", 0), desired, round_up=True) if self.rolls else 0
        self.unavailable = scaled_value(rolling.get("maxUnavailable", 1), desired, round_up=True) if self.rolls else 0
        if self.surge == 0 and self.unavailable == 0:
            self.unavailable = 1

    def run(self) -> Plan:
        if not meta.is_deleting(self.inputs.daemon_set):
            for name in self.verdicts:
                self._place(name, *self.verdicts[name])
            for name, pods in self.on.items():
                if name not in self.verdicts:
                    # Not yet bound, and the node that they are meant for is gone.
                    self._delete(pod for pod in pods if not pod["spec"].get("nodeName"))
            if self.rolls:
                self._roll()
        self.todo.status = self._status()
        return self.todo

    def _delete(self, pods: Iterable[Object]) -> None:
        known = {meta.uid(pod) for pod in self.todo.delete}
        self.todo.delete += [pod for pod in pods if not meta.is_deleting(pod) and meta.uid(pod) not in known]

    def _place(self, node: str, runs: bool, stays: bool) -> None:
        pods = self.on.get(node, [])
        if not runs and not stays:
            self._delete(pods)
            return
        if not runs:
            return
        alive = []
        for pod in pods:
            if podutil.is_finished(pod):
                if not meta.is_deleting(pod):
                    self.todo.failed.append(pod)
            else:
                alive.append(pod)
        if not pods:
            self.todo.create.append(node)
        running = sorted((pod for pod in alive if not meta.is_deleting(pod)), key=self._seniority)
        by_hash: dict[bool, list[Object]] = {True: [], False: []}
        for pod in running:
            by_hash[self._is_new(pod)].append(pod)
        if self.surge and self.rolls:
            # One of each generation may be there while the new one comes up.
            self._delete([*by_hash[True][1:], *by_hash[False][1:]])
        else:
            self._delete(running[1:])

    @staticmethod
    def _seniority(pod: Object) -> tuple[bool, str, str]:
        return not pod["spec"].get("nodeName"), pod["metadata"].get("creationTimestamp", ""), meta.name(pod)

    def _is_new(self, pod: Object) -> bool:
        return meta.labels(pod).get(POD_HASH) == self.inputs.hash

    def _is_available(self, pod: Object) -> bool:
        left = podutil.available_in(pod, self.min_ready, self.inputs.now)
        if left:
            self.todo.again = left if self.todo.again is None else min(left, self.todo.again)
        return left == 0.0

    def _roll(self) -> None:
        taken = {meta.uid(pod) for pod in self.todo.delete}
        pairs: list[tuple[str, list[Object], list[Object]]] = []
        for node in self.wanted:
            alive = [
                pod for pod in self.on.get(node, []) if not podutil.is_finished(pod) and meta.uid(pod) not in taken
            ]
            new = [pod for pod in alive if self._is_new(pod)]
            pairs.append((node, new, [pod for pod in alive if not self._is_new(pod)]))
        if self.surge:
            self._roll_by_surge(pairs)
        else:
            self._roll_by_deletion(pairs)

    def _roll_by_deletion(self, pairs: list[tuple[str, list[Object], list[Object]]]) -> None:
        budget, available_old = self.unavailable, []
        for _, new, old in pairs:
            pods = [pod for pod in [*new, *old] if not meta.is_deleting(pod)]
            if not any(self._is_available(pod) for pod in pods):
                budget -= 1
                # A pod that is not available costs nothing to replace.
                self._delete(old)
            elif old and not new:
                available_old += old
        self._delete(available_old[: max(0, budget)])

    def _roll_by_surge(self, pairs: list[tuple[str, list[Object], list[Object]]]) -> None:
        budget = self.surge
        waiting: list[str] = []
        for node, new, old in pairs:
            if new and old:
                if any(self._is_available(pod) for pod in new):
                    self._delete(old)
                else:
                    budget -= 1
            elif old and not new:
                if any(self._is_available(pod) and not meta.is_deleting(pod) for pod in old):
                    waiting.append(node)
                else:
                    self.todo.create.append(node)
        self.todo.create += waiting[: max(0, budget)]

    def _status(self) -> Object:
        old = self.inputs.daemon_set.get("status") or {}
        current = mis = ready = updated = available = 0
        for node, (runs, _) in self.verdicts.items():
            pods = [pod for pod in self.on.get(node, []) if not podutil.is_finished(pod)]
            if not pods:
                continue
            if not runs:
                mis += 1
                continue
            current += 1
            newest = sorted(pods, key=self._seniority)
            ready_pods = [pod for pod in newest if podutil.is_ready(pod)]
            ready += bool(ready_pods)
            available += any(self._is_available(pod) for pod in ready_pods)
            updated += any(self._is_new(pod) for pod in newest)
        desired = len(self.wanted)
        status: Object = {
            "currentNumberScheduled": current,
            "numberMisscheduled": mis,
            "desiredNumberScheduled": desired,
            "numberReady": ready,
        }
        counts = {
            "observedGeneration": self.inputs.daemon_set["metadata"].get("generation", 0),
            "updatedNumberScheduled": updated,
            "numberAvailable": available,
            "numberUnavailable": desired - available,
        }
        status |= {name: count for name, count in counts.items() if count}
        for name in ("collisionCount", "conditions"):
            if old.get(name) is not None:
                status[name] = old[name]
        return status


def new_pod(daemon_set: Object, node: str, *, hash: str) -> Object:
    """Return the pod for a node."""
    pod = podutil.from_template(daemon_set["spec"]["template"], daemon_set)
    md = pod["metadata"]
    md["labels"] = {**md.get("labels", {}), POD_HASH: hash}
    if generation := meta.annotations(daemon_set).get(_GENERATION):
        md["labels"]["pod-template-generation"] = generation
    spec = pod["spec"] = pod_spec(daemon_set)
    affinity = spec.setdefault("affinity", {}).setdefault("nodeAffinity", {})
    fields = [{"key": "metadata.name", "operator": "In", "values": [node]}]
    affinity["requiredDuringSchedulingIgnoredDuringExecution"] = {"nodeSelectorTerms": [{"matchFields": fields}]}
    return pod


class DaemonSetController(Controller):
    name = "daemon-set-controller"

    def register(self) -> None:
        self._sets = self.watch(DAEMONSETS)
        self._pods = self.watch_owned(PODS, DAEMONSETS, orphans=self._adopters, delay=TOGETHER)
        self._revisions = self.watch_owned(CONTROLLERREVISIONS, DAEMONSETS)
        self._nodes = self.watch(NODES, lambda node: map(meta.key_of, self._sets.lister.list()), changed=_node_matters)
        index_claims(self._pods)
        index_claims(self._revisions)
        self._backoff = KeyedBackoff(1.0, 900.0)
        self._failed_until: dict[str, float] = {}

    def _adopters(self, pod: Object) -> Iterable[str]:
        return [
            meta.key_of(found)
            for found in self._sets.lister.list(meta.namespace(pod))
            if labels.from_selector(found["spec"].get("selector")).matches(meta.labels(pod))
        ]

    async def reconcile(self, key: str) -> float | None:
        found = self._sets.lister.get(key)
        if found is None:
            return None
        selector = labels.from_selector(found["spec"].get("selector"))
        if selector.is_everything:
            message = "This daemon set is selecting all pods. A non-empty selector is required."
            self.recorder.event(found, WARNING, "SelectingAll", message)
            return None
        claims = plan_claims(found, candidates(self._pods, found), selector)
        pods = await claim(self.client, DAEMONSETS, found, PODS, claims)
        history = self._revisions.lister.by_index(CONTROLLER, meta.uid(found))
        revision, collisions = await sync_revision(self.client, found, history)
        self.wrote(key, CONTROLLERREVISIONS, revision)
        # A revision that somebody else made need not have the label.
        label = meta.labels(revision).get(POD_HASH) or meta.name(revision)
        todo = plan(Inputs(found, tuple(pods), tuple(self._nodes.lister.list()), label, clock.now()))
        if collisions is not None:
            todo.status["collisionCount"] = collisions
        again = await self._replace_failed(key, found, todo)
        error = await self._manage(key, found, todo, label)
        if todo.status != found.get("status"):
            answer = await self.client.update_status(DAEMONSETS, {**found, "status": todo.status})
            self.wrote(key, DAEMONSETS, answer)
        live = {meta.name(revision), *(f"{meta.name(found)}-{meta.labels(pod).get(POD_HASH)}" for pod in pods)}
        await truncate(self.client, history, live=live, limit=found["spec"].get("revisionHistoryLimit", 10))
        if error is not None:
            raise error
        return min((wait for wait in (again, todo.again) if wait is not None), default=None)

    async def _manage(self, key: str, owner: Object, todo: Plan, label: str) -> errors.StatusError | None:
        """Create and delete pods; return what went wrong, so that the status is written all the same."""
        nodes = list(reversed(todo.create[:_BURST]))

        async def create_next() -> None:
            await self._create(key, owner, nodes.pop(), label=label)

        try:
            await gather_all(self._delete(key, owner, pod) for pod in todo.delete[:_BURST])
            await slow_start(len(nodes), create_next)
        except errors.StatusError as error:
            return None if is_namespace_terminating(error) else error
        return None

    async def _replace_failed(self, key: str, owner: Object, todo: Plan) -> float | None:
        """Delete finished pods whose node's back-off is over; return the seconds until the next one is."""
        waits = []
        for pod in todo.failed:
            place = f"{meta.uid(owner)}/{node_of(pod)}"
            left = self._failed_until.get(place, 0.0) - clock.monotonic()
            if left > 0:
                waits.append(left)
                continue
            self._failed_until[place] = clock.monotonic() + self._backoff.next(place)
            word, reason, kind = "failed", "FailedDaemonPod", WARNING
            if podutil.phase(pod) == "Succeeded":
                word, reason, kind = "succeeded", "SucceededDaemonPod", NORMAL
            action = "kill" if word == "failed" else "delete"
            message = f"Found {word} daemon pod {meta.key_of(pod)} on node {node_of(pod)}, will try to {action} it"
            self.recorder.event(owner, kind, reason, message)
            await self._delete(key, owner, pod)
        return min(waits, default=None)

    async def _create(self, key: str, owner: Object, node: str, *, label: str) -> None:
        try:
            made = self.wrote(key, PODS, await self.client.create(PODS, new_pod(owner, node, hash=label)))
        except errors.StatusError as error:
            if not is_namespace_terminating(error):
                self.recorder.event(owner, WARNING, "FailedCreate", f"Error creating: {error}")
            raise
        self.recorder.event(owner, NORMAL, "SuccessfulCreate", f"Created pod: {meta.name(made)}")

    async def _delete(self, key: str, owner: Object, pod: Object) -> None:
        try:
            gone = await self.client.delete(PODS, meta.name(pod), meta.namespace(pod))
        except errors.NotFound:
            return
        self.wrote(key, PODS, gone)
        self.recorder.event(owner, NORMAL, "SuccessfulDelete", f"Deleted pod: {meta.name(pod)}")


def _node_matters(old: Object, new: Object) -> bool:
    """Tell whether a node's change can move daemon pods."""
    taints = [(node.get("spec") or {}).get("taints") for node in (old, new)]
    return meta.labels(old) != meta.labels(new) or taints[0] != taints[1]
