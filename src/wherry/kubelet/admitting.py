"""Holding a new pod against this node, once, before anything is made for it."""

from wherry.api import meta
from wherry.api.resources import NODES
from wherry.kubelet import admission
from wherry.kubelet.services import NodeServices
from wherry.kubelet.status import Failure


async def rejected(pod: meta.Object, services: NodeServices) -> Failure | None:
    """Return why a pod cannot run here, told in an event; None when it can. Raises StatusError, OSError."""
    failure = _admit(pod, services, services.node())
    if failure is not None and failure.reason in ("NodeAffinity", "TaintToleration"):
        # The scheduler may have seen a later state of the node than this process.
        failure = _admit(pod, services, await services.client.get(NODES, services.config.node_name))
    if failure is not None:
        services.events.warning(pod, failure.reason, failure.message)
    return failure


def _admit(pod: meta.Object, services: NodeServices, node: meta.Object | None) -> Failure | None:
    return admission.admit(
        pod,
        services.others(pod),
        node=node,
        allocatable=services.allocatable,
        allowed_sysctls=services.config.allowed_sysctls,
        requests=services.requests,
        pressure=services.pressure(),
        apparmor=services.machine.apparmor,
    )
