"""Versions that Kubernetes served once and removed, for manifests that were never brought up to date.

Off by default: an upstream server of today does not have them. ``enable`` serves each beside its successor, over the
same stored objects; what is written in an old version is defaulted as that version was, then checked as the new one.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from wherry.api import defaults, meta, schema, strategy, validation
from wherry.api.errors import Invalid
from wherry.api.resources import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    INGRESSCLASSES,
    INGRESSES,
    NETWORKPOLICIES,
    PODDISRUPTIONBUDGETS,
    REPLICASETS,
    STATEFULSETS,
    Resource,
)
from wherry.api.schema import TypeSchema
from wherry.api.schema.types import Conformed
from wherry.apiserver.api import Api
from wherry.apiserver.conversion import Conversion

Object = dict[str, Any]
Shape = Callable[[Object], Object]

_NETWORKING = "networking.k8s.io"


def _workload(obj: Object) -> Object:
    """The selector is the template's labels where it is left out."""
    spec = obj.get("spec") or {}
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels")
    if not spec.get("selector") and labels:
        obj["spec"] = {**spec, "selector": {"matchLabels": dict(labels)}}
    return obj


def _old_deployment(obj: Object) -> Object:
    """extensions/v1beta1 rolled one pod at a time."""
    obj = _workload(obj)
    strategy_of = obj["spec"].setdefault("strategy", {})
    if strategy_of.get("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy_of.setdefault("rollingUpdate", {})
        rolling.setdefault("maxUnavailable", 1)
        rolling.setdefault("maxSurge", 1)
    return obj


def _on_delete(obj: Object) -> Object:
    """Pods were replaced only when somebody deleted them."""
    obj = _workload(obj)
    obj["spec"].setdefault("updateStrategy", {"type": "OnDelete"})
    return obj


def _as_it_is(obj: Object) -> Object:
    return obj


def _ingress_to_v1(obj: Object) -> Object:
    spec = dict(obj.get("spec") or {})
    if "backend" in spec:
        spec["defaultBackend"] = _backend_to_v1(spec.pop("backend"))
    spec["rules"] = [_rule(rule, _path_to_v1) for rule in spec.get("rules") or ()]
    return {**obj, "spec": spec}


def _ingress_from_v1(obj: Object) -> Object:
    spec = dict(obj.get("spec") or {})
    if "defaultBackend" in spec:
        spec["backend"] = _backend_from_v1(spec.pop("defaultBackend"))
    spec["rules"] = [_rule(rule, _path_from_v1) for rule in spec.get("rules") or ()]
    return {**obj, "spec": spec}


def _rule(rule: Object, path: Shape) -> Object:
    if not rule.get("http"):
        return rule
    return {**rule, "http": {"paths": [path(each) for each in rule["http"].get("paths") or ()]}}


def _path_to_v1(path: Object) -> Object:
    new = {"pathType": "ImplementationSpecific", **path}
    return {**new, "backend": _backend_to_v1(new["backend"])} if "backend" in new else new


def _path_from_v1(path: Object) -> Object:
    return {**path, "backend": _backend_from_v1(path["backend"])} if "backend" in path else path


def _backend_to_v1(backend: Object) -> Object:
    if "serviceName" not in backend:
        return backend
    port = backend.get("servicePort")
    named = {"name": port} if isinstance(port, str) else {"number": port}
    rest = {key: value for key, value in backend.items() if key not in ("serviceName", "servicePort")}
    return {**rest, "service": {"name": backend["serviceName"], "port": named}}


def _backend_from_v1(backend: Object) -> Object:
    service = backend.get("service")
    if not service:
        return backend
    port = service.get("port") or {}
    rest = {key: value for key, value in backend.items() if key != "service"}
    return {**rest, "serviceName": service.get("name"), "servicePort": port.get("name") or port.get("number")}


_ROWS: tuple[tuple[str, str, Resource, Shape, Shape | None], ...] = (
    ("extensions", "v1beta1", DEPLOYMENTS, _old_deployment, None),
    ("extensions", "v1beta1", REPLICASETS, _workload, None),
    ("extensions", "v1beta1", DAEMONSETS, _on_delete, None),
    ("extensions", "v1beta1", NETWORKPOLICIES, _as_it_is, None),
    ("extensions", "v1beta1", INGRESSES, _ingress_to_v1, _ingress_from_v1),
    (_NETWORKING, "v1beta1", INGRESSES, _ingress_to_v1, _ingress_from_v1),
    (_NETWORKING, "v1beta1", INGRESSCLASSES, _as_it_is, None),
    ("apps", "v1beta1", DEPLOYMENTS, _workload, None),
    ("apps", "v1beta1", STATEFULSETS, _on_delete, None),
    ("apps", "v1beta2", DEPLOYMENTS, _as_it_is, None),
    ("apps", "v1beta2", REPLICASETS, _as_it_is, None),
    ("apps", "v1beta2", DAEMONSETS, _as_it_is, None),
    ("apps", "v1beta2", STATEFULSETS, _as_it_is, None),
    ("batch", "v1beta1", CRONJOBS, _as_it_is, None),
    ("batch", "v2alpha1", CRONJOBS, _as_it_is, None),
    ("policy", "v1beta1", PODDISRUPTIONBUDGETS, _as_it_is, None),
)
"""Group and version; the resource that stores the objects; from the old shape to the new one, and back where they
differ."""


class _OldSchema(TypeSchema):
    """Reads the old shape into the new one, so that everything after decoding sees what it knows."""

    def __init__(self, old: Resource, stored: Resource, to_new: Shape) -> None:
        known = schema.load().for_resource(stored)
        super().__init__(old.api_version, old.kind, known.root, known.definition)
        self._to_new = to_new

    def conform(self, obj: Object) -> Conformed:
        """Return `obj` in the new shape; `obj` is not changed."""
        return super().conform(self._to_new(meta.copy(obj)))


def enable(api: Api) -> None:
    """Serve the removed versions."""
    for group, version, stored, to_new, from_new in _ROWS:
        status = {name: sub for name, sub in stored.subresources.items() if name == "status"}
        old = replace(stored, group=group, version=version, subresources=status, short_names=(), categories=())
        api.registry.add_resource(old, _conversion(old, stored, from_new or _as_it_is))
        api.schemas.add(old, _OldSchema(old, stored, to_new))


def _conversion(old: Resource, stored: Resource, from_new: Shape) -> Conversion:
    def to_stored(obj: Object) -> Object:
        """Raises Invalid when the object does not hold as one of today."""
        new = {**meta.copy(obj), "apiVersion": stored.api_version}
        defaults.default(stored, new)
        if "resourceVersion" not in obj["metadata"]:
            strategy.prepare_create(stored, new)
        errors = validation.validate_create(stored, new)
        if errors:
            raise Invalid.of(old.kind, obj["metadata"].get("name", ""), errors, old.group)
        return new

    def from_stored(obj: Object) -> Object:
        return {**from_new(obj), "apiVersion": old.api_version}

    return Conversion(stored, to_stored, from_stored)
