"""Priority: a pod's number and preemption policy come from its priority class."""

from typing import Any

from wherry.api.resources import PODS, PRIORITYCLASSES
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_DEFAULT_POLICY = "PreemptLowerPriority"


class Priority(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/priority``."""

    name = "Priority"
    resources = (
        PODS,
        PRIORITYCLASSES,
    )
    operations = frozenset({CREATE, UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def admit(self, operation: Operation) -> None:
        if operation.obj is None or not operation.concerns(PODS):
            return
        spec = operation.obj["spec"]
        if operation.operation == UPDATE:
            old = (operation.old or {}).get("spec") or {}
            for field in ("priority", "preemptionPolicy"):
                if spec.get(field) is None and old.get(field) is not None:
                    spec[field] = old[field]
            return
        name, priority, policy = self._computed(operation, spec)
        if name:
            spec["priorityClassName"] = name
        given = spec.get("priority")
        if given is not None and given != priority:
            why = (
                f"the integer value of priority ({given}) must not be provided in pod spec; "
                f"priority admission controller computed {priority} from the given PriorityClass name"
            )
            raise forbidden(operation.resource, operation.name, why)
        wanted = spec.get("preemptionPolicy")
        if wanted is not None and wanted != policy:
            why = (
                f"the string value of PreemptionPolicy ({wanted}) must not be provided in pod spec; "
                f"priority admission controller computed {policy} from the given PriorityClass name"
            )
            raise forbidden(operation.resource, operation.name, why)
        spec["priority"], spec["preemptionPolicy"] = priority, policy

    def _computed(self, operation: Operation, spec: dict[str, Any]) -> tuple[str, int, str]:
        name = spec.get("priorityClassName")
        if name:
            found = self._reader.get(PRIORITYCLASSES, None, name)
            if found is None:
                raise forbidden(operation.resource, operation.name, f"no PriorityClass with name {name} was found")
        else:
            found = self._default()
            if found is None:
                return "", 0, _DEFAULT_POLICY
        return found["metadata"]["name"], found.get("value", 0), found.get("preemptionPolicy") or _DEFAULT_POLICY

    def _default(self) -> dict[str, Any] | None:
        defaults = [c for c in self._reader.list(PRIORITYCLASSES) if c.get("globalDefault")]
        return min(defaults, key=lambda c: c.get("value", 0), default=None)

    def validate(self, operation: Operation) -> None:
        if operation.obj is None or not operation.concerns(PRIORITYCLASSES) or not operation.obj.get("globalDefault"):
            return
        found = self._default()
        if found is not None and found["metadata"]["name"] != operation.obj["metadata"].get("name"):
            name = found["metadata"]["name"]
            why = f"PriorityClass {name} is already marked as default. Only one default can exist"
            raise forbidden(operation.resource, operation.name, why)
