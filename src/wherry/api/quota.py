"""What objects use of a ResourceQuota (kubernetes ``pkg/quota/v1/evaluator``): for admission and for the controller."""

from datetime import timedelta
from fractions import Fraction
from functools import cache, lru_cache
from typing import Any

import orjson

from wherry.api import meta, quantity
from wherry.api.meta import Object
from wherry.api.quantity import Quantity
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PODS, SERVICES, Resource, builtin
from wherry.api.selectors import labels
from wherry.util import clock

Usage = dict[str, Quantity]

_ONE = Quantity(Fraction(1))
_LEGACY = {"configmaps", "persistentvolumeclaims", "replicationcontrollers", "resourcequotas", "secrets", "services"}
_BARE = {"cpu", "memory", "ephemeral-storage"}
_STORAGE_CLASS = "storageclass.storage.k8s.io"
_DEVICES = ".deviceclass.resource.k8s.io/devices"
_ASKING = ("resources", "overhead", "restartPolicy")
"""The members of a pod's spec and of its containers that decide what they use."""

_ALL_DEVICES = 32
"""What a claim for all devices of a class counts as: the most that can be allocated."""

RESOURCECLAIMS = builtin("resource.k8s.io", "v1", "resourceclaims")


def count_name(resource: Resource) -> str:
    """Return the quota name that counts the objects of a resource: ``count/deployments.apps``."""
    return f"count/{resource.group_resource}"


def names_of(resource: Resource) -> set[str]:
    """Return the fixed quota names that objects of a resource can use; see `may_use` for the open-ended ones."""
    names = {count_name(resource)}
    if resource is PODS:
        names |= {"pods", *_BARE, *(f"{kind}.{name}" for kind in ("requests", "limits") for name in _BARE)}
    elif resource is PERSISTENTVOLUMECLAIMS:
        names |= {"persistentvolumeclaims", "requests.storage"}
    elif resource is SERVICES:
        names |= {"services", "services.nodeports", "services.loadbalancers"}
    elif not resource.group and resource.plural in _LEGACY:
        names.add(resource.plural)
    return names


def may_use(resource: Resource, name: str) -> bool:
    """Tell whether objects of a resource can use the quota name."""
    if name in names_of(resource):
        return True
    if resource is PERSISTENTVOLUMECLAIMS:
        return name.endswith((f".{_STORAGE_CLASS}/persistentvolumeclaims", f".{_STORAGE_CLASS}/requests.storage"))
    if resource is PODS:
        if name.startswith("hugepages-"):
            return True
        bare = name.removeprefix("requests.")
        return bare != name and ("/" in bare or bare.startswith("hugepages-"))
    if resource is RESOURCECLAIMS:
        return name.endswith(_DEVICES)
    return False


def usage(resource: Resource, obj: Object) -> Usage:
    """Return what one object uses, by quota name; shared by objects that are alike, and not to be changed."""
    if resource is PODS:
        return _counted(PODS) if _is_terminal(obj) else _pod(obj["spec"])
    if resource is PERSISTENTVOLUMECLAIMS:
        return _counted(resource) | _claim(obj)
    if resource is SERVICES:
        return _service(*_ports(obj["spec"]))
    if resource is RESOURCECLAIMS:
        return _counted(resource) | _devices(obj["spec"])
    return _counted(resource)


@cache
def _counted(resource: Resource) -> Usage:
    used = {count_name(resource): _ONE}
    if not resource.group and resource.plural in _LEGACY:
        used[resource.plural] = _ONE
    return used


def may_differ(old: Object, new: Object) -> bool:
    """Tell whether an update may have changed what an object uses; most updates are of a status."""
    before, after = old["metadata"].get("generation"), new["metadata"].get("generation")
    return before is None or before != after or _is_terminal(old) != _is_terminal(new)


def matches_scopes(quota_spec: Object, resource: Resource, obj: Object) -> bool:
    """Tell whether an object is in the scopes of a quota; a quota without scopes holds all objects."""
    terms = [{"scopeName": name, "operator": "Exists"} for name in quota_spec.get("scopes") or ()]
    terms += (quota_spec.get("scopeSelector") or {}).get("matchExpressions") or ()
    return all(_in_scope(term, resource, obj) for term in terms)


def add(total: Usage, used: Usage) -> Usage:
    """Return the sum of two usages."""
    return {**total, **{name: total[name] + value if name in total else value for name, value in used.items()}}


def _in_scope(term: Object, resource: Resource, obj: Object) -> bool:
    scope = term["scopeName"]
    spec = obj.get("spec") or {}
    if resource is PERSISTENTVOLUMECLAIMS and scope == "VolumeAttributesClass":
        name = spec.get("volumeAttributesClassName")
        return _requirement(term, name)
    if resource is not PODS:
        return False
    if scope in ("Terminating", "NotTerminating"):
        return (spec.get("activeDeadlineSeconds") is not None) == (scope == "Terminating")
    if scope in ("BestEffort", "NotBestEffort"):
        return is_best_effort(spec) == (scope == "BestEffort")
    if scope == "PriorityClass":
        return _requirement(term, spec.get("priorityClassName"))
    if scope == "CrossNamespacePodAffinity":
        return _has_foreign_affinity(spec)
    return False


def _requirement(term: Object, value: str | None) -> bool:
    expression = {"key": "name", "operator": term["operator"], "values": term.get("values")}
    selector = labels.from_selector({"matchExpressions": [expression]})
    return selector.matches({"name": value} if value else {})


def is_best_effort(spec: Object) -> bool:
    """Tell whether no container of a pod requests or limits cpu or memory."""
    parts = [spec, *(spec.get("containers") or ()), *(spec.get("initContainers") or ())]
    for part in parts:
        resources = part.get("resources") or {}
        for kind in ("requests", "limits"):
            for name, value in (resources.get(kind) or {}).items():
                if name in ("cpu", "memory") and quantity.parse(value):
                    return False
    return True


def _has_foreign_affinity(spec: Object) -> bool:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(kind) or {}
        terms = list(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ())
        preferred = found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        terms += [entry["podAffinityTerm"] for entry in preferred]
        if any(term.get("namespaces") or term.get("namespaceSelector") is not None for term in terms):
            return True
    return False


def _is_terminal(pod: Object) -> bool:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return True
    md = pod["metadata"]
    if not md.get("deletionTimestamp") or md.get("deletionGracePeriodSeconds") is None:
        return False
    # A pod whose node does not end it in time is not charged for: another may take its place.
    grace = timedelta(seconds=md["deletionGracePeriodSeconds"])
    return clock.now() > clock.parse(md["deletionTimestamp"]) + grace


def _pod(spec: Object) -> Usage:
    """Return what a pod uses; pods of one owner are alike, so it is reckoned once for all of them."""
    groups = (spec.get("containers") or (), spec.get("initContainers") or ())
    asked = [[{name: c[name] for name in _ASKING if name in c} for c in group] for group in groups]
    return _computed(orjson.dumps([{name: spec[name] for name in _ASKING if name in spec}, *asked]))


@lru_cache(maxsize=4096)
def _computed(encoded: bytes) -> Usage:
    rest, containers, init = orjson.loads(encoded)
    spec = {**rest, "containers": containers, "initContainers": init}
    used: Usage = {count_name(PODS): _ONE, "pods": _ONE}
    for name, value in pod_amounts(spec, "requests").items():
        used[f"requests.{name}"] = value
        if name in _BARE or name.startswith("hugepages-"):
            used[name] = value
    for name, value in pod_amounts(spec, "limits").items():
        if name in _BARE:
            used[f"limits.{name}"] = value
    return used


def pod_amounts(spec: Object, kind: str) -> Usage:
    """Return the effective requests or limits of a pod: containers and sidecars together, or an init container that
    needs more while it runs; those of the pod itself instead; overhead on top."""
    total: Usage = {}
    for container in spec.get("containers") or ():
        total = add(total, _amounts(container, kind))
    sidecars: Usage = {}
    peak: Usage = {}
    for container in spec.get("initContainers") or ():
        own = _amounts(container, kind)
        if container.get("restartPolicy") == "Always":
            sidecars = add(sidecars, own)
            total = add(total, own)
            own = sidecars
        else:
            own = add(sidecars, own)
        peak = _larger(peak, own)
    total = _larger(total, peak)
    total |= _amounts(spec, kind)
    overhead = {name: quantity.parse(value) for name, value in (spec.get("overhead") or {}).items()}
    if kind == "limits":
        overhead = {name: value for name, value in overhead.items() if name in total}
    return add(total, overhead)


def _amounts(holder: Object, kind: str) -> Usage:
    found: dict[str, Any] = (holder.get("resources") or {}).get(kind) or {}
    return {name: quantity.parse(value) for name, value in found.items()}


def _larger(one: Usage, other: Usage) -> Usage:
    return {**one, **{name: value for name, value in other.items() if name not in one or one[name] < value}}


def _claim(claim: Object) -> Usage:
    spec = claim["spec"]
    used: Usage = {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    amount = _in_bytes(asked) if asked is not None else None
    allocated = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    if amount is not None and allocated is not None:
        amount = max(amount, _in_bytes(allocated), key=lambda found: found.value)
    if amount is not None:
        used["requests.storage"] = amount
    name = spec.get("storageClassName") or meta.annotations(claim).get("volume.beta.kubernetes.io/storage-class")
    if name:
        used[f"{name}.{_STORAGE_CLASS}/persistentvolumeclaims"] = _ONE
        if amount is not None:
            used[f"{name}.{_STORAGE_CLASS}/requests.storage"] = amount
    return used


def _in_bytes(text: str) -> Quantity:
    found = quantity.parse(text)
    return found if found.value.denominator == 1 else Quantity(Fraction(found.whole()), found.format)


def _devices(spec: Object) -> Usage:
    """Count devices by class; of alternatives the one that takes most of a class."""
    used: Usage = {}
    for request in (spec.get("devices") or {}).get("requests") or ():
        most: Usage = {}
        for choice in request.get("firstAvailable") or (request.get("exactly") or {},):
            count = _ALL_DEVICES if choice.get("allocationMode") == "All" else choice.get("count", 1)
            most = _larger(most, {f"{choice.get('deviceClassName', '')}{_DEVICES}": Quantity(Fraction(count))})
        used = add(used, most)
    return used


def _ports(spec: Object) -> tuple[int, bool]:
    """Return how many node ports a service takes, and whether it takes a load balancer."""
    ports = spec.get("ports") or ()
    kind = spec.get("type", "ClusterIP")
    balanced = kind == "LoadBalancer"
    if kind == "NodePort" or (balanced and spec.get("allocateLoadBalancerNodePorts") is not False):
        return len(ports), balanced
    return sum(1 for port in ports if port.get("nodePort")) if balanced else 0, balanced


@lru_cache(maxsize=256)
def _service(node_ports: int, balanced: bool) -> Usage:
    return {
        **_counted(SERVICES),
        "services.nodeports": Quantity(Fraction(node_ports)),
        "services.loadbalancers": Quantity(Fraction(int(balanced))),
    }


def times(used: Usage, number: int) -> Usage:
    """Return what `number` objects use that use `used` each."""
    return {name: Quantity(amount.value * number, amount.format) for name, amount in used.items()}


def shown_usage(quota_spec: Object, total: Usage) -> dict[str, str]:
    """Return the part of a usage that a quota limits, as its status shows it."""
    zero = Quantity(Fraction(0))
    return {name: str(total.get(name, zero)) for name in sorted(quota_spec.get("hard") or {})}
