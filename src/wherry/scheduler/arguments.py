"""What may stand in the ``args`` of a plugin (``pluginConfig``): the fields of each kind and their ranges."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from wherry.api.cel.functions.times import parse_duration
from wherry.api.cel.values import EvalError
from wherry.api.names import is_qualified_name

Arguments = Mapping[str, Any]
Problems = Iterator[str]


def problems_of(plugin: str, arguments: Arguments) -> Problems:
    """Yield what is wrong with a plugin's arguments, each beginning with the path of the field."""
    given = {name: value for name, value in arguments.items() if name not in ("apiVersion", "kind")}
    kind = arguments.get("kind")
    if kind not in (None, f"{plugin}Args"):
        yield f'kind: Invalid value: "{kind}": must be {plugin}Args'
    if plugin not in _FIELDS:
        if given:
            yield f'{min(given)}: Forbidden: plugin "{plugin}" takes no arguments'
        return
    fields, check = _FIELDS[plugin]
    unknown = sorted(given.keys() - fields.keys())
    yield from (f"{name}: Invalid value: unknown field" for name in unknown)
    wrong = [name for name, kind in fields.items() if name in given and not _is(given[name], kind)]
    yield from (f"{name}: Invalid value: {given[name]!r}: must be {_WORDS[fields[name]]}" for name in wrong)
    if not unknown and not wrong:
        yield from check(given)


_WORDS: Mapping[type, str] = {int: "an integer", bool: "a boolean", str: "a string", list: "a list", dict: "an object"}


def _is(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and (kind is bool or not isinstance(value, bool))


def _range(arguments: Arguments, name: str, low: int, high: int | None) -> Problems:
    value = arguments.get(name)
    if value is not None and (value < low or (high is not None and value > high)):
        words = f"not in valid range [{low}-{high}]" if high is not None else f"must be {low} or greater"
        yield f"{name}: Invalid value: {value}: {words}"


def _preemption(arguments: Arguments) -> Problems:
    yield from _range(arguments, "minCandidateNodesPercentage", 0, 100)
    yield from _range(arguments, "minCandidateNodesAbsolute", 0, None)
    names = ("minCandidateNodesPercentage", "minCandidateNodesAbsolute")
    if all(arguments.get(name) == 0 for name in names):
        yield f"{names[0]}: Invalid value: 0: cannot be zero at the same time as {names[1]}"


def _interpod(arguments: Arguments) -> Problems:
    return _range(arguments, "hardPodAffinityWeight", 0, 100)


def _affinity(arguments: Arguments) -> Problems:
    added = arguments.get("addedAffinity") or {}
    required = added.get("requiredDuringSchedulingIgnoredDuringExecution")
    preferred = added.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    if required is None and not preferred:
        if "addedAffinity" in arguments:
            yield "addedAffinity: Required value: must hold required or preferred terms"
        return
    if required is not None and not required.get("nodeSelectorTerms"):
        yield "addedAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value"
    for number, term in enumerate(preferred):
        path = f"addedAffinity.preferredDuringSchedulingIgnoredDuringExecution[{number}]"
        if not isinstance(term.get("weight"), int) or not 1 <= term["weight"] <= 100:
            yield f"{path}.weight: Invalid value: {term.get('weight')!r}: must be in the range 1-100"
        if not isinstance(term.get("preference"), dict):
            yield f"{path}.preference: Required value"


def _fit(arguments: Arguments) -> Problems:
    for number, name in enumerate(arguments.get("ignoredResources") or ()):
        if is_qualified_name(name):
            yield f'ignoredResources[{number}]: Invalid value: "{name}": must be a resource name'
    for number, name in enumerate(arguments.get("ignoredResourceGroups") or ()):
        if "/" in name:
            yield f"ignoredResourceGroups[{number}]: Invalid value: \"{name}\": resource group name can't contain '/'"
    strategy = arguments.get("scoringStrategy")
    if strategy is None:
        return
    kind = strategy.get("type", "LeastAllocated")
    if kind not in ("LeastAllocated", "MostAllocated", "RequestedToCapacityRatio"):
        yield f'scoringStrategy.type: Unsupported value: "{kind}"'
    yield from _resources("scoringStrategy.resources", strategy.get("resources") or (), highest=100)
    if kind == "RequestedToCapacityRatio":
        shape = (strategy.get("requestedToCapacityRatio") or {}).get("shape") or ()
        yield from _shape("scoringStrategy.requestedToCapacityRatio.shape", shape)


def _balanced(arguments: Arguments) -> Problems:
    return _resources("resources", arguments.get("resources") or (), highest=1)


def _resources(path: str, resources: Any, *, highest: int) -> Problems:
    seen: set[str] = set()
    for number, entry in enumerate(resources):
        if not entry.get("name"):
            yield f"{path}[{number}].name: Required value"
        elif entry["name"] in seen:
            yield f'{path}[{number}].name: Duplicate value: "{entry["name"]}"'
        seen.add(entry.get("name", ""))
        weight = entry.get("weight") or 1
        if not 1 <= weight <= highest:
            words = "must be 1" if highest == 1 else f"resource weight not in valid range [1, {highest}]"
            yield f"{path}[{number}].weight: Invalid value: {weight}: {words}"


def _shape(path: str, shape: Any) -> Problems:
    if not shape:
        yield f"{path}: Required value: at least one point must be specified"
    last = -1
    for number, point in enumerate(shape):
        used, score = point.get("utilization", 0), point.get("score", 0)
        if not 0 <= used <= 100:
            yield f"{path}[{number}].utilization: Invalid value: {used}: not in valid range [0-100]"
        if used <= last:
            yield f"{path}[{number}].utilization: Invalid value: {used}: values must be sorted in increasing order"
        if not 0 <= score <= 10:
            yield f"{path}[{number}].score: Invalid value: {score}: not in valid range [0-10]"
        last = used


def _spread(arguments: Arguments) -> Problems:
    kind, constraints = arguments.get("defaultingType", "System"), arguments.get("defaultConstraints") or ()
    if kind not in ("System", "List"):
        yield f'defaultingType: Unsupported value: "{kind}": supported values: "System", "List"'
    elif kind == "System" and constraints:
        yield 'defaultingType: Invalid value: "System": when .defaultConstraints are not empty'
    seen = set()
    for number, constraint in enumerate(constraints):
        path = f"defaultConstraints[{number}]"
        if not isinstance(constraint.get("maxSkew"), int) or constraint["maxSkew"] <= 0:
            yield f"{path}.maxSkew: Invalid value: {constraint.get('maxSkew')!r}: not in valid range (0, inf)"
        key, action = constraint.get("topologyKey"), constraint.get("whenUnsatisfiable")
        if not key:
            yield f"{path}.topologyKey: Required value: can not be empty"
        if action not in ("DoNotSchedule", "ScheduleAnyway"):
            yield f"{path}.whenUnsatisfiable: Unsupported value: {action!r}"
        if "labelSelector" in constraint:
            yield f"{path}.labelSelector: Forbidden: each pod has a selector of its own"
        if (key, action) in seen:
            yield f"{path}: Duplicate value: {{{key}, {action}}}"
        seen.add((key, action))


def _binding(arguments: Arguments) -> Problems:
    return _range(arguments, "bindTimeoutSeconds", 0, None)


def _devices(arguments: Arguments) -> Problems:
    for name, least, words in (("bindingTimeout", 1.0, "at least 1s"), ("filterTimeout", 0.0, "zero or more")):
        try:
            enough = parse_duration(arguments.get(name) or "1s").ns / 1e9 >= least
        except EvalError:
            enough = False
        if not enough:
            yield f"{name}: Invalid value: {arguments[name]!r}: must be a duration of {words}"


_FIELDS: Mapping[str, tuple[Mapping[str, type], Callable[[Arguments], Problems]]] = {
    "DefaultPreemption": ({"minCandidateNodesPercentage": int, "minCandidateNodesAbsolute": int}, _preemption),
    "DynamicResources": ({"bindingTimeout": str, "filterTimeout": str}, _devices),
    "InterPodAffinity": ({"hardPodAffinityWeight": int, "ignorePreferredTermsOfExistingPods": bool}, _interpod),
    "NodeAffinity": ({"addedAffinity": dict}, _affinity),
    "NodeResourcesBalancedAllocation": ({"resources": list}, _balanced),
    "NodeResourcesFit": (
        {"ignoredResources": list, "ignoredResourceGroups": list, "scoringStrategy": dict},
        _fit,
    ),
    "PodTopologySpread": ({"defaultConstraints": list, "defaultingType": str}, _spread),
    "VolumeBinding": ({"bindTimeoutSeconds": int}, _binding),
}
