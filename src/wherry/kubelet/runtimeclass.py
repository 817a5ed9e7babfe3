"""Which program runs a pod's containers (kubernetes.io/docs/concepts/containers/runtime-class)."""

from wherry.api import meta
from wherry.api.resources import RUNTIMECLASSES
from wherry.kubelet.services import NodeServices
from wherry.runtime.protocol import ContainerError


async def handler_of(pod: meta.Object, services: NodeServices) -> str:
    """Return the runtime handler of a pod's RuntimeClass, empty without one.

    Raises ContainerError for a class that is gone, and for a handler that this node does not have.
    """
    name = pod["spec"].get("runtimeClassName")
    if not name:
        return ""
    found = await services.objects.get(RUNTIMECLASSES, "", name, user=meta.uid(pod))
    if found is None:
        raise ContainerError(f'runtimeclasses.node.k8s.io "{name}" not found', reason="CreatePodSandboxError")
    handler = str(found.get("handler") or "")
    if handler not in services.runtime.handlers:
        text = f'failed to get sandbox runtime: no runtime for "{handler}" is configured'
        raise ContainerError(text, reason="CreatePodSandboxError")
    return handler
