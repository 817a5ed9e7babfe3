"""What each metric of a HorizontalPodAutoscaler proposes: read it, compute the size, say what was seen."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import NamedTuple

from wherry.api import quantity
from wherry.api.meta import Object
from wherry.api.printers.text import go_selector
from wherry.api.resources import PODS
from wherry.client.client import Client
from wherry.controllers import hpametrics, hpareplicas
from wherry.controllers.catalog import Catalog
from wherry.controllers.hpametrics import Unavailable
from wherry.controllers.hpareplicas import Proposal, Tolerance, Uncomputable
from wherry.util import clock


@dataclass(frozen=True, slots=True)
class Target:
    """What is scaled: its Scale, the pods that its selector names, and how far a metric may be off."""

    scale: Object
    namespace: str
    selector: str
    pods: Sequence[Object] = field(repr=False)
    tolerance: Tolerance

    @property
    def wanted(self) -> int:
        """The replicas that it is to have."""
        return (self.scale.get("spec") or {}).get("replicas", 0)

    @property
    def present(self) -> int:
        """The replicas that it has."""
        return (self.scale.get("status") or {}).get("replicas", 0)


class Proposed(NamedTuple):
    """A size, the metric's name as events show it, and its entry in ``status.currentMetrics``."""

    replicas: int
    metric: str
    status: Object


class NoProposal(Exception):
    """A metric proposes nothing: `reason` and `message` are of the event and the condition."""

    def __init__(self, reason: str, message: str, summary: str) -> None:
        super().__init__(summary)
        self.reason = reason
        self.message = message


async def propose(client: Client, catalog: Catalog, metric: Object, target: Target) -> Proposed:
    """Return what one entry of ``spec.metrics`` proposes. Raises NoProposal."""
    kind = metric["type"]
    if kind in ("Resource", "ContainerResource"):
        return await _resource(client, metric, target)
    if kind == "Pods":
        return await _pods(client, metric["pods"], target)
    if kind == "Object":
        return await _object(client, catalog, metric["object"], target)
    if kind == "External":
        return await _external(client, metric["external"], target)
    text = f'unknown metric source type "{kind}"'
    raise NoProposal("InvalidMetricSourceType", text, text)


def _shown(thousandths: int) -> str:
    return quantity.of(Fraction(thousandths, 1000))


def _milli(amount: str) -> int:
    return quantity.parse(amount).milli()


async def _resource(client: Client, metric: Object, target: Target) -> Proposed:
    of_container = metric["type"] == "ContainerResource"
    source = metric["containerResource" if of_container else "resource"]
    name, container = source["name"], source.get("container", "")
    kind = "container" if of_container else "resource"
    reason = "FailedGetContainerResourceMetric" if of_container else "FailedGetResourceMetric"
    wanted = source["target"]
    # The word for what failed depends on what is wanted.
    what = "usage" if wanted.get("averageValue") is not None else "utilization"
    try:
        proposal = await _compute_resource(client, name, container, wanted, target)
    except (Unavailable, Uncomputable) as error:
        text = f"failed to get {name} {what}: {error}"
        raise NoProposal(reason, text, f"failed to get {name} {kind} metric value: {text}") from error
    current: Object = {"averageValue": _shown(proposal.raw)}
    shown = f"{name} {kind}"
    if proposal.utilization is not None:
        current = {"averageUtilization": proposal.utilization, **current}
        shown += " utilization (percentage of request)"
    seen: Object = {"name": name, "current": current}
    if of_container:
        seen["container"] = container
    return Proposed(
        proposal.replicas, shown, {"type": metric["type"], "containerResource" if of_container else "resource": seen}
    )


async def _compute_resource(client: Client, name: str, container: str, wanted: Object, target: Target) -> Proposal:
    now = clock.now()
    try:
        samples = await hpametrics.of_resource(client, name, target.namespace, target.selector, container=container)
    except Unavailable as error:
        raise Unavailable(f"unable to get metrics for resource {name}: {error}") from error
    if wanted.get("averageValue") is not None:
        return hpareplicas.by_average(
            target.wanted,
            _milli(wanted["averageValue"]),
            samples,
            target.pods,
            resource=name,
            tolerance=target.tolerance,
            now=now,
        )
    return hpareplicas.by_utilization(
        target.wanted,
        wanted["averageUtilization"],
        samples,
        target.pods,
        resource=name,
        container=container,
        tolerance=target.tolerance,
        now=now,
    )


async def _pods(client: Client, source: Object, target: Target) -> Proposed:
    metric = source["metric"]
    try:
        try:
            samples = await hpametrics.of_pods(client, PODS, metric, target.namespace, target.selector)
        except Unavailable as error:
            raise Unavailable(f"unable to get metric {metric['name']}: {error}") from error
        proposal = hpareplicas.by_average(
            target.wanted,
            _milli(source["target"]["averageValue"]),
            samples,
            target.pods,
            resource="",
            tolerance=target.tolerance,
            now=clock.now(),
        )
    except (Unavailable, Uncomputable) as error:
        raise NoProposal("FailedGetPodsMetric", str(error), f"failed to get pods metric value: {error}") from error
    seen = {"metric": metric, "current": {"averageValue": _shown(proposal.raw)}}
    return Proposed(proposal.replicas, f"pods metric {metric['name']}", {"type": "Pods", "pods": seen})


async def _object(client: Client, catalog: Catalog, source: Object, target: Target) -> Proposed:
    metric, described, wanted = source["metric"], source["describedObject"], source["target"]
    try:
        try:
            resource = catalog.find(described.get("apiVersion", ""), described["kind"])
            if resource is None:
                raise Unavailable(f'no matches for kind "{described["kind"]}"')
            usage = await hpametrics.of_object(client, resource, described["name"], metric, target.namespace)
        except Unavailable as error:
            about = f"{described['kind']} on {target.namespace} {described['name']}"
            raise Unavailable(f"unable to get metric {metric['name']}: {about}/{error}") from error
        proposal, current = _of_whole(usage, wanted, target)
    except (Unavailable, Uncomputable) as error:
        text = f"failed to get object metric value: {error}"
        raise NoProposal("FailedGetObjectMetric", str(error), text) from error
    seen = {"metric": metric, "describedObject": described, "current": current}
    shown = f"{described['kind']} metric {metric['name']}"
    return Proposed(proposal.replicas, shown, {"type": "Object", "object": seen})


async def _external(client: Client, source: Object, target: Target) -> Proposed:
    metric = source["metric"]
    selector = printed(metric.get("selector"))
    try:
        try:
            usage = await hpametrics.of_outside(client, metric, target.namespace)
        except Unavailable as error:
            which = f"{target.namespace}/{metric['name']}/{selector}"
            raise Unavailable(f"unable to get external metric {which}: {error}") from error
        proposal, current = _of_whole(usage, source["target"], target)
    except (Unavailable, Uncomputable) as error:
        summary = f"failed to get {metric['name']} external metric value: {error}"
        raise NoProposal("FailedGetExternalMetric", str(error), summary) from error
    seen = {"metric": metric, "current": current}
    shown = f"external metric {metric['name']}({selector})"
    return Proposed(proposal.replicas, shown, {"type": "External", "external": seen})


def _of_whole(usage: int, wanted: Object, target: Target) -> tuple[Proposal, Object]:
    """Return size and current value for a metric that is not of single pods."""
    if wanted.get("averageValue") is not None:
        share = _milli(wanted["averageValue"])
        proposal = hpareplicas.by_share(target.present, share, usage, tolerance=target.tolerance)
        return proposal, {"averageValue": _shown(proposal.raw)}
    value = _milli(wanted["value"])
    proposal = hpareplicas.by_total(target.wanted, value, usage, target.pods, tolerance=target.tolerance)
    return proposal, {"value": _shown(proposal.raw)}


def printed(selector: Object | None) -> str:
    """Return a LabelSelector as Go prints it in messages."""
    return "nil" if selector is None else go_selector(selector)
