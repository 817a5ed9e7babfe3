"""DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or cannot be reached."""

from wherry.api.resources import PODS
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin

_KEYS = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")
_SECONDS = 300
_ADDED = {
    key: {"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": _SECONDS} for key in _KEYS
}
"""Shared by all pods, of which memory holds many; nobody changes a toleration in place."""


class DefaultTolerationSeconds(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/defaulttolerationseconds``."""

    name = "DefaultTolerationSeconds"
    resources = (PODS,)
    operations = frozenset({CREATE, UPDATE})

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def admit(self, operation: Operation) -> None:
        if operation.obj is None:
            return
        spec = operation.obj["spec"]
        given = spec.get("tolerations") or []
        tolerated = {t.get("key", "") for t in given if t.get("effect", "") in ("", "NoExecute")}
        if "" in tolerated:
            return
        added = [toleration for key, toleration in _ADDED.items() if key not in tolerated]
        if added:
            spec["tolerations"] = [*given, *added]
