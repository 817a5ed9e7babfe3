"""Forgetting the past: what only watches and lists of old revisions need is kept for five to ten minutes."""

import logging
from types import TracebackType

from wherry.store.protocol import Store
from wherry.util import clock
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

INTERVAL = 300.0
"""As kube-apiserver's ``--etcd-compaction-interval``."""


class Compactor:
    """``async with Compactor(store)``: every `INTERVAL` seconds the store is compacted at the revision before."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._scope = Scope()

    async def __aenter__(self) -> "Compactor":
        await self._scope.__aenter__()
        self._scope.spawn(self._run(), name="compaction", guard=True)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._scope.__aexit__(kind, error, traceback)

    async def _run(self) -> None:
        while True:
            revision = self._store.revision
            await clock.sleep(INTERVAL)
            try:
                await self._store.compact(revision)
            except OSError as failure:
                log.warning("cannot compact the store: %s", failure)
