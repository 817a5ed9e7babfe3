"""What the kubelet asks of the pod network."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PortMapping:
    """A ``hostPort``: `protocol` is TCP, UDP or SCTP; an empty `host_ip` means every address."""

    host_port: int
    container_port: int
    protocol: str = "TCP"
    host_ip: str = ""


@dataclass(frozen=True, slots=True)
class Attachment:
    """A sandbox's network: the file of its namespace and its addresses (IPv4 first)."""

    sandbox_id: str
    namespace_path: str
    addresses: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachOptions:
    """`namespace` is the file of a network namespace that is to be the sandbox's; empty: a new one of the host's."""

    port_mappings: Sequence[PortMapping] = ()
    sysctls: Mapping[str, str] = field(default_factory=dict)
    namespace: str = ""


class NetworkError(OSError):
    """The network refused: a host port is taken, no address is free. The message is fit for an event."""


class Network(Protocol):
    async def start(self) -> None:
        """Make the bridge and adopt the attachments that an earlier process left."""
        ...

    async def attach(self, sandbox_id: str, options: AttachOptions) -> Attachment:
        """Make the namespace of a sandbox and connect it; the same attachment for the same sandbox.

        Raises OSError (`NetworkError`); then nothing is left of it.
        """
        ...

    async def detach(self, sandbox_id: str) -> None:
        """Remove namespace, veth, port mappings and free the address; nothing happens when it is gone."""
        ...

    def attachments(self) -> Sequence[Attachment]: ...

    async def destroy(self) -> None:
        """Remove every attachment and the bridge (``wherry delete``)."""
        ...
