"""Whether the pod of a DaemonSet belongs on a node."""

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.selectors.nodes import selects_node, untolerated

_EFFECTS = ("NoSchedule", "NoExecute")


def daemon_verdict(spec: Object, node: Object) -> tuple[bool, bool]:
    """Return (should run, may go on running) for the pod of a DaemonSet on a node; `spec` has its tolerations."""
    if spec.get("nodeName") not in (None, "", meta.name(node)) or not selects_node(spec, node):
        return False, False
    taints = (node.get("spec") or {}).get("taints") or ()
    tolerations = spec.get("tolerations") or ()
    stays = not untolerated(taints, tolerations, effects=("NoExecute",))
    return not untolerated(taints, tolerations, effects=_EFFECTS), stays
