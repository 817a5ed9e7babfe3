"""Profiles by file: a KubeSchedulerConfiguration of ``kubescheduler.config.k8s.io/v1``.

Everything is checked before a scheduler starts with it, as ``pkg/scheduler/apis/config/validation`` does.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from wherry.scheduler import extenderconfig
from wherry.scheduler.arguments import problems_of
from wherry.scheduler.pluginset import MULTI_POINT, POINTS, PluginSet
from wherry.scheduler.profile import IN_TREE, ProfileConfig, SchedulerConfig, plugins_at

API_VERSION = "kubescheduler.config.k8s.io/v1"
_KIND = "KubeSchedulerConfiguration"

_WITHOUT_EFFECT = frozenset(
    {"clientConnection", "delayCacheUntilActive", "enableContentionProfiling", "enableProfiling", "leaderElection"}
)
"""Of a scheduler that is a process of its own; here it shares one with the API server."""

_MEMBERS = _WITHOUT_EFFECT | {
    "apiVersion",
    "extenders",
    "kind",
    "parallelism",
    "percentageOfNodesToScore",
    "podInitialBackoffSeconds",
    "podMaxBackoffSeconds",
    "profiles",
}


class ConfigurationError(ValueError):
    """The file cannot be used; the text says why, with all that is wrong."""


def load(path: Path) -> SchedulerConfig:
    """Return what a file says. Raises ConfigurationError, OSError."""
    try:
        found = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: {error}") from None
    try:
        return parse(found)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def parse(found: Any) -> SchedulerConfig:
    """Return the configuration of a decoded KubeSchedulerConfiguration. Raises ConfigurationError."""
    if not isinstance(found, dict) or (found.get("apiVersion"), found.get("kind")) != (API_VERSION, _KIND):
        raise ConfigurationError(f"it holds no {_KIND} of {API_VERSION}")
    try:
        extenders = found.get("extenders") or ()
        problems = [*_common_problems(found), *_profile_problems(found), *extenderconfig.problems_of(extenders)]
        if problems:
            raise ConfigurationError("; ".join(problems))
        config = SchedulerConfig(
            tuple(_profile(entry, found) for entry in found.get("profiles") or [{}]),
            tuple(extenderconfig.parse(entry) for entry in extenders),
            initial_backoff=float(found.get("podInitialBackoffSeconds", 1)),
            maximum_backoff=float(found.get("podMaxBackoffSeconds", 10)),
        )
    except (AttributeError, KeyError, TypeError) as error:
        raise ConfigurationError(f"a member is missing or of another type: {error}") from None
    if problems := list(_assembled_problems(config)):
        raise ConfigurationError("; ".join(problems))
    return config


def _profile(entry: Mapping[str, Any], found: Mapping[str, Any]) -> ProfileConfig:
    sets = {
        point: PluginSet(
            tuple((plugin["name"], int(plugin.get("weight") or 0)) for plugin in chosen.get("enabled") or ()),
            frozenset(plugin["name"] for plugin in chosen.get("disabled") or ()),
        )
        for point, chosen in (entry.get("plugins") or {}).items()
    }
    arguments = {each["name"]: each.get("args") or {} for each in entry.get("pluginConfig") or ()}
    if ignored := extenderconfig.ignored_resources(found.get("extenders") or ()):
        fit = arguments.get("NodeResourcesFit") or {}
        arguments["NodeResourcesFit"] = {**fit, "ignoredResources": [*(fit.get("ignoredResources") or ()), *ignored]}
    percentage = entry.get("percentageOfNodesToScore", found.get("percentageOfNodesToScore"))
    return ProfileConfig(
        entry.get("schedulerName") or "default-scheduler",
        sets,
        arguments,
        percentage or 0,
    )


# What is wrong: texts in the words of field errors.


def _common_problems(found: Mapping[str, Any]) -> Iterator[str]:
    for name in sorted(found.keys() - _MEMBERS):
        yield f'unknown field "{name}"'
    if not isinstance(found.get("parallelism", 16), int) or found.get("parallelism", 16) <= 0:
        yield f"parallelism: Invalid value: {found['parallelism']!r}: should be an integer value greater than zero"
    initial, longest = found.get("podInitialBackoffSeconds", 1), found.get("podMaxBackoffSeconds", 10)
    if initial <= 0:
        yield f"podInitialBackoffSeconds: Invalid value: {initial}: must be greater than 0"
    if longest < initial:
        words = "must be greater than or equal to PodInitialBackoffSeconds"
        yield f"podMaxBackoffSeconds: Invalid value: {longest}: {words}"
    yield from _percentage_problems("percentageOfNodesToScore", found)


def _percentage_problems(path: str, holder: Mapping[str, Any]) -> Iterator[str]:
    percentage = holder.get("percentageOfNodesToScore")
    if percentage is not None and not (isinstance(percentage, int) and 0 <= percentage <= 100):
        yield f"{path}: Invalid value: {percentage!r}: not in valid range [0-100]"


def _profile_problems(found: Mapping[str, Any]) -> Iterator[str]:
    profiles = found.get("profiles") or ()
    names: set[str] = set()
    for number, entry in enumerate(profiles):
        path = f"profiles[{number}]"
        unknown = entry.keys() - {"schedulerName", "plugins", "pluginConfig", "percentageOfNodesToScore"}
        yield from (f'unknown field "{path}.{name}"' for name in sorted(unknown))
        name = entry.get("schedulerName") or ("default-scheduler" if len(profiles) == 1 else "")
        if not name:
            yield f"{path}.schedulerName: Required value"
        elif name in names:
            yield f'{path}.schedulerName: Duplicate value: "{name}"'
        names.add(name)
        yield from _percentage_problems(f"{path}.percentageOfNodesToScore", entry)
        for point, chosen in (entry.get("plugins") or {}).items():
            yield from _set_problems(f"{path}.plugins.{point}", point, chosen)
        yield from _argument_problems(f"{path}.pluginConfig", entry.get("pluginConfig") or ())


def _set_problems(path: str, point: str, chosen: Mapping[str, Any]) -> Iterator[str]:
    if point != MULTI_POINT and point not in POINTS:
        yield f'unknown field "{path}"'
        return
    yield from (f'unknown field "{path}.{name}"' for name in sorted(chosen.keys() - {"enabled", "disabled"}))
    enabled = [plugin["name"] for plugin in chosen.get("enabled") or ()]
    disabled = [plugin["name"] for plugin in chosen.get("disabled") or ()]
    for number, name in enumerate(enabled):
        if name not in IN_TREE:
            yield f'{path}.enabled[{number}]: Invalid value: "{name}": plugin does not exist'
        elif point != MULTI_POINT and name not in plugins_at(point):
            yield f'{path}.enabled[{number}]: Invalid value: "{name}": plugin does not extend {point}'
        elif name in enabled[:number]:
            yield f'{path}.enabled[{number}]: Duplicate value: "{name}"'
    for number, name in enumerate(disabled):
        if name != "*" and name not in IN_TREE:
            yield f'{path}.disabled[{number}]: Invalid value: "{name}": plugin does not exist'
    for number, plugin in enumerate(chosen.get("enabled") or ()):
        weight = plugin.get("weight") or 0
        if not isinstance(weight, int) or weight < 0:
            yield f"{path}.enabled[{number}].weight: Invalid value: {weight!r}: must be a positive integer"


def _argument_problems(path: str, entries: Any) -> Iterator[str]:
    seen: set[str] = set()
    for number, entry in enumerate(entries):
        name = entry["name"]
        if name not in IN_TREE:
            yield f'{path}[{number}]: Invalid value: "{name}": plugin does not exist'
            continue
        if name in seen:
            yield f'{path}[{number}]: Duplicate value: "{name}"'
        seen.add(name)
        yield from (f"{path}[{number}].args.{problem}" for problem in problems_of(name, entry.get("args") or {}))


def _assembled_problems(config: SchedulerConfig) -> Iterator[str]:
    """Yield what only shows when defaults and choices are put together."""
    sorters = []
    for number, profile in enumerate(config.profiles):
        chosen = profile.at_points()
        sorting = [name for name, _ in chosen["queueSort"]]
        if len(sorting) != 1:
            yield f"profiles[{number}].plugins.queueSort: Invalid value: {sorting}: exactly one plugin must be enabled"
        sorters.append(sorting)
        if not chosen["bind"]:
            yield f"profiles[{number}].plugins.bind: Required value: at least one bind plugin is needed"
    if any(sorting != sorters[0] for sorting in sorters):
        yield "profiles: Invalid value: all profiles must use the same queueSort plugin"
