"""Volumes of a pod (core ``ValidateVolumes``)."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.quantity import Quantity
from wherry.api.validation import checks
from wherry.api.validation.claims import claim_template
from wherry.api.validation.downward import VOLUME_FIELDS, field_selector, resource_field_selector
from wherry.api.validation.network_volumes import (
    azure_disk,
    fibre_channel,
    flex,
    flocker,
    iscsi,
    iscsi_name_too_long,
    needs,
    quobyte,
    storage_os,
    with_secret,
)
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


def volumes(found: list[Obj], path: str, pod_name: str = "", *, is_pod: bool = False) -> tuple[dict[str, Obj], Errors]:
    """Check volumes; return those that are right by name, because only they can be mounted."""
    right: dict[str, Obj] = {}
    errors: Errors = []
    created = {f"{pod_name}-{v.get('name', '')}" for v in found if pod_name and v.get("ephemeral") is not None}
    for i, volume in enumerate(found):
        at = f"{path}[{i}]"
        name = volume.get("name", "")
        wrong = volume_source(volume, at, name=name, pod_name=pod_name, is_pod=is_pod)
        wrong += named(name, f"{at}.name", checks.label) if name else [field.required(f"{at}.name")]
        if name in right:
            wrong.append(field.duplicate(f"{at}.name", name))
        if wrong:
            errors += wrong
        else:
            right[name] = volume
        claim = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        if claim in created:
            detail = "must not reference a PVC that gets created for an ephemeral volume"
            errors.append(field.invalid(f"{at}.persistentVolumeClaim.claimName", claim, detail))
    return right, errors


# Where upstream's paths are not the name of the member: of what is wrong in a source, and of one source too many.
SOURCE_PATHS = {"gcePersistentDisk": "persistentDisk"}
SURPLUS_PATHS = {"cephfs": "cephFS", "downwardAPI": "downwarAPI"}


def volume_source(volume: Obj, path: str, *, name: str = "", pod_name: str = "", is_pod: bool = False) -> Errors:
    """Check the sources of one volume: exactly one must be set."""
    errors: Errors = []
    given = [source for source in SOURCES if volume.get(source) is not None]
    for i, source in enumerate(given):
        if i:
            at = f"{path}.{SURPLUS_PATHS.get(source, source)}"
            errors.append(field.forbidden(at, "may not specify more than 1 volume type"))
        elif source == "ephemeral":
            errors += _ephemeral(volume[source], path, name, pod_name)
        elif source == "image":
            errors += _image(volume[source], f"{path}.image", is_pod)
        else:
            errors += SOURCES[source](volume[source], f"{path}.{SOURCE_PATHS.get(source, source)}")
        if source == "iscsi":
            wrong = iscsi_name_too_long(volume[source], name)
            errors += [field.invalid(f"{path}.name", name, wrong)] if wrong else []
    if not given:
        errors.append(field.required(path, "must specify a volume type"))
    return errors


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
            # The path of a token is told as one of the volume, not of the source.
            where = path if kind == "serviceAccountToken" else f"{at}.{kind}"
            errors += _PROJECTIONS[kind](projection[kind], f"{at}.{kind}", where)
            for used in _paths_of(kind, projection[kind]):
                if used in paths:
                    shown = projection[kind].get("name", "") if kind in ("secret", "configMap") else used
                    errors.append(field.invalid(path, shown, "conflicting duplicate paths"))
                paths.add(used)
        if len(given) > 1:
            errors.append(field.forbidden(at, "may not specify more than 1 volume type per source"))
    return errors


def _paths_of(kind: str, projection: Obj) -> list[str]:
    if kind == "serviceAccountToken":
        return []
    if kind == "clusterTrustBundle":
        return [projection.get("path", "")]
    return [item["path"] for item in projection.get("items") or () if item.get("path")]


def _projected_keys(source: Obj, path: str, _: str) -> Errors:
    errors: Errors = needs("name")(source, path)
    for i, item in enumerate(source.get("items") or ()):
        errors += _key_to_path(item, f"{path}.items[{i}]")
    return errors


def _projected_downward(source: Obj, path: str, _: str) -> Errors:
    return [e for item in source.get("items") or () for e in downward_file(item, path)]


def _token(source: Obj, path: str, where: str) -> Errors:
    errors: Errors = []
    seconds = source.get("expirationSeconds", 3600)
    if seconds < 600:
        detail = "may not specify a duration less than 10 minutes"
        errors.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
    if seconds > 1 << 32:
        detail = "may not specify a duration larger than 2^32 seconds"
        errors.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
    if not source.get("path"):
        errors.append(field.required(f"{where}.path"))
    else:
        errors += local_non_reserved_path(source["path"], f"{where}.path")
    return errors


def _trust_bundle(source: Obj, path: str, _: str) -> Errors:
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
        # The path of a name that is wrong is upstream's.
        errors += named(name, f"{path}.name", checks.subdomain) if name else [field.required(at)]
    return errors


def _image(source: Obj, path: str, is_pod: bool) -> Errors:
    """The reference may be left out of a template, for what makes the pods to fill in."""
    errors: Errors = needs("reference")(source, path) if is_pod else []
    policy, at = source.get("pullPolicy", ""), f"{path}.pullPolicy"
    if policy not in PULL_POLICIES:
        errors.append(field.not_supported(at, policy, PULL_POLICIES) if policy else field.required(at))
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
    "cinder": with_secret(needs("volumeID"), "name"),
    "cephfs": needs("monitors"),
    "quobyte": quobyte,
    "downwardAPI": _downward_api,
    "fc": fibre_channel,
    "flexVolume": flex,
    "configMap": _keyed("name"),
    "azureFile": needs("secretName", "shareName"),
    "vsphereVolume": needs("volumePath"),
    "photonPersistentDisk": needs("pdID"),
    "portworxVolume": needs("volumeID"),
    "azureDisk": azure_disk,
    "storageos": with_secret(storage_os, "name"),
    "projected": _projected,
    "scaleIO": needs("gateway", "system", "volumeName"),
    "csi": _csi,
    "ephemeral": None,
    "image": None,
}
