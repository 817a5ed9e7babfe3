"""One priority level: its seats, and the queues of requests that wait for them.

Requests of one flow share a hand of few queues (shuffle sharding), so that a flow which asks for too much fills its own
queues and few others. Of the queues that have requests the one goes on whose requests have had the least of the level's
time so far: fair queuing by seat-seconds.
"""

import asyncio
import hashlib
from collections import Counter, deque
from collections.abc import Mapping
from math import ceil
from typing import Any

from wherry.util import clock
from wherry.util.metrics import Histogram

_WAIT_SECONDS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_RUN_SECONDS = (0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0)
_FIRST_GUESS = 0.003
"""Seconds that a request is thought to need until it is done (upstream's initial guess)."""


TIME_OUT, CANCELLED = "time-out", "cancelled"


class Rejected(Exception):
    """There is no room: the text is the reason as metrics name it."""


class _Waiting:
    __slots__ = ("future", "queue", "seats")

    def __init__(self, seats: int, queue: "Queue", future: "asyncio.Future[None]") -> None:
        self.seats, self.queue, self.future = seats, queue, future


class Queue:
    """The requests of the flows that were dealt this queue, and the seat-seconds that they have had."""

    __slots__ = ("requests", "virtual")

    def __init__(self) -> None:
        self.requests: deque[_Waiting] = deque()
        self.virtual = 0.0


class Level:
    """The seats of one PriorityLevelConfiguration."""

    def __init__(self, name: str, uid: str, spec: Mapping[str, Any]) -> None:
        self.name, self.uid, self.spec = name, uid, spec
        self.exempt = spec.get("type") == "Exempt"
        limited = (spec.get("exempt") if self.exempt else spec.get("limited")) or {}
        self.shares = limited.get("nominalConcurrencyShares", 0 if self.exempt else 30)
        self._lendable_percent = limited.get("lendablePercent") or 0
        self._borrowing_percent = limited.get("borrowingLimitPercent")
        response = limited.get("limitResponse") or {}
        queuing = response.get("queuing") or {} if response.get("type") == "Queue" else {}
        self._queues = [Queue() for _ in range(queuing.get("queues", 64) if response.get("type") == "Queue" else 0)]
        self._hand = min(queuing.get("handSize", 8), len(self._queues))
        self._queue_limit = queuing.get("queueLengthLimit", 50)
        self._now = 0.0  # the virtual time that every flow has had at least
        self.nominal = self.lendable = 0
        self.upper: int | None = None
        self.used = self.running = self.waiting = 0
        self.peers: list[Level] = []
        self.dispatched: Counter[str] = Counter()
        self.rejected: Counter[tuple[str, str]] = Counter()
        self.wait_seconds = Histogram(_WAIT_SECONDS)
        self.run_seconds = Histogram(_RUN_SECONDS)

    def settle(self, total: int, all_shares: int, peers: "list[Level]") -> None:
        """Take the nominal share of `total` seats; `peers` are all levels, this one included."""
        self.nominal = ceil(total * self.shares / all_shares) if all_shares else 0
        self.lendable = round(self.nominal * self._lendable_percent / 100)
        borrowing = self._borrowing_percent
        self.upper = None if borrowing is None else self.nominal + round(self.nominal * borrowing / 100)
        self.peers = peers

    def has_room(self, seats: int) -> bool:
        """Tell whether `seats` more fit: into what is the level's own and not lent out, or what others can lend now."""
        wanted = self.used + seats
        if not self.running and not self.waiting and wanted > self.nominal:
            return True  # one request may run however wide it is, or it never would
        if self.upper is not None and wanted > self.upper:
            return False
        if wanted <= self.nominal - self.lendable:
            return True
        # Seats beyond the guaranteed ones are common: whoever comes first has them.
        spare = borrowed = 0
        for peer in self.peers:
            guaranteed = peer.nominal - peer.lendable
            spare += peer.lendable
            borrowed += max(0, peer.used - guaranteed)
        own = max(0, self.used - (self.nominal - self.lendable))
        taken = max(0, wanted - (self.nominal - self.lendable)) - own
        return borrowed + taken <= spare

    @property
    def active_queues(self) -> int:
        """How many queues hold requests."""
        return sum(1 for queue in self._queues if queue.requests)

    @property
    def waiting_seats(self) -> int:
        """How many seats are waited for."""
        return sum(waiting.seats for queue in self._queues for waiting in queue.requests)

    def is_open(self) -> bool:
        """Tell whether a request of one seat could go on at once."""
        return self.exempt or (not self.waiting and self.has_room(1))

    def passed(self, schema: str, seconds: float) -> None:
        """Note a request that was answered in one step of `seconds`: nobody could have seen its seat taken."""
        self.dispatched[schema] += 1
        self.run_seconds.observe(seconds)

    def take(self, schema: str, seats: int) -> None:
        """Take seats that are free (`is_open`); `leave` gives them back."""
        self._take(seats)
        self.dispatched[schema] += 1

    async def enter(self, flow: str, schema: str, seats: int, *, patience: float) -> "Queue | None":
        """Take seats for a request of `flow` and return the queue it came through, for `leave`.

        Raises Rejected when there is no room, or none in `patience` seconds.
        """
        queue = None
        if self.exempt or (not self.waiting and self.has_room(seats)):
            self._take(seats)
        elif not self._queues:
            self._refuse(schema, "concurrency-limit")
        else:
            queue = await self._wait(flow, schema, seats, patience)
        self.dispatched[schema] += 1
        return queue

    async def _wait(self, flow: str, schema: str, seats: int, patience: float) -> "Queue":
        queue = self._choose(flow)
        if len(queue.requests) >= self._queue_limit:
            self._refuse(schema, "queue-full")
        loop = asyncio.get_running_loop()
        waiting = _Waiting(seats, queue, loop.create_future())
        if not queue.requests:
            queue.virtual = max(queue.virtual, self._now)
        queue.requests.append(waiting)
        self.waiting += 1
        began = clock.monotonic()
        try:
            async with asyncio.timeout(patience):
                await waiting.future
        except TimeoutError:
            self._drop(waiting)
            self._refuse(schema, TIME_OUT)
        except asyncio.CancelledError:
            if waiting.future.done() and not waiting.future.cancelled():
                self.leave(seats, 0.0)  # it had its seats already
            self._drop(waiting)
            self.rejected[schema, CANCELLED] += 1
            raise
        finally:
            self.wait_seconds.observe(clock.monotonic() - began)
        return queue

    def leave(self, seats: int, seconds: float, queue: "Queue | None" = None) -> None:
        """Give seats back after `seconds`; who waits goes on, here and in the levels that may borrow them."""
        self.used -= seats
        self.running -= 1
        self.run_seconds.observe(seconds)
        if queue is not None:
            queue.virtual += seats * (seconds - _FIRST_GUESS)
        self.dispatch()
        for peer in self.peers:
            if peer.waiting:
                peer.dispatch()

    def dispatch(self) -> None:
        """Let those who wait go on while there is room."""
        while self.waiting:
            queue = min((q for q in self._queues if q.requests), key=lambda q: q.virtual)
            waiting = queue.requests[0]
            if not self.has_room(waiting.seats) and self.running:
                return
            queue.requests.popleft()
            self.waiting -= 1
            self._now = queue.virtual
            queue.virtual += waiting.seats * _FIRST_GUESS
            self._take(waiting.seats)
            waiting.future.set_result(None)

    def abandon(self) -> None:
        """Let all go on: the level is gone."""
        for queue in self._queues:
            while queue.requests:
                waiting = queue.requests.popleft()
                self.waiting -= 1
                self._take(waiting.seats)
                waiting.future.set_result(None)

    def _take(self, seats: int) -> None:
        self.used += seats
        self.running += 1

    def _drop(self, waiting: _Waiting) -> None:
        if waiting in waiting.queue.requests:
            waiting.queue.requests.remove(waiting)
            self.waiting -= 1

    def _refuse(self, schema: str, reason: str) -> None:
        self.rejected[schema, reason] += 1
        raise Rejected(reason)

    def _choose(self, flow: str) -> Queue:
        """Return the shortest queue of the flow's hand."""
        number = int.from_bytes(hashlib.sha256(flow.encode()).digest()[:16])
        left = list(range(len(self._queues)))
        hand = []
        for _ in range(self._hand):
            number, at = divmod(number, len(left))
            hand.append(self._queues[left.pop(at)])
        return min(hand, key=lambda queue: len(queue.requests))
