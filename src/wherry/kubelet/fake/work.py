"""The worker of a queue whose keys are seen to until nothing is due for them."""

import logging
from collections.abc import Awaitable, Callable

from wherry.api import errors
from wherry.client.workqueue import Workqueue

log = logging.getLogger(__name__)


async def work(queue: Workqueue[str], handle: Callable[[str], Awaitable[float | None]]) -> None:
    """Take keys and `handle` them until cancelled.

    A key whose handler returns seconds comes again after them, one whose handler fails after a back-off.
    """
    while True:
        key = await queue.get()
        try:
            again = await handle(key)
        except (errors.StatusError, OSError) as error:
            log.warning("%s: %s: %s", queue.metrics.name, key, error)
            queue.add_rate_limited(key)
        else:
            queue.forget(key)
            if again is not None:
                queue.add_after(key, again)
        finally:
            queue.done(key)
