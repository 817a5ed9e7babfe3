import asyncio

import pytest

from wherry.client.workqueue import ShutDown, Workqueue


async def test_a_key_added_twice_is_worked_on_once() -> None:
    queue: Workqueue[str] = Workqueue("q")
    queue.add("a")
    queue.add("a")
    queue.add("b")
    assert [await queue.get(), await queue.get()] == ["a", "b"]
    assert len(queue) == 0


async def test_a_key_added_while_worked_on_comes_again_after_done() -> None:
    queue: Workqueue[str] = Workqueue("q")
    queue.add("a")
    assert await queue.get() == "a"
    queue.add("a")
    assert len(queue) == 0
    queue.done("a")
    assert await queue.get() == "a"


async def test_rate_limited_delays_double_per_key_up_to_the_maximum_and_forget_resets() -> None:
    queue: Workqueue[str] = Workqueue("q")
    loop, waits = asyncio.get_running_loop(), []
    for _ in range(20):
        start = loop.time()
        queue.add_rate_limited("a")
        queue.done(await queue.get())
        waits.append(round(loop.time() - start, 3))
    assert waits[:4] == [0.005, 0.01, 0.02, 0.04]
    assert waits[-1] == 1000
    assert queue.retries("a") == 20
    queue.forget("a")
    start = loop.time()
    queue.add_rate_limited("a")
    await queue.get()
    assert round(loop.time() - start, 3) == 0.005


async def test_the_earliest_of_several_waiting_times_holds() -> None:
    queue: Workqueue[str] = Workqueue("q")
    queue.add_after("a", 10)
    queue.add_after("a", 3)
    queue.add_after("a", 7)
    queue.add_after("b", 1)
    assert await queue.get() == "b"
    assert await queue.get() == "a"
    assert round(asyncio.get_running_loop().time(), 3) == 3
    queue.done("a")
    await asyncio.sleep(20)
    assert len(queue) == 0


async def test_shutdown_drains_what_is_queued_and_ends_the_waiters() -> None:
    queue: Workqueue[str] = Workqueue("q")
    waiter = asyncio.get_running_loop().create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await waiter == "a"
    waiters = [asyncio.get_running_loop().create_task(queue.get()) for _ in range(3)]
    await asyncio.sleep(0)
    queue.shut_down()
    queue.add("b")
    for task in waiters:
        with pytest.raises(ShutDown):
            await task


async def test_a_cancelled_waiter_loses_no_key() -> None:
    queue: Workqueue[str] = Workqueue("q")
    first = asyncio.get_running_loop().create_task(queue.get())
    second = asyncio.get_running_loop().create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    first.cancel()
    assert await second == "a"


async def test_metrics_carry_kubernetes_names() -> None:
    queue: Workqueue[str] = Workqueue("q")
    queue.add("a")
    await asyncio.sleep(2)
    await queue.get()
    await asyncio.sleep(3)
    found = {name: value for name, labels, value in queue.samples() if "le" not in labels}
    assert found["workqueue_adds_total"] == 1
    assert found["workqueue_queue_duration_seconds_sum"] == 2
    assert found["workqueue_unfinished_work_seconds"] == 3
