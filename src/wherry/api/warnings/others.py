"""Warnings about the remaining kinds: deprecated fields and annotations, odd addresses."""

from base64 import b64decode
from typing import Any

from wherry.api.warnings.addresses import for_cidr, for_ip
from wherry.api.warnings.pods import claim_sizes, deprecated_label, node_selector_term

Obj = dict[str, Any]

_CLASS = "volume.beta.kubernetes.io/storage-class"
_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_HINTS = "service.kubernetes.io/topology-aware-hints"
_SLICE_CONTROLLERS = frozenset({"endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"})


def _annotations(obj: Obj) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}


def _endpoints(obj: Obj, old: Obj | None) -> list[str]:
    out: list[str] = []
    if (obj["metadata"].get("labels") or {}).get("endpoints.kubernetes.io/managed-by") == "endpoint-controller":
        return out
    for i, subset in enumerate(obj.get("subsets") or ()):
        for member in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(member) or ()):
                out += for_ip(address.get("ip", ""), f"subsets[{i}].{member}[{j}].ip")
    return out


def _service(obj: Obj, old: Obj | None) -> list[str]:
    spec = obj["spec"]
    kind, ip, external, balancer = (spec.get(m) for m in ("type", "clusterIP", "externalIPs", "loadBalancerIP"))
    headless = kind == "ClusterIP" and ip == "None"
    out: list[str] = []
    if _HINTS in _annotations(obj):
        out.append(f"annotation {_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead")
    if ip and ip != "None":
        for i, each in enumerate(spec.get("clusterIPs") or ()):
            out += for_ip(each, f"spec.clusterIPs[{i}]")
    if headless:
        given = (("loadBalancerIP", balancer), ("externalIPs", external))
        out += [f"spec.{member} is ignored for headless services" for member, value in given if value]
        if spec.get("sessionAffinity") != "None":
            out.append("spec.SessionAffinity is ignored for headless services")
    for i, each in enumerate(external or ()):
        out += for_ip(each, f"spec.externalIPs[{i}]")
    if external and not headless and kind != "ExternalName":
        out.append("spec.externalIPs is deprecated")
    out += for_ip(balancer or "", "spec.loadBalancerIP")
    for i, each in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        out += for_cidr(each, f"spec.loadBalancerSourceRanges[{i}]")
    if kind == "ExternalName" and external:
        out.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if kind != "ExternalName" and spec.get("externalName"):
        out.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        out.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return out


def _node(obj: Obj, old: Obj | None) -> list[str]:
    spec = obj.get("spec") or {}
    out: list[str] = []
    if spec.get("configSource") is not None:
        out.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        out.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for i, cidr in enumerate(spec.get("podCIDRs") or ()):
        out += for_cidr(cidr, f"spec.podCIDRs[{i}]")
    return out


def _network_policy(obj: Obj, old: Obj | None) -> list[str]:
    out: list[str] = []
    for rules, peers in (("ingress", "from"), ("egress", "to")):
        for i, rule in enumerate((obj.get("spec") or {}).get(rules) or ()):
            for j, peer in enumerate(rule.get(peers) or ()):
                block = peer.get("ipBlock") or {}
                at = f"spec.{rules}[{i}].{peers}[{j}].ipBlock"
                out += for_cidr(block.get("cidr") or "", f"{at}.cidr")
                for k, cidr in enumerate(block.get("except") or ()):
                    out += for_cidr(cidr, f"{at}.except[{k}]")
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
    return out + claim_sizes(obj["spec"], "spec")


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
    if old is None and obj.get("addressType") == "FQDN":
        out.append("spec.addressType: FQDN endpoints are deprecated")
    if (obj["metadata"].get("labels") or {}).get("endpointslice.kubernetes.io/managed-by") in _SLICE_CONTROLLERS:
        return out
    for i, endpoint in enumerate(obj.get("endpoints") or ()):
        for j, address in enumerate(endpoint.get("addresses") or ()):
            out += for_ip(address, f"endpoints[{i}].addresses[{j}]")
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


def _pod_status(obj: Obj) -> list[str]:
    status = obj.get("status") or {}
    out: list[str] = []
    for member in ("podIPs", "hostIPs"):
        for i, address in enumerate(status.get(member) or ()):
            out += for_ip(address.get("ip") or "", f"status.{member}[{i}].ip")
    return out


def _balancer_status(obj: Obj) -> list[str]:
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    out: list[str] = []
    for i, ingress in enumerate(balancer.get("ingress") or ()):
        out += for_ip(ingress.get("ip") or "", f"status.loadBalancer.ingress[{i}]")
    return out


STATUS_WARNINGS = {
    ("", "pods"): _pod_status,
    ("", "services"): _balancer_status,
    ("networking.k8s.io", "ingresses"): _balancer_status,
}
WARNINGS = {
    ("", "endpoints"): _endpoints,
    ("", "nodes"): _node,
    ("", "services"): _service,
    ("", "secrets"): _secret,
    ("", "persistentvolumeclaims"): _claim,
    ("", "persistentvolumes"): _volume,
    ("", "serviceaccounts"): _account,
    ("networking.k8s.io", "ingresses"): _ingress,
    ("networking.k8s.io", "networkpolicies"): _network_policy,
    ("discovery.k8s.io", "endpointslices"): _slice,
    ("node.k8s.io", "runtimeclasses"): _runtime_class,
    ("storage.k8s.io", "csistoragecapacities"): _storage_capacity,
    ("storage.k8s.io", "storageclasses"): _storage_class,
}
