"""Runs the admission plugins: mutating ones in order, then validating ones in order."""

from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from wherry.api.resources import Resource
from wherry.apiserver.admission.metrics import ADMIT, QUICK, VALIDATE, Timer, Timers
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
            took = watch() - now
            now += took
            if took <= QUICK:
                timer.quick += 1
                timer.quick_seconds += took
            else:
                timer.slow.observe(took)
        timer, took = self.timer, now - began
        if took <= QUICK:
            timer.quick += 1
            timer.quick_seconds += took
        else:
            timer.slow.observe(took)


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
            timer = self.timers.of
            admit = [
                _Part(each.handles, each.admit, timer(each.name, ADMIT, key[0]))
                for each in plugins
                if type(each).admit is not Plugin.admit
            ]
            validate = [
                _Part(each.handles, each.validate, timer(each.name, VALIDATE, key[0]))
                for each in plugins
                if type(each).validate is not Plugin.validate
            ]
            chosen = _Step(admit, timer("", ADMIT, key[0])), _Step(validate, timer("", VALIDATE, key[0]))
            self._known[key] = chosen
        return chosen

    async def close(self) -> None:
        """Release what the plugins hold."""
        for plugin in self._plugins:
            await plugin.close()


def _may_concern(plugin: Plugin, operation: Operation) -> bool:
    own = operation.resource
    return operation.operation in plugin.operations and (
        not plugin.resources or any((r.group, r.plural) == (own.group, own.plural) for r in plugin.resources)
    )
