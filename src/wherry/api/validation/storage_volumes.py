"""PersistentVolumes (core ``ValidatePersistentVolume``)."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks, resources
from wherry.api.validation.claims import VOLUME_MODES, access_modes
from wherry.api.validation.rules import Rules
from wherry.api.validation.scheduling import node_selector
from wherry.api.validation.shared import POSITIVE, immutable, named, no_backsteps
from wherry.api.validation.volumes import SOURCES, driver_name, fibre_channel, flocker, host_path, iscsi, needs, nfs

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
            errors += [field.required(f"{path}.{member}.{m}") for m in ("name", "namespace") if not ref.get(m)]
    return errors


def _glusterfs(source: Obj, path: str) -> Errors:
    errors: Errors = needs("endpoints", "path")(source, path)
    if source.get("endpointsNamespace") == "":
        detail = "if the endpointnamespace is set, it must be a valid namespace name"
        errors.append(field.invalid(f"{path}.endpointsNamespace", "", detail))
    return errors


def _azure_file(source: Obj, path: str) -> Errors:
    errors: Errors = needs("secretName", "shareName")(source, path)
    if source.get("secretNamespace") == "":
        errors.append(field.invalid(f"{path}.secretNamespace", "", "should not be empty"))
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
    "iscsi": iscsi,
    "cinder": SOURCES["cinder"],
    "fc": fibre_channel,
    "azureFile": _azure_file,
    "vsphereVolume": SOURCES["vsphereVolume"],
    "photonPersistentDisk": SOURCES["photonPersistentDisk"],
    "portworxVolume": SOURCES["portworxVolume"],
    "azureDisk": SOURCES["azureDisk"],
    "scaleIO": SOURCES["scaleIO"],
    "local": _local,
    "storageos": SOURCES["storageos"],
    "csi": _csi,
}


def _volume(obj: Obj) -> Errors:
    return volume_spec(obj["spec"], "spec")


def volume_spec(spec: Obj, path: str) -> Errors:
    """Check the spec of a volume."""
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
    for name, amount in capacity.items():
        at = f"{path}.capacity[{name}]"
        errors += resources.resource_name(name, at)
        if Quantity.parse(amount) <= Quantity.parse("0"):
            errors.append(field.invalid(at, amount, POSITIVE))
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _RECLAIM:
        errors.append(field.not_supported(f"{path}.persistentVolumeReclaimPolicy", policy, _RECLAIM))
    affinity = spec.get("nodeAffinity")
    errors += _affinity(affinity, f"{path}.nodeAffinity")
    given = [source for source in _SOURCES if spec.get(source) is not None]
    for i, source in enumerate(given):
        if i:
            errors.append(field.forbidden(f"{path}.{source}", "may not specify more than 1 volume type"))
        else:
            errors += _SOURCES[source](spec[source], f"{path}.{source}")
    if given[:1] == ["local"] and not (affinity or {}).get("required"):
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
    if _without_refs(sources) != _without_refs(old_sources):
        detail = "spec.persistentvolumesource is immutable after creation"
        errors.append(field.forbidden("spec.persistentvolumesource", detail))
    errors += immutable(spec.get("volumeMode"), before.get("volumeMode"), "spec.volumeMode")
    if before.get("nodeAffinity") is not None:
        new, was = spec.get("nodeAffinity"), before["nodeAffinity"]
        errors += immutable(new, was, "spec.nodeAffinity")
    return errors


def _without_refs(sources: Obj) -> Obj:
    """Secrets that only expansion uses may be changed."""
    csi = sources.get("csi")
    if csi is None:
        return sources
    return {**sources, "csi": {k: v for k, v in csi.items() if k != "controllerExpandSecretRef"}}


RULES = {("", "persistentvolumes"): Rules(create=_volume, update=_update)}
