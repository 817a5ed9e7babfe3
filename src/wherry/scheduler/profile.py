"""Which plugins a scheduler runs, in which order and with which weights (``KubeSchedulerConfiguration``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.client.client import Client
from wherry.client.informer import InformerFactory
from wherry.scheduler.cache import Cache
from wherry.scheduler.extender import ExtenderConfig
from wherry.scheduler.framework import Plugin, overrides
from wherry.scheduler.plugins.defaultbinder import DefaultBinder
from wherry.scheduler.plugins.defaultpreemption import DefaultPreemption
from wherry.scheduler.plugins.dynamicresources import DynamicResources
from wherry.scheduler.plugins.imagelocality import ImageLocality
from wherry.scheduler.plugins.interpodaffinity import InterPodAffinity
from wherry.scheduler.plugins.nodeaffinity import NodeAffinity
from wherry.scheduler.plugins.nodename import NodeName
from wherry.scheduler.plugins.nodeports import NodePorts
from wherry.scheduler.plugins.noderesourcesbalancedallocation import NodeResourcesBalancedAllocation
from wherry.scheduler.plugins.noderesourcesfit import NodeResourcesFit
from wherry.scheduler.plugins.nodeunschedulable import NodeUnschedulable
from wherry.scheduler.plugins.nodevolumelimits import NodeVolumeLimits
from wherry.scheduler.plugins.podtopologyspread import PodTopologySpread
from wherry.scheduler.plugins.prioritysort import PrioritySort
from wherry.scheduler.plugins.schedulinggates import SchedulingGates
from wherry.scheduler.plugins.tainttoleration import TaintToleration
from wherry.scheduler.plugins.volumebinding import VolumeBinding
from wherry.scheduler.plugins.volumerestrictions import VolumeRestrictions
from wherry.scheduler.plugins.volumezone import VolumeZone
from wherry.scheduler.pluginset import POINTS, PluginSet, at_points
from wherry.scheduler.queue import INITIAL_BACKOFF, MAXIMUM_BACKOFF

DEFAULT_SCHEDULER = "default-scheduler"

_TABLE: tuple[tuple[Any, int, tuple[str, ...]], ...] = (
    (SchedulingGates, 0, ()),
    (PrioritySort, 0, ()),
    (NodeUnschedulable, 0, ()),
    (NodeName, 0, ()),
    (TaintToleration, 3, ()),
    (NodeAffinity, 2, ()),
    (NodePorts, 0, ()),
    (NodeResourcesFit, 1, ()),
    (VolumeRestrictions, 0, ("factory",)),
    (NodeVolumeLimits, 0, ("factory",)),
    (VolumeBinding, 0, ("client", "factory")),
    (VolumeZone, 0, ("factory",)),
    (PodTopologySpread, 2, ("factory",)),
    (InterPodAffinity, 2, ("factory",)),
    (DynamicResources, 0, ("client", "factory")),
    (DefaultPreemption, 0, ("factory",)),
    (NodeResourcesBalancedAllocation, 1, ()),
    (ImageLocality, 1, ()),
    (DefaultBinder, 0, ("client",)),
)
"""The in-tree plugins in Kubernetes' default order with its default weights, and what each is made with."""

IN_TREE: Mapping[str, type[Plugin]] = {kind.name: kind for kind, _, _ in _TABLE}
_DEFAULTS = [(kind.name, weight) for kind, weight, _ in _TABLE]


def plugins_at(point: str) -> list[str]:
    """Return the names of the plugins that implement an extension point (``preFilter``)."""
    return [name for name, kind in IN_TREE.items() if overrides(kind, POINTS[point][0])]


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """One profile: what `plugins` says by extension point, and `arguments` by plugin name.

    Of a percentage of 0 the scheduler finds one that suits the number of nodes.
    """

    scheduler_name: str = DEFAULT_SCHEDULER
    plugins: Mapping[str, PluginSet] = field(default_factory=dict)
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    percentage_of_nodes_to_score: int = 0

    def at_points(self) -> dict[str, list[tuple[str, int]]]:
        """Return the plugins of each extension point, in order, with their weights."""
        return at_points(_DEFAULTS, self.plugins, {point: plugins_at(point) for point in POINTS})


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """All profiles, which share the extenders and one queue with its back-off in seconds."""

    profiles: tuple[ProfileConfig, ...] = (ProfileConfig(),)
    extenders: tuple[ExtenderConfig, ...] = ()
    initial_backoff: float = INITIAL_BACKOFF
    maximum_backoff: float = MAXIMUM_BACKOFF


class Profile:
    """The plugins of a profile, by extension point, and their weights."""

    def __init__(self, config: ProfileConfig, plugins: Sequence[Plugin]) -> None:
        self.config = config
        self.name = config.scheduler_name
        named = {plugin.name: plugin for plugin in plugins}
        chosen = config.at_points()
        self.weights = dict(chosen["score"])
        self._points = {
            method: [named[name] for name, _ in chosen[point] if overrides(type(named[name]), method)]
            for point, methods in POINTS.items()
            for method in methods
        }
        used = {name for entries in chosen.values() for name, _ in entries}
        self.hints = {name: plugin.hints() for name, plugin in named.items() if name in used}

    def at(self, point: str) -> list[Plugin]:
        """Return the plugins that implement an extension point, in order."""
        return self._points[point]


def make_profile(config: ProfileConfig, cache: Cache, *, client: Client, factory: InformerFactory) -> Profile:
    """Return a profile with its plugins made."""
    given = {"client": client, "factory": factory}
    made: list[Plugin] = []
    for kind, _, needs in _TABLE:
        arguments = dict(config.arguments.get(kind.name) or {})
        made.append(kind(cache, arguments, **{need: given[need] for need in needs}))
    return Profile(config, made)
