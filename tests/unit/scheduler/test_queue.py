from tests.unit.scheduler.world import node, pod
from wherry.api.meta import Object
from wherry.scheduler.framework import Code, Hint, Status
from wherry.scheduler.podinfo import PodInfo, pod_info
from wherry.scheduler.queue import SchedulingQueue
from wherry.util import clock, virtualtime


def _queue(hint: Hint | None = None, *, gate: Status | None = None) -> SchedulingQueue:
    return SchedulingQueue(
        lambda info: gate, lambda plugin: {"Node": hint} if plugin == "Fit" else {}, lambda info, since: -info.priority
    )


def _info(name: str) -> PodInfo:
    return pod_info(pod(name))


def test_only_a_change_that_a_refusing_plugin_named_moves_a_pod() -> None:
    async def main() -> None:
        def is_wanted(info: PodInfo, old: Object | None, new: Object | None) -> bool:
            return new is not None and new["metadata"]["name"] == "wanted"

        queue = _queue(is_wanted)
        queue.add(_info("p"))
        queued = await queue.pop()
        queue.refused(queued, {"Fit"})
        queue.moved("Node", None, node("other"))
        queue.moved("AssignedPod", None, pod("x"))
        assert queue.pop_nowait() is None
        assert queue.counts()["unschedulable"] == 1
        queue.moved("Node", None, node("wanted"))
        assert queue.pop_nowait() is queued

    virtualtime.run(main())


def test_an_error_backs_off_twice_as_long_each_time_up_to_ten_seconds() -> None:
    async def main() -> None:
        queue = _queue()
        queue.add(_info("p"))
        queued = await queue.pop()
        waits = []
        for _ in range(6):
            queue.refused(queued, ())
            before = clock.monotonic()
            queued = await queue.pop()
            waits.append(clock.monotonic() - before)
        assert waits == [1, 2, 4, 8, 10, 10]

    virtualtime.run(main())


def test_a_pod_that_nothing_helped_is_tried_again_after_five_minutes() -> None:
    async def main() -> None:
        queue = _queue(lambda *_: False)
        queue.add(_info("p"))
        queue.refused(await queue.pop(), {"Fit"})
        before = clock.monotonic()
        await queue.pop()
        assert clock.monotonic() - before == 300

    virtualtime.run(main())


def test_a_gated_pod_never_comes_out_by_itself() -> None:
    async def main() -> None:
        queue = _queue(gate=Status(Code.UNRESOLVABLE, ("gated",), "SchedulingGates"))
        queue.add(_info("p"))
        queue.moved("Node", None, node("a"))
        assert queue.pop_nowait() is None
        assert queue.counts()["gated"] == 1

    virtualtime.run(main())


def test_binding_a_pod_forgets_it_but_not_its_successor_of_the_same_name() -> None:
    async def main() -> None:
        queue = _queue()
        queue.add(_info("p"))
        first = await queue.pop()
        queue.delete("ns/p")
        queue.add(_info("p"))
        queue.done(first)
        assert len(queue) == 1
        queue.done(await queue.pop())
        assert len(queue) == 0

    virtualtime.run(main())
