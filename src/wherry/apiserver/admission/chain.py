"""Runs the admission plugins: mutating ones in order, then validating ones in order."""

from collections.abc import Sequence

from wherry.api.resources import Resource
from wherry.apiserver.admission.metrics import ADMIT, QUICK, VALIDATE, Timer, Timers
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.util import clock

_MOST_KNOWN = 2000

Timed = tuple[list[tuple[Plugin, Timer]], Timer]
"""The plugins of a step with their timers, and the timer of the step."""


class Chain:
    """The plugins in the order in which Kubernetes runs them; refusing is raising. `timers` tell how long they take."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = plugins
        self._known: dict[tuple[str, Resource], tuple[Timed, Timed]] = {}
        self.timers = Timers()

    async def admit(self, operation: Operation) -> None:
        """Let every plugin change ``operation.obj``, once more where one asks for it. Raises StatusError."""
        plugins, step = self._chosen(operation)[0]
        watch = clock.stopwatch()
        began = now = watch()
        for plugin, timer in plugins:
            if plugin.handles(operation):
                try:
                    await plugin.admit(operation)
                except Exception:
                    _refused(timer, now, step, began)
                    raise
                took = watch() - now
                now += took
                if took <= QUICK:
                    timer.quick += 1
                    timer.quick_seconds += took
                else:
                    timer.slow.observe(took)
        if now - began <= QUICK:
            step.quick += 1
            step.quick_seconds += now - began
        else:
            step.slow.observe(now - began)
        if operation.again and not operation.round:
            operation.round = 1
            await self.admit(operation)

    async def validate(self, operation: Operation) -> None:
        """Let every plugin refuse. Raises StatusError."""
        plugins, step = self._chosen(operation)[1]
        watch = clock.stopwatch()
        began = now = watch()
        for plugin, timer in plugins:
            if plugin.handles(operation):
                try:
                    await plugin.validate(operation)
                except Exception:
                    _refused(timer, now, step, began)
                    raise
                took = watch() - now
                now += took
                if took <= QUICK:
                    timer.quick += 1
                    timer.quick_seconds += took
                else:
                    timer.slow.observe(took)
        if now - began <= QUICK:
            step.quick += 1
            step.quick_seconds += now - began
        else:
            step.slow.observe(now - began)

    def _chosen(self, operation: Operation) -> tuple[Timed, Timed]:
        """Return the mutating and the validating plugins for a kind of operation on a resource."""
        key = (operation.operation, operation.resource)
        chosen = self._known.get(key)
        if chosen is None:
            if len(self._known) > _MOST_KNOWN:  # definitions of custom resources came and went
                self._known.clear()
            plugins = [plugin for plugin in self._plugins if _may_concern(plugin, operation)]
            mutating = [plugin for plugin in plugins if type(plugin).admit is not Plugin.admit]
            validating = [plugin for plugin in plugins if type(plugin).validate is not Plugin.validate]
            chosen = self._timed(mutating, ADMIT, key[0]), self._timed(validating, VALIDATE, key[0])
            self._known[key] = chosen
        return chosen

    def _timed(self, plugins: list[Plugin], step: str, operation: str) -> Timed:
        timers = self.timers
        return [(each, timers.of(each.name, step, operation)) for each in plugins], timers.of("", step, operation)

    async def close(self) -> None:
        """Release what the plugins hold."""
        for plugin in self._plugins:
            await plugin.close()


def _refused(plugin: Timer, since: float, step: Timer, began: float) -> None:
    now = clock.monotonic()
    plugin.rejected.observe(now - since)
    step.rejected.observe(now - began)


def _may_concern(plugin: Plugin, operation: Operation) -> bool:
    own = operation.resource
    return operation.operation in plugin.operations and (
        not plugin.resources or any((r.group, r.plural) == (own.group, own.plural) for r in plugin.resources)
    )
