"""DefaultStorageClass and DefaultIngressClass: what names no class gets the one marked as default."""

from collections.abc import Sequence
from typing import Any

from wherry.api.resources import INGRESSCLASSES, INGRESSES, PERSISTENTVOLUMECLAIMS, STORAGECLASSES
from wherry.apiserver.admission.plugin import CREATE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_STORAGE_MARKS = ("storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class")
_INGRESS_MARK = ("ingressclass.kubernetes.io/is-default-class",)
_BETA_STORAGE_CLASS = "volume.beta.kubernetes.io/storage-class"
_LEGACY_INGRESS_CLASS = "kubernetes.io/ingress.class"


class DefaultStorageClass(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/storage/storageclass/setdefault``. Of several defaults the
    youngest is taken."""

    name = "DefaultStorageClass"
    resources = (PERSISTENTVOLUMECLAIMS,)
    operations = frozenset({CREATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def admit(self, operation: Operation) -> None:
        claim = operation.obj
        if claim is None or claim["spec"].get("storageClassName") is not None:
            return
        if _BETA_STORAGE_CLASS in (claim["metadata"].get("annotations") or {}):
            return
        name = _default(self._reader.list(STORAGECLASSES), _STORAGE_MARKS)
        if name is not None:
            claim["spec"]["storageClassName"] = name


class DefaultIngressClass(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/network/defaultingressclass``."""

    name = "DefaultIngressClass"
    resources = (INGRESSES,)
    operations = frozenset({CREATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    def admit(self, operation: Operation) -> None:
        ingress = operation.obj
        if ingress is None or (ingress.get("spec") or {}).get("ingressClassName") is not None:
            return
        if _LEGACY_INGRESS_CLASS in (ingress["metadata"].get("annotations") or {}):
            return
        name = _default(self._reader.list(INGRESSCLASSES), _INGRESS_MARK)
        if name is not None:
            ingress.setdefault("spec", {})["ingressClassName"] = name


def _default(classes: Sequence[dict[str, Any]], marks: Sequence[str]) -> str | None:
    """Return the name of the youngest class with one of the marks, of several the first by name."""
    described = (c["metadata"] for c in classes)
    found = [each for each in described if any((each.get("annotations") or {}).get(mark) == "true" for mark in marks)]
    found.sort(key=lambda metadata: metadata["name"])
    youngest = max(found, key=lambda metadata: metadata.get("creationTimestamp", ""), default=None)
    return youngest["name"] if youngest is not None else None
