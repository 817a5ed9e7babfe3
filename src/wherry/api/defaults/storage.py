"""Defaults of ``storage.k8s.io``."""

from typing import Any

Obj = dict[str, Any]


def default_storage_class(obj: Obj) -> None:
    """Volumes are made at once and deleted with their claims."""
    if obj.get("reclaimPolicy") is None:
        obj["reclaimPolicy"] = "Delete"
    if obj.get("volumeBindingMode") is None:
        obj["volumeBindingMode"] = "Immediate"


_DRIVER: Obj = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "requiresRepublish": False,
    "seLinuxMount": False,
}


def default_csi_driver(obj: Obj) -> None:
    """A driver's volumes are attached, persistent and owned by the pod's group where the file system allows it."""
    spec = obj.setdefault("spec", {})
    for member, value in _DRIVER.items():
        if spec.get(member) is None:
            spec[member] = value
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


DEFAULTS = {
    ("storage.k8s.io", "storageclasses"): default_storage_class,
    ("storage.k8s.io", "csidrivers"): default_csi_driver,
}
