"""The scheduler with real HTTP extenders, configured as a KubeSchedulerConfiguration says."""

import asyncio
import base64
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson

from tests.component.apiserver.admission.webhookserver import certificate_in
from tests.component.scheduler.test_scheduling import Object, node, pod, scheduling, until
from wherry.api import meta
from wherry.api.resources import NODES, PODS, PRIORITYCLASSES
from wherry.client.client import Client
from wherry.scheduler.configfile import parse
from wherry.scheduler.profile import SchedulerConfig

Answers = dict[str, Callable[[Object], Any]]


class Server:
    """What an extender was asked, by verb."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: list[tuple[str, Object]] = []

    def verbs(self) -> list[str]:
        return [verb for verb, _ in self.asked]


@contextmanager
def extender(answers: Answers, *, tls: ssl.SSLContext | None = None) -> Iterator[Server]:
    """Serve from a thread: the connections are no tasks of the test's loop."""
    found = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            verb = self.path.rpartition("/")[2]
            question = orjson.loads(self.rfile.read(int(self.headers["Content-Length"])))
            found.asked.append((verb, question))
            answer = orjson.dumps(answers[verb](question))
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        found.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}/extend"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield found
        finally:
            server.shutdown()
            thread.join()


def config(*extenders: Object) -> SchedulerConfig:
    head = {"apiVersion": "kubescheduler.config.k8s.io/v1", "kind": "KubeSchedulerConfiguration"}
    return parse({**head, "podInitialBackoffSeconds": 1, "podMaxBackoffSeconds": 1, "extenders": list(extenders)})


def node_of(found: Object) -> str:
    return found["spec"].get("nodeName") or ""


async def test_an_extender_filters_and_scores_nodes_for_pods_with_its_resources() -> None:
    answers: Answers = {
        "filter": lambda asked: {
            "NodeNames": [name for name in asked["NodeNames"] if name != "a"],
            "FailedNodes": {"a": "a is mine"},
        },
        "prioritize": lambda asked: [{"Host": name, "Score": 10 * (name == "c")} for name in asked["NodeNames"]],
    }
    managed = [{"name": "example.com/thing", "ignoredByScheduler": True}]
    with extender(answers) as server:
        chosen = config(
            {"urlPrefix": server.url, "filterVerb": "filter", "prioritizeVerb": "prioritize", "weight": 100,
             "nodeCacheCapable": True, "managedResources": managed}
        )  # fmt: skip
        async with scheduling(chosen) as admin:
            for name in "abcd":
                await node(admin, name, "4")
            await pod(admin, "plain", "100m")
            await until(admin, "plain", node_of)
            assert server.asked == []
            resources = {"requests": {"example.com/thing": "1"}, "limits": {"example.com/thing": "1"}}
            await pod(admin, "special", "100m", containers=[{"name": "c", "image": "app", "resources": resources}])
            assert node_of(await until(admin, "special", node_of)) == "c"
    assert server.verbs() == ["filter", "prioritize"]
    assert server.asked[0][1]["Pod"]["metadata"]["name"] == "special" and server.asked[0][1]["Nodes"] is None
    assert sorted(server.asked[1][1]["NodeNames"]) == ["b", "c", "d"]


async def test_a_pod_that_an_extender_refused_is_tried_again_after_any_change() -> None:
    open_nodes: set[str] = set()

    def answer(asked: Object) -> Object:
        items = asked["Nodes"]["items"]
        left = [found for found in items if found["metadata"]["name"] in open_nodes]
        refused = {found["metadata"]["name"]: "shut" for found in items if found not in left}
        return {"nodes": {"items": left}, "failedAndUnresolvableNodes": refused}

    with extender({"filter": answer}) as server:
        async with scheduling(config({"urlPrefix": server.url, "filterVerb": "filter"})) as admin:
            await node(admin, "a", "4")
            await pod(admin, "p", "1")
            refused = await until(admin, "p", lambda found: meta.condition(found, "PodScheduled"))
            said = (meta.condition(refused, "PodScheduled") or {})["message"]
            assert said.startswith("0/1 nodes are available: 1 shut.")
            open_nodes.add("a")
            await admin.patch(NODES, "a", {"metadata": {"labels": {"changed": "yes"}}})
            assert node_of(await until(admin, "p", node_of)) == "a"


async def test_an_extender_binds() -> None:
    loop = asyncio.get_running_loop()
    admins: list[Client] = []

    def bind(asked: Object) -> Object:
        binding = {
            "metadata": {"name": asked["PodName"], "uid": asked["PodUID"]},
            "target": {"kind": "Node", "name": asked["Node"]},
        }
        call = admins[0].create(PODS, binding, asked["PodNamespace"], name=asked["PodName"], subresource="binding")
        asyncio.run_coroutine_threadsafe(call, loop).result(5)
        return {}

    with extender({"bind": bind}) as server:
        async with scheduling(config({"urlPrefix": server.url, "bindVerb": "bind"})) as admin:
            admins.append(admin)
            await node(admin, "a", "4")
            await pod(admin, "p", "1")
            assert node_of(await until(admin, "p", node_of)) == "a"
    assert server.verbs() == ["bind"]


async def test_an_extender_chooses_who_must_leave() -> None:
    def preempt(asked: Object) -> Object:
        return {"NodeNameToMetaVictims": {"b": asked["NodeNameToMetaVictims"]["b"]}}

    chosen = {"preemptVerb": "preempt", "nodeCacheCapable": True}
    with extender({"preempt": preempt}) as server:
        async with scheduling(config({"urlPrefix": server.url, **chosen})) as admin:
            await admin.create(PRIORITYCLASSES, {"metadata": {"name": "high"}, "value": 1000})
            for name in "abc":
                await node(admin, name, "1")
                await pod(admin, f"low-{name}", "1")
                await until(admin, f"low-{name}", node_of)
            on_b = [meta.name(found) for found in (await admin.list(PODS, "ns"))["items"] if node_of(found) == "b"]
            await pod(admin, "high", "1", priorityClassName="high")
            assert node_of(await until(admin, "high", node_of)) == "b"
            left = {meta.name(found) for found in (await admin.list(PODS, "ns"))["items"]}
            assert on_b[0] not in left and len(left) == 3


async def test_an_extender_that_fails_stops_its_pods_unless_it_may_be_ignored() -> None:
    nowhere = {"urlPrefix": "http://127.0.0.1:9", "filterVerb": "filter"}
    async with scheduling(config(nowhere)) as admin:
        await node(admin, "a", "4")
        await pod(admin, "p", "1")
        refused = await until(admin, "p", lambda found: meta.condition(found, "PodScheduled"))
        condition = meta.condition(refused, "PodScheduled") or {}
        assert condition["reason"] == "SchedulerError" and 'Post "http://127.0.0.1:9/filter"' in condition["message"]
    async with scheduling(config({**nowhere, "ignorable": True})) as admin:
        await node(admin, "a", "4")
        await pod(admin, "p", "1")
        await until(admin, "p", node_of)


async def test_an_extender_is_trusted_by_its_authority(tmp_path: Path) -> None:
    def take_all(asked: Object) -> Object:
        return {"Nodes": asked["Nodes"]}

    with extender({"filter": take_all}, tls=certificate_in(tmp_path)) as server:
        bundle = base64.b64encode((tmp_path / "ca.pem").read_bytes()).decode()
        asked = {"urlPrefix": server.url, "filterVerb": "filter", "enableHTTPS": True}
        async with scheduling(config({**asked, "tlsConfig": {"caData": bundle}})) as admin:
            await node(admin, "a", "4")
            await pod(admin, "p", "1")
            await until(admin, "p", node_of)
    assert server.verbs() == ["filter"]
