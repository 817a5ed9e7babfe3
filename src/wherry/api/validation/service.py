"""Services (core ``ValidateService``)."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.strategy.services import needs_health_check_port
from wherry.api.validation import checks, metadata
from wherry.api.validation.containers import PROTOCOLS
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import named, port_or_name

Obj = dict[str, Any]
Errors = list[FieldError]

_TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_FAMILIES = ("IPv4", "IPv6")
_FAMILY_POLICIES = ("PreferDualStack", "RequireDualStack", "SingleStack")
_DISTRIBUTIONS = ("PreferClose", "PreferSameZone", "PreferSameNode")
_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"


def _is_headless(spec: Obj) -> bool:
    return (spec.get("clusterIPs") or [spec.get("clusterIP")])[0] == "None"


def _service(obj: Obj) -> Errors:
    spec = obj["spec"]
    errors = _topology_annotations(obj["metadata"].get("annotations") or {})
    ports, headless = spec.get("ports") or [], _is_headless(spec)
    if not ports and not headless and spec.get("type") != "ExternalName":
        errors.append(field.required("spec.ports"))
    errors += _of_type(spec, headless)
    names: set[str] = set()
    for i, port in enumerate(ports):
        errors += _port(port, f"spec.ports[{i}]", len(ports) > 1, names)
    if spec.get("selector"):
        errors += metadata.labels(spec["selector"], "spec.selector")
    errors += _affinity(spec)
    errors += cluster_ips(spec)
    for i, ip in enumerate(spec.get("externalIPs") or ()):
        path = f"spec.externalIPs[{i}]"
        errors += named(ip, path, checks.ip) or endpoint_ip(ip, path)
    kind = spec.get("type")
    if kind not in _TYPES:
        errors.append(field.not_supported("spec.type", kind, _TYPES) if kind else field.required("spec.type"))
    errors += _duplicate_ports(spec)
    errors += _source_ranges(obj)
    if kind == "LoadBalancer":
        if spec.get("allocateLoadBalancerNodePorts") is None:
            errors.append(field.required("spec.allocateLoadBalancerNodePorts"))
    elif spec.get("allocateLoadBalancerNodePorts") is not None:
        errors.append(field.forbidden("spec.allocateLoadBalancerNodePorts", _ONLY_BALANCED))
    errors += _balancer_class(spec)
    return errors + _policies(spec)


_HINTS = "service.kubernetes.io/topology-aware-hints"
_MODE = "service.kubernetes.io/topology-mode"


def _topology_annotations(found: dict[str, str]) -> Errors:
    """The annotation was renamed; who gives both must say the same with both."""
    if _MODE not in found or found.get(_HINTS, found[_MODE]) == found[_MODE]:
        return []
    detail = f"must match annotations[{_HINTS}] when both are specified"
    return [field.invalid(f"metadata.annotations[{_MODE}]", found[_MODE], detail)]


def _of_type(spec: Obj, headless: bool) -> Errors:
    errors: Errors = []
    kind = spec.get("type")
    if kind in ("LoadBalancer", "NodePort") and headless:
        errors.append(field.invalid("spec.clusterIPs[0]", "None", f"may not be set to 'None' for {kind} services"))
    if kind == "ExternalName":
        for member in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(member):
                errors.append(field.forbidden(f"spec.{member}", "may not be set for ExternalName services"))
        name = (spec.get("externalName") or "").removesuffix(".")
        if name:
            errors += named(name, "spec.externalName", checks.subdomain)
        else:
            errors.append(field.required("spec.externalName"))
    return errors


def _port(port: Obj, path: str, needs_name: bool, names: set[str]) -> Errors:
    errors: Errors = []
    name = port.get("name")
    if name:
        errors += named(name, f"{path}.name", checks.label)
        if name in names:
            errors.append(field.duplicate(f"{path}.name", name))
        names.add(name)
    elif needs_name:
        errors.append(field.required(f"{path}.name"))
    number = port.get("port", 0)
    errors += [field.invalid(f"{path}.port", number, m) for m in checks.port_number(number)]
    protocol = port.get("protocol")
    if protocol not in PROTOCOLS:
        at = f"{path}.protocol"
        errors.append(field.not_supported(at, protocol, PROTOCOLS) if protocol else field.required(at))
    errors += port_or_name(port.get("targetPort"), f"{path}.targetPort")
    if port.get("appProtocol") is not None:
        errors += named(port["appProtocol"], f"{path}.appProtocol", checks.qualified_name)
    return errors


def _affinity(spec: Obj) -> Errors:
    affinity, config = spec.get("sessionAffinity"), spec.get("sessionAffinityConfig")
    if not affinity:
        return [field.required("spec.sessionAffinity")]
    if affinity not in ("ClientIP", "None"):
        return [field.not_supported("spec.sessionAffinity", affinity, ("ClientIP", "None"))]
    path = "spec.sessionAffinityConfig"
    if affinity == "None":
        if config is None:
            return []
        return [field.forbidden(path, "must not be set when session affinity is None")]
    if config is None:
        return [field.required(path, "when session affinity type is ClientIP")]
    if config.get("clientIP") is None:
        return [field.required(f"{path}.clientIP", "when session affinity type is ClientIP")]
    seconds = config["clientIP"].get("timeoutSeconds")
    path = f"{path}.clientIP.timeoutSeconds"
    if seconds is None:
        return [field.required(path, "when session affinity type is ClientIP")]
    if not 0 < seconds <= 86400:
        return [field.invalid(path, seconds, "must be greater than 0 and less than 86400")]
    return []


def cluster_ips(spec: Obj) -> Errors:
    """Check what a Service says about its addresses and their families."""
    if spec.get("type") == "ExternalName":
        return []
    errors: Errors = []
    ip, ips, families = spec.get("clusterIP") or "", spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    path = "spec.clusterIPs"
    if ip and not ips:
        errors.append(field.required(path))
    elif ip and ips[0] != ip:
        errors.append(field.invalid(path, ips, "first value must match `clusterIP`"))
    elif not ip and ips:
        errors.append(field.invalid(path, ips, "must be empty when `clusterIP` is not specified"))
    for i, family in enumerate(families):
        if family not in _FAMILIES:
            errors.append(field.not_supported(f"spec.ipFamilies[{i}]", family, _FAMILIES))
        if family in families[:i]:
            errors.append(field.duplicate(f"spec.ipFamilies[{i}]", family))
    policy = spec.get("ipFamilyPolicy")
    if policy is not None and policy not in _FAMILY_POLICIES:
        errors.append(field.not_supported("spec.ipFamilyPolicy", policy, _FAMILY_POLICIES))
    wrong: Errors = []
    for i, each in enumerate(ips):
        if i == 0 and each == "None":
            if len(ips) > 1:
                wrong.append(field.invalid(path, ips, "'None' must be the first and only value"))
            continue
        wrong += named(each, f"{path}[{i}]", checks.ip)
    errors += wrong
    if len(ips) > 2:
        errors.append(field.invalid(path, ips, "may only hold up to 2 values"))
    if wrong or _is_headless(spec):
        return errors
    if len(ips) > 1 and len({":" in each for each in ips}) == 1:
        errors.append(field.invalid(path, ips, "may specify no more than one IP for each IP family"))
    for i, (each, family) in enumerate(zip(ips, families, strict=False)):
        if family in _FAMILIES and (":" in each) != (family == "IPv6"):
            detail = f"expected an {family} value as indicated by `ipFamilies[{i}]`"
            errors.append(field.invalid(f"{path}[{i}]", each, detail))
    return errors


def endpoint_ip(value: str, path: str) -> Errors:
    """Check that an address can be an endpoint: none that only this host or link can reach."""
    found = checks.sloppy_ip(value)
    if found is None:
        return [field.invalid(path, value, "must be a valid IP address")]
    errors: Errors = []
    if found.is_unspecified:
        errors.append(field.invalid(path, value, f"may not be unspecified ({value})"))
    if found.is_loopback:
        errors.append(field.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)"))
    if found.is_link_local:
        detail = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        errors.append(field.invalid(path, value, detail))
    text = str(found)
    if text.startswith(("224.0.0.", "ff02:")):
        detail = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        errors.append(field.invalid(path, value, detail))
    return errors


def _duplicate_ports(spec: Obj) -> Errors:
    errors: Errors = []
    ports = spec.get("ports") or []
    if spec.get("type") == "ClusterIP":
        for i, port in enumerate(ports):
            if port.get("nodePort"):
                detail = "may not be used when `type` is 'ClusterIP'"
                errors.append(field.forbidden(f"spec.ports[{i}].nodePort", detail))
    seen: set[tuple[Any, Any]] = set()
    for i, port in enumerate(ports):
        if port.get("nodePort"):
            key = (port.get("protocol"), port["nodePort"])
            if key in seen:
                errors.append(field.duplicate(f"spec.ports[{i}].nodePort", port["nodePort"]))
            seen.add(key)
    seen = set()
    for i, port in enumerate(ports):
        key = (port.get("protocol"), port.get("port"))
        if key in seen:
            shown = {
                "Name": "", "Protocol": key[0], "AppProtocol": None, "Port": key[1], "TargetPort": 0, "NodePort": 0,
            }  # fmt: skip
            errors.append(field.duplicate(f"spec.ports[{i}]", shown))
        seen.add(key)
    return errors


def _source_ranges(obj: Obj) -> Errors:
    spec = obj["spec"]
    ranges = spec.get("loadBalancerSourceRanges")
    balanced = spec.get("type") == "LoadBalancer"
    if ranges:
        path = "spec.LoadBalancerSourceRanges"
        errors = [] if balanced else [field.forbidden(path, _ONLY_BALANCED)]
        return errors + [e for i, r in enumerate(ranges) for e in named(r.strip(), f"{path}[{i}]", checks.cidr)]
    written = (obj["metadata"].get("annotations") or {}).get(_RANGES)
    if written is None:
        return []
    path = f"metadata.annotations[{_RANGES}]"
    errors = [] if balanced else [field.forbidden(path, _ONLY_BALANCED)]
    if written.strip():
        errors += [e for r in written.strip().split(",") for e in named(r.strip(), path, checks.cidr)]
    return errors


def _balancer_class(spec: Obj) -> Errors:
    value = spec.get("loadBalancerClass")
    if value is None:
        return []
    if spec.get("type") != "LoadBalancer":
        return [field.forbidden("spec.loadBalancerClass", _ONLY_BALANCED)]
    return named(value, "spec.loadBalancerClass", checks.qualified_name)


def _policies(spec: Obj) -> Errors:
    errors: Errors = []
    kind = spec.get("type")
    external = kind in ("LoadBalancer", "NodePort") or (kind == "ClusterIP" and spec.get("externalIPs"))
    policy, path = spec.get("externalTrafficPolicy"), "spec.externalTrafficPolicy"
    if not external:
        if policy:
            errors.append(field.invalid(path, policy, "may only be set for externally-accessible services"))
    elif not policy:
        errors.append(field.required(path))
    elif policy not in ("Cluster", "Local"):
        errors.append(field.not_supported(path, policy, ("Cluster", "Local")))
    port, path = spec.get("healthCheckNodePort") or 0, "spec.healthCheckNodePort"
    if not needs_health_check_port(spec):
        if port:
            detail = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            errors.append(field.invalid(path, port, detail))
    elif not port:
        errors.append(field.required(path))
    else:
        errors += [field.invalid(path, port, m) for m in checks.port_number(port)]
    policy, path = spec.get("internalTrafficPolicy"), "spec.internalTrafficPolicy"
    if policy is None:
        if kind in ("ClusterIP", "LoadBalancer", "NodePort"):
            errors.append(field.required(path))
    elif policy not in ("Cluster", "Local"):
        errors.append(field.not_supported(path, policy, ("Cluster", "Local")))
    distribution = spec.get("trafficDistribution")
    if distribution is not None and distribution not in _DISTRIBUTIONS:
        errors.append(field.not_supported("spec.trafficDistribution", distribution, _DISTRIBUTIONS, ordered=True))
    return errors


def _update(obj: Obj, old: Obj) -> Errors:
    """Addresses and families stay, unless the Service comes from or goes to an external name."""
    spec, before = obj["spec"], old["spec"]
    errors: Errors = []
    if "ExternalName" not in (spec.get("type"), before.get("type")):
        headless, was_headless = _is_headless(spec), _is_headless(before)
        if not (headless and was_headless):
            errors += _kept(spec, before, "clusterIPs", "primary clusterIP can not be unset")
        if not headless and not was_headless:
            errors += _kept(spec, before, "ipFamilies", "primary ipFamily can not be unset")
    if spec.get("type") == before.get("type") == "LoadBalancer":
        value = spec.get("loadBalancerClass")
        if value != before.get("loadBalancerClass"):
            errors.append(field.invalid("spec.loadBalancerClass", value, "may not change once set"))
    errors += _balancer_class(spec)
    if needs_health_check_port(spec) and needs_health_check_port(before):
        path = "spec.healthCheckNodePort"
        if (spec.get("healthCheckNodePort") or 0) != (before.get("healthCheckNodePort") or 0):
            errors.append(field.forbidden(path, "field is immutable"))
    return errors


def _kept(spec: Obj, before: Obj, member: str, unset: str) -> Errors:
    """The first one stays, and the others while their number does; the second may be released, or added."""
    new, old = spec.get(member) or [], before.get(member) or []
    if old and not new:
        return [field.invalid(f"spec.{member}[0]", new or None, unset)]
    errors: Errors = []
    pairs = list(zip(new, old, strict=False))
    for i, (now, was) in enumerate(pairs if len(new) == len(old) else pairs[:1]):
        if now != was:
            at = f"spec.{member}[{i if member == 'clusterIPs' else 0}]"
            errors.append(field.invalid(at, new, "may not change once set"))
    if len(new) == 1 < len(old) and spec.get("ipFamilyPolicy") != "SingleStack":
        what = "clusterIP" if member == "clusterIPs" else "ipFamily"
        detail = f"must be set to 'SingleStack' when releasing the secondary {what}"
        errors.append(field.invalid("spec.ipFamilyPolicy", spec.get("ipFamilyPolicy"), detail))
    return errors


def load_balancer_status(status: Obj, path: str) -> Errors:
    """Check what a load balancer reports, of a Service or an Ingress."""
    errors: Errors = []
    for i, ingress in enumerate(status.get("ingress") or ()):
        at = f"{path}.ingress[{i}]"
        ip, host = ingress.get("ip"), ingress.get("hostname")
        if ip:
            errors += named(ip, f"{at}.ip", checks.ip)
        mode = ingress.get("ipMode")
        if mode is not None and not ip:
            errors.append(field.forbidden(f"{at}.ipMode", "may not be specified when `ip` is not set"))
        elif mode is not None and mode not in ("Proxy", "VIP"):
            errors.append(field.not_supported(f"{at}.ipMode", mode, ("Proxy", "VIP")))
        if host:
            errors += named(host, f"{at}.hostname", checks.subdomain)
            if checks.sloppy_ip(host) is not None:
                errors.append(field.invalid(f"{at}.hostname", host, "must be a DNS name, not an IP address"))
    return errors


def _update_status(obj: Obj, old: Obj) -> Errors:
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    changed = (old.get("status") or {}).get("loadBalancer") != balancer
    if obj["spec"].get("type") != "LoadBalancer" and balancer.get("ingress") and changed:
        detail = _ONLY_BALANCED.replace("`type`", "`spec.type`")
        return [field.forbidden("status.loadBalancer.ingress", detail)]
    return load_balancer_status(balancer, "status.loadBalancer")


RULES = {
    ("", "services"): Rules(
        create=_service, update=_update, subresources={"status": _update_status}, name=metadata.label, update_first=True
    ),
}
