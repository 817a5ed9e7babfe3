"""PersistentVolumes (core ``ValidatePersistentVolume``)."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks
from wherry.api.validation.claims import VOLUME_MODES, access_modes
from wherry.api.validation.network_volumes import (
    fibre_channel,
    flex,
    flocker,
    iscsi_volume,
    needs,
    storage_os,
    with_secret,
)
from wherry.api.validation.resources import basic_quantity
from wherry.api.validation.rules import Rules
from wherry.api.validation.scheduling import node_selector
from wherry.api.validation.shared import POSITIVE, immutable, named, no_backsteps
from wherry.api.validation.volumes import SOURCE_PATHS, SOURCES, SURPLUS_PATHS, driver_name, host_path, nfs

Obj = dict[str, Any]
Errors = list[FieldError]

_RECLAIM = ("Delete", "Recycle", "Retain")


def _local(source: Obj, path: str) -> Errors:
    if not source.get("path"):
        return [field.required(f"{path}.path")]
    return no_backsteps(source["path"], f"{path}.path")


def _csi(source: Obj, path: str) -> Errors:
    errors = driver_name(source.get("driver", ""), f"{path}.driver")
    if not source.get("volumeHandle"):
        errors.append(field.required(f"{path}.volumeHandle"))
    for member in (
        "controllerPublishSecretRef", "controllerExpandSecretRef", "nodePublishSecretRef", "nodeExpandSecretRef",
    ):  # fmt: skip
        ref = source.get(member)
        if ref is not None:
            for part, rule in (("name", checks.subdomain), ("namespace", checks.label)):
                at = f"{path}.{member}.{part}"
                errors += named(ref[part], at, rule) if ref.get(part) else [field.required(at)]
    return errors


def _glusterfs(source: Obj, path: str) -> Errors:
    errors: Errors = needs("endpoints", "path")(source, path)
    namespace, at = source.get("endpointsNamespace"), f"{path}.endpointsNamespace"
    if namespace == "":
        detail = "if the endpointnamespace is set, it must be a valid namespace name"
        errors.append(field.invalid(at, "", detail))
    return errors + (named(namespace, at, checks.label) if namespace else [])


def _azure_file(source: Obj, path: str) -> Errors:
    errors: Errors = needs("secretName", "shareName")(source, path)
    if source.get("secretNamespace") == "":
        errors.append(field.required(f"{path}.secretNamespace"))
    return errors


# In the order in which upstream looks at them; "may not specify more than one" names the later one.
_SOURCES: dict[str, Any] = {
    "hostPath": host_path,
    "gcePersistentDisk": SOURCES["gcePersistentDisk"],
    "awsElasticBlockStore": SOURCES["awsElasticBlockStore"],
    "glusterfs": _glusterfs,
    "flocker": flocker,
    "nfs": nfs,
    "rbd": SOURCES["rbd"],
    "quobyte": SOURCES["quobyte"],
    "cephfs": SOURCES["cephfs"],
    "iscsi": None,
    "cinder": with_secret(needs("volumeID"), "name", "namespace"),
    "fc": fibre_channel,
    "flexVolume": flex,
    "azureFile": _azure_file,
    "vsphereVolume": SOURCES["vsphereVolume"],
    "photonPersistentDisk": SOURCES["photonPersistentDisk"],
    "portworxVolume": SOURCES["portworxVolume"],
    "azureDisk": SOURCES["azureDisk"],
    "scaleIO": SOURCES["scaleIO"],
    "local": _local,
    "storageos": with_secret(storage_os, "name", "namespace"),
    "csi": _csi,
}


_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
_MOUNTED_WITH_OPTIONS = (
    "gcePersistentDisk", "awsElasticBlockStore", "glusterfs", "nfs", "rbd", "quobyte", "iscsi", "cinder", "cephfs",
    "azureFile", "vsphereVolume", "azureDisk", "portworxVolume",
)  # fmt: skip


def _volume(obj: Obj) -> Errors:
    meta, spec = obj["metadata"], obj["spec"]
    errors = volume_spec(spec, "spec", meta.get("name", ""))
    if _MOUNT_OPTIONS in (meta.get("annotations") or {}) and not any(spec.get(s) for s in _MOUNTED_WITH_OPTIONS):
        detail = "may not specify mount options for this volume type"
        errors.append(field.forbidden(f"metadata.annotations.{_MOUNT_OPTIONS}", detail))
    return errors


def volume_spec(spec: Obj, path: str, name: str) -> Errors:
    """Check the spec of the volume `name`."""
    errors: Errors = []
    modes = spec.get("accessModes") or []
    if not modes:
        errors.append(field.required(f"{path}.accessModes"))
    errors += access_modes(modes, f"{path}.accessModes")
    capacity = spec.get("capacity") or {}
    if not capacity:
        errors.append(field.required(f"{path}.capacity"))
    if "storage" not in capacity or len(capacity) > 1:
        errors.append(field.not_supported(f"{path}.capacity", capacity, ("storage",)))
    for resource, amount in capacity.items():
        at = f"{path}.capacity[{resource}]"
        errors += basic_quantity(amount, at)
        if Quantity.parse(amount) <= Quantity.parse("0"):
            errors.append(field.invalid(at, amount, POSITIVE))
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _RECLAIM:
        errors.append(field.not_supported(f"{path}.persistentVolumeReclaimPolicy", policy, _RECLAIM))
    affinity = spec.get("nodeAffinity")
    errors += _affinity(affinity, f"{path}.nodeAffinity")
    errors += _source(spec, path, name)
    given = [source for source in _SOURCES if spec.get(source) is not None]
    if given[:1] == ["local"] and affinity is None:
        errors.append(field.required(f"{path}.nodeAffinity", "Local volume requires node affinity"))
    if not given:
        errors.append(field.required(path, "must specify a volume type"))
    # Not the volume's root alone: a path that is cleaned to it.
    root = "/" + "/".join(p for p in ((spec.get("hostPath") or {}).get("path") or "x").split("/") if p not in ("", "."))
    if policy == "Recycle" and "hostPath" in given and root == "/":
        detail = "may not be 'recycle' for a hostPath mount of '/'"
        errors.append(field.forbidden(f"{path}.persistentVolumeReclaimPolicy", detail))
    if spec.get("storageClassName"):
        errors += named(spec["storageClassName"], f"{path}.storageClassName", checks.subdomain)
    mode = spec.get("volumeMode")
    if mode is not None and mode not in VOLUME_MODES:
        errors.append(field.not_supported(f"{path}.volumeMode", mode, VOLUME_MODES))
    return errors + _attributes_class(spec, path)


def _source(spec: Obj, path: str, name: str) -> Errors:
    errors: Errors = []
    for i, source in enumerate(s for s in _SOURCES if spec.get(s) is not None):
        at = f"{path}.{SOURCE_PATHS.get(source, source)}"
        if i and source != "flexVolume":
            at = f"{path}.{SURPLUS_PATHS.get(source, source)}"
            errors.append(field.forbidden(at, "may not specify more than 1 volume type"))
        elif source == "iscsi":
            errors += iscsi_volume(spec[source], at, name)
        else:
            errors += _SOURCES[source](spec[source], at)
    return errors


def _attributes_class(spec: Obj, path: str) -> Errors:
    name, at = spec.get("volumeAttributesClassName"), f"{path}.volumeAttributesClassName"
    if name is None:
        return []
    errors = named(name, at, checks.subdomain) if name else [field.required(at, "an empty string is disallowed")]
    if spec.get("csi") is None:
        detail = "has to be specified when using volumeAttributesClassName"
        errors.append(field.required(f"{path}.csi", detail))
    return errors


def _affinity(affinity: Obj | None, path: str) -> Errors:
    if affinity is None:
        return []
    if affinity.get("required") is None:
        return [field.required(f"{path}.required", "must specify required node constraints")]
    return node_selector(affinity["required"], f"{path}.required")


def _update(obj: Obj, old: Obj) -> Errors:
    spec, before = obj["spec"], old["spec"]
    errors: Errors = []
    sources = {s: spec[s] for s in _SOURCES if spec.get(s) is not None}
    old_sources = {s: before[s] for s in _SOURCES if before.get(s) is not None}
    csi, csi_before = (found.get("csi") or {} for found in (sources, old_sources))
    if csi_before and "controllerExpandSecretRef" not in csi_before and "controllerExpandSecretRef" in csi:
        sources["csi"] = {k: v for k, v in csi.items() if k != "controllerExpandSecretRef"}
    if sources != old_sources:
        detail = "spec.persistentvolumesource is immutable after creation"
        errors.append(field.forbidden("spec.persistentvolumesource", detail))
    # The paths are upstream's.
    errors += immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    affinity = spec.get("nodeAffinity")
    if before.get("nodeAffinity") is not None and affinity != _with_stable_labels(before["nodeAffinity"], affinity):
        detail = "field is immutable, except for updating from beta label to GA"
        errors.append(field.invalid("nodeAffinity", affinity, detail))
    if before.get("volumeAttributesClassName") is not None and spec.get("volumeAttributesClassName") is None:
        detail = "update from non-nil value to nil is forbidden"
        errors.append(field.forbidden("spec.volumeAttributesClassName", detail))
    return errors


_STABLE_LABELS = {
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
}


def _with_stable_labels(old: Any, new: Any) -> Any:
    """Return the old affinity with those beta labels made stable that are stable in the new one."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [_with_stable_labels(o, n) for o, n in zip(old, new, strict=True)]
    if not isinstance(old, dict) or not isinstance(new, dict):
        return old
    changed = {m: _with_stable_labels(v, new.get(m)) for m, v in old.items()}
    if isinstance(old.get("key"), str) and _STABLE_LABELS.get(old["key"]) == new.get("key"):
        changed["key"] = new["key"]
    return changed


def _update_twice(obj: Obj, old: Obj) -> Errors:
    """Upstream looks at a changed volume twice, and answers each error as often."""
    return _volume(obj) + _update(obj, old)


RULES = {("", "persistentvolumes"): Rules(create=_volume, update=_update_twice)}
