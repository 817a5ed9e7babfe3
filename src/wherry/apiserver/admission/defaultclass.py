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

    async def admit(self, operation: Operation) -> None:
        claim = operation.obj
        if claim is None or claim["spec"].get("storageClassName") is not None:
            return
        if _BETA_STORAGE_CLASS in (claim["metadata"].get("annotations") or {}):
            return
        defaults = _marked(self._reader.list(STORAGECLASSES), _STORAGE_MARKS)
        if defaults:
            defaults.sort(key=lambda c: c["metadata"]["name"])
            youngest = max(defaults, key=lambda c: c["metadata"].get("creationTimestamp", ""))
            claim["spec"]["storageClassName"] = youngest["metadata"]["name"]


class DefaultIngressClass(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/network/defaultingressclass``."""

    name = "DefaultIngressClass"
    resources = (INGRESSES,)
    operations = frozenset({CREATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    async def admit(self, operation: Operation) -> None:
        ingress = operation.obj
        if ingress is None or (ingress.get("spec") or {}).get("ingressClassName") is not None:
            return
        if _LEGACY_INGRESS_CLASS in (ingress["metadata"].get("annotations") or {}):
            return
        defaults = _marked(self._reader.list(INGRESSCLASSES), _INGRESS_MARK)
        if defaults:
            defaults.sort(key=lambda c: c["metadata"]["name"])
            youngest = max(defaults, key=lambda c: c["metadata"].get("creationTimestamp", ""))
            ingress.setdefault("spec", {})["ingressClassName"] = youngest["metadata"]["name"]


def _marked(classes: Sequence[dict[str, Any]], marks: Sequence[str]) -> list[dict[str, Any]]:
    return [c for c in classes if any((c["metadata"].get("annotations") or {}).get(mark) == "true" for mark in marks)]
