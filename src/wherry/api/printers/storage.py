"""Cells of the storage and resource groups."""

from typing import Any

from wherry.api.meta import Object
from wherry.api.printers.text import UNSET, age, name, spec, status

_DEFAULT_CLASS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_DEFAULT_ATTRIBUTES_CLASS = "volumeattributesclass.alpha.kubernetes.io/is-default-class"


def csi_driver(obj: Object) -> list[Any]:
    found = spec(obj)
    tokens = [t.get("audience", "") for t in found.get("tokenRequests") or ()]
    return [
        name(obj),
        found.get("attachRequired", True),
        found.get("podInfoOnMount", False),
        found.get("storageCapacity", False),
        ",".join(tokens) if found.get("tokenRequests") else UNSET,
        found.get("requiresRepublish", False),
        ",".join(found.get("volumeLifecycleModes") or ()) or "<none>",
        age(obj),
    ]


def csi_node(obj: Object) -> list[Any]:
    return [name(obj), len(spec(obj).get("drivers") or ()), age(obj)]


def storage_class(obj: Object) -> list[Any]:
    annotations = obj["metadata"].get("annotations") or {}
    is_default = any(annotations.get(key) == "true" for key in _DEFAULT_CLASS)
    return [
        name(obj) + (" (default)" if is_default else ""),
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", "Immediate"),
        bool(obj.get("allowVolumeExpansion")),
        age(obj),
    ]


def volume_attachment(obj: Object) -> list[Any]:
    source = (spec(obj).get("source") or {}).get("persistentVolumeName", "")
    attached = status(obj).get("attached", False)
    return [name(obj), spec(obj).get("attacher", ""), source, spec(obj).get("nodeName", ""), attached, age(obj)]


def volume_attributes_class(obj: Object) -> list[Any]:
    is_default = (obj["metadata"].get("annotations") or {}).get(_DEFAULT_ATTRIBUTES_CLASS) == "true"
    return [name(obj) + (" (default)" if is_default else ""), obj.get("driverName", ""), age(obj)]


def named(obj: Object) -> list[Any]:
    """Name and age: kinds with no more to show."""
    return [name(obj), age(obj)]


def resource_claim(obj: Object) -> list[Any]:
    states = []
    if obj["metadata"].get("deletionTimestamp"):
        states.append("deleted")
    if status(obj).get("allocation") is None:
        if not states:
            states.append("pending")
    else:
        states.append("allocated")
        if status(obj).get("reservedFor"):
            states.append("reserved")
    return [name(obj), ",".join(states), age(obj)]


def resource_slice(obj: Object) -> list[Any]:
    found = spec(obj)
    return [
        name(obj),
        found.get("nodeName") or "",
        found.get("driver", ""),
        (found.get("pool") or {}).get("name", ""),
        age(obj),
    ]


CELLS = {
    ("storage.k8s.io", "csidrivers"): csi_driver,
    ("storage.k8s.io", "csinodes"): csi_node,
    ("storage.k8s.io", "storageclasses"): storage_class,
    ("storage.k8s.io", "volumeattachments"): volume_attachment,
    ("storage.k8s.io", "volumeattributesclasses"): volume_attributes_class,
    ("resource.k8s.io", "deviceclasses"): named,
    ("resource.k8s.io", "resourceclaimtemplates"): named,
    ("resource.k8s.io", "resourceclaims"): resource_claim,
    ("resource.k8s.io", "resourceslices"): resource_slice,
}
