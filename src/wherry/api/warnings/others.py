"""Warnings about the remaining kinds: deprecated fields and annotations, odd addresses."""

from base64 import b64decode
from ipaddress import IPv6Address
from typing import Any

from wherry.api.validation import checks
from wherry.api.warnings.pods import deprecated_label, node_selector_term

Obj = dict[str, Any]

_CLASS = "volume.beta.kubernetes.io/storage-class"
_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"


def _annotations(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def for_ip(value: str, path: str) -> list[str]:
    """Return the warning about an address that is not written as it is printed."""
    found = checks.sloppy_ip(value) if value else None
    if found is None or str(found) == value:
        return []
    mapped = found.ipv4_mapped if isinstance(found, IPv6Address) else None
    if mapped is not None or checks.has_leading_zeros(value):
        detail = "will be considered invalid in a future Kubernetes release"
        return [f'{path}: non-standard IP address "{value}" {detail}: use "{mapped or found}"']
    return [f'{path}: IPv6 address "{value}" should be in RFC 5952 canonical format ("{found}")']


def _endpoints(obj: Obj, old: Obj | None) -> list[str]:
    out: list[str] = []
    for i, subset in enumerate(obj.get("subsets") or ()):
        for member in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(member) or ()):
                out += for_ip(address.get("ip", ""), f"subsets[{i}].{member}[{j}].ip")
    return out


def _service(obj: Obj, old: Obj | None) -> list[str]:
    """An update that leaves the spec alone has no warnings."""
    spec = obj["spec"]
    if old is not None and old["spec"] == spec:
        return []
    out: list[str] = []
    key = "service.alpha.kubernetes.io/tolerate-unready-endpoints"
    if key in _annotations(obj):
        detail = "may not work in newer Kubernetes versions, use Service.spec.publishNotReadyAddresses instead"
        out.append(f"metadata.annotations[{key}]: {detail}")
    if "service.kubernetes.io/topology-aware-hints" in _annotations(obj):
        key = "service.kubernetes.io/topology-aware-hints"
        out.append(f"annotation {key} is deprecated, please use service.kubernetes.io/topology-mode instead")
    if spec.get("clusterIPs") and spec["clusterIPs"][0] != "None":
        for i, ip in enumerate(spec["clusterIPs"]):
            out += for_ip(ip, f"spec.clusterIPs[{i}]")
    for i, ip in enumerate(spec.get("externalIPs") or ()):
        out += for_ip(ip, f"spec.externalIPs[{i}]")
    out += for_ip(spec.get("loadBalancerIP") or "", "spec.loadBalancerIP")
    if spec.get("type") == "ExternalName" and spec.get("externalIPs"):
        out.append(f'spec.externalIPs is ignored when spec.type is "{spec["type"]}"')
    if spec.get("sessionAffinity") == "ClientIP" and spec.get("clusterIP") == "None":
        out.append("spec.SessionAffinity is ignored for headless services")
    if spec.get("trafficDistribution") == "PreferClose":
        out.append("spec.trafficDistribution: PreferClose is deprecated in 1.36+; use PreferSameZone")
    return out


def _secret(obj: Obj, old: Obj | None) -> list[str]:
    """Only the words of Go's ``tls.X509KeyPair`` for data that hold no PEM are told."""
    if obj.get("type") != "kubernetes.io/tls":
        return []
    data = obj.get("data") or {}
    certificate = b64decode(data.get("tls.crt", ""))
    if b"-----BEGIN CERTIFICATE-----" not in certificate:
        return ["tls: failed to find any PEM data in certificate input"]
    if b"-----BEGIN " not in b64decode(data.get("tls.key", "")):
        return ["tls: failed to find any PEM data in key input"]
    return []


def _claim(obj: Obj, old: Obj | None) -> list[str]:
    out: list[str] = []
    if _CLASS in _annotations(obj):
        detail = 'deprecated since v1.8; use "storageClassName" attribute instead'
        out.append(f"metadata.annotations[{_CLASS}]: {detail}")
    storage = ((obj["spec"].get("resources") or {}).get("requests") or {}).get("storage") or ""
    if storage.endswith("m"):
        at = "spec.resources.requests[storage]"
        out.append(f'{at}: fractional byte value "{storage}" is invalid, must be an integer')
    return out


def _volume(obj: Obj, old: Obj | None) -> list[str]:
    out: list[str] = []
    spec = obj["spec"]
    if _CLASS in _annotations(obj):
        detail = 'deprecated since v1.8; use "storageClassName" attribute instead'
        out.append(f"metadata.annotations[{_CLASS}]: {detail}")
    if "volume.beta.kubernetes.io/mount-options" in _annotations(obj):
        detail = 'deprecated since v1.31; use "mountOptions" attribute instead'
        out.append(f"metadata.annotations[volume.beta.kubernetes.io/mount-options]: {detail}")
    if spec.get("persistentVolumeReclaimPolicy") == "Recycle":
        detail = "The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic "
        detail += "provisioning."
        out.append(f"spec.persistentVolumeReclaimPolicy: {detail}")
    required = (spec.get("nodeAffinity") or {}).get("required") or {}
    for i, term in enumerate(required.get("nodeSelectorTerms") or ()):
        out += node_selector_term(term, f"spec.nodeAffinity.required.nodeSelectorTerms[{i}]")
    for source, text in _VOLUME_SOURCES.items():
        if spec.get(source) is not None:
            out.append(f"spec.{source}: {text}")
    return out


_VOLUME_SOURCES = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
}


def _account(obj: Obj, old: Obj | None) -> list[str]:
    if _MOUNTABLE not in _annotations(obj) or (old is not None and _MOUNTABLE in _annotations(old)):
        return []
    detail = "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    return [f"metadata.annotations[{_MOUNTABLE}]: {detail}"]


def _ingress(obj: Obj, old: Obj | None) -> list[str]:
    if old is not None or "kubernetes.io/ingress.class" not in _annotations(obj):
        return []
    return ["annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"]


def _slice(obj: Obj, old: Obj | None) -> list[str]:
    out: list[str] = []
    if obj.get("addressType") == "FQDN":
        return ["spec.addressType: FQDN endpoints are deprecated"]
    for i, endpoint in enumerate(obj.get("endpoints") or ()):
        for j, address in enumerate(endpoint.get("addresses") or ()):
            out += for_ip(address, f"spec.endpoints[{i}].addresses[{j}]")
    return out


def _storage_class(obj: Obj, old: Obj | None) -> list[str]:
    return [
        f"allowedTopologies[{i}].matchLabelExpressions[{j}].key: {text}"
        for i, term in enumerate(obj.get("allowedTopologies") or ())
        for j, expression in enumerate(term.get("matchLabelExpressions") or ())
        if (text := deprecated_label(expression.get("key", "")))
    ]


def _storage_capacity(obj: Obj, old: Obj | None) -> list[str]:
    topology = obj.get("nodeTopology") or {}
    out = [
        f"nodeTopology.matchExpressions[{i}].key: {expression['key']} is {text}"
        for i, expression in enumerate(topology.get("matchExpressions") or ())
        if (text := deprecated_label(expression.get("key", "")))
    ]
    labels = topology.get("matchLabels") or {}
    return out + [f"nodeTopology.matchLabels.{label}: {text}" for label in labels if (text := deprecated_label(label))]


def _runtime_class(obj: Obj, old: Obj | None) -> list[str]:
    selector = (obj.get("scheduling") or {}).get("nodeSelector") or {}
    return [f"scheduling.nodeSelector: {text}" for label in selector if (text := deprecated_label(label))]


WARNINGS = {
    ("", "endpoints"): _endpoints,
    ("", "services"): _service,
    ("", "secrets"): _secret,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "serviceaccounts"): _account,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("discovery.k8s.io", "endpointslices"): _slice,
    ("node.k8s.io", "runtimeclasses"): _runtime_class,
    ("storage.k8s.io", "csistoragecapacities"): _storage_capacity,
    ("storage.k8s.io", "storageclasses"): _storage_class,
}
