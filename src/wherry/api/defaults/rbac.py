"""Defaults of ``rbac.authorization.k8s.io``: the API groups of references."""

from typing import Any

Obj = dict[str, Any]

GROUP = "rbac.authorization.k8s.io"


def default_binding(obj: Obj) -> None:
    """Roles, users and groups are of this API group; service accounts of the core group, which has no name."""
    ref = obj.setdefault("roleRef", {})
    if not ref.get("apiGroup"):
        ref["apiGroup"] = GROUP
    for subject in obj.get("subjects") or ():
        if not subject.get("apiGroup") and subject.get("kind") in ("User", "Group"):
            subject["apiGroup"] = GROUP


DEFAULTS = {(GROUP, "rolebindings"): default_binding, (GROUP, "clusterrolebindings"): default_binding}
