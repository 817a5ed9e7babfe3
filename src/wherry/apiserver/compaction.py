"""Forgetting the past: what only watches and lists of old revisions need is kept for five minutes."""

import logging
from collections import deque

from wherry.store.protocol import Store
from wherry.util import clock
from wherry.util.tasks import Service

log = logging.getLogger(__name__)

KEPT = 300.0
"""As kube-apiserver's ``--etcd-compaction-interval``, which keeps up to twice as much."""

_STEP = 60.0


class Compactor(Service):
    """``async with Compactor(store)``: every minute the store forgets what is older than `KEPT` seconds."""

    name = "compaction"

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store

    async def _run(self) -> None:
        revisions = deque([self._store.revision], maxlen=int(KEPT / _STEP))
        while True:
            await clock.sleep(_STEP)
            if len(revisions) == revisions.maxlen:
                try:
                    await self._store.compact(revisions[0])
                except OSError as failure:
                    log.warning("cannot compact the store: %s", failure)
            revisions.append(self._store.revision)
