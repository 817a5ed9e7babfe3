"""The Lease in kube-system that tells of this API server (KEP-1965, apiserver identity).

Upstream renews it every ten seconds. It lasts an hour, and nobody here waits for a server to be gone: it is renewed
seldom, so that a cluster at rest writes little.
"""

import base64
import hashlib
import logging
import socket
from collections.abc import Callable
from typing import Any

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import LEASES
from wherry.apiserver.attributes import Reader
from wherry.apiserver.names import new_uid
from wherry.client.client import Client
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Service

log = logging.getLogger(__name__)

_NAMESPACE = "kube-system"
_SERVER = "kube-apiserver"
_LABEL = "apiserver.kubernetes.io/identity"
_ADDRESS = "kubernetes.io/peer-advertise-address"
_DURATION = 3600
_RENEWAL = 600.0
_FIRST, _LONGEST = 1.0, 60.0


def identity(hostname: str) -> str:
    """Return the name of the API server of a host, the same after each start."""
    parts = b"".join(len(part).to_bytes(2, "big") + part for part in (hostname.encode(), _SERVER.encode()))
    digest = hashlib.sha256(parts).digest()[:16]
    return "apiserver-" + base64.b32encode(digest).decode().rstrip("=").lower()


def is_over(lease: Object, *, now: float) -> bool:
    """Tell whether the API server of a Lease has not renewed it in time."""
    spec = lease.get("spec") or {}
    renewed, duration = spec.get("renewTime"), spec.get("leaseDurationSeconds")
    return not renewed or duration is None or clock.parse(renewed).timestamp() + duration < now


class Identity(Service):
    """``async with Identity(reader, client, address)``: `client` renews the Lease, and deletes those of servers that
    are gone; `address` returns where this one is reached."""

    name = "identity"

    def __init__(self, reader: Reader, client: Client, address: Callable[[], str]) -> None:
        super().__init__()
        self._reader = reader
        self._client = client
        self._address = address
        self._hostname = socket.gethostname()
        self._id = identity(self._hostname)
        self._holder = ""

    async def _run(self) -> None:
        self._holder = f"{self._id}_{new_uid()}"
        failing = Backoff(_FIRST, _LONGEST)
        while True:
            try:
                await self._renew()
                await self._collect()
            except errors.StatusError as failure:
                log.warning("cannot renew the lease of this API server: %s", failure)
                await clock.sleep(failing.next())
                continue
            failing.reset()
            await clock.sleep(_RENEWAL)

    async def _renew(self) -> None:
        found = self._reader.get(LEASES, _NAMESPACE, self._id)
        if found is None:
            await self._client.create(LEASES, self._lease({"name": self._id, "namespace": _NAMESPACE}))
        else:
            await self._client.update(LEASES, self._lease(found["metadata"]))

    def _lease(self, metadata: Object) -> dict[str, Any]:
        labels = {_LABEL: _SERVER, "kubernetes.io/hostname": self._hostname.lower()}
        return {
            "apiVersion": LEASES.api_version,
            "kind": LEASES.kind,
            "metadata": {
                **metadata,
                "labels": (metadata.get("labels") or {}) | labels,
                "annotations": (metadata.get("annotations") or {}) | {_ADDRESS: self._address()},
            },
            "spec": {
                "holderIdentity": self._holder,
                "leaseDurationSeconds": _DURATION,
                "renewTime": clock.micro_timestamp(),
            },
        }

    async def _collect(self) -> None:
        for lease in list(self._reader.list(LEASES, _NAMESPACE)):
            if meta.labels(lease).get(_LABEL) == _SERVER and is_over(lease, now=clock.seconds()):
                try:
                    await self._client.delete(LEASES, meta.name(lease), _NAMESPACE)
                except errors.NotFound:
                    continue
