"""TaintNodesByCondition: a new node takes no pods until it was seen to be ready."""

from wherry.api.resources import NODES
from wherry.apiserver.admission.plugin import CREATE, Operation, Plugin

_TAINT = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}


class TaintNodesByCondition(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/nodetaint``."""

    name = "TaintNodesByCondition"
    resources = (NODES,)
    operations = frozenset({CREATE})

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def admit(self, operation: Operation) -> None:
        if operation.obj is None:
            return
        spec = operation.obj.setdefault("spec", {})
        taints = spec.get("taints") or []
        if all((t.get("key"), t.get("effect")) != (_TAINT["key"], _TAINT["effect"]) for t in taints):
            spec["taints"] = [*taints, dict(_TAINT)]
