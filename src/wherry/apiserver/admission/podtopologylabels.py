"""PodTopologyLabels: a pod that is given a node gets the labels that say in which zone and region that is."""

from wherry.api import meta
from wherry.api.resources import NODES, PODS
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/podtopologylabels``. Labels that the pod has stay."""

    name = "PodTopologyLabels"
    resources = (PODS,)
    operations = frozenset({CREATE, UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        # A binding comes as the update of the pod that it makes.
        return operation.subresource == ("" if operation.operation == CREATE else "binding")

    async def admit(self, operation: Operation) -> None:
        pod = operation.obj
        name = pod["spec"].get("nodeName") if pod is not None else None
        node = self._reader.get(NODES, None, name) if name else None
        if pod is None or node is None:
            return
        found = {label: meta.labels(node)[label] for label in _LABELS if label in meta.labels(node)}
        if found:
            pod["metadata"] = {**pod["metadata"], "labels": {**found, **meta.labels(pod)}}
