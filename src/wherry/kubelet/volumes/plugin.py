"""What a volume type is, and what it is given."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wherry.api import meta
from wherry.api.resources import Resource
from wherry.client.client import Client
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.downward import Facts

Volume = dict[str, Any]


class VolumeError(Exception):
    """A volume cannot be set up now; the message ends the FailedMount event."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One pod and what a volume type may need. `lookup` returns an object of the pod's namespace (cluster-scoped ones
    by their name) and watches it; `tokens` returns a service account token for (audience, seconds)."""

    config: KubeletConfig
    pod: meta.Object
    facts: Facts
    client: Client
    lookup: Callable[[Resource, str], Awaitable[meta.Object | None]]
    tokens: Callable[[str, int], Awaitable[str]]

    @property
    def uid(self) -> str:
        return meta.uid(self.pod)

    @property
    def fs_group(self) -> int | None:
        """The group that owns the pod's volumes."""
        return (self.pod["spec"].get("securityContext") or {}).get("fsGroup")

    def directory(self, plugin: str, volume: str) -> str:
        """Return the directory of a volume on disk: ``pods/UID/volumes/kubernetes.io~TYPE/NAME``."""
        return f"{self.config.pod_directory(self.uid)}/volumes/kubernetes.io~{plugin}/{volume}"

    def memory_directory(self, plugin: str, volume: str) -> str:
        """Return the directory of a volume that must never be on disk."""
        return f"{self.config.pod_run_directory(self.uid)}/volumes/kubernetes.io~{plugin}/{volume}"


class VolumePlugin(Protocol):
    """`source` is the member of a volume that names this type; a `dynamic` one follows objects of the API."""

    source: str
    dynamic: bool

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Make the volume and return its host path. Raises VolumeError, OSError."""
        ...


Plugins = Sequence[VolumePlugin]
