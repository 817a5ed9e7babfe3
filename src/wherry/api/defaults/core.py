"""Defaults of the core group (``v1``)."""

from base64 import b64encode
from typing import Any

from wherry.api.defaults.pod_spec import (
    default_claim_spec,
    default_pod_spec,
    default_requirements,
    default_template,
    default_volume_source,
    round_amounts,
)
from wherry.api.quantity import Quantity

Obj = dict[str, Any]

_POD_LEVEL_RESOURCES = ("cpu", "memory")
_HUGE_PAGES = "hugepages-"


def default_pod(pod: Obj) -> None:
    """Fill in a Pod: requests follow limits, and host ports follow ports on the host's network."""
    spec = pod.setdefault("spec", {})
    default_pod_spec(spec)
    for members in ("containers", "initContainers"):
        for container in spec.get(members) or ():
            resources = container["resources"]
            if resources.get("limits"):
                resources["requests"] = {**resources["limits"], **(resources.get("requests") or {})}
            if spec.get("hostNetwork"):
                for port in container.get("ports") or ():
                    if not port.get("hostPort"):
                        port["hostPort"] = port.get("containerPort", 0)
    default_requirements(spec.get("resources") or {})
    if (spec.get("resources") or {}).get("limits"):
        _pod_level_requests(spec)
    if spec.get("enableServiceLinks") is None:
        spec["enableServiceLinks"] = True
    _pod_ips(pod.setdefault("status", {}))


def _pod_ips(status: Obj) -> None:
    """``podIP`` is the first of ``podIPs``; it decides where they differ, for clients that only know the one."""
    one, many = status.get("podIP"), status.get("podIPs")
    if one and (not many or many[0].get("ip") != one):
        status["podIPs"] = [{"ip": one}]
    elif many:
        status["podIP"] = many[0].get("ip", "")


def _pod_cidrs(spec: Obj) -> None:
    """``podCIDR`` is to ``podCIDRs`` what ``podIP`` is to ``podIPs``."""
    one, many = spec.get("podCIDR"), spec.get("podCIDRs")
    if one and (not many or many[0] != one):
        spec["podCIDRs"] = [one]
    elif many:
        spec["podCIDR"] = many[0]


def _is_pod_level(name: str) -> bool:
    return name in _POD_LEVEL_RESOURCES or name.startswith(_HUGE_PAGES)


def _pod_level_requests(spec: Obj) -> None:
    """Requests of a whole pod with limits: what its containers ask for, else the limit."""
    resources = spec["resources"]
    requests = dict(resources.get("requests") or {})
    for name, amount in aggregate_requests(spec).items():
        if name in _POD_LEVEL_RESOURCES:
            requests.setdefault(name, amount)
    for name, amount in resources["limits"].items():
        if _is_pod_level(name):
            requests.setdefault(name, amount)
    if requests:
        resources["requests"] = requests


def aggregate_requests(spec: Obj, member: str = "requests") -> dict[str, str]:
    """Return what the containers of a pod need together: sidecars count throughout, init containers at their peak."""
    total: dict[str, Quantity] = {}
    for container in spec.get("containers") or ():
        _add(total, container["resources"].get(member) or {})
    sidecars: dict[str, Quantity] = {}
    peak: dict[str, Quantity] = {}
    for container in spec.get("initContainers") or ():
        needs = container["resources"].get(member) or {}
        if container.get("restartPolicy") == "Always":
            _add(total, needs)
            _add(sidecars, needs)
            _raise_to(peak, sidecars)
        else:
            at_once = dict(sidecars)
            _add(at_once, needs)
            _raise_to(peak, at_once)
    _raise_to(total, peak)
    return {name: str(amount) for name, amount in total.items()}


def _add(total: dict[str, Quantity], needs: dict[str, str]) -> None:
    for name, amount in needs.items():
        quantity = Quantity.parse(amount)
        total[name] = total[name] + quantity if name in total else quantity


def _raise_to(total: dict[str, Quantity], other: dict[str, Quantity]) -> None:
    for name, amount in other.items():
        if name not in total or total[name] < amount:
            total[name] = amount


def default_pod_template(obj: Obj) -> None:
    default_template(obj.setdefault("template", {}))


def default_replication_controller(obj: Obj) -> None:
    """The selector and the labels follow the template's labels."""
    spec = obj.setdefault("spec", {})
    template = spec.get("template")
    if template is not None:
        default_template(template)
        labels = template["metadata"].get("labels")
        if labels:
            if not spec.get("selector"):
                spec["selector"] = dict(labels)
            if not obj["metadata"].get("labels"):
                obj["metadata"]["labels"] = dict(labels)
    if spec.get("replicas") is None:
        spec["replicas"] = 1
    obj.setdefault("status", {}).setdefault("replicas", 0)


def default_service(obj: Obj) -> None:
    """Fill in a Service without allocating anything."""
    spec = obj.setdefault("spec", {})
    if not spec.get("sessionAffinity"):
        spec["sessionAffinity"] = "None"
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = spec.get("sessionAffinityConfig") or {}
        client = config.get("clientIP") or {}
        if client.get("timeoutSeconds") is None:
            spec["sessionAffinityConfig"] = {"clientIP": {**client, "timeoutSeconds": 10800}}
    if not spec.get("type"):
        spec["type"] = "ClusterIP"
    for port in spec.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port", 0)
    external = spec["type"] in ("NodePort", "LoadBalancer") or (spec["type"] == "ClusterIP" and spec.get("externalIPs"))
    if external and not spec.get("externalTrafficPolicy"):
        spec["externalTrafficPolicy"] = "Cluster"
    if spec["type"] in ("NodePort", "LoadBalancer", "ClusterIP") and spec.get("internalTrafficPolicy") is None:
        spec["internalTrafficPolicy"] = "Cluster"
    if spec["type"] == "LoadBalancer" and spec.get("allocateLoadBalancerNodePorts") is None:
        spec["allocateLoadBalancerNodePorts"] = True
    status = obj.setdefault("status", {})
    for ingress in status.setdefault("loadBalancer", {}).get("ingress") or ():
        if ingress.get("ip") and ingress.get("ipMode") is None:
            ingress["ipMode"] = "VIP"


def default_secret(obj: Obj) -> None:
    """``stringData`` is written into ``data``; the type is Opaque."""
    written = obj.pop("stringData", None)
    if written:
        encoded = {key: b64encode(value.encode()).decode() for key, value in written.items()}
        obj["data"] = {**(obj.get("data") or {}), **encoded}
    if not obj.get("type"):
        obj["type"] = "Opaque"


def default_node(obj: Obj) -> None:
    """What can be allocated is the capacity, unless said otherwise."""
    _pod_cidrs(obj.setdefault("spec", {}))
    status = obj.setdefault("status", {})
    round_amounts(status.get("capacity"))
    round_amounts(status.get("allocatable"))
    if status.get("capacity"):
        status["allocatable"] = {**status["capacity"], **(status.get("allocatable") or {})}
    status.setdefault("daemonEndpoints", {}).setdefault("kubeletEndpoint", {}).setdefault("Port", 0)
    info = status.setdefault("nodeInfo", {})
    for member in _NODE_INFO:
        info.setdefault(member, "")


_NODE_INFO = (
    "machineID", "systemUUID", "bootID", "kernelVersion", "osImage", "containerRuntimeVersion", "kubeletVersion",
    "kubeProxyVersion", "operatingSystem", "architecture",
)  # fmt: skip


def default_namespace(obj: Obj) -> None:
    """Every namespace carries its name as a label."""
    obj.setdefault("spec", {})
    if not obj.setdefault("status", {}).get("phase"):
        obj["status"]["phase"] = "Active"
    name = obj["metadata"].get("name")
    if name:
        obj["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = name


def default_persistent_volume(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if not obj.setdefault("status", {}).get("phase"):
        obj["status"]["phase"] = "Pending"
    if not spec.get("persistentVolumeReclaimPolicy"):
        spec["persistentVolumeReclaimPolicy"] = "Retain"
    if not spec.get("volumeMode"):
        spec["volumeMode"] = "Filesystem"
    round_amounts(spec.get("capacity"))
    for source, value in spec.items():
        if isinstance(value, dict):
            default_volume_source(source, value)


def default_persistent_volume_claim(obj: Obj) -> None:
    default_claim_spec(obj.setdefault("spec", {}))
    if not obj.setdefault("status", {}).get("phase"):
        obj["status"]["phase"] = "Pending"


def default_limit_range(obj: Obj) -> None:
    """For containers: the default is the maximum, the default request the default or else the minimum."""
    for item in obj.setdefault("spec", {}).setdefault("limits", None) or ():
        for member in ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio"):
            round_amounts(item.get(member))
        if item.get("type") != "Container":
            continue
        limits = {**(item.get("max") or {}), **(item.get("default") or {})}
        requests = {**(item.get("min") or {}), **limits, **(item.get("defaultRequest") or {})}
        if limits:
            item["default"] = limits
        if requests:
            item["defaultRequest"] = requests


def default_resource_quota(obj: Obj) -> None:
    round_amounts(obj.setdefault("spec", {}).get("hard"))
    status = obj.setdefault("status", {})
    round_amounts(status.get("hard"))
    round_amounts(status.get("used"))


def default_endpoints(obj: Obj) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            if not port.get("protocol"):
                port["protocol"] = "TCP"


def default_event(obj: Obj) -> None:
    """The members that an event always shows."""
    for member in ("involvedObject", "source"):
        obj.setdefault(member, {})
    for member in ("firstTimestamp", "lastTimestamp", "eventTime"):
        obj.setdefault(member, None)
    for member in ("reportingComponent", "reportingInstance"):
        obj.setdefault(member, "")


DEFAULTS = {
    ("", "pods"): default_pod,
    ("", "podtemplates"): default_pod_template,
    ("", "replicationcontrollers"): default_replication_controller,
    ("", "services"): default_service,
    ("", "secrets"): default_secret,
    ("", "nodes"): default_node,
    ("", "namespaces"): default_namespace,
    ("", "persistentvolumes"): default_persistent_volume,
    ("", "persistentvolumeclaims"): default_persistent_volume_claim,
    ("", "limitranges"): default_limit_range,
    ("", "resourcequotas"): default_resource_quota,
    ("", "endpoints"): default_endpoints,
    ("", "events"): default_event,
}
