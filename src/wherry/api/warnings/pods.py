"""Warnings about pods and templates of pods (core ``pod.GetWarningsForPod``)."""

from typing import Any

from wherry.api import apparmor
from wherry.api.names import is_dns1123_label
from wherry.api.quantity import Quantity
from wherry.api.validation import checks
from wherry.api.warnings.addresses import for_ip
from wherry.api.warnings.podparts import overlapping_paths, port_warnings

Obj = dict[str, Any]

_TOPOLOGY = {
    "beta.kubernetes.io/arch": ("v1.14", "kubernetes.io/arch"),
    "beta.kubernetes.io/os": ("v1.14", "kubernetes.io/os"),
    "failure-domain.beta.kubernetes.io/region": ("v1.17", "topology.kubernetes.io/region"),
    "failure-domain.beta.kubernetes.io/zone": ("v1.17", "topology.kubernetes.io/zone"),
    "beta.kubernetes.io/instance-type": ("v1.17", "node.kubernetes.io/instance-type"),
}
_VOLUMES = {
    "gitRepo": "deprecated in v1.11, and disabled by default in v1.33+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
    "flocker": "deprecated in v1.22, non-functional in v1.25+",
    "quobyte": "deprecated in v1.22, non-functional in v1.25+",
}
_SECCOMP_POD = "seccomp.security.alpha.kubernetes.io/pod"
_SECCOMP = "container.seccomp.security.alpha.kubernetes.io/"
_ANNOTATIONS = {
    "scheduler.alpha.kubernetes.io/critical-pod": 'non-functional in v1.16+; use the "priorityClassName" field instead',
    "security.alpha.kubernetes.io/sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
    "security.alpha.kubernetes.io/unsafe-sysctls": 'non-functional in v1.11+; use the "sysctls" field instead',
}
_GROUPS = ("initContainers", "containers")


def for_pod(pod: Obj, old: Obj | None) -> list[str]:
    """Return the warnings about a new Pod; programs update pods, and do not read warnings."""
    if old is not None:
        return []
    return of_name(pod["metadata"]) + _warnings(pod["spec"], pod["metadata"], "spec", "metadata")


def for_template(template: Obj | None, path: str) -> list[str]:
    """Return the warnings about a template at `path`."""
    if not template:
        return []
    spec, meta = template.get("spec") or {}, template.get("metadata") or {}
    found = _warnings(spec, meta, f"{path}.spec", f"{path}.metadata")
    return found + _apparmor(spec, meta.get("annotations") or {}, f"{path}.metadata.annotations")


def _warnings(spec: Obj, meta: Obj, path: str, meta_path: str) -> list[str]:
    out: list[str] = []
    get = spec.get
    if get("nodeSelector"):
        out += [_deprecated_label(k, f"{path}.nodeSelector[{k}]") for k in spec["nodeSelector"] if k in _TOPOLOGY]
    if get("affinity"):
        out += _affinity(spec["affinity"], f"{path}.affinity")
    for i, constraint in enumerate(get("topologySpreadConstraints") or ()):
        if constraint.get("topologyKey") in _TOPOLOGY:
            at = f"{path}.topologySpreadConstraints[{i}].topologyKey"
            out.append(_deprecated_label(constraint["topologyKey"], at))
        if constraint.get("labelSelector") is None:
            at = f"{path}.topologySpreadConstraints[{i}].labelSelector"
            out.append(f"{at}: a null labelSelector results in matching no pod")
    annotations = meta.get("annotations") or {}
    out += [f"{meta_path}.annotations[{key}]: {text}" for key, text in _ANNOTATIONS.items() if key in annotations]
    volumes = get("volumes") or ()
    out += _volumes(volumes, f"{path}.volumes")
    for volume in volumes:
        out += overlapping_paths(volume)
    seen: set[str] = set()
    for i, alias in enumerate(get("hostAliases") or ()):
        ip = alias.get("ip", "")
        if ip in seen:
            out.append(f'{path}.hostAliases[{i}].ip: duplicate ip "{ip}"')
        seen.add(ip)
    names: set[str] = set()
    unnamed: list[str] = []
    for i, ref in enumerate(get("imagePullSecrets") or ()):
        name = ref.get("name", "")
        at = f"{path}.imagePullSecrets[{i}].name"
        if name in names:
            out.append(f'{at}: duplicate name "{name}"')
        if not name:
            unnamed.append(f'{at}: invalid empty name ""')
        names.add(name)
    out += unnamed
    out += _limits(spec, path)
    for key in annotations:
        out += _annotation(key, spec, meta_path)
    out += _containers(spec, path) + port_warnings(spec, path)
    if get("terminationGracePeriodSeconds") is not None and spec["terminationGracePeriodSeconds"] < 0:
        out.append(
            f"{path}.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1"
        )
    return out + _empty_selectors(spec, path) + _addresses(spec, path)


def _addresses(spec: Obj, path: str) -> list[str]:
    out: list[str] = []
    for i, server in enumerate((spec.get("dnsConfig") or {}).get("nameservers") or ()):
        out += for_ip(server, f"{path}.dnsConfig.nameservers[{i}]")
    for i, alias in enumerate(spec.get("hostAliases") or ()):
        out += for_ip(alias.get("ip") or "", f"{path}.hostAliases[{i}].ip")
    return out


def deprecated_label(key: str) -> str | None:
    """Return what is said of a deprecated label of nodes, None for any other label."""
    if key not in _TOPOLOGY:
        return None
    since, instead = _TOPOLOGY[key]
    return f'deprecated since {since}; use "{instead}" instead'


def _deprecated_label(key: str, path: str) -> str:
    shown = "" if path.endswith(f"[{key}]") else f"{key} is "
    return f"{path}: {shown}{deprecated_label(key)}"


_REQUIRED, _PREFERRED = (
    "requiredDuringSchedulingIgnoredDuringExecution", "preferredDuringSchedulingIgnoredDuringExecution",
)  # fmt: skip


def node_selector_term(term: Obj, path: str) -> list[str]:
    """Return the warnings about a term of a node selector."""
    return [
        _deprecated_label(e["key"], f"{path}.matchExpressions[{i}].key")
        for i, e in enumerate(term.get("matchExpressions") or ())
        if e.get("key") in _TOPOLOGY
    ]


def _affinity(affinity: Obj, path: str) -> list[str]:
    node = affinity.get("nodeAffinity") or {}
    at = f"{path}.nodeAffinity"
    out: list[str] = []
    for i, term in enumerate((node.get(_REQUIRED) or {}).get("nodeSelectorTerms") or ()):
        out += node_selector_term(term, f"{at}.{_REQUIRED}.nodeSelectorTerms[{i}]")
    for i, term in enumerate(node.get(_PREFERRED) or ()):
        where, preference = f"{at}.{_PREFERRED}[{i}].preference", term.get("preference") or {}
        out += node_selector_term(preference, where)
        for j, expression in enumerate(preference.get("matchExpressions") or ()):
            for k, value in enumerate(expression.get("values") or ()):
                values = f"{where}.matchExpressions[{j}].values[{k}]"
                out += [f"{values}: {value} is invalid, {m}" for m in checks.label_value(value)]
    return out


def _annotation(key: str, spec: Obj, path: str) -> list[str]:
    at = f"{path}.annotations[{key}]"
    if key == _SECCOMP_POD or key.startswith(_SECCOMP):
        held = [spec] if key == _SECCOMP_POD else _named(spec, key.removeprefix(_SECCOMP))
        if all((c.get("securityContext") or {}).get("seccompProfile") is not None for c in held):
            return []
        return [f'{at}: non-functional in v1.27+; use the "seccompProfile" field instead']
    return []


def _apparmor(spec: Obj, annotations: Obj, path: str) -> list[str]:
    """Annotations that say something which neither the container's field nor the pod's says."""
    out: list[str] = []
    whole = apparmor.own_profile(spec)
    for container in (c for group in apparmor.GROUPS for c in spec.get(group) or ()):
        key = apparmor.PREFIX + container.get("name", "")
        if key not in annotations or apparmor.own_profile(container) is not None:
            continue
        profile = apparmor.profile_of(annotations[key])
        if profile is None or profile != whole:
            out.append(f'{path}[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead')
    return out


def for_given(pod: Obj) -> list[str]:
    """Return the warnings about a new Pod that cannot be told once its annotations became fields."""
    annotations = pod["metadata"].get("annotations")
    if not annotations or (pod["spec"].get("os") or {}).get("name") == "windows":
        return []
    return _apparmor(pod["spec"], annotations, "metadata.annotations")


def _named(spec: Obj, name: str) -> list[Obj]:
    return [c for group in apparmor.GROUPS for c in spec.get(group) or () if c.get("name") == name]


def _volumes(volumes: Any, path: str) -> list[str]:
    out: list[str] = []
    for i, volume in enumerate(volumes):
        for source, text in _VOLUMES.items():
            if volume.get(source) is not None:
                # The path of this one is upstream's.
                out.append(f"{path}[{i}].{'storageOS' if source == 'storageos' else source}: {text}")
        claim = (volume.get("ephemeral") or {}).get("volumeClaimTemplate")
        if claim:
            out += claim_sizes(claim.get("spec") or {}, f"{path}[{i}].ephemeral.volumeClaimTemplate.spec")
    return out


def claim_sizes(spec: Obj, path: str) -> list[str]:
    """Return the warnings about fractions of a byte that a claim asks for."""
    found = spec.get("resources") or {}
    sizes = ((m, (found.get(m) or {}).get("storage")) for m in ("requests", "limits"))
    return [w for m, size in sizes if size for w in _fraction(size, f"{path}.resources.{m}[storage]")]


def _containers(spec: Obj, path: str) -> list[str]:
    out: list[str] = []
    for group in _GROUPS:
        for i, container in enumerate(spec.get(group) or ()):
            at = f"{path}.{group}[{i}]"
            resources = container.get("resources") or {}
            for name in ("memory", "ephemeral-storage"):
                for member in ("limits", "requests"):
                    amount = (resources.get(member) or {}).get(name)
                    if amount is not None:
                        out += _fraction(amount, f"{at}.resources.{member}[{name}]")
            out += _hidden_variables(container.get("env") or (), f"{at}.env")
    return out


def _hidden_variables(found: Any, path: str) -> list[str]:
    """A variable may be set again when the new value builds on the old one."""
    out: list[str] = []
    names: set[str] = set()
    for i, variable in enumerate(found):
        name = variable.get("name", "")
        value, own = variable.get("value") or "", f"$({name})"
        if name in names and (own not in value or value == own):
            detail = f'hides previous definition of "{name}", which may be dropped when using apply'
            out.append(f"{path}[{i}]: {detail}")
        names.add(name)
    return out


def _fraction(amount: str, path: str) -> list[str]:
    if (amount.endswith("m") or not amount.isalnum()) and Quantity.parse(amount).milli() % 1000:
        return [f'{path}: fractional byte value "{amount}" is invalid, must be an integer']
    return []


def _limits(spec: Obj, path: str) -> list[str]:
    overhead = spec.get("overhead") or {}
    return [
        w for name in ("memory", "ephemeral-storage") if name in overhead
        for w in _fraction(overhead[name], f"{path}.overhead[{name}]")
    ]  # fmt: skip


def of_name(meta: Obj) -> list[str]:
    """Return the warnings about the name of a pod: it is its hostname, so it had better be a label."""
    wrong = is_dns1123_label(meta.get("name", ""))
    if not wrong:
        return []
    detail = "this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended"
    return [f"metadata.name: {detail}: [{' '.join(wrong)}]"]


def _empty_selectors(spec: Obj, path: str) -> list[str]:
    out: list[str] = []
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        for i, term in enumerate(found.get(_REQUIRED) or ()):
            if term.get("labelSelector") is None:
                at = f"{path}.affinity.{kind}.{_REQUIRED}[{i}].labelSelector"
                out.append(f"{at}: a null labelSelector results in matching no pod")
        for i, term in enumerate(found.get(_PREFERRED) or ()):
            if (term.get("podAffinityTerm") or {}).get("labelSelector") is None:
                at = f"{path}.affinity.{kind}.{_PREFERRED}[{i}].podAffinityTerm.labelSelector"
                out.append(f"{at}: a null labelSelector results in matching no pod")
    return out


def _at(obj: Obj | None, *path: str) -> Obj | None:
    for member in path:
        obj = (obj or {}).get(member)
    return obj


def _name(obj: Obj) -> list[str]:
    """Names of pods begin with the name of what makes them."""
    wrong = checks.label(obj["metadata"].get("name", ""))
    if not wrong:
        return []
    detail = (
        "this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended"
    )
    return [f"metadata.name: {detail}: [{' '.join(wrong)}]"]


def _templates(*path: str, named: bool = True) -> Any:
    def warn(obj: Obj, old: Obj | None) -> list[str]:
        warnings = _name(obj) if named and old is None else []
        if old is not None and _at(obj, path[0]) == _at(old, path[0]):
            return warnings
        return warnings + for_template(_at(obj, *path), ".".join(path))

    return warn


GIVEN = {("", "pods"): for_given}
WARNINGS = {
    ("", "pods"): for_pod,
    ("", "podtemplates"): _templates("template", named=False),
    ("", "replicationcontrollers"): _templates("spec", "template"),
    ("apps", "deployments"): _templates("spec", "template"),
    ("apps", "replicasets"): _templates("spec", "template"),
    ("apps", "daemonsets"): _templates("spec", "template", named=False),
    ("apps", "statefulsets"): _templates("spec", "template", named=False),
    ("batch", "jobs"): _templates("spec", "template"),
    ("batch", "cronjobs"): _templates("spec", "jobTemplate", "spec", "template"),
}
