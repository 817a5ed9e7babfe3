"""Runs the admission plugins: mutating ones in order, then validating ones in order."""

from collections.abc import Sequence

from wherry.api.resources import Resource
from wherry.apiserver.admission.plugin import Operation, Plugin

_MOST_KNOWN = 2000

Chosen = tuple[list[Plugin], list[Plugin]]


class Chain:
    """The plugins in the order in which Kubernetes runs them; refusing is raising."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = plugins
        self._known: dict[tuple[str, Resource], Chosen] = {}

    async def admit(self, operation: Operation) -> None:
        """Let every plugin change ``operation.obj``, once more where one asks for it. Raises StatusError."""
        for plugin in self._chosen(operation)[0]:
            if plugin.handles(operation):
                await plugin.admit(operation)
        if operation.again and not operation.round:
            operation.round = 1
            await self.admit(operation)

    async def validate(self, operation: Operation) -> None:
        """Let every plugin refuse. Raises StatusError."""
        for plugin in self._chosen(operation)[1]:
            if plugin.handles(operation):
                await plugin.validate(operation)

    def _chosen(self, operation: Operation) -> Chosen:
        """Return the mutating and the validating plugins for a kind of operation on a resource."""
        key = (operation.operation, operation.resource)
        chosen = self._known.get(key)
        if chosen is None:
            if len(self._known) > _MOST_KNOWN:  # definitions of custom resources came and went
                self._known.clear()
            plugins = [plugin for plugin in self._plugins if _may_concern(plugin, operation)]
            mutating = [plugin for plugin in plugins if type(plugin).admit is not Plugin.admit]
            validating = [plugin for plugin in plugins if type(plugin).validate is not Plugin.validate]
            chosen = self._known[key] = (mutating, validating)
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
