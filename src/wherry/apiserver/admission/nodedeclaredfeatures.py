"""NodeDeclaredFeatureValidator: a running pod is not asked for what its node does not say it can do."""

from collections.abc import Callable

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import NODES, PODS
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_SUBRESOURCES = frozenset({"", "resize"})


def concerns_bound_pod(operation: Operation) -> bool:
    """Tell whether an update changes the spec of a pod that has a node."""
    obj, old = operation.obj, operation.old
    if obj is None or old is None or not obj["spec"].get("nodeName"):
        return False
    changed: bool = obj["metadata"].get("generation") != old["metadata"].get("generation")
    return changed


def node_of(operation: Operation, reader: Reader) -> Object:
    """Return the node of the pod of an operation. Raises Forbidden."""
    assert operation.obj is not None
    name = operation.obj["spec"]["nodeName"]
    node = reader.get(NODES, None, name)
    if node is None:
        raise forbidden(operation.resource, operation.name, f'node "{name}" not found')
    return node


class NodeDeclaredFeatureValidator(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/nodedeclaredfeatures`` and the features of
    ``component-helpers/nodedeclaredfeatures`` that an update can need."""

    name = "NodeDeclaredFeatureValidator"
    resources = (PODS,)
    operations = frozenset({UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return operation.subresource in _SUBRESOURCES and concerns_bound_pod(operation)

    def validate(self, operation: Operation) -> None:
        assert operation.obj is not None and operation.old is not None
        spec, before = operation.obj["spec"], operation.old["spec"]
        needed = [feature for feature, needs in _FEATURES.items() if needs(spec, before)]
        if not needed:
            return
        node = node_of(operation, self._reader)
        declared = (node.get("status") or {}).get("declaredFeatures") or ()
        lacking = ", ".join(feature for feature in needed if feature not in declared)
        if lacking:
            why = f'pod update requires features {lacking} which are not available on node "{meta.name(node)}"'
            raise forbidden(operation.resource, operation.name, why)


def _resizes_pod(spec: Object, before: Object) -> bool:
    return spec.get("resources") != before.get("resources")


def _resizes_init_container(spec: Object, before: Object) -> bool:
    pairs = zip(spec.get("initContainers") or (), before.get("initContainers") or (), strict=False)
    return any(
        was.get("restartPolicy") != "Always" and (new.get("resources") or {}) != (was.get("resources") or {})
        for new, was in pairs
    )


_FEATURES: dict[str, Callable[[Object, Object], bool]] = {
    "InPlacePodLevelResourcesVerticalScaling": _resizes_pod,
    "InPlacePodVerticalScalingInitContainers": _resizes_init_container,
}
