import asyncio

from wherry.api.resources import EVENTS
from wherry.client.client import Client
from wherry.client.events import NORMAL, EventRecorder
from wherry.client.fake import FakeTransport
from wherry.util.tasks import Scope

POD = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns", "uid": "u1"}}


async def recorded(*messages: str, pause: float = 0.0, fake: FakeTransport | None = None) -> list[dict]:
    fake = fake or FakeTransport()
    recorder = EventRecorder(Client(fake), "kubelet", "n1")
    async with Scope() as scope:
        scope.spawn(recorder.run())
        for message in messages:
            recorder.event(POD, NORMAL, "Pulled", message)
            await recorder.flush()
            await asyncio.sleep(pause)
    return fake.list(EVENTS)


async def test_an_event_has_the_fields_of_client_go() -> None:
    [event] = await recorded("hello")
    assert event["metadata"]["namespace"] == "ns" and event["metadata"]["name"].startswith("p.")
    assert event["involvedObject"] == {"kind": "Pod", "namespace": "ns", "name": "p", "uid": "u1", "apiVersion": "v1"}
    assert event["source"] == {"component": "kubelet", "host": "n1"}
    assert event["reportingComponent"] == "kubelet" and event["reportingInstance"] == "n1"
    assert event["count"] == 1 and event["firstTimestamp"] == event["lastTimestamp"] == "2026-01-01T00:00:00Z"


async def test_an_equal_event_raises_the_count() -> None:
    [event] = await recorded("hello", "hello", "hello", pause=60)
    assert event["count"] == 3
    assert event["firstTimestamp"] == "2026-01-01T00:00:00Z" and event["lastTimestamp"] == "2026-01-01T00:02:00Z"


async def test_similar_events_are_combined_from_the_tenth_on() -> None:
    events = await recorded(*(f"m{n}" for n in range(15)))
    combined = [event for event in events if event["message"].startswith("(combined from similar events): ")]
    assert len(events) == 10 and len(combined) == 1
    assert combined[0]["count"] == 6 and combined[0]["message"].endswith("m14")


async def test_a_flood_is_cut_after_25_and_refills_one_in_five_minutes() -> None:
    [event] = await recorded(*["x"] * 40)
    assert event["count"] == 25
    [event] = await recorded(*["x"] * 40, pause=150)
    assert event["count"] == 40


async def test_an_event_that_expired_is_written_anew() -> None:
    fake = FakeTransport()
    recorder = EventRecorder(Client(fake), "kubelet")
    async with Scope() as scope:
        scope.spawn(recorder.run())
        recorder.event(POD, NORMAL, "Pulled", "x")
        await recorder.flush()
        [first] = fake.list(EVENTS)
        fake.remove(EVENTS, f"ns/{first['metadata']['name']}")
        recorder.event(POD, NORMAL, "Pulled", "x")
        await recorder.flush()
        [second] = fake.list(EVENTS)
    assert second["count"] == 2 and second["metadata"]["name"] != first["metadata"]["name"]


async def test_an_unreachable_server_is_tried_again() -> None:
    fake = FakeTransport()
    fake.fail("create", EVENTS, ConnectionRefusedError(), times=3)
    assert len(await recorded("x", fake=fake)) == 1


async def test_events_that_wait_together_count_as_if_they_came_one_by_one() -> None:
    fake = FakeTransport()
    recorder = EventRecorder(Client(fake), "kubelet")
    for message in ("x", "y", "x", "x"):
        recorder.event(POD, NORMAL, "Pulled", message)
    async with Scope() as scope:
        scope.spawn(recorder.run())
        await recorder.flush()
    assert {event["message"]: event["count"] for event in fake.list(EVENTS)} == {"x": 3, "y": 1}
