"""What events say of resizes: a phrase, then the resources of the pod's containers as JSON.

The form is that of kubernetes ``pkg/kubelet/events``: tools read it.
"""

import json
from typing import Any

from wherry.api import meta
from wherry.kubelet import podspec

_LISTS = (podspec.INIT, podspec.REGULAR)


def message(phrase: str, pod: meta.Object, error: str = "") -> str:
    """Return ``Pod resize PHRASE: {…}`` for the resources in a pod's spec."""
    told: dict[str, Any] = {
        kind: [{"name": each["name"], "resources": _resources(each)} for each in pod["spec"][kind]]
        for kind in _LISTS
        if pod["spec"].get(kind)
    }
    told["generation"] = pod["metadata"].get("generation") or 0
    if error:
        told["error"] = error
    return f"Pod resize {phrase}: {json.dumps(told, separators=(',', ':'), ensure_ascii=False)}"


def _resources(container: podspec.Container) -> dict[str, Any]:
    declared = container.get("resources") or {}
    found: dict[str, Any] = {
        kind: dict(sorted(declared[kind].items())) for kind in ("limits", "requests") if declared.get(kind)
    }
    return found | ({"claims": declared["claims"]} if declared.get("claims") else {})
