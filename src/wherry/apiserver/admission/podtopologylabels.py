"""PodTopologyLabels: a pod that is given a node gets the labels that say in which zone and region that is."""

from wherry.api import meta
from wherry.api.resources import NODES, PODS
from wherry.apiserver.admission.plugin import CREATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_LABELS = ("topology.kubernetes.io/zone", "topology.kubernetes.io/region")


class PodTopologyLabels(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/podtopologylabels``. Labels that the pod has stay."""

    name = "PodTopologyLabels"
    resources = (PODS,)
    operations = frozenset({CREATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return operation.subresource in ("", "binding")

    async def admit(self, operation: Operation) -> None:
        obj = operation.obj
        if obj is None:
            return
        name = _node_of_binding(obj) if operation.subresource else obj["spec"].get("nodeName")
        node = self._reader.get(NODES, None, name) if name else None
        if node is None:
            return
        found = {label: meta.labels(node)[label] for label in _LABELS if label in meta.labels(node)}
        if found:
            # The labels of a binding become those of the pod.
            obj["metadata"] = {**obj["metadata"], "labels": {**found, **meta.labels(obj)}}


def _node_of_binding(binding: meta.Object) -> str:
    target = binding.get("target") or {}
    return target.get("name") or "" if target.get("kind") == "Node" else ""
