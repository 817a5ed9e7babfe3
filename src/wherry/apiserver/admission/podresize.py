"""PodResizeValidator: a running pod cannot be given more than its node could ever give."""

from wherry.api import meta, quantity, quota
from wherry.api.resources import PODS
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.nodedeclaredfeatures import concerns_bound_pod, node_of
from wherry.apiserver.admission.plugin import UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_OS = "kubernetes.io/os"


class PodResizeValidator(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/podresize``. Causes tell programs why."""

    name = "PodResizeValidator"
    resources = (PODS,)
    operations = frozenset({UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return operation.subresource == "resize" and concerns_bound_pod(operation)

    def validate(self, operation: Operation) -> None:
        assert operation.obj is not None
        node = node_of(operation, self._reader)
        lacks = _lacks(operation.obj["spec"], node)
        system = meta.labels(node).get(_OS, "")
        if lacks:
            why, cause = f"Node didn't have enough allocatable resources: {lacks}", "NodeCapacity"
        elif system != "linux":
            why = f'pod resize is only supported on linux nodes, node "{meta.name(node)}" is "{system}"'
            cause = "UnsupportedPlatform"
        else:
            return
        refusal = forbidden(operation.resource, operation.name, why)
        refusal.details = {**(refusal.details or {}), "causes": [{"reason": cause}]}
        raise refusal


def _lacks(spec: meta.Object, node: meta.Object) -> str:
    """Return of what the pod requests more than the node has."""
    allocatable = (node.get("status") or {}).get("allocatable") or {}
    requests = quota.pod_amounts(spec, "requests")
    found = []
    for name in ("cpu", "memory"):
        amounts = requests.get(name), quantity.parse(allocatable.get(name, "0"))
        wanted, most = ((each.milli() if name == "cpu" else each.whole()) if each else 0 for each in amounts)
        if wanted > most:
            found.append(f"{name}, requested: {wanted}, allocatable: {most}")
    return "; ".join(found)
