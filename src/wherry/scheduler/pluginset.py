"""Which plugins run at which extension point: ``multiPoint``, then what is said of the point itself.

The rules are those of ``pkg/scheduler/framework/runtime`` and the defaulting of ``kubescheduler.config.k8s.io/v1``.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

ALL = "*"
MULTI_POINT = "multiPoint"

POINTS: Mapping[str, tuple[str, ...]] = {
    "preEnqueue": ("pre_enqueue",),
    "queueSort": ("sort_key",),
    "preFilter": ("pre_filter", "add_pod", "remove_pod"),
    "filter": ("filter",),
    "postFilter": ("post_filter",),
    "preScore": ("pre_score",),
    "score": ("score", "normalize"),
    "reserve": ("reserve", "unreserve"),
    "permit": ("permit",),
    "preBind": ("pre_bind",),
    "bind": ("bind",),
    "postBind": ("post_bind",),
}
"""The extension points by their names in a configuration, with the methods of `framework.Plugin` that belong to them;
the first is the one that makes a plugin one of the point."""

Weighted = Sequence[tuple[str, int]]
"""Names of plugins in order, each with its weight; 0 where none is given."""


@dataclass(frozen=True, slots=True)
class PluginSet:
    """What a profile says of one extension point; ``*`` in `disabled` means all."""

    enabled: tuple[tuple[str, int], ...] = ()
    disabled: frozenset[str] = frozenset()

    def drops(self, name: str) -> bool:
        """Tell whether a plugin that others enabled is disabled."""
        return name in self.disabled or ALL in self.disabled


_NOTHING = PluginSet()


def with_defaults(defaults: Weighted, chosen: PluginSet) -> list[tuple[str, int]]:
    """Return what ``multiPoint`` enables: defaults that are left, at their place with a new weight, then the others."""
    own = dict(chosen.enabled)
    kept = [(name, own.get(name, weight)) for name, weight in defaults if not chosen.drops(name)]
    known = {name for name, _ in kept}
    return [*kept, *((name, weight) for name, weight in chosen.enabled if name not in known)]


def at_points(
    defaults: Weighted, sets: Mapping[str, PluginSet], implementing: Mapping[str, Collection[str]]
) -> dict[str, list[tuple[str, int]]]:
    """Return the plugins of each extension point, in order, with their weights.

    `implementing` holds by point who implements it. What a point enables by itself goes before ``multiPoint`` where it
    is in that too, and after it otherwise. A weight that is not given is 1.
    """
    multi = with_defaults(defaults, sets.get(MULTI_POINT, _NOTHING))
    everywhere = {name for name, _ in multi}
    result = {}
    for point in POINTS:
        own = sets.get(point, _NOTHING)
        named = {name for name, _ in own.enabled}
        first = [entry for entry in own.enabled if entry[0] in everywhere]
        rest = [e for e in multi if e[0] in implementing[point] and e[0] not in named and not own.drops(e[0])]
        last = [entry for entry in own.enabled if entry[0] not in everywhere]
        result[point] = [(name, weight or 1) for name, weight in (*first, *rest, *last)]
    return result
