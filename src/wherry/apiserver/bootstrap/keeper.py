"""What a cluster cannot do without comes back when somebody deletes it: ``kubectl delete services --all`` takes the
API's own Service too."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from wherry.api.errors import StatusError
from wherry.util import clock
from wherry.util.tasks import Service

log = logging.getLogger(__name__)

STEP = 10.0
"""As often as kube-apiserver looks after its Service; it does so with namespaces and flow control each minute."""


class Keeper(Service):
    """``async with Keeper(mend, version)``: calls `mend` every ten seconds where `version` has changed since.

    What cannot be written is tried again.
    """

    name = "bootstrap objects"

    def __init__(self, mend: Callable[[], Awaitable[None]], version: Callable[[], Any]) -> None:
        super().__init__()
        self.mend = mend
        self._version = version

    async def _run(self) -> None:
        mended = None
        while True:
            await clock.sleep(STEP)
            version = self._version()
            if version == mended:
                continue
            try:
                await self.mend()
                mended = version
            except StatusError as failure:
                log.warning("cannot restore what every cluster has: %s", failure)
