"""The files that ConfigMaps, Secrets and pod fields become in a volume."""

import base64
from typing import Any

from wherry.api import meta
from wherry.kubelet import downward
from wherry.kubelet.volumes.atomic import File
from wherry.kubelet.volumes.plugin import VolumeError

DEFAULT_MODE = 0o644


def of_config_map(obj: meta.Object | None, source: dict[str, Any], *, namespace: str, mode: int) -> dict[str, File]:
    """Return the files of a ConfigMap; `source` has ``items``, ``optional`` and the name. Raises VolumeError."""
    name = source.get("name") or ""
    if obj is None:
        return _missing(source, f'configmap "{name}" not found')
    data = {key: value.encode() for key, value in (obj.get("data") or {}).items()}
    data |= {key: base64.b64decode(value) for key, value in (obj.get("binaryData") or {}).items()}
    return _select(data, source, mode=mode, what="config")


def of_secret(obj: meta.Object | None, source: dict[str, Any], *, namespace: str, mode: int) -> dict[str, File]:
    """Return the files of a Secret. Raises VolumeError."""
    if obj is None:
        return _missing(source, f'secret "{source.get("name") or source.get("secretName")}" not found')
    data = {key: base64.b64decode(value) for key, value in (obj.get("data") or {}).items()}
    return _select(data, source, mode=mode, what="secret")


def of_pod(pod: meta.Object, items: list[dict[str, Any]], facts: downward.Facts, *, mode: int) -> dict[str, File]:
    """Return the files of a downward API volume. Raises VolumeError."""
    result = {}
    for item in items:
        try:
            if field := item.get("fieldRef"):
                text = downward.field_value(pod, field["fieldPath"], facts)
            else:
                text = downward.resource_value(pod, item["resourceFieldRef"], facts)
        except ValueError as error:
            raise VolumeError(str(error)) from error
        result[item["path"]] = File(text.encode(), _mode(item, mode))
    return result


def _missing(source: dict[str, Any], message: str) -> dict[str, File]:
    if source.get("optional"):
        return {}
    raise VolumeError(message)


def _select(data: dict[str, bytes], source: dict[str, Any], *, mode: int, what: str) -> dict[str, File]:
    items = source.get("items")
    if not items:
        return {key: File(value, mode) for key, value in data.items()}
    result = {}
    for item in items:
        if item["key"] in data:
            result[item["path"]] = File(data[item["key"]], _mode(item, mode))
        elif not source.get("optional"):
            raise VolumeError(f"references non-existent {what} key: {item['key']}")
    return result


def _mode(item: dict[str, Any], mode: int) -> int:
    return mode if item.get("mode") is None else int(item["mode"])


def default_mode(source: dict[str, Any]) -> int:
    """Return a volume source's ``defaultMode``."""
    value = source.get("defaultMode")
    return DEFAULT_MODE if value is None else int(value)
