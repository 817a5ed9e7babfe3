"""Volumes of a pod (core ``ValidateVolumes``)."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks
from wherry.api.validation.claims import claim_template
from wherry.api.validation.downward import VOLUME_FIELDS, field_selector, resource_field_selector
from wherry.api.validation.shared import (
    label_selector,
    local_descending_path,
    local_non_reserved_path,
    named,
    no_backsteps,
    optional_mode,
)

Obj = dict[str, Any]
Errors = list[FieldError]

_HOST_PATH_TYPES = (
    "", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket",
)  # fmt: skip
PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def volumes(found: list[Obj], path: str, pod_name: str = "") -> tuple[dict[str, Obj], Errors]:
    """Check volumes; return those that are right by name, because only they can be mounted."""
    right: dict[str, Obj] = {}
    errors: Errors = []
    for i, volume in enumerate(found):
        at = f"{path}[{i}]"
        name = volume.get("name", "")
        wrong = volume_source(volume, at, name=name, pod_name=pod_name)
        wrong += named(name, f"{at}.name", checks.label) if name else [field.required(f"{at}.name")]
        if name in right:
            wrong.append(field.duplicate(f"{at}.name", name))
        if wrong:
            errors += wrong
        else:
            right[name] = volume
    return right, errors


def volume_source(volume: Obj, path: str, *, name: str = "", pod_name: str = "") -> Errors:
    """Check the sources of one volume: exactly one must be set."""
    errors: Errors = []
    given = [source for source in SOURCES if volume.get(source) is not None]
    for i, source in enumerate(given):
        at = f"{path}.{source}"
        if i:
            errors.append(field.forbidden(at, "may not specify more than 1 volume type"))
        elif source == "ephemeral":
            errors += _ephemeral(volume[source], path, name, pod_name)
        else:
            errors += SOURCES[source](volume[source], at)
    if not given:
        errors.append(field.required(path, "must specify a volume type"))
    return errors


def needs(*members: str) -> Any:
    """Return the rule of a source that needs some members and nothing else."""

    def check(source: Obj, path: str) -> Errors:
        return [field.required(f"{path}.{m}") for m in members if not source.get(m)]

    return check


def _empty_dir(source: Obj, path: str) -> Errors:
    limit = source.get("sizeLimit")
    if limit is not None and Quantity.parse(limit) < Quantity.parse("0"):
        return [field.forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")]
    return []


def host_path(source: Obj, path: str) -> Errors:
    """Check a path of the node."""
    if not source.get("path"):
        return [field.required(f"{path}.path")]
    errors = no_backsteps(source["path"], f"{path}.path")
    if (source.get("type") or "") not in _HOST_PATH_TYPES:
        errors.append(field.not_supported(f"{path}.type", source["type"], _HOST_PATH_TYPES))
    return errors


def _git_repo(source: Obj, path: str) -> Errors:
    errors = needs("repository")(source, path)
    return errors + local_descending_path(source.get("directory") or "", f"{path}.directory")


def _disk(member: str) -> Any:
    def check(source: Obj, path: str) -> Errors:
        errors: Errors = needs(member)(source, path)
        if not 0 <= source.get("partition", 0) <= 255:
            detail = "must be between 1 and 255, inclusive"
            errors.append(field.invalid(f"{path}.partition", source["partition"], detail))
        return errors

    return check


def _key_to_path(item: Obj, path: str) -> Errors:
    errors: Errors = []
    if not item.get("key"):
        errors.append(field.required(f"{path}.key"))
    if not item.get("path"):
        errors.append(field.required(f"{path}.path"))
    errors += local_non_reserved_path(item.get("path", ""), f"{path}.path")
    return errors + optional_mode(item.get("mode"), f"{path}.mode")


def _keyed(name: str) -> Any:
    def check(source: Obj, path: str) -> Errors:
        errors: Errors = needs(name)(source, path)
        errors += optional_mode(source.get("defaultMode"), f"{path}.defaultMode")
        for i, item in enumerate(source.get("items") or ()):
            errors += _key_to_path(item, f"{path}.items[{i}]")
        return errors

    return check


def nfs(source: Obj, path: str) -> Errors:
    """Check an NFS export."""
    errors: Errors = needs("server", "path")(source, path)
    if not (source.get("path") or "").startswith("/"):
        errors.append(field.invalid(f"{path}.path", source.get("path", ""), "must be an absolute path"))
    return errors


def iscsi(source: Obj, path: str) -> Errors:
    """Check an iSCSI target."""
    errors: Errors = needs("targetPortal")(source, path)
    iqn = source.get("iqn", "")
    if not iqn:
        errors.append(field.required(f"{path}.iqn"))
    elif not iqn.startswith(("iqn.", "eui.", "naa.")):
        errors.append(field.invalid(f"{path}.iqn", iqn, "must be valid format starting with iqn, eui, or naa"))
    errors += _lun(source.get("lun", 0), path)
    chap = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
    if chap and not source.get("secretRef"):
        errors.append(field.required(f"{path}.secretRef"))
    return errors


def _lun(value: int, path: str) -> Errors:
    if not 0 <= value <= 255:
        return [field.invalid(f"{path}.lun", value, "must be between 0 and 255, inclusive")]
    return []


def fibre_channel(source: Obj, path: str) -> Errors:
    """Check a Fibre Channel volume."""
    names, ids = source.get("targetWWNs") or [], source.get("wwids") or []
    detail = "must specify either targetWWNs or wwids, but not both"
    if not names and not ids:
        return [field.required(f"{path}.targetWWNs", detail)]
    if names and ids:
        return [field.invalid(f"{path}.targetWWNs", names, detail)]
    if names:
        if source.get("lun") is None:
            return [field.required(f"{path}.lun", "lun is required if targetWWNs is specified")]
        return _lun(source["lun"], path)
    return []


def flocker(source: Obj, path: str) -> Errors:
    """Check a Flocker volume."""
    name, uuid = source.get("datasetName", ""), source.get("datasetUUID", "")
    errors: Errors = []
    if not name and not uuid:
        errors.append(field.required(path, "one of datasetName and datasetUUID is required"))
    if name and uuid:
        detail = "datasetName and datasetUUID can not be specified simultaneously"
        errors.append(field.invalid(path, "resource", detail))
    if "/" in name:
        errors.append(field.invalid(f"{path}.datasetName", name, "must not contain '/'"))
    return errors


def downward_file(item: Obj, path: str) -> Errors:
    """Check one file of the downward API."""
    errors: Errors = []
    if not item.get("path"):
        errors.append(field.required(f"{path}.path"))
    errors += local_non_reserved_path(item.get("path", ""), f"{path}.path")
    if item.get("fieldRef") is not None:
        errors += field_selector(item["fieldRef"], f"{path}.fieldRef", VOLUME_FIELDS)
        if item.get("resourceFieldRef") is not None:
            detail = "fieldRef and resourceFieldRef can not be specified simultaneously"
            errors.append(field.invalid(path, "resource", detail))
    elif item.get("resourceFieldRef") is not None:
        errors += resource_field_selector(item["resourceFieldRef"], f"{path}.resourceFieldRef", volume=True)
    else:
        errors.append(field.required(path, "one of fieldRef and resourceFieldRef is required"))
    return errors + optional_mode(item.get("mode"), f"{path}.mode")


def _downward_api(source: Obj, path: str) -> Errors:
    errors = optional_mode(source.get("defaultMode"), f"{path}.defaultMode")
    for item in source.get("items") or ():
        errors += downward_file(item, path)
    return errors


def _projected(source: Obj, path: str) -> Errors:
    errors = optional_mode(source.get("defaultMode"), f"{path}.defaultMode")
    paths: set[str] = set()
    for i, projection in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{i}]"
        given = [kind for kind in _PROJECTIONS if projection.get(kind) is not None]
        for kind in given:
            errors += _PROJECTIONS[kind](projection[kind], f"{at}.{kind}")
            for used in _paths_of(kind, projection[kind]):
                if used in paths:
                    name = projection[kind].get("name", used)
                    errors.append(field.invalid(path, name, "conflicting duplicate paths"))
                paths.add(used)
        if len(given) > 1:
            errors.append(field.forbidden(at, "may not specify more than 1 volume type"))
    return errors


def _paths_of(kind: str, projection: Obj) -> list[str]:
    if kind in ("serviceAccountToken", "clusterTrustBundle"):
        return [projection["path"]] if projection.get("path") else []
    return [item["path"] for item in projection.get("items") or () if item.get("path")]


def _projected_keys(source: Obj, path: str) -> Errors:
    errors: Errors = needs("name")(source, path)
    for i, item in enumerate(source.get("items") or ()):
        errors += _key_to_path(item, f"{path}.items[{i}]")
    return errors


def _projected_downward(source: Obj, path: str) -> Errors:
    return [e for item in source.get("items") or () for e in downward_file(item, path)]


def _token(source: Obj, path: str) -> Errors:
    errors: Errors = []
    seconds = source.get("expirationSeconds", 3600)
    if seconds < 600:
        detail = "may not specify a duration less than 10 minutes"
        errors.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
    if seconds > 1 << 32:
        detail = "may not specify a duration larger than 2^32 seconds"
        errors.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
    if not source.get("path"):
        errors.append(field.required(f"{path}.path"))
    else:
        errors += local_non_reserved_path(source["path"], f"{path}.path")
    return errors


def _trust_bundle(source: Obj, path: str) -> Errors:
    errors: Errors = []
    name, signer = source.get("name"), source.get("signerName")
    if name is not None and signer is not None:
        errors.append(field.invalid(path, source, "only one of name and signerName may be used"))
    elif name is None and signer is None:
        errors.append(field.required(path, "either name or signerName must be specified"))
    if signer is None and source.get("labelSelector") is not None:
        detail = "labelSelector must be unset if signerName is not specified"
        errors.append(field.invalid(f"{path}.labelSelector", source["labelSelector"], detail))
    errors += label_selector(source.get("labelSelector"), f"{path}.labelSelector")
    if not source.get("path"):
        return [*errors, field.required(f"{path}.path")]
    return errors + local_non_reserved_path(source["path"], f"{path}.path")


_PROJECTIONS: dict[str, Any] = {
    "secret": _projected_keys,
    "configMap": _projected_keys,
    "downwardAPI": _projected_downward,
    "serviceAccountToken": _token,
    "clusterTrustBundle": _trust_bundle,
}


def driver_name(name: str, path: str) -> Errors:
    """Check the name of a CSI driver."""
    if not name:
        return [field.required(path)]
    errors = [field.too_long(path, 63)] if len(name) > 63 else []
    return errors + [field.invalid(path, name, m) for m in checks.subdomain(name.lower())]


def _csi(source: Obj, path: str) -> Errors:
    errors = driver_name(source.get("driver", ""), f"{path}.driver")
    ref = source.get("nodePublishSecretRef")
    if ref is not None:
        name = ref.get("name", "")
        at = f"{path}.nodePublishSecretRef.name"
        errors += named(name, at, checks.subdomain) if name else [field.required(at)]
    return errors


def _image(source: Obj, path: str) -> Errors:
    errors: Errors = needs("reference")(source, path)
    policy = source.get("pullPolicy", "")
    if policy not in PULL_POLICIES:
        errors.append(field.not_supported(f"{path}.pullPolicy", policy, PULL_POLICIES))
    return errors


def _ephemeral(source: Obj, path: str, name: str, pod_name: str) -> Errors:
    template = source.get("volumeClaimTemplate")
    if template is None:
        return [field.required(f"{path}.ephemeral.volumeClaimTemplate")]
    errors = claim_template(template, f"{path}.ephemeral.volumeClaimTemplate")
    if pod_name and name:
        claim = f"{pod_name}-{name}"
        for message in checks.subdomain(claim):
            errors.append(field.invalid(f"{path}.name", name, f'PVC name "{claim}": {message}'))
    return errors


def _scale_io(source: Obj, path: str) -> Errors:
    errors: Errors = needs("gateway", "system", "volumeName")(source, path)
    if not source.get("secretRef"):
        errors.append(field.required(f"{path}.secretRef"))
    return errors


def _azure_disk(source: Obj, path: str) -> Errors:
    errors: Errors = needs("diskName", "diskURI")(source, path)
    mode, kind = source.get("cachingMode", "None"), source.get("kind", "Shared")
    if mode not in ("None", "ReadOnly", "ReadWrite"):
        errors.append(field.not_supported(f"{path}.cachingMode", mode, ("None", "ReadOnly", "ReadWrite")))
    if kind not in ("Shared", "Dedicated", "Managed"):
        errors.append(field.not_supported(f"{path}.kind", kind, ("Dedicated", "Managed", "Shared")))
    return errors


def _quobyte(source: Obj, path: str) -> Errors:
    errors: Errors = []
    if not source.get("registry"):
        detail = "must be a host:port pair or multiple pairs separated by commas"
        errors.append(field.required(f"{path}.registry", detail))
    return errors + needs("volume")(source, path)


SOURCES: dict[str, Any] = {
    "emptyDir": _empty_dir,
    "hostPath": host_path,
    "gitRepo": _git_repo,
    "gcePersistentDisk": _disk("pdName"),
    "awsElasticBlockStore": _disk("volumeID"),
    "secret": _keyed("secretName"),
    "nfs": nfs,
    "iscsi": iscsi,
    "glusterfs": needs("endpoints", "path"),
    "flocker": flocker,
    "persistentVolumeClaim": needs("claimName"),
    "rbd": needs("monitors", "image"),
    "cinder": needs("volumeID"),
    "cephfs": needs("monitors"),
    "quobyte": _quobyte,
    "downwardAPI": _downward_api,
    "fc": fibre_channel,
    "configMap": _keyed("name"),
    "azureFile": needs("secretName", "shareName"),
    "vsphereVolume": needs("volumePath"),
    "photonPersistentDisk": needs("pdID"),
    "portworxVolume": needs("volumeID"),
    "azureDisk": _azure_disk,
    "storageos": needs("volumeName"),
    "projected": _projected,
    "scaleIO": _scale_io,
    "csi": _csi,
    "ephemeral": None,
    "image": _image,
}
