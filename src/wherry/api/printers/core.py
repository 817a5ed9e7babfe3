"""Cells of the core group's kinds, but for pods and events."""

from typing import Any

from wherry.api.meta import Object
from wherry.api.printers.text import (
    NONE,
    UNSET,
    age,
    containers,
    few,
    labels,
    name,
    spec,
    status,
)

_ROLE_PREFIX, _ROLE = "node-role.kubernetes.io/", "kubernetes.io/role"
_BETA_CLASS = "volume.beta.kubernetes.io/storage-class"
_ACCESS_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}


def component_status(obj: Object) -> list[Any]:
    state, message, error = "Unknown", "", ""
    for condition in obj.get("conditions") or ():
        if condition.get("type") == "Healthy":
            state = "Healthy" if condition.get("status") == "True" else "Unhealthy"
            message, error = condition.get("message", ""), condition.get("error", "")
    return [name(obj), state, message, error]


def config_map(obj: Object) -> list[Any]:
    return [name(obj), len(obj.get("data") or ()) + len(obj.get("binaryData") or ()), age(obj)]


def endpoints(obj: Object) -> list[Any]:
    found = []
    for subset in obj.get("subsets") or ():
        addresses = [a.get("ip", "") for a in subset.get("addresses") or ()]
        ports = subset.get("ports") or ()
        if ports:
            found += [f"[{ip}]:{p['port']}" if ":" in ip else f"{ip}:{p['port']}" for p in ports for ip in addresses]
        else:
            found += addresses
    nothing = "" if obj.get("subsets") else NONE
    return [name(obj), few(found, nothing=nothing), age(obj)]


def namespace(obj: Object) -> list[Any]:
    return [name(obj), status(obj).get("phase", ""), age(obj)]


def node(obj: Object) -> list[Any]:
    conditions = [c for c in status(obj).get("conditions") or () if c.get("type") == "Ready"]
    states = ["Ready" if c.get("status") == "True" else "NotReady" for c in conditions] or ["Unknown"]
    if spec(obj).get("unschedulable"):
        states.append("SchedulingDisabled")
    found = obj["metadata"].get("labels") or {}
    roles = {k.removeprefix(_ROLE_PREFIX) for k in found if k.startswith(_ROLE_PREFIX) and k != _ROLE_PREFIX}
    if found.get(_ROLE):
        roles.add(found[_ROLE])
    info = status(obj).get("nodeInfo") or {}
    unknown = "<unknown>"
    return [
        name(obj),
        ",".join(states),
        ",".join(sorted(roles)) or NONE,
        age(obj),
        info.get("kubeletVersion", ""),
        _address(obj, "InternalIP"),
        _address(obj, "ExternalIP"),
        info.get("osImage") or unknown,
        info.get("kernelVersion") or unknown,
        info.get("containerRuntimeVersion") or unknown,
    ]


def _address(obj: Object, kind: str) -> str:
    return next((a["address"] for a in status(obj).get("addresses") or () if a.get("type") == kind), NONE)


def access_modes(modes: list[str] | None) -> str:
    """Abbreviate access modes, each once, in Kubernetes' order."""
    return ",".join(short for mode, short in _ACCESS_MODES.items() if mode in (modes or ()))


def _phase(obj: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else status(obj).get("phase", "")


def claim(obj: Object) -> list[Any]:
    volume, capacity, modes = spec(obj).get("volumeName", ""), "", ""
    if volume:
        modes = access_modes(status(obj).get("accessModes"))
        capacity = (status(obj).get("capacity") or {}).get("storage", "0")
    annotations = obj["metadata"].get("annotations") or {}
    storage_class = annotations.get(_BETA_CLASS, spec(obj).get("storageClassName", ""))
    return [
        name(obj),
        _phase(obj),
        volume,
        capacity,
        modes,
        storage_class,
        spec(obj).get("volumeAttributesClassName", UNSET),
        age(obj),
        spec(obj).get("volumeMode") or UNSET,
    ]


def volume(obj: Object) -> list[Any]:
    ref = spec(obj).get("claimRef")
    annotations = obj["metadata"].get("annotations") or {}
    storage_class = annotations.get(_BETA_CLASS, spec(obj).get("storageClassName", ""))
    return [
        name(obj),
        (spec(obj).get("capacity") or {}).get("storage", "0"),
        access_modes(spec(obj).get("accessModes")),
        spec(obj).get("persistentVolumeReclaimPolicy", ""),
        _phase(obj),
        f"{ref.get('namespace', '')}/{ref.get('name', '')}" if ref else "",
        storage_class,
        spec(obj).get("volumeAttributesClassName", UNSET),
        status(obj).get("reason", ""),
        age(obj),
        spec(obj).get("volumeMode") or UNSET,
    ]


def pod_template(obj: Object) -> list[Any]:
    template = obj.get("template") or {}
    return [name(obj), *containers(template), labels((template.get("metadata") or {}).get("labels"))]


def replication_controller(obj: Object) -> list[Any]:
    return [
        name(obj),
        spec(obj).get("replicas", 0),
        status(obj).get("replicas", 0),
        status(obj).get("readyReplicas", 0),
        age(obj),
        *containers(spec(obj).get("template")),
        labels(spec(obj).get("selector")),
    ]


def resource_quota(obj: Object) -> list[Any]:
    hard, used = status(obj).get("hard") or {}, status(obj).get("used") or {}
    request = [f"{k}: {used.get(k, '0')}/{hard[k]}" for k in sorted(hard) if not k.startswith("limits")]
    limit = [f"{k}: {used.get(k, '0')}/{hard[k]}" for k in sorted(hard) if k.startswith("limits")]
    return [name(obj), ", ".join(request), ", ".join(limit), age(obj)]


def secret(obj: Object) -> list[Any]:
    return [name(obj), obj.get("type", ""), len(obj.get("data") or ()), age(obj)]


def service_account(obj: Object) -> list[Any]:
    return [name(obj), age(obj)]


def service(obj: Object) -> list[Any]:
    kind = spec(obj).get("type", "")
    addresses = spec(obj).get("clusterIPs") or ([spec(obj)["clusterIP"]] if spec(obj).get("clusterIP") else [])
    ports = [
        f"{p['port']}:{p['nodePort']}/{p.get('protocol', 'TCP')}"
        if p.get("nodePort")
        else f"{p['port']}/{p.get('protocol', 'TCP')}"
        for p in spec(obj).get("ports") or ()
    ]
    return [
        name(obj),
        kind,
        addresses[0] if addresses else NONE,
        _external(obj, kind),
        ",".join(ports) or NONE,
        age(obj),
        labels(spec(obj).get("selector")),
    ]


def _external(obj: Object, kind: str) -> str:
    external = list(spec(obj).get("externalIPs") or ())
    if kind == "ExternalName":
        return str(spec(obj).get("externalName", ""))
    if kind == "LoadBalancer":
        ingress = (status(obj).get("loadBalancer") or {}).get("ingress") or ()
        found = sorted({i.get("ip") or i.get("hostname") or "" for i in ingress} - {""})
        return ",".join([*found, *external]) or "<pending>"
    return ",".join(external) or NONE


def lease(obj: Object) -> list[Any]:
    return [name(obj), spec(obj).get("holderIdentity", ""), age(obj)]


CELLS = {
    ("", "componentstatuses"): component_status,
    ("", "configmaps"): config_map,
    ("", "endpoints"): endpoints,
    ("", "namespaces"): namespace,
    ("", "nodes"): node,
    ("", "persistentvolumeclaims"): claim,
    ("", "persistentvolumes"): volume,
    ("", "podtemplates"): pod_template,
    ("", "replicationcontrollers"): replication_controller,
    ("", "resourcequotas"): resource_quota,
    ("", "secrets"): secret,
    ("", "serviceaccounts"): service_account,
    ("", "services"): service,
    ("coordination.k8s.io", "leases"): lease,
}
