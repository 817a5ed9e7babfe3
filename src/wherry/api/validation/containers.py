"""Containers of a pod (core ``validateContainerCommon`` and its kinds)."""

from collections.abc import Collection, Mapping
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, metadata, resources
from wherry.api.validation.downward import ENV_FIELDS, field_selector, resource_field_selector
from wherry.api.validation.handlers import lifecycle, probe
from wherry.api.validation.security import security_context
from wherry.api.validation.shared import local_descending_path, local_non_reserved_path, named
from wherry.api.validation.volumes import PULL_POLICIES

Obj = dict[str, Any]
Errors = list[FieldError]

PROTOCOLS = ("SCTP", "TCP", "UDP")
_MESSAGE_POLICIES = ("File", "FallbackToLogsOnError")
_PROPAGATIONS = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE = ("Disabled", "Enabled", "IfPossible")
_RESTART_POLICIES = ("Always", "Never", "OnFailure")


class PodFacts:
    """What the rules of a container need to know about its pod."""

    __slots__ = ("claims", "grace", "host_users", "os", "restart_policy", "volumes")

    def __init__(self, spec: Obj, volumes: Mapping[str, Obj]) -> None:
        self.volumes = volumes
        self.claims = [c.get("name", "") for c in spec.get("resourceClaims") or ()]
        self.grace: int = spec.get("terminationGracePeriodSeconds") or 0
        self.host_users = spec.get("hostUsers") is not False
        self.os: str = (spec.get("os") or {}).get("name", "")
        self.restart_policy: str = spec.get("restartPolicy", "")


def containers(found: list[Obj], path: str, pod: PodFacts) -> Errors:
    """Check the regular containers."""
    if not found:
        return [field.required(path)]
    errors: Errors = []
    names: set[str] = set()
    for i, container in enumerate(found):
        at = f"{path}[{i}]"
        errors += _common(container, at, pod)
        name = container.get("name", "")
        if name in names:
            errors.append(field.duplicate(f"{at}.name", name))
        names.add(name)
        errors += _restart_policy(container, at)
        errors += _lifecycle_and_probes(container, at, pod)
    return errors + _host_port_conflicts(found, path)


def init_containers(found: list[Obj], path: str, pod: PodFacts, names: set[str]) -> Errors:
    """Check the init containers; `names` are those of the regular containers, and grow."""
    errors: Errors = []
    for i, container in enumerate(found):
        at = f"{path}[{i}]"
        errors += _common(container, at, pod)
        errors += _restart_policy(container, at)
        name = container.get("name", "")
        if name in names:
            errors.append(field.duplicate(f"{at}.name", name))
        elif name:
            names.add(name)
        errors += _host_port_conflicts([container], path)
        if container.get("restartPolicy") == "Always":
            errors += _lifecycle_and_probes(container, at, pod)
            continue
        for member in ("lifecycle", "livenessProbe", "readinessProbe", "startupProbe"):
            if container.get(member) is not None:
                detail = "may not be set for init containers without restartPolicy=Always"
                errors.append(field.forbidden(f"{at}.{member}", detail))
        for policy in container.get("resizePolicy") or ():
            if policy.get("restartPolicy") == "RestartContainer":
                detail = "must be 'NotRequired' for init containers without restartPolicy=Always"
                errors.append(field.invalid(f"{at}.resizePolicy", "RestartContainer", detail))
    return errors


_NOT_EPHEMERAL = (
    "ports", "resources", "resizePolicy", "restartPolicy", "restartPolicyRules", "livenessProbe", "readinessProbe",
    "startupProbe", "lifecycle",
)  # fmt: skip


def ephemeral_containers(found: list[Obj], path: str, pod: PodFacts, names: set[str]) -> Errors:
    """Check the ephemeral containers; `names` are those of all other containers."""
    errors: Errors = []
    others = set(names)
    for i, container in enumerate(found):
        at = f"{path}[{i}]"
        errors += _common(container, at, pod)
        errors += image_padding(container, at)
        name = container.get("name", "")
        if name in names:
            errors.append(field.duplicate(f"{at}.name", name))
        names.add(name)
        target = container.get("targetContainerName")
        if target and target not in others:
            errors.append(field.not_found(f"{at}.targetContainerName", target))
        for member in _NOT_EPHEMERAL:
            if container.get(member) or (member == "lifecycle" and container.get(member) is not None):
                errors.append(field.forbidden(f"{at}.{member}", "cannot be set for an Ephemeral Container"))
        for j, mount in enumerate(container.get("volumeMounts") or ()):
            for member in ("subPath", "subPathExpr"):
                if mount.get(member):
                    detail = "cannot be set for an Ephemeral Container"
                    errors.append(field.forbidden(f"{at}.volumeMounts[{j}].{member}", detail))
    return errors


def image_padding(container: Obj, path: str) -> Errors:
    """Check the image of a container that runs, not of a template, for spaces around it."""
    image = container.get("image", "")
    if image != image.strip():
        return [field.invalid(f"{path}.image", image, "must not have leading or trailing whitespace")]
    return []


def _common(container: Obj, path: str, pod: PodFacts) -> Errors:
    errors: Errors = []
    get = container.get
    name = get("name")
    errors += named(name, f"{path}.name", checks.label) if name else [field.required(f"{path}.name")]
    if not get("image"):
        errors.append(field.required(f"{path}.image"))
    policy = get("terminationMessagePolicy")
    if policy not in _MESSAGE_POLICIES:
        at = f"{path}.terminationMessagePolicy"
        errors.append(
            field.not_supported(at, policy, _MESSAGE_POLICIES, ordered=True) if policy else field.required(at)
        )
    if get("ports"):
        errors += _ports(container["ports"], f"{path}.ports")
    if get("env"):
        errors += environment(container["env"], f"{path}.env", pod.volumes)
    if get("envFrom"):
        errors += _environment_from(container["envFrom"], f"{path}.envFrom")
    if get("volumeMounts"):
        errors += _mounts(container, f"{path}.volumeMounts", pod.volumes)
    if get("volumeDevices"):
        errors += _devices(container, f"{path}.volumeDevices", pod.volumes)
    pull = get("imagePullPolicy")
    if pull not in PULL_POLICIES:
        at = f"{path}.imagePullPolicy"
        errors.append(field.not_supported(at, pull, PULL_POLICIES) if pull else field.required(at))
    if get("resources"):
        errors += resources.requirements(container["resources"], f"{path}.resources", claims=pod.claims)
    if get("resizePolicy"):
        errors += _resize_policy(container["resizePolicy"], f"{path}.resizePolicy", pod.restart_policy)
    if get("securityContext"):
        errors += security_context(container["securityContext"], f"{path}.securityContext", pod.host_users)
    return errors


def _lifecycle_and_probes(container: Obj, path: str, pod: PodFacts) -> Errors:
    errors: Errors = []
    if container.get("lifecycle") is not None:
        errors += lifecycle(container["lifecycle"], f"{path}.lifecycle", pod.grace, pod.os)
    for member in ("livenessProbe", "readinessProbe", "startupProbe"):
        found = container.get(member)
        if found is None:
            continue
        at = f"{path}.{member}"
        errors += probe(found, at, pod.grace)
        if member == "readinessProbe":
            grace = found.get("terminationGracePeriodSeconds")
            if grace is not None:
                detail = "must not be set for readinessProbes"
                errors.append(field.invalid(f"{at}.terminationGracePeriodSeconds", grace, detail))
        elif found.get("successThreshold", 1) != 1:
            errors.append(field.invalid(f"{at}.successThreshold", found["successThreshold"], "must be 1"))
    return errors


def _restart_policy(container: Obj, path: str) -> Errors:
    policy, rules = container.get("restartPolicy"), container.get("restartPolicyRules") or []
    if policy is None:
        if rules:
            detail = "must specify restartPolicy when restart rules are used"
            return [field.required(f"{path}.restartPolicy", detail)]
        return []
    errors: Errors = []
    if policy not in _RESTART_POLICIES:
        errors.append(field.not_supported(f"{path}.restartPolicy", policy, _RESTART_POLICIES))
    if len(rules) > 20:
        errors.append(field.too_many(f"{path}.restartPolicyRules", len(rules), 20))
    for i, rule in enumerate(rules):
        errors += _restart_rule(rule, f"{path}.restartPolicyRules[{i}]")
    return errors


def _restart_rule(rule: Obj, path: str) -> Errors:
    errors: Errors = []
    action = rule.get("action", "")
    if not action:
        errors.append(field.required(f"{path}.action"))
    elif action not in ("Restart", "RestartAllContainers"):
        errors.append(field.not_supported(f"{path}.action", action, ("Restart", "RestartAllContainers")))
    codes = rule.get("exitCodes")
    if codes is None:
        return [*errors, field.required(f"{path}.exitCodes", "must be specified")]
    operator = codes.get("operator", "")
    if operator not in ("In", "NotIn"):
        errors.append(field.not_supported(f"{path}.exitCodes.operator", operator, ("In", "NotIn")))
    values = codes.get("values") or []
    if not values:
        errors.append(field.required(f"{path}.exitCodes.values", "must specify at least one value"))
    if len(values) > 255:
        errors.append(field.too_many(f"{path}.exitCodes.values", len(values), 255))
    return errors


def _ports(found: list[Obj], path: str) -> Errors:
    errors: Errors = []
    names: set[str] = set()
    for i, port in enumerate(found):
        at = f"{path}[{i}]"
        name = port.get("name")
        if name:
            wrong = checks.port_name(name)
            if wrong:
                errors += [field.invalid(f"{at}.name", name, m) for m in wrong]
            elif name in names:
                errors.append(field.duplicate(f"{at}.name", name))
            else:
                names.add(name)
        number = port.get("containerPort")
        if not number:
            errors.append(field.required(f"{at}.containerPort"))
        else:
            errors += [field.invalid(f"{at}.containerPort", number, m) for m in checks.port_number(number)]
        number = port.get("hostPort")
        if number:
            errors += [field.invalid(f"{at}.hostPort", number, m) for m in checks.port_number(number)]
        protocol = port.get("protocol")
        if protocol not in PROTOCOLS:
            wrong_protocol = field.not_supported(f"{at}.protocol", protocol, PROTOCOLS)
            errors.append(wrong_protocol if protocol else field.required(f"{at}.protocol"))
    return errors


def _host_port_conflicts(found: list[Obj], path: str) -> Errors:
    errors: Errors = []
    used: set[str] = set()
    for i, container in enumerate(found):
        for j, port in enumerate(container.get("ports") or ()):
            if not port.get("hostPort"):
                continue
            key = f"{port.get('protocol', '')}/{port.get('hostIP', '')}/{port['hostPort']}"
            if key in used:
                errors.append(field.duplicate(f"{path}[{i}].ports[{j}].hostPort", key))
            used.add(key)
    return errors


_ENV_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")


def environment(found: list[Obj], path: str, volumes: Mapping[str, Obj]) -> Errors:
    """Check environment variables."""
    errors: Errors = []
    for i, variable in enumerate(found):
        name = variable.get("name")
        if not name:
            errors.append(field.required(f"{path}[{i}].name"))
        else:
            errors += named(name, f"{path}[{i}].name", checks.environment_name)
        source = variable.get("valueFrom")
        if source is not None:
            errors += _value_from(source, f"{path}[{i}].valueFrom", bool(variable.get("value")), volumes)
    return errors


def _value_from(source: Obj, path: str, has_value: bool, volumes: Mapping[str, Obj]) -> Errors:
    errors: Errors = []
    given = [kind for kind in _ENV_SOURCES if source.get(kind) is not None]
    for kind in given:
        at = f"{path}.{kind}"
        if kind == "fieldRef":
            errors += field_selector(source[kind], at, ENV_FIELDS)
        elif kind == "resourceFieldRef":
            errors += resource_field_selector(source[kind], at, volume=False)
        elif kind == "fileKeyRef":
            errors += _file_key(source[kind], at, volumes)
        else:
            errors += _key_selector(source[kind], at)
    if not given:
        shown = ", ".join(f"`{kind}`" for kind in _ENV_SOURCES[:-1])
        errors.append(field.invalid(path, "", f"must specify one of: {shown} or `fileKeyRef`"))
    if has_value:
        if given:
            errors.append(field.invalid(path, "", "may not be specified when `value` is not empty"))
    elif len(given) > 1:
        errors.append(field.invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _key_selector(ref: Obj, path: str) -> Errors:
    errors = named(ref.get("name", ""), f"{path}.name", checks.subdomain)
    key = ref.get("key")
    return errors + (named(key, f"{path}.key", checks.config_key) if key else [field.required(f"{path}.key")])


def _file_key(ref: Obj, path: str, volumes: Mapping[str, Obj]) -> Errors:
    errors: Errors = []
    key, file, volume = ref.get("key"), ref.get("path"), ref.get("volumeName")
    if not key:
        errors.append(field.required(f"{path}.key"))
    else:
        errors += named(key, f"{path}.key", checks.environment_name)
    if not volume:
        errors.append(field.required(f"{path}.volumeName"))
    elif volume not in volumes:
        errors.append(field.not_found(f"{path}.volumeName", volume))
    if not file:
        errors.append(field.required(f"{path}.path"))
    else:
        errors += local_non_reserved_path(file, f"{path}.path")
    return errors


def _environment_from(found: list[Obj], path: str) -> Errors:
    errors: Errors = []
    for i, source in enumerate(found):
        if source.get("prefix"):
            errors += named(source["prefix"], f"{path}[{i}].prefix", checks.environment_name)
        given = [kind for kind in ("configMapRef", "secretRef") if source.get(kind) is not None]
        for kind in given:
            name, at = source[kind].get("name", ""), f"{path}[{i}].{kind}.name"
            # A name that ends with a dash is let through, as the beginning of a generated one would be.
            wrong = metadata.subdomain(name, True)
            errors += [field.invalid(at, name, m) for m in wrong] if name else [field.required(at)]
        if not given:
            errors.append(field.invalid(path, "", "must specify one of: `configMapRef` or `secretRef`"))
        elif len(given) > 1:
            errors.append(field.invalid(path, "", "may not have more than one field specified at a time"))
    return errors


def _mounts(container: Obj, path: str, volumes: Mapping[str, Obj]) -> Errors:
    errors: Errors = []
    paths: set[str] = set()
    devices = container.get("volumeDevices") or ()
    for i, mount in enumerate(container["volumeMounts"]):
        at = f"{path}[{i}]"
        name, target = mount.get("name", ""), mount.get("mountPath", "")
        if not name:
            errors.append(field.required(f"{at}.name"))
        if name not in volumes:
            errors.append(field.not_found(f"{at}.name", name))
        if not target:
            errors.append(field.required(f"{at}.mountPath"))
        if target in paths:
            errors.append(field.invalid(f"{at}.mountPath", target, "must be unique"))
        paths.add(target)
        if any(d.get("name", "") == name for d in devices):
            errors.append(field.invalid(f"{at}.name", name, "must not already exist in volumeDevices"))
        if any(d.get("devicePath", "") == target for d in devices):
            detail = "must not already exist as a path in volumeDevices"
            errors.append(field.invalid(f"{at}.mountPath", target, detail))
        if mount.get("subPath"):
            errors += local_descending_path(mount["subPath"], f"{path}.subPath")
        if mount.get("subPathExpr"):
            if mount.get("subPath"):
                detail = "subPathExpr and subPath are mutually exclusive"
                errors.append(field.invalid(f"{at}.subPathExpr", mount["subPathExpr"], detail))
            errors += local_descending_path(mount["subPathExpr"], f"{path}.subPathExpr")
        if mount.get("mountPropagation") is not None:
            errors += _propagation(mount["mountPropagation"], container, f"{path}.mountPropagation")
        if mount.get("recursiveReadOnly") is not None:
            errors += _recursive_read_only(mount, f"{path}.recursiveReadOnly")
    return errors


def _propagation(mode: str, container: Obj, path: str) -> Errors:
    if mode not in _PROPAGATIONS:
        return [field.not_supported(path, mode, _PROPAGATIONS)]
    if mode == "Bidirectional" and not (container.get("securityContext") or {}).get("privileged"):
        detail = "Bidirectional mount propagation is available only to privileged containers"
        return [field.forbidden(path, detail)]
    return []


def _recursive_read_only(mount: Obj, path: str) -> Errors:
    mode = mount["recursiveReadOnly"]
    if mode not in _RECURSIVE:
        return [field.not_supported(path, mode, _RECURSIVE)]
    errors: Errors = []
    if mode != "Disabled":
        if not mount.get("readOnly"):
            errors.append(field.forbidden(path, "may only be specified when readOnly is true"))
        if mount.get("mountPropagation") not in (None, "None"):
            detail = "may only be specified when mountPropagation is None or not specified"
            errors.append(field.forbidden(path, detail))
    return errors


def _devices(container: Obj, path: str, volumes: Mapping[str, Obj]) -> Errors:
    errors: Errors = []
    names: set[str] = set()
    paths: set[str] = set()
    mounts = container.get("volumeMounts") or ()
    for i, device in enumerate(container["volumeDevices"]):
        at = f"{path}[{i}]"
        name, target = device.get("name", ""), device.get("devicePath", "")
        if not name:
            errors.append(field.required(f"{at}.name"))
        if name in names:
            errors.append(field.invalid(f"{at}.name", name, "must be unique"))
        volume = volumes.get(name)
        if volume is None:
            errors.append(field.not_found(f"{at}.name", name))
        elif not (volume.get("persistentVolumeClaim") or volume.get("ephemeral")):
            detail = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
            errors.append(field.invalid(f"{at}.name", name, detail))
        if not target:
            errors.append(field.required(f"{at}.devicePath"))
        if target in paths:
            errors.append(field.invalid(f"{at}.devicePath", target, "must be unique"))
        if ".." in target.split("/"):
            errors.append(field.invalid(f"{at}.devicePath", target, "can not contain backsteps ('..')"))
        else:
            paths.add(target)
        if any(m.get("name", "") == name for m in mounts):
            errors.append(field.invalid(f"{at}.name", name, "must not already exist in volumeMounts"))
        if any(m.get("mountPath", "") == target for m in mounts):
            detail = "must not already exist as a path in volumeMounts"
            errors.append(field.invalid(f"{at}.devicePath", target, detail))
        if name:
            names.add(name)
    return errors


def _resize_policy(found: list[Obj], path: str, restart_policy: str) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, policy in enumerate(found):
        name, restart = policy.get("resourceName", ""), policy.get("restartPolicy", "")
        if name in seen:
            errors.append(field.duplicate(f"{path}[{i}]", name))
        seen.add(name)
        errors += _one_of(name, ("cpu", "memory"), path)
        errors += _one_of(restart, ("NotRequired", "RestartContainer"), path)
        if restart_policy == "Never" and restart != "NotRequired":
            detail = "must be 'NotRequired' when `restartPolicy` is 'Never'"
            errors.append(field.invalid(path, restart, detail))
    return errors


def _one_of(value: str, known: Collection[str], path: str) -> Errors:
    if value in known:
        return []
    return [field.not_supported(path, value, known) if value else field.required(path)]
