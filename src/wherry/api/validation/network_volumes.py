"""Volumes of storage systems that are reached over the network, in pods and as PersistentVolumes."""

import re
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

_ISCSI_NAMES = {
    "iqn": re.compile(r"iqn\.\d{4}-\d{2}\.[A-Za-z0-9\-.]+:[^,;*&$|\s]+\Z", re.ASCII),
    "eui": re.compile(r"\Aeui.[A-Za-z0-9]{16}\Z"),
    "naa": re.compile(r"\Anaa.[A-Za-z0-9]{32}\Z"),
}
_ISCSI_LENGTH = (
    "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters"
    " if iscsi.initiatorName is specified."
)  # fmt: skip


def needs(*members: str) -> Any:
    """Return the rule of a source that needs some members and nothing else."""

    def check(source: Obj, path: str) -> Errors:
        return [field.required(f"{path}.{m}") for m in members if not source.get(m)]

    return check


def _reference(ref: Obj | None, path: str, members: tuple[str, ...]) -> Errors:
    return [] if ref is None else [field.required(f"{path}.{m}") for m in members if not ref.get(m)]


def with_secret(check: Any, *members: str) -> Any:
    """Return a rule that also wants members of ``secretRef``, where there is one."""

    def checked(source: Obj, path: str) -> Errors:
        return [*check(source, path), *_reference(source.get("secretRef"), f"{path}.secretRef", members)]

    return checked


def iscsi_name_too_long(source: Obj, name: str) -> str:
    """Return why a volume's name does not fit an initiator name, empty when it does."""
    whole = f"{name}:{source.get('targetPortal', '')}"
    return _ISCSI_LENGTH if source.get("initiatorName") is not None and len(whole) > 64 else ""


def iscsi(source: Obj, path: str) -> Errors:
    """Check the iSCSI target of a pod's volume."""
    errors: Errors = needs("targetPortal")(source, path)
    return errors + _iscsi(source, path, "must be valid format starting with iqn, eui, or naa")


def iscsi_volume(source: Obj, path: str, name: str) -> Errors:
    """Check the iSCSI target of a PersistentVolume."""
    errors: Errors = needs("targetPortal")(source, path)
    wrong = iscsi_name_too_long(source, name)
    if wrong:
        errors.append(field.invalid(f"{path}.targetportal", source.get("targetPortal", ""), wrong))
    return errors + _iscsi(source, path, "must be valid format", ("name",))


def _iscsi(source: Obj, path: str, unknown: str, secret: tuple[str, ...] = ()) -> Errors:
    iqn, initiator = source.get("iqn", ""), source.get("initiatorName")
    errors = _iscsi_name(iqn, f"{path}.iqn", unknown) if iqn else [field.required(f"{path}.iqn")]
    errors += _lun(source.get("lun", 0), path)
    chap = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
    if chap and source.get("secretRef") is None:
        errors.append(field.required(f"{path}.secretRef"))
    errors += _reference(source.get("secretRef"), f"{path}.secretRef", secret)
    return errors if initiator is None else errors + _iscsi_name(initiator, f"{path}.initiatorname", unknown)


def _iscsi_name(name: str, path: str, unknown: str) -> Errors:
    form = _ISCSI_NAMES.get(name[:3])
    if form is None:
        return [field.invalid(path, name, unknown)]
    return [] if form.search(name) else [field.invalid(path, name, "must be valid format")]


def _lun(value: int, path: str) -> Errors:
    if not 0 <= value <= 255:
        return [field.invalid(f"{path}.lun", value, "must be between 0 and 255, inclusive")]
    return []


def fibre_channel(source: Obj, path: str) -> Errors:
    """Check a Fibre Channel volume."""
    names, ids = source.get("targetWWNs") or [], source.get("wwids") or []
    errors: Errors = []
    if not names and not ids:
        errors.append(field.required(f"{path}.targetWWNs", "must specify either targetWWNs or wwids, but not both"))
    if names and ids:
        detail = "targetWWNs and wwids can not be specified simultaneously"
        errors.append(field.invalid(f"{path}.targetWWNs", names, detail))
    if names and source.get("lun") is None:
        errors.append(field.required(f"{path}.lun", "lun is required if targetWWNs is specified"))
    elif names:
        errors += _lun(source["lun"], path)
    return errors


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


def quobyte(source: Obj, path: str) -> Errors:
    """Check a Quobyte volume."""
    errors: Errors = []
    registry = source.get("registry") or ""
    detail = "must be a host:port pair or multiple pairs separated by commas"
    if not registry:
        errors.append(field.required(f"{path}.registry", detail))
    elif len(source.get("tenant") or "") >= 65:
        too_long = "must be a UUID and may not exceed a length of 64 characters"
        errors.append(field.required(f"{path}.tenant", too_long))
    else:
        wrong = [pair for pair in registry.split(",") if not _is_host_port(pair)]
        errors += [field.invalid(f"{path}.registry", registry, detail) for _ in wrong]
    return [*errors, *needs("volume")(source, path)]


def _is_host_port(text: str) -> bool:
    host, colon, port = text.rpartition(":")
    if host.startswith("["):
        return bool(colon) and host.endswith("]") and not set("[]") & set(host[1:-1] + port)
    return bool(colon) and not set(":[]") & set(host + port)


def azure_disk(source: Obj, path: str) -> Errors:
    """Check an Azure disk: the form of its URI depends on its kind."""
    errors: Errors = needs("diskName", "diskURI")(source, path)
    mode, kind, uri = source.get("cachingMode"), source.get("kind"), source.get("diskURI") or ""
    if mode is not None and mode not in ("None", "ReadOnly", "ReadWrite"):
        errors.append(field.not_supported(f"{path}.cachingMode", mode, ("None", "ReadOnly", "ReadWrite")))
    if kind is not None and kind not in ("Shared", "Dedicated", "Managed"):
        errors.append(field.not_supported(f"{path}.kind", kind, ("Dedicated", "Managed", "Shared")))
    begin, form = ("/subscriptions/", _MANAGED_DISK) if kind == "Managed" else ("https://", _BLOB_DISK)
    if kind is not None and not uri.startswith(begin):
        errors.append(field.not_supported(f"{path}.diskURI", uri, (form,)))
    return errors


_MANAGED_DISK = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
_BLOB_DISK = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"


def storage_os(source: Obj, path: str) -> Errors:
    """Check a StorageOS volume."""
    errors: Errors = needs("volumeName")(source, path)
    for member in ("volumeName", "volumeNamespace"):
        if source.get(member):
            errors += named(source[member], f"{path}.{member}", checks.label)
    return errors


def flex(source: Obj, path: str) -> Errors:
    """Check a FlexVolume; Kubernetes keeps options of its own."""
    errors: Errors = needs("driver")(source, path)
    for key in source.get("options") or ():
        domain = "." + key.partition("/")[0].lower()
        if domain.endswith((".kubernetes.io", ".k8s.io")):
            detail = "kubernetes.io and k8s.io namespaces are reserved"
            errors.append(field.invalid(f"{path}.options[{key}]", key, detail))
    return errors
