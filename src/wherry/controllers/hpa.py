"""The HorizontalPodAutoscaler controller: keeps metrics at their targets by changing a scale.

Watches autoscalers and pods. Reads scales and the metrics APIs every 15 seconds. Writes the scale of the target and the
autoscaler's status. Guarantees that the size stays within ``minReplicas`` and ``maxReplicas`` even when no metric can
be read, that it does not shrink on the word of some metrics while others cannot be read, and that two autoscalers of
the same pods do nothing. What it remembers (for stabilisation and rates) is lost when this process ends: it then starts
from the size that it finds.
"""

import logging
from dataclasses import dataclass, field

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import HORIZONTALPODAUTOSCALERS, PODS, Resource
from wherry.api.selectors import labels
from wherry.client.events import NORMAL, WARNING
from wherry.controllers import hpabehavior
from wherry.controllers.catalog import Catalog
from wherry.controllers.controller import Controller
from wherry.controllers.hpabehavior import Entry, History
from wherry.controllers.hpaproposals import NoProposal, Proposed, Target, propose
from wherry.controllers.hpareplicas import Tolerance
from wherry.controllers.scales import NoScale, get_scale
from wherry.util import clock

log = logging.getLogger(__name__)

_ABLE, _ACTIVE, _LIMITED = "AbleToScale", "ScalingActive", "ScalingLimited"


class _Stopped(Exception):
    """This round ends here; the status says why."""


@dataclass(slots=True)
class _Round:
    """One look at one autoscaler: the status as it becomes."""

    hpa: Object
    conditions: list[Object]
    metrics: list[Object] = field(default_factory=list)
    current: int = 0
    desired: int = 0
    scaled: bool = False

    def set(self, kind: str, status: bool, reason: str, message: str) -> None:
        """Set a condition."""
        new = {"type": kind, "status": str(status), "reason": reason, "message": message}
        self.conditions = meta.with_condition(self.conditions, new, now=clock.timestamp())

    def status(self) -> Object:
        """Return the status to write."""
        old = self.hpa.get("status") or {}
        status: Object = {"currentReplicas": self.current, "desiredReplicas": self.desired}
        last = clock.timestamp() if self.scaled else old.get("lastScaleTime")
        if last:
            status["lastScaleTime"] = last
        if self.metrics:
            status["currentMetrics"] = self.metrics
        status["conditions"] = self.conditions
        return status


class HorizontalPodAutoscalerController(Controller):
    name = "horizontal-pod-autoscaler"

    def register(self) -> None:
        # The first look is a period after the change, as each further one is after the one before.
        self._hpas = self.watch(
            HORIZONTALPODAUTOSCALERS,
            changed=lambda old, new: old["spec"] != new["spec"],
            delay=self.settings.hpa_sync_period,
        )
        self._pods = self.informer(PODS)
        self._catalog = Catalog(self.informers)
        self._histories: dict[str, History] = {}
        self._selectors: dict[str, labels.Selector] = {}

    async def reconcile(self, key: str) -> float | None:
        hpa = self._hpas.lister.get(key)
        if hpa is None:
            self._histories.pop(key, None)
            self._selectors.pop(key, None)
            return None
        old = hpa.get("status") or {}
        todo = _Round(hpa, list(old.get("conditions") or ()), old.get("currentMetrics") or [])
        todo.current, todo.desired = old.get("currentReplicas", 0), old.get("desiredReplicas", 0)
        try:
            await self._autoscale(key, todo)
        except (_Stopped, errors.StatusError, OSError) as error:
            # The next round comes as soon as it would have anyway: metrics do not come back any earlier.
            log.info("%s: %s", key, error)
        status = todo.status()
        if status != hpa.get("status"):
            try:
                answer = await self.client.update_status(HORIZONTALPODAUTOSCALERS, {**hpa, "status": status})
            except errors.NotFound:
                return None
            self.wrote(key, HORIZONTALPODAUTOSCALERS, answer)
        return self.settings.hpa_sync_period

    async def _autoscale(self, key: str, todo: _Round) -> None:
        spec = todo.hpa["spec"]
        resource, scale = await self._scale(todo)
        least, most = spec.get("minReplicas", 1), spec["maxReplicas"]
        current = todo.current = (scale.get("spec") or {}).get("replicas", 0)
        history = self._histories.setdefault(key, History([Entry(clock.monotonic(), current)]))
        desired, why = current, ""
        if current == 0 and least != 0:
            desired = 0
            text = "scaling is disabled since the replica count of the target is zero"
            todo.set(_ACTIVE, False, "ScalingDisabled", text)
        elif current > most:
            desired, why = most, "Current number of replicas above Spec.MaxReplicas"
        elif current < least:
            desired, why = least, "Current number of replicas below Spec.MinReplicas"
        else:
            found = await self._recommended(todo, scale)
            if found.replicas > current:
                why = f"{found.metric} above target"
            elif found.replicas < current:
                why = "All metrics below target"
            desired = self._decide(todo, found.replicas, history)
        if desired != current:
            await self._rescale(todo, resource, scale, desired, why)
            hpabehavior.record_change(history, before=current, after=desired, now=clock.monotonic())
        todo.desired = desired

    def _fail(self, todo: _Round, reason: str, message: str) -> _Stopped:
        self.recorder.event(todo.hpa, WARNING, reason, message)
        return _Stopped(message)

    async def _scale(self, todo: _Round) -> tuple[Resource, Object]:
        ref, namespace = todo.hpa["spec"]["scaleTargetRef"], meta.namespace(todo.hpa)
        resource = self._catalog.find(ref.get("apiVersion", ""), ref["kind"])
        try:
            if resource is None:
                group = ref.get("apiVersion", "").rpartition("/")[0]
                raise errors.NotFound(f'no matches for kind "{ref["kind"]}" in group "{group}"')
            scale = await get_scale(self.client, resource, ref["name"], namespace)
        except (errors.StatusError, NoScale) as error:
            text = f"the HPA controller was unable to get the target's current scale: {error}"
            todo.set(_ABLE, False, "FailedGetScale", text)
            raise self._fail(todo, "FailedGetScale", str(error)) from error
        text = "the HPA controller was able to get the target's current scale"
        todo.set(_ABLE, True, "SucceededGetScale", text)
        return resource, scale

    async def _rescale(self, todo: _Round, resource: Resource, scale: Object, replicas: int, why: str) -> None:
        wanted = {**scale, "spec": {**(scale.get("spec") or {}), "replicas": replicas}}
        try:
            await self.client.update(resource, wanted, subresource="scale")
        except errors.StatusError as error:
            todo.set(
                _ABLE, False, "FailedUpdateScale", f"the HPA controller was unable to update the target scale: {error}"
            )
            raise self._fail(todo, "FailedRescale", f"New size: {replicas}; reason: {why}; error: {error}") from error
        text = f"the HPA controller was able to update the target scale to {replicas}"
        todo.set(_ABLE, True, "SucceededRescale", text)
        self.recorder.event(todo.hpa, NORMAL, "SuccessfulRescale", f"New size: {replicas}; reason: {why}")
        todo.scaled = True

    def _decide(self, todo: _Round, recommended: int, history: History) -> int:
        spec, now = todo.hpa["spec"], clock.monotonic()
        decision = hpabehavior.decide(
            hpabehavior.Inputs(
                todo.current,
                recommended,
                spec.get("minReplicas", 1),
                spec["maxReplicas"],
                spec.get("behavior"),
                history,
                self.settings.hpa_downscale_stabilization,
                now,
            )
        )
        hpabehavior.remember(history, recommended=recommended, now=now)
        todo.set(_ABLE, True, *decision.able)
        todo.set(_LIMITED, decision.limited, *decision.limit)
        return decision.replicas

    # Metrics.

    async def _recommended(self, todo: _Round, scale: Object) -> Proposed:
        """Return the greatest proposal. Raises _Stopped when the metrics that can be read do not decide."""
        target = self._target(todo, scale)
        specs = todo.hpa["spec"].get("metrics") or []
        proposals: list[Proposed] = []
        failures: list[NoProposal] = []
        seen: list[Object] = []
        for metric in specs:
            try:
                proposals.append(await propose(self.client, self._catalog, metric, target))
                seen.append(proposals[-1].status)
            except NoProposal as failure:
                self.recorder.event(todo.hpa, WARNING, failure.reason, failure.message)
                failures.append(failure)
                seen.append({"type": ""})
        best = max(proposals, key=lambda proposal: proposal.replicas, default=None)
        todo.metrics = seen
        if failures and (best is None or best.replicas < target.wanted):
            first = failures[0]
            text = f"the HPA was unable to compute the replica count: {first.message}"
            todo.set(_ACTIVE, False, first.reason, text)
            summary = f"invalid metrics ({len(failures)} invalid out of {len(specs)}), first error is: {first}"
            raise self._fail(todo, "FailedComputeMetricsReplicas", summary)
        if best is None:
            raise _Stopped("no metrics")
        text = f"the HPA was able to successfully calculate a replica count from {best.metric}"
        todo.set(_ACTIVE, True, "ValidMetricFound", text)
        return best

    def _target(self, todo: _Round, scale: Object) -> Target:
        hpa, namespace = todo.hpa, meta.namespace(todo.hpa)
        text = (scale.get("status") or {}).get("selector") or ""
        if not text:
            todo.set(_ACTIVE, False, "InvalidSelector", "the HPA target's scale is missing a selector")
            raise self._selector_failure(todo, "SelectorRequired", "selector is required")
        try:
            selector = labels.parse(text)
        except ValueError as error:
            said = f"couldn't convert selector into a corresponding internal selector object: {error}"
            todo.set(_ACTIVE, False, "InvalidSelector", said)
            raise self._selector_failure(todo, "InvalidSelector", said) from error
        pods = [pod for pod in self._pods.lister.list(namespace) if selector.matches(meta.labels(pod))]
        self._selectors[meta.key_of(hpa)] = selector
        self._refuse_others(todo, text, pods)
        default, behavior = self.settings.hpa_tolerance, hpa["spec"].get("behavior")
        tolerance = Tolerance(
            hpabehavior.tolerance(behavior, "scaleUp", default=default),
            hpabehavior.tolerance(behavior, "scaleDown", default=default),
        )
        return Target(scale, namespace, text, pods, tolerance)

    def _refuse_others(self, todo: _Round, selector: str, pods: list[Object]) -> None:
        """Refuse to go on when another autoscaler has some of the same pods. Raises _Stopped."""
        namespace = meta.namespace(todo.hpa)
        rivals = sorted(
            key
            for key, other in self._selectors.items()
            if meta.split_key(key)[0] == namespace and any(other.matches(meta.labels(pod)) for pod in pods)
        )
        if len(rivals) > 1:
            said = f"pods by selector {selector} are controlled by multiple HPAs: [{' '.join(rivals)}]"
            todo.set(_ACTIVE, False, "AmbiguousSelector", said)
            raise self._selector_failure(todo, "AmbiguousSelector", said)

    def _selector_failure(self, todo: _Round, reason: str, message: str) -> _Stopped:
        self.recorder.event(todo.hpa, WARNING, reason, message)
        return self._fail(todo, "FailedComputeMetricsReplicas", message)
