"""Defaults of CustomResourceDefinitions (``apiextensions/v1``)."""

from typing import Any

Obj = dict[str, Any]


def _definition(obj: Obj) -> None:
    spec = obj.setdefault("spec", {})
    names = spec.setdefault("names", {})
    kind = names.get("kind") or ""
    if kind and not names.get("singular"):
        names["singular"] = kind.lower()
    if kind and not names.get("listKind"):
        names["listKind"] = f"{kind}List"
    conversion = spec.setdefault("conversion", {"strategy": "None"})
    webhook = conversion.get("webhook")
    if webhook is not None and not any(webhook.values()):
        del conversion["webhook"]  # the internal version has no place for an empty one
    service = ((conversion.get("webhook") or {}).get("clientConfig") or {}).get("service")
    if service is not None and service.get("port") is None:
        service["port"] = 443
    status = obj.get("status")
    if status is not None and not status.get("storedVersions"):
        status["storedVersions"] = [v.get("name") or "" for v in spec.get("versions") or () if v.get("storage")]


DEFAULTS = {("apiextensions.k8s.io", "customresourcedefinitions"): _definition}
