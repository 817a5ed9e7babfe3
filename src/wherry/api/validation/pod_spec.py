"""The spec of a pod, in a Pod or in a template (core ``ValidatePodSpec``)."""

import json
from typing import Any

from wherry.api import field
from wherry.api.defaults.core import aggregate_requests
from wherry.api.field import FieldError
from wherry.api.gojson import syntax_error
from wherry.api.quantity import Quantity
from wherry.api.schema.decode import go_kind
from wherry.api.validation import checks, metadata, resources
from wherry.api.validation import containers as container_rules
from wherry.api.validation import scheduling as where
from wherry.api.validation.pod_platform import (
    APPARMOR,
    SECCOMP,
    SECCOMP_POD,
    host_processes,
    only_of_linux,
    only_of_windows,
    profile_annotations,
)
from wherry.api.validation.security import pod_security_context
from wherry.api.validation.shared import MAX_INT32, local_descending_path, named
from wherry.api.validation.volumes import volumes

Obj = dict[str, Any]
Errors = list[FieldError]

RESTART_POLICIES = ("Always", "OnFailure", "Never")
_DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
MIRROR = "kubernetes.io/config.mirror"


def pod_template(template: Obj, path: str) -> Errors:
    """Check the template of pods (core ``ValidatePodTemplateSpec``)."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    errors = template_metadata(template, path) + pod_spec(spec, f"{path}.spec")
    if meta.get("annotations"):
        errors += profile_annotations(meta["annotations"], spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        detail = "ephemeral containers not allowed in pod template"
        errors.append(field.forbidden(f"{path}.spec.ephemeralContainers", detail))
    return errors


def template_metadata(template: Obj, path: str) -> Errors:
    """Check the labels and annotations of the template of pods."""
    meta, spec = template.get("metadata") or {}, template.get("spec") or {}
    errors: Errors = []
    if meta.get("labels"):
        errors += metadata.labels(meta["labels"], f"{path}.labels")
    if meta.get("annotations"):
        errors += metadata.annotations(meta["annotations"], f"{path}.annotations")
        errors += pod_annotations(meta["annotations"], spec, f"{path}.annotations")
    return errors


def pod_spec(spec: Obj, path: str = "spec", *, pod_name: str = "", is_pod: bool = False) -> Errors:
    """Check the spec of a pod. `pod_name`: the pod's, where it is known; `is_pod`: not that of a template."""
    get = spec.get
    errors: Errors = []
    right: dict[str, Obj] = {}
    if get("volumes"):
        right, wrong = volumes(spec["volumes"], f"{path}.volumes", pod_name, is_pod=is_pod)
        errors += wrong
    if get("resourceClaims"):
        errors += _resource_claims(spec["resourceClaims"], f"{path}.resourceClaims")
    errors += _all_containers(spec, path, right)
    if get("resources"):
        errors += _pod_resources(spec, path)
    if get("hostNetwork"):
        errors += _host_network_ports(spec, f"{path}.containers", is_pod)
    policy = get("restartPolicy")
    if policy not in RESTART_POLICIES:
        errors.append(_choice(policy, RESTART_POLICIES, f"{path}.restartPolicy"))
    policy = get("dnsPolicy")
    if policy not in _DNS_POLICIES:
        errors.append(_choice(policy, _DNS_POLICIES, f"{path}.dnsPolicy"))
    if get("nodeSelector"):
        errors += metadata.labels(spec["nodeSelector"], f"{path}.nodeSelector")
    errors += pod_security_context(spec, path)
    if get("affinity"):
        errors += where.affinity(spec["affinity"], f"{path}.affinity")
    if get("dnsConfig") is not None or policy == "None":
        errors += _dns_config(get("dnsConfig"), policy or "", f"{path}.dnsConfig")
    for i, gate in enumerate(get("readinessGates") or ()):
        condition = gate.get("conditionType", "")
        errors += named(condition, f"{path}.readinessGates[{i}].conditionType", checks.qualified_name)
    if get("schedulingGates"):
        errors += where.scheduling_gates(spec["schedulingGates"], f"{path}.schedulingGates")
    if get("topologySpreadConstraints"):
        errors += where.topology_spread(spec["topologySpreadConstraints"], f"{path}.topologySpreadConstraints")
    errors += host_processes(spec, path)
    if get("hostUsers") is False:
        errors += _host_users(spec, path)
    return errors + _scalars(spec, path)


def _choice(value: str | None, known: tuple[str, ...], path: str) -> FieldError:
    return field.not_supported(path, value, known, ordered=True) if value else field.required(path)


def _all_containers(spec: Obj, path: str, right: dict[str, Obj]) -> Errors:
    facts = container_rules.PodFacts(spec, right)
    found = spec.get("containers") or []
    errors = container_rules.containers(found, f"{path}.containers", facts)
    initial, ephemeral = spec.get("initContainers"), spec.get("ephemeralContainers")
    if initial or ephemeral:
        names = {c.get("name", "") for c in found}
        errors += container_rules.init_containers(initial or [], f"{path}.initContainers", facts, names)
        errors += container_rules.ephemeral_containers(ephemeral or [], f"{path}.ephemeralContainers", facts, names)
    return errors


# Member, and what a name in it must be.
_NAMES = (
    ("serviceAccountName", checks.subdomain),
    ("nodeName", checks.subdomain),
)
_LATER_NAMES = (("hostname", checks.label), ("subdomain", checks.label))


def _scalars(spec: Obj, path: str) -> Errors:
    get = spec.get
    errors: Errors = []
    for member, rule in _NAMES:
        if get(member):
            errors += named(spec[member], f"{path}.{member}", rule)
    deadline = get("activeDeadlineSeconds")
    if deadline is not None and not 1 <= deadline <= MAX_INT32:
        detail = f"must be between 1 and {MAX_INT32}, inclusive"
        errors.append(field.invalid(f"{path}.activeDeadlineSeconds", deadline, detail))
    for member, rule in _LATER_NAMES:
        if get(member):
            errors += named(spec[member], f"{path}.{member}", rule)
    if get("hostnameOverride") is not None:
        errors += _hostname_override(spec, path)
    if get("tolerations"):
        errors += where.tolerations(spec["tolerations"], f"{path}.tolerations")
    for i, alias in enumerate(get("hostAliases") or ()):
        at = f"{path}.hostAliases[{i}]"
        errors += named(alias.get("ip", ""), f"{at}.ip", checks.ip)
        for j, name in enumerate(alias.get("hostnames") or ()):
            errors += named(name, f"{at}.hostnames[{j}]", checks.subdomain)
    if get("priorityClassName"):
        errors += named(spec["priorityClassName"], f"{path}.priorityClassName", checks.subdomain)
    if get("runtimeClassName") is not None:
        errors += named(spec["runtimeClassName"], f"{path}.runtimeClassName", checks.subdomain)
    preemption = get("preemptionPolicy")
    if preemption is not None and preemption not in ("Never", "PreemptLowerPriority"):
        at = f"{path}.preemptionPolicy"
        errors.append(_choice(preemption, ("PreemptLowerPriority", "Never"), at))
    if get("overhead"):
        errors += resources.requirements({"limits": spec["overhead"]}, f"{path}.overhead")
    if get("os") is not None:
        errors += _os(spec, path)
    return errors


def _hostname_override(spec: Obj, path: str) -> Errors:
    value, at = spec["hostnameOverride"], f"{path}.hostnameOverride"
    errors = named(value, at, checks.subdomain)
    if len(value) > 64:
        errors.append(field.too_long(at, 64))
    if spec.get("setHostnameAsFQDN"):
        detail = "setHostnameAsFQDN and hostnameOverride are mutually exclusive"
        errors.append(field.forbidden(at, detail))
    if spec.get("hostNetwork"):
        errors.append(field.forbidden(at, "may not be set when hostNetwork is true"))
    return errors


def _resource_claims(found: list[Obj], path: str) -> Errors:
    errors: Errors = []
    names: set[str] = set()
    for i, claim in enumerate(found):
        at = f"{path}[{i}]"
        name = claim.get("name", "")
        if not name:
            errors.append(field.required(f"{at}.name"))
        elif name in names:
            errors.append(field.duplicate(f"{at}.name", name))
        else:
            errors += named(name, f"{at}.name", checks.label)
        names.add(name)
        direct, template = claim.get("resourceClaimName"), claim.get("resourceClaimTemplateName")
        if direct is not None and template is not None:
            detail = "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"
            errors.append(field.invalid(at, claim, detail))
        if direct is None and template is None:
            detail = "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"
            errors.append(field.invalid(at, claim, detail))
        for member, value in (("resourceClaimName", direct), ("resourceClaimTemplateName", template)):
            if value is not None:
                errors += named(value, f"{at}.{member}", checks.subdomain)
    return errors


def _pod_resources(spec: Obj, path: str) -> Errors:
    """What a pod asks for as a whole must cover what its containers ask for."""
    found = spec["resources"]
    at = f"{path}.resources"
    if (spec.get("os") or {}).get("name") == "windows":
        return [field.forbidden(at, "may not be set for a windows pod")]
    errors: Errors = []
    if found.get("claims") is not None:
        errors.append(field.forbidden(f"{at}.claims", "claims cannot be set for Resources at pod-level"))
    claims = {claim.get("name", "") for claim in spec.get("resourceClaims") or ()}
    errors += resources.requirements(found, at, name_rule=resources.pod_resource_name, claims=claims)
    limits = found.get("limits") or {}
    huge = {name: amount for name, amount in limits.items() if resources.is_huge_page(name)}
    for member, own in (("requests", found.get("requests") or {}), ("limits", huge)):
        needed = aggregate_requests(spec, member) if own else {}
        for name, amount in own.items():
            if name in needed and Quantity.parse(amount) < Quantity.parse(needed[name]):
                detail = f"must be greater than or equal to aggregate container {member} of {needed[name]}"
                errors.append(field.invalid(f"{at}.{member}[{name}]", amount, detail))
    for i, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and Quantity.parse(limits[name]) < Quantity.parse(amount):
                detail = f"must be less than or equal to pod limits of {limits[name]}"
                errors.append(field.invalid(f"{at}.containers[{i}][{name}].limits", amount, detail))
    return errors


def _host_network_ports(spec: Obj, path: str, is_pod: bool) -> Errors:
    errors: Errors = []
    for i, container in enumerate(spec.get("containers") or ()):
        for j, port in enumerate(container.get("ports") or ()):
            host, own = port.get("hostPort", 0), port.get("containerPort", 0)
            if (is_pod or host) and host != own:
                detail = "must match `containerPort` when `hostNetwork` is true"
                errors.append(field.invalid(f"{path}[{i}].ports[{j}].hostPort", host, detail))
    return errors


def _host_users(spec: Obj, path: str) -> Errors:
    errors: Errors = []
    for member, shown in (("hostNetwork", "hostNetwork"), ("hostPID", "hostPID"), ("hostIPC", "hostIPC")):
        if spec.get(member):
            errors.append(field.forbidden(f"{path}.{shown}", "when `hostUsers` is false"))
    for members in ("containers", "initContainers"):
        for i, container in enumerate(spec.get(members) or ()):
            if container.get("volumeDevices"):
                at = f"{path}.{members}[{i}].volumeDevices"
                errors.append(field.forbidden(at, "when `hostUsers` is false"))
    return errors


def _dns_config(config: Obj | None, policy: str, path: str) -> Errors:
    if policy == "None":
        if config is None:
            return [field.required(path, "must provide `dnsConfig` when `dnsPolicy` is None")]
        if not config.get("nameservers"):
            detail = "must provide at least one DNS nameserver when `dnsPolicy` is None"
            return [field.required(f"{path}.nameservers", detail)]
    if not config:
        return []
    errors: Errors = []
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    if len(servers) > 3:
        errors.append(field.invalid(f"{path}.nameservers", servers, "must not have more than 3 nameservers"))
    for i, server in enumerate(servers):
        errors += named(server, f"{path}.nameservers[{i}]", checks.ip)
    if len(searches) > 32:
        errors.append(field.invalid(f"{path}.searches", searches, "must not have more than 32 search paths"))
    if len(" ".join(searches)) > 2048:
        detail = "must not have more than 2048 characters (including spaces) in the search list"
        errors.append(field.invalid(f"{path}.searches", searches, detail))
    for i, search in enumerate(searches):
        if search != ".":
            bare = search.removesuffix(".")
            errors += named(bare, f"{path}.searches[{i}]", checks.subdomain_with_underscore)
    for i, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            errors.append(field.required(f"{path}.options[{i}]", "must not be empty"))
    return errors


def _os(spec: Obj, path: str) -> Errors:
    name = spec["os"].get("name", "")
    if not name:
        return [field.required(f"{path}.os.name", "cannot be empty")]
    if name not in ("linux", "windows"):
        return [field.not_supported(f"{path}.os", name, ("linux", "windows"))]
    return only_of_linux(spec, path) if name == "windows" else only_of_windows(spec, path)


def pod_annotations(found: dict[str, str], spec: Obj, path: str) -> Errors:
    """Check the annotations that mean something for a pod."""
    errors: Errors = []
    if MIRROR in found and not spec.get("nodeName"):
        detail = "must set spec.nodeName if mirror pod annotation is set"
        errors.append(field.invalid(f"{path}[{MIRROR}]", found[MIRROR], detail))
    if found.get(_TOLERATIONS):
        errors += _annotated_tolerations(found[_TOLERATIONS], path)
    cost = found.get("controller.kubernetes.io/pod-deletion-cost")
    if cost is not None and not _is_int32(cost):
        at = f"{path}[controller.kubernetes.io/pod-deletion-cost]"
        errors.append(field.invalid(at, cost, "must be a 32bit integer"))
    for key, value in found.items():
        if key == SECCOMP_POD or key.startswith(SECCOMP):
            errors += _seccomp_annotation(value, f"{path}.{key}")
    names: set[str] | None = None
    for key, value in found.items():
        if not key.startswith(APPARMOR):
            continue
        if names is None:
            groups = ("containers", "initContainers", "ephemeralContainers")
            names = {c.get("name", "") for g in groups for c in spec.get(g) or ()}
        container = key.removeprefix(APPARMOR)
        if container not in names:
            errors.append(field.invalid(f"{path}[{key}]", container, "container not found"))
        if value not in ("", "runtime/default", "unconfined") and not value.startswith("localhost/"):
            errors.append(field.invalid(f"{path}[{key}]", value, f'invalid AppArmor profile name: "{value}"'))
    return errors


_TOLERATIONS = "scheduler.alpha.kubernetes.io/tolerations"
_TOLERATION_MEMBERS = {m.lower(): m for m in ("key", "operator", "value", "effect", "tolerationSeconds")}


def _annotated_tolerations(text: str, path: str) -> Errors:
    """Check what an annotation of old says about tolerations; Go matches its members whatever their case."""
    wrong = syntax_error(text)
    found = json.loads(text) if wrong is None else []
    if not isinstance(found, list | None):
        wrong = f"json: cannot unmarshal {go_kind(found)} into Go value of type []core.Toleration"
    if wrong is not None:
        return [field.invalid(path, _TOLERATIONS, wrong)]
    given: list[Obj] = [each for each in found or () if isinstance(each, dict)]
    spelled = [{_TOLERATION_MEMBERS.get(m.lower(), m): value for m, value in each.items()} for each in given]
    return where.tolerations(spelled, f"{path}.{_TOLERATIONS}")


def _seccomp_annotation(value: str, path: str) -> Errors:
    if value in ("runtime/default", "docker/default", "unconfined"):
        return []
    if value.startswith("localhost/"):
        return local_descending_path(value.removeprefix("localhost/"), path)
    return [field.invalid(path, value, "must be a valid seccomp profile")]


def _is_int32(text: str) -> bool:
    digits = text[1:] if text[:1] == "-" else text
    return digits.isascii() and digits.isdigit() and str(int(text)) == text and -(2**31) <= int(text) < 2**31
