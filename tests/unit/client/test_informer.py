import asyncio
from typing import Any

import pytest

from wherry.api import errors
from wherry.api.resources import CONFIGMAPS, PODS
from wherry.client.cache import by_node
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory, SharedInformer
from wherry.util.tasks import Scope


def config(name: str, **data: str) -> dict:
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"}, "data": data}


class Log:
    def __init__(self, informer: SharedInformer) -> None:
        self.lines: list[str] = []
        informer.add_handler(
            on_add=lambda obj: self.lines.append(f"add {obj['metadata']['name']}"),
            on_update=lambda old, new: self.lines.append(f"update {new['metadata']['name']} {new['data']}"),
            on_delete=lambda obj: self.lines.append(f"delete {obj['metadata']['name']}"),
        )


async def settle() -> None:
    await asyncio.sleep(5)


async def test_handlers_hear_of_adds_updates_and_deletes_in_order() -> None:
    fake = FakeTransport(config("a"))
    async with InformerFactory(Client(fake)) as factory:
        informer = factory.informer(CONFIGMAPS)
        log = Log(informer)
        await factory.wait_synced()
        fake.put(config("b"))
        fake.put(config("a", x="1"))
        fake.remove(CONFIGMAPS, "ns/b")
        await settle()
        assert log.lines == ["add a", "add b", "update a {'x': '1'}", "delete b"]
        assert informer.lister.get("ns/a")["kind"] == "ConfigMap"
        assert len(fake.written("list", CONFIGMAPS)) == 1


async def test_a_dropped_watch_resumes_without_a_new_list() -> None:
    fake = FakeTransport(config("a"))
    async with InformerFactory(Client(fake)) as factory:
        log = Log(factory.informer(CONFIGMAPS))
        await factory.wait_synced()
        fake.drop_watches()
        fake.put(config("b"))
        fake.remove(CONFIGMAPS, "ns/a")
        await settle()
        assert log.lines == ["add a", "add b", "delete a"]
        assert len(fake.written("list", CONFIGMAPS)) == 1


async def test_an_expired_revision_leads_to_a_new_list_and_only_differences_are_told() -> None:
    fake = FakeTransport(config("a"), config("b"), config("c"))
    async with InformerFactory(Client(fake)) as factory:
        log = Log(factory.informer(CONFIGMAPS))
        await settle()
        log.lines.clear()
        fake.react(lambda call: (_ for _ in ()).throw(ConnectionRefusedError()) if down else None)
        down = True
        fake.drop_watches()
        fake.remove(CONFIGMAPS, "ns/a")
        fake.put(config("b", x="1"))
        fake.remove(CONFIGMAPS, "ns/c")
        fake.put(config("c"))
        fake.expire()
        await asyncio.sleep(60)
        assert log.lines == []
        down = False
        await asyncio.sleep(120)
        assert sorted(log.lines) == ["add c", "delete a", "delete c", "update b {'x': '1'}"]


async def test_a_bookmark_moves_the_revision_to_resume_from() -> None:
    fake = FakeTransport(config("a"))
    async with InformerFactory(Client(fake)) as factory:
        factory.informer(CONFIGMAPS)
        await factory.wait_synced()
        await settle()
        for n in range(5):
            fake.put({"kind": "Secret", "apiVersion": "v1", "metadata": {"name": f"s{n}", "namespace": "ns"}})
        fake.bookmark()
        await settle()
        fake.expire()
        fake.drop_watches()
        await settle()
        assert len(fake.written("list", CONFIGMAPS)) == 1
        assert fake.written("watch", CONFIGMAPS)[-1].params["resourceVersion"] == "7"


async def test_a_forbidden_list_is_tried_again() -> None:
    fake = FakeTransport(config("a"))
    fake.fail("list", CONFIGMAPS, errors.Forbidden("no"), times=3)
    async with InformerFactory(Client(fake)) as factory:
        informer = factory.informer(CONFIGMAPS)
        await informer.wait_synced()
        assert len(informer.lister.list()) == 1


async def test_a_selection_sees_objects_enter_and_leave() -> None:
    fake = FakeTransport()
    async with InformerFactory(Client(fake)) as factory:
        log = Log(factory.informer(CONFIGMAPS, namespace="ns", label_selector="app in (x,y),!off"))
        await factory.wait_synced()
        labelled = config("a")
        labelled["metadata"]["labels"] = {"app": "x"}
        fake.put(config("a"))
        fake.put(labelled)
        labelled["metadata"]["labels"]["off"] = ""
        fake.put(labelled)
        await settle()
        assert log.lines == ["add a", "delete a"]


async def test_indexes_follow_changes() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns"}, "spec": {}}
    fake = FakeTransport(pod)
    async with InformerFactory(Client(fake)) as factory:
        informer = factory.informer(PODS)
        informer.add_index("node", by_node)
        await factory.wait_synced()
        assert len(informer.lister.by_index("node", "")) == 1
        fake.put({**pod, "spec": {"nodeName": "n1"}})
        await settle()
        assert informer.lister.by_index("node", "") == []
        assert len(informer.lister.by_index("node", "n1")) == 1


async def test_factory_shares_informers_and_starts_late_ones() -> None:
    fake = FakeTransport(config("a", x="1"))
    factory = InformerFactory(Client(fake))
    async with Scope() as scope:
        factory.run(scope)
        informer = factory.informer(CONFIGMAPS)
        assert factory.informer(CONFIGMAPS, metadata_only=True) is informer
        await informer.wait_synced()
        log = Log(informer)
        assert log.lines == ["add a"]
        await factory.remove(informer)
        thin = factory.informer(CONFIGMAPS, metadata_only=True)
        await thin.wait_synced()
        assert "data" not in thin.lister.get("ns/a")


async def test_an_object_that_an_index_fails_for_is_in_the_cache_and_harms_no_other() -> None:
    fake = FakeTransport(config("a", owner="x"), config("odd"))
    async with InformerFactory(Client(fake)) as factory:
        informer = factory.informer(CONFIGMAPS)
        informer.add_index("owner", lambda obj: ("all", obj["data"]["owner"]))
        log = Log(informer)
        await factory.wait_synced()
        fake.put(config("odd", owner="x"))
        fake.put(config("a"))
        await settle()
        assert [obj["metadata"]["name"] for obj in informer.lister.by_index("owner", "x")] == ["odd"]
        assert [obj["metadata"]["name"] for obj in informer.lister.by_index("owner", "all")] == ["odd"]
        fake.remove(CONFIGMAPS, "ns/a")
        fake.remove(CONFIGMAPS, "ns/odd")
        await settle()
        assert informer.lister.list() == informer.lister.by_index("owner", "x") == []
        assert log.lines[-2:] == ["delete a", "delete odd"]


async def test_an_answer_that_makes_no_sense_is_asked_for_again() -> None:
    fake = FakeTransport(config("a"))
    answers: list[Any] = [{"items": [{"metadata": {}}], "metadata": {}}]
    fake.react(lambda call: answers.pop() if answers and call.verb == "list" else None)
    async with InformerFactory(Client(fake)) as factory:
        informer = factory.informer(CONFIGMAPS)
        await factory.wait_synced()
        await settle()
        assert [obj["metadata"]["name"] for obj in informer.lister.list()] == ["a"]


async def test_a_refusal_is_told_when_it_lasts(caplog: pytest.LogCaptureFixture) -> None:
    fake = FakeTransport(config("a"))
    refusals = 1
    fake.react(lambda call: (_ for _ in ()).throw(errors.Forbidden("no")) if len(fake.calls) <= refusals else None)
    async with InformerFactory(Client(fake)) as factory:
        informer = factory.informer(CONFIGMAPS)
        await factory.wait_synced()
        assert informer.lister.list() and not caplog.records
    fake.calls.clear()
    refusals = 3
    async with InformerFactory(Client(fake)) as factory:
        factory.informer(CONFIGMAPS)
        await factory.wait_synced()
        assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
