"""State changes, handed to whoever subscribed."""

import asyncio
import weakref
from collections.abc import AsyncIterator

from wherry.runtime.protocol import RuntimeEvent


class _Subscription(AsyncIterator[RuntimeEvent]):
    def __init__(self) -> None:
        self.queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()

    def __aiter__(self) -> "_Subscription":
        return self

    async def __anext__(self) -> RuntimeEvent:
        event = await self.queue.get()
        if event is None:
            self.queue.put_nowait(None)
            raise StopAsyncIteration
        return event


class Events:
    """Hands each event to every subscription that somebody still holds."""

    def __init__(self) -> None:
        self._subscriptions: weakref.WeakSet[_Subscription] = weakref.WeakSet()

    def subscribe(self) -> AsyncIterator[RuntimeEvent]:
        """Iterate over the events from this call on, until `end`."""
        subscription = _Subscription()
        self._subscriptions.add(subscription)
        return subscription

    def emit(self, event: RuntimeEvent) -> None:
        """Hand an event to the subscribers."""
        for subscription in self._subscriptions:
            subscription.queue.put_nowait(event)

    def end(self) -> None:
        """End every subscription after the events that it did not take yet."""
        for subscription in self._subscriptions:
            subscription.queue.put_nowait(None)
