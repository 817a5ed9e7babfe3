"""RuntimeClass: a pod of a runtime class takes over its overhead and where it may run."""

from typing import Any

from wherry.api import meta
from wherry.api.resources import PODS, builtin
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_RUNTIMECLASSES = builtin("node.k8s.io", "v1", "runtimeclasses")


class RuntimeClass(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/runtimeclass``."""

    name = "RuntimeClass"
    resources = (PODS,)
    operations = frozenset({CREATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def admit(self, operation: Operation) -> None:
        found = self._class(operation)
        if operation.obj is None or found is None:
            return
        spec = operation.obj["spec"]
        overhead = (found.get("overhead") or {}).get("podFixed")
        if overhead:
            if spec.get("overhead") not in (None, overhead):
                why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"
                raise forbidden(operation.resource, operation.name, why)
            spec["overhead"] = dict(overhead)
        scheduling = found.get("scheduling")
        if scheduling:
            self._place(operation, spec, scheduling)

    def validate(self, operation: Operation) -> None:
        if operation.obj is None:
            return
        found = self._class(operation)
        if found is None and operation.obj["spec"].get("overhead"):
            why = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
            raise forbidden(operation.resource, operation.name, why)

    def _class(self, operation: Operation) -> dict[str, Any] | None:
        name = ((operation.obj or {}).get("spec") or {}).get("runtimeClassName")
        if not name:
            return None
        found = self._reader.get(_RUNTIMECLASSES, None, name)
        if found is None:
            raise forbidden(operation.resource, operation.name, f'pod rejected: RuntimeClass "{name}" not found')
        return found

    @staticmethod
    def _place(operation: Operation, spec: dict[str, Any], scheduling: dict[str, Any]) -> None:
        selector = dict(spec.get("nodeSelector") or {})
        for key, value in (scheduling.get("nodeSelector") or {}).items():
            if selector.get(key, value) != value:
                given = f"pod.spec.nodeSelector[{key}] = {selector[key]}"
                why = f"conflict: runtimeClass.scheduling.nodeSelector[{key}] = {value}; {given}"
                raise forbidden(operation.resource, operation.name, why)
            selector[key] = value
        if selector:
            spec["nodeSelector"] = selector
        tolerations = spec.get("tolerations") or []
        added = [meta.copy(t) for t in scheduling.get("tolerations") or () if t not in tolerations]
        if added:
            spec["tolerations"] = [*tolerations, *added]
