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
        self._following = False
        self._labels: dict[str, dict[str, str]] = {}

    def handles(self, operation: Operation) -> bool:
        return operation.subresource in ("", "binding")

    def admit(self, operation: Operation) -> None:
        obj = operation.obj
        if obj is None:
            return
        name = _node_of_binding(obj) if operation.subresource else obj["spec"].get("nodeName")
        found = self._of_node(name) if name else None
        if found:
            # The labels of a binding become those of the pod.
            obj["metadata"] = {**obj["metadata"], "labels": {**found, **meta.labels(obj)}}

    def _of_node(self, name: str) -> dict[str, str] | None:
        if not self._following:
            self._following = True
            self._reader.follow(NODES, self._changed)
        return self._labels.get(name)

    def _changed(self, key: str, node: meta.Object | None) -> None:
        name = key.rpartition("/")[2]
        if node is None:
            self._labels.pop(name, None)
        else:
            labels = meta.labels(node)
            self._labels[name] = {label: labels[label] for label in _LABELS if label in labels}


def _node_of_binding(binding: meta.Object) -> str:
    target = binding.get("target") or {}
    return target.get("name") or "" if target.get("kind") == "Node" else ""
