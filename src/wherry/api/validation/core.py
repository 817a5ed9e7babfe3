"""The small kinds of the core group: configuration, namespaces, accounts, endpoints."""

import json
from base64 import b64decode
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.gojson import syntax_error
from wherry.api.schema.decode import go_kind
from wherry.api.validation import checks, metadata
from wherry.api.validation.containers import PROTOCOLS
from wherry.api.validation.pod_spec import pod_template
from wherry.api.validation.rules import Rules
from wherry.api.validation.service import endpoint_ip
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

_LIMIT = 1024 * 1024
_FROZEN = "field is immutable when `immutable` is set"


def _size(value: str) -> int:
    return len(value) if value.isascii() else len(value.encode())


def _decoded_size(value: str) -> int:
    return len(value) * 3 // 4 - value[-2:].count("=")


def _config_map(obj: Obj) -> Errors:
    errors: Errors = []
    data, binary = obj.get("data") or {}, obj.get("binaryData") or {}
    total = 0
    for key, value in data.items():
        errors += named(key, f"data[{key}]", checks.config_key)
        if key in binary:
            errors.append(field.invalid(f"data[{key}]", key, "duplicate of key present in binaryData"))
        total += _size(value)
    for key, value in binary.items():
        errors += named(key, f"binaryData[{key}]", checks.config_key)
        total += _decoded_size(value)
    if total > _LIMIT:
        # Upstream names no field here; this is how an unnamed path prints.
        errors.append(field.too_long("[]", _LIMIT))
    return errors


def _frozen(obj: Obj, old: Obj, *members: str) -> Errors:
    if not old.get("immutable"):
        return []
    errors = [] if obj.get("immutable") else [field.forbidden("immutable", _FROZEN)]
    errors += [field.forbidden(m, _FROZEN) for m in members if (obj.get(m) or {}) != (old.get(m) or {})]
    return errors


def _update_config_map(obj: Obj, old: Obj) -> Errors:
    return _frozen(obj, old, "data", "binaryData")


_ACCOUNT_NAME = "kubernetes.io/service-account.name"
_DOCKER = {"kubernetes.io/dockercfg": ".dockercfg", "kubernetes.io/dockerconfigjson": ".dockerconfigjson"}


def _secret(obj: Obj) -> Errors:
    errors: Errors = []
    data, kind = obj.get("data") or {}, obj.get("type")
    for key in data:
        errors += named(key, f"data[{key}]", checks.config_key)
    if sum(_decoded_size(v) for v in data.values()) > _LIMIT:
        errors.append(field.too_long("data", _LIMIT))
    if kind == "kubernetes.io/service-account-token":
        if not (obj["metadata"].get("annotations") or {}).get(_ACCOUNT_NAME):
            errors.append(field.required(f"metadata.annotations[{_ACCOUNT_NAME}]"))
    elif kind in _DOCKER:
        errors += _docker_config(data, _DOCKER[kind])
    elif kind == "kubernetes.io/basic-auth":
        if "username" not in data and "password" not in data:
            errors += [field.required("data[username]"), field.required("data[password]")]
    elif kind == "kubernetes.io/ssh-auth":
        if not data.get("ssh-privatekey"):
            errors.append(field.required("data[ssh-privatekey]"))
    elif kind == "kubernetes.io/tls":
        errors += [field.required(f"data[{key}]") for key in ("tls.crt", "tls.key") if key not in data]
    return errors


def _docker_config(data: dict[str, str], key: str) -> Errors:
    if key not in data:
        return [field.required(f"data[{key}]")]
    text = b64decode(data[key]).decode("utf-8", "replace")
    wrong = syntax_error(text)
    if wrong is None and not isinstance(config := json.loads(text), dict | None):
        wrong = f"json: cannot unmarshal {go_kind(config)} into Go value of type map[string]interface {{}}"
    if wrong is None:
        return []
    return [field.invalid(f"data[{key}]", "<secret contents redacted>", wrong)]


def _update_secret(obj: Obj, old: Obj) -> Errors:
    errors: Errors = []
    if obj.get("type") != old.get("type"):
        errors.append(field.invalid("type", obj.get("type", ""), "field is immutable"))
    return errors + _frozen(obj, old, "data")


def _finalizer(name: str, path: str) -> Errors:
    errors = named(name, path, checks.qualified_name)
    if "/" not in name and name not in metadata.STANDARD_FINALIZERS:
        detail = "name is neither a standard finalizer name nor is it fully qualified"
        errors.append(field.invalid(path, name, detail))
    return errors


def _namespace(obj: Obj) -> Errors:
    finalizers = (obj.get("spec") or {}).get("finalizers") or ()
    return [e for name in finalizers for e in _finalizer(name, "spec.finalizers")]


def _namespace_status(obj: Obj, old: Obj) -> Errors:
    phase = (obj.get("status") or {}).get("phase", "")
    if not obj["metadata"].get("deletionTimestamp"):
        if phase != "Active":
            return [field.invalid("status.Phase", phase, "may only be 'Active' if `deletionTimestamp` is empty")]
    elif phase != "Terminating":
        detail = "may only be 'Terminating' if `deletionTimestamp` is not empty"
        return [field.invalid("status.Phase", phase, detail)]
    return []


def _namespace_finalize(obj: Obj, old: Obj) -> Errors:
    finalizers = (obj.get("spec") or {}).get("finalizers") or ()
    return [e for i, name in enumerate(finalizers) for e in _finalizer(name, f"spec.finalizers[{i}]")]


def _endpoints(obj: Obj) -> Errors:
    errors: Errors = []
    for i, subset in enumerate(obj.get("subsets") or ()):
        path = f"subsets[{i}]"
        ports = subset.get("ports") or []
        if not subset.get("addresses") and not subset.get("notReadyAddresses"):
            errors.append(field.required(path, "must specify `addresses` or `notReadyAddresses`"))
        for member in ("addresses", "notReadyAddresses"):
            for j, address in enumerate(subset.get(member) or ()):
                errors += _endpoint_address(address, f"{path}.{member}[{j}]")
        for j, port in enumerate(ports):
            errors += endpoint_port(port, f"{path}.ports[{j}]", len(ports) > 1)
    return errors


def _endpoint_address(address: Obj, path: str) -> Errors:
    ip = address.get("ip", "")
    errors = named(ip, f"{path}.ip", checks.ip)
    if address.get("hostname"):
        errors += named(address["hostname"], f"{path}.hostname", checks.label)
    if address.get("nodeName") is not None:
        errors += named(address["nodeName"], f"{path}.nodeName", checks.subdomain)
    return errors + endpoint_ip(ip, f"{path}.ip")


def endpoint_port(port: Obj, path: str, needs_name: bool) -> Errors:
    """Check a port of an endpoint."""
    errors: Errors = []
    name = port.get("name")
    if name:
        errors += named(name, f"{path}.name", checks.label)
    elif needs_name:
        errors.append(field.required(f"{path}.name"))
    number = port.get("port", 0)
    errors += [field.invalid(f"{path}.port", number, m) for m in checks.port_number(number)]
    protocol = port.get("protocol")
    if protocol not in PROTOCOLS:
        at = f"{path}.protocol"
        errors.append(field.not_supported(at, protocol, PROTOCOLS) if protocol else field.required(at))
    if port.get("appProtocol") is not None:
        errors += named(port["appProtocol"], f"{path}.appProtocol", checks.qualified_name)
    return errors


def _pod_template(obj: Obj) -> Errors:
    return pod_template(obj.get("template") or {}, "template")


RULES = {
    ("", "configmaps"): Rules(create=_config_map, update=_update_config_map, update_first=True),
    ("", "secrets"): Rules(create=_secret, update=_update_secret, update_first=True),
    ("", "namespaces"): Rules(
        create=_namespace,
        subresources={"status": _namespace_status, "finalize": _namespace_finalize},
        name=metadata.label,
    ),
    ("", "serviceaccounts"): Rules(),
    ("", "endpoints"): Rules(create=_endpoints),
    ("", "podtemplates"): Rules(create=_pod_template, metadata_again=False),
}
