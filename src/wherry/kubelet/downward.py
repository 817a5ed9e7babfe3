"""The downward API: a pod's own fields and resources as text (core/v1 ObjectFieldSelector, ResourceFieldSelector)."""

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api import meta, quantity
from wherry.kubelet import podspec
from wherry.kubelet.podspec import Container

_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.*)'\]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What the node knows and the pod's spec does not say."""

    node_name: str = ""
    host_ips: Sequence[str] = ()
    pod_ips: Sequence[str] = ()
    allocatable: Mapping[str, str] = field(default_factory=dict)


def field_value(pod: meta.Object, path: str, facts: Facts) -> str:
    """Return the text of a ``fieldPath``. Raises ValueError for a path that is not supported."""
    if match := _SUBSCRIPT.fullmatch(path):
        return (pod["metadata"].get(match[1]) or {}).get(match[2], "")
    metadata, spec = pod["metadata"], pod["spec"]
    match path:
        case "metadata.name" | "metadata.namespace" | "metadata.uid":
            return metadata.get(path.removeprefix("metadata.")) or ""
        case "metadata.labels" | "metadata.annotations":
            return format_map(metadata.get(path.removeprefix("metadata.")) or {})
        case "spec.nodeName":
            return spec.get("nodeName") or facts.node_name
        case "spec.serviceAccountName":
            return spec.get("serviceAccountName") or ""
        case "status.hostIP":
            return facts.host_ips[0] if facts.host_ips else ""
        case "status.hostIPs":
            return ",".join(facts.host_ips)
        case "status.podIP":
            return facts.pod_ips[0] if facts.pod_ips else ""
        case "status.podIPs":
            return ",".join(facts.pod_ips)
    raise ValueError(f"unsupported fieldPath: {path}")


def format_map(values: Mapping[str, str]) -> str:
    """Render labels or annotations one a line, ``key="value"`` with the value quoted."""
    return "\n".join(f"{key}={json.dumps(value, ensure_ascii=False)}" for key, value in sorted(values.items()))


def resource_value(
    pod: meta.Object, selector: dict[str, Any], facts: Facts, *, container: Container | None = None
) -> str:
    """Return a limit or request of a container, divided and rounded up; a limit not set is the node's allocatable.

    Raises ValueError for an unknown container or resource.
    """
    name = selector.get("containerName")
    if name:
        container = podspec.find_container(pod, name)
    if container is None:
        raise ValueError(f"container {name} not found")
    kind, _, resource = selector["resource"].partition(".")
    if kind not in ("limits", "requests"):
        raise ValueError(f"unsupported container resource : {selector['resource']}")
    declared = container.get("resources") or {}
    text = (declared.get(kind) or {}).get(resource)
    if text is None and kind == "limits":
        text = facts.allocatable.get(resource)
    value = quantity.parse(text if text is not None else "0").value
    divisor = quantity.parse(selector.get("divisor") or "0").value or 1
    return str(math.ceil(value / divisor))


def decode(value: str) -> str:
    """Return the text of a Secret's base64 value; bytes that are no UTF-8 survive as surrogates."""
    return base64.b64decode(value).decode("utf-8", "surrogateescape")
