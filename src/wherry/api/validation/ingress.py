"""Ingresses and their classes."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.references import domain_path, typed_reference
from wherry.api.validation.rules import Rules
from wherry.api.validation.service import load_balancer_status
from wherry.api.validation.shared import immutable, named

Obj = dict[str, Any]
Errors = list[FieldError]

CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_FORBIDDEN_PARTS = ("//", "/./", "/../", "%2f", "%2F")
_FORBIDDEN_ENDS = ("/..", "/.")
_CONTROLLER_LIMIT = 250
_SCOPES = ("Cluster", "Namespace")


def _create(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors: Errors = []
    rules, backend, name = spec.get("rules") or [], spec.get("defaultBackend"), spec.get("ingressClassName")
    if not rules and backend is None:
        errors.append(field.invalid("spec", spec.get("rules"), "either `defaultBackend` or `rules` must be specified"))
    if backend is not None:
        errors += _backend(backend, "spec.defaultBackend")
    for i, rule in enumerate(rules):
        errors += _rule(rule, f"spec.rules[{i}]")
    for i, tls in enumerate(spec.get("tls") or ()):
        for j, host in enumerate(tls.get("hosts") or ()):
            errors += _host(host, f"spec.tls[{i}].hosts[{j}]")
        if tls.get("secretName"):
            errors += named(tls["secretName"], f"spec.tls[{i}].secretName", checks.subdomain)
    if name is not None:
        errors += named(name, "spec.ingressClassName", checks.subdomain)
    return errors


def _create_only(obj: Obj) -> Errors:
    annotation = (obj["metadata"].get("annotations") or {}).get(CLASS_ANNOTATION)
    name = (obj.get("spec") or {}).get("ingressClassName")
    if annotation is None or name is None or annotation == name:
        return []
    return [
        field.invalid(
            f"annotations.{CLASS_ANNOTATION}", annotation, "must match `ingressClassName` when both are specified"
        )
    ]


def _host(host: str, path: str) -> Errors:
    return named(host, path, checks.wildcard_subdomain if "*" in host else checks.subdomain)


def _rule(rule: Obj, path: str) -> Errors:
    errors: Errors = []
    host, http = rule.get("host"), rule.get("http")
    if host:
        if checks.sloppy_ip(host) is not None:
            errors.append(field.invalid(f"{path}.host", host, "must be a DNS name, not an IP address"))
        errors += _host(host, f"{path}.host")
    if http is not None:
        if not http.get("paths"):
            errors.append(field.required(f"{path}.http.paths"))
        for i, found in enumerate(http.get("paths") or ()):
            errors += _path(found, f"{path}.http.paths[{i}]")
    return errors


def _path(found: Obj, path: str) -> Errors:
    kind, value = found.get("pathType"), found.get("path") or ""
    if kind is None:
        return [field.required(f"{path}.pathType", "pathType must be specified")]
    errors: Errors = []
    if kind not in _PATH_TYPES:
        errors.append(field.not_supported(f"{path}.pathType", kind, _PATH_TYPES))
    elif kind != "ImplementationSpecific" or value:
        if not value.startswith("/"):
            errors.append(field.invalid(f"{path}.path", value, "must be an absolute path"))
        if kind != "ImplementationSpecific":
            wrong = [f"must not contain '{part}'" for part in _FORBIDDEN_PARTS if part in value]
            wrong += [f"cannot end with '{end}'" for end in _FORBIDDEN_ENDS if value.endswith(end)]
            errors += [field.invalid(f"{path}.path", value, m) for m in wrong]
    return errors + _backend(found.get("backend") or {}, f"{path}.backend")


def _backend(backend: Obj, path: str) -> Errors:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        return [field.invalid(path, "", "cannot set both resource and service backends")]
    if resource is not None:
        return typed_reference(resource, f"{path}.resource")
    if service is None:
        return [field.invalid(path, "", "resource or service backend is required")]
    errors: Errors = []
    if not service.get("name"):
        errors.append(field.required(f"{path}.service.name"))
    else:
        errors += named(service["name"], f"{path}.service.name", checks.label)
    port = service.get("port") or {}
    name, number = port.get("name"), port.get("number")
    if name and number:
        errors.append(field.invalid(path, "", "cannot set both port name & port number"))
    elif name:
        errors += named(name, f"{path}.service.port.name", checks.port_name)
    elif number:
        errors += [field.invalid(f"{path}.service.port.number", number, m) for m in checks.port_number(number)]
    else:
        errors.append(field.required(path, "port name or number is required"))
    return errors


def _update_status(obj: Obj, old: Obj) -> Errors:
    return load_balancer_status((obj.get("status") or {}).get("loadBalancer") or {}, "status.loadBalancer")


def _class(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    controller, parameters = spec.get("controller") or "", spec.get("parameters")
    errors: Errors = []
    if len(controller.encode()) > _CONTROLLER_LIMIT:
        errors.append(field.too_long("spec.controller", _CONTROLLER_LIMIT))
    errors += domain_path(controller, "spec.controller")
    if parameters is None:
        return errors
    path = "spec.parameters"
    errors += typed_reference(parameters, path)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        return [*errors, field.required(f"{path}.scope")]
    if scope not in _SCOPES:
        errors.append(field.not_supported(f"{path}.scope", scope, _SCOPES))
    elif scope == "Namespace":
        if namespace is None:
            errors.append(field.required(f"{path}.namespace", "`parameters.scope` is set to 'Namespace'"))
        else:
            errors += named(namespace, f"{path}.namespace", checks.label)
    elif namespace is not None:
        errors.append(field.forbidden(f"{path}.namespace", "`parameters.scope` is set to 'Cluster'"))
    return errors


def _update_class(obj: Obj, old: Obj) -> Errors:
    controller, before = ((o.get("spec") or {}).get("controller") or "" for o in (obj, old))
    return immutable(controller, before, "spec.controller")


RULES = {
    ("networking.k8s.io", "ingresses"): Rules(
        create=_create, create_only=_create_only, subresources={"status": _update_status}
    ),
    ("networking.k8s.io", "ingressclasses"): Rules(create=_class, update=_update_class, update_first=True),
}
