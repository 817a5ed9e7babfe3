"""Binds a pod through its ``binding`` subresource."""

from typing import Any

from wherry.api.resources import PODS
from wherry.client.client import Client
from wherry.scheduler.framework import CycleState, Plugin, Status
from wherry.scheduler.podinfo import PodInfo


class DefaultBinder(Plugin):
    name = "DefaultBinder"

    def __init__(self, cache: Any, arguments: dict[str, Any] | None = None, *, client: Client) -> None:
        super().__init__(cache, arguments)
        self._client = client

    async def bind(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        name = info.pod["metadata"]["name"]
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": info.namespace, "uid": info.uid},
            "target": {"kind": "Node", "name": node_name},
        }
        await self._client.create(PODS, binding, info.namespace, name=name, subresource="binding")
        return None
