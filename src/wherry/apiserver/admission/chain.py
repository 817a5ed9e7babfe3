"""Runs the admission plugins: mutating ones in order, then validating ones in order."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from wherry.api.resources import Resource
from wherry.apiserver.admission.metrics import ADMIT, VALIDATE, Timer, Timers
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.util import clock

_MOST_KNOWN = 2000


class _Part(NamedTuple):
    """What one plugin does in a step."""

    handles: Callable[[Operation], bool]
    act: Callable[[Operation], Awaitable[None] | None]
    timer: Timer


class _Step(NamedTuple):
    """What the plugins do that may concern a kind of operation on a resource."""

    parts: Sequence[_Part]
    timer: Timer

    async def run(self, operation: Operation) -> None:
        """Let the plugins act that handle the operation. Raises StatusError."""
        watch = clock.stopwatch()
        began = now = watch()
        for handles, act, timer in self.parts:
            if not handles(operation):
                continue
            try:
                waiting = act(operation)
                if waiting is not None:
                    await waiting
            except Exception:
                rejected = watch()
                timer.rejected.observe(rejected - now)
                self.timer.rejected.observe(rejected - began)
                raise
            before, now = now, watch()
            timer.passed(now - before)
        self.timer.passed(now - began)


class Chain:
    """The plugins in the order in which Kubernetes runs them; refusing is raising. `timers` tell how long they take."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = plugins
        self._known: dict[tuple[str, Resource], tuple[_Step, _Step]] = {}
        self.timers = Timers()

    async def admit(self, operation: Operation) -> None:
        """Let every plugin change ``operation.obj``, once more where one asks for it. Raises StatusError."""
        step = self._chosen(operation)[0]
        await step.run(operation)
        if operation.again and not operation.round:
            operation.round = 1
            await step.run(operation)

    async def validate(self, operation: Operation) -> None:
        """Let every plugin refuse. Raises StatusError."""
        await self._chosen(operation)[1].run(operation)

    def _chosen(self, operation: Operation) -> tuple[_Step, _Step]:
        """Return the mutating and the validating step of a kind of operation on a resource."""
        key = (operation.operation, operation.resource)
        chosen = self._known.get(key)
        if chosen is None:
            if len(self._known) > _MOST_KNOWN:  # definitions of custom resources came and went
                self._known.clear()
            plugins = [plugin for plugin in self._plugins if _may_concern(plugin, operation)]
            chosen = self._step(plugins, ADMIT, key[0]), self._step(plugins, VALIDATE, key[0])
            self._known[key] = chosen
        return chosen

    def _step(self, plugins: Sequence[Plugin], name: str, operation: str) -> _Step:
        """Return the step whose name is that of the method by which plugins take part in it."""
        timer = self.timers.of
        own = [each for each in plugins if getattr(type(each), name) is not getattr(Plugin, name)]
        parts = [_Part(each.handles, getattr(each, name), timer(each.name, name, operation)) for each in own]
        return _Step(parts, timer("", name, operation))

    async def close(self) -> None:
        """Release what the plugins hold."""
        for plugin in self._plugins:
            await plugin.close()


def _may_concern(plugin: Plugin, operation: Operation) -> bool:
    own = operation.resource
    return operation.operation in plugin.operations and (
        not plugin.resources or any((r.group, r.plural) == (own.group, own.plural) for r in plugin.resources)
    )
