"""Runs the admission plugins: mutating ones in order, then validating ones in order."""

from collections.abc import Sequence

from wherry.apiserver.admission.plugin import Operation, Plugin


class Chain:
    """The plugins in the order in which Kubernetes runs them; refusing is raising."""

    def __init__(self, plugins: Sequence[Plugin]) -> None:
        self._plugins = plugins
        self._admit = [p for p in plugins if type(p).admit is not Plugin.admit]
        self._validate = [p for p in plugins if type(p).validate is not Plugin.validate]

    async def admit(self, operation: Operation) -> None:
        """Let every plugin change ``operation.obj``, once more where one asks for it. Raises StatusError."""
        for plugin in self._admit:
            if plugin.handles(operation):
                await plugin.admit(operation)
        if operation.again and not operation.round:
            operation.round = 1
            await self.admit(operation)

    async def validate(self, operation: Operation) -> None:
        """Let every plugin refuse. Raises StatusError."""
        for plugin in self._validate:
            if plugin.handles(operation):
                await plugin.validate(operation)

    async def close(self) -> None:
        """Release what the plugins hold."""
        for plugin in self._plugins:
            await plugin.close()
