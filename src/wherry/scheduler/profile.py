"""Which plugins a scheduler runs, in which order and with which weights (``KubeSchedulerConfiguration``)."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.client.client import Client
from wherry.client.informer import InformerFactory
from wherry.scheduler.cache import Cache
from wherry.scheduler.framework import Plugin, overrides
from wherry.scheduler.plugins.defaultbinder import DefaultBinder
from wherry.scheduler.plugins.defaultpreemption import DefaultPreemption
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

DEFAULT_SCHEDULER = "default-scheduler"

_POINTS = (
    "sort_key", "pre_enqueue", "pre_filter", "filter", "add_pod", "remove_pod", "post_filter", "pre_score", "score",
    "normalize", "reserve", "unreserve", "permit", "pre_bind", "bind", "post_bind",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class ProfileConfig:
    """One profile. `disabled` plugins are left out; `weights` and `arguments` are by plugin name."""

    scheduler_name: str = DEFAULT_SCHEDULER
    disabled: frozenset[str] = frozenset()
    weights: dict[str, int] = field(default_factory=dict)
    arguments: dict[str, dict[str, Any]] = field(default_factory=dict)
    percentage_of_nodes_to_score: int = 0


class Profile:
    """The plugins of a profile, by extension point, and their weights."""

    def __init__(self, config: ProfileConfig, plugins: Sequence[tuple[Plugin, int]]) -> None:
        self.config = config
        self.name = config.scheduler_name
        chosen = [(plugin, weight) for plugin, weight in plugins if plugin.name not in config.disabled]
        self.plugins = {plugin.name: plugin for plugin, _ in chosen}
        self.weights = {plugin.name: config.weights.get(plugin.name, weight) for plugin, weight in chosen}
        self.hints = {name: plugin.hints() for name, plugin in self.plugins.items()}
        self._points = {point: [p for p, _ in chosen if overrides(p, point)] for point in _POINTS}

    def at(self, point: str) -> list[Plugin]:
        """Return the plugins that implement an extension point, in order."""
        return self._points[point]


def make_profile(config: ProfileConfig, cache: Cache, *, client: Client, factory: InformerFactory) -> Profile:
    """Return a profile of the in-tree plugins in Kubernetes' default order with its default weights."""

    def arguments(name: str) -> dict[str, Any]:
        return config.arguments.get(name) or {}

    fit = NodeResourcesFit(cache, arguments("NodeResourcesFit"))
    return Profile(
        config,
        [
            (SchedulingGates(cache), 0),
            (PrioritySort(cache), 0),
            (NodeUnschedulable(cache), 0),
            (NodeName(cache), 0),
            (TaintToleration(cache), 3),
            (NodeAffinity(cache, arguments("NodeAffinity")), 2),
            (NodePorts(cache), 0),
            (fit, 1),
            (VolumeRestrictions(cache, factory=factory), 0),
            (NodeVolumeLimits(cache, factory=factory), 0),
            (VolumeBinding(cache, arguments("VolumeBinding"), client=client, factory=factory), 0),
            (VolumeZone(cache, factory=factory), 0),
            (PodTopologySpread(cache, arguments("PodTopologySpread"), factory=factory), 2),
            (InterPodAffinity(cache, arguments("InterPodAffinity"), factory=factory), 2),
            (DefaultPreemption(cache, arguments("DefaultPreemption"), factory=factory), 0),
            (NodeResourcesBalancedAllocation(cache), 1),
            (ImageLocality(cache), 1),
            (DefaultBinder(cache, client=client), 0),
        ],
    )
