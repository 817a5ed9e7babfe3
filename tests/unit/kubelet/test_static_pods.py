"""Static pods and their mirrors, over a fake runtime and API."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.unit.kubelet.fakes import NODE, Node
from wherry.api import meta
from wherry.api.resources import NODES, PODS
from wherry.client.client import Client
from wherry.kubelet.manifests import ManifestError, Manifests, make_pod
from wherry.kubelet.static_pods import StaticPods
from wherry.util import virtualtime
from wherry.util.tasks import Scope

MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {name: web}
spec:
  terminationGracePeriodSeconds: 5
  containers: [{name: app, image: "registry.test/app:1", command: [VERSION]}]
"""
NAME = f"web-{NODE}"


@pytest.fixture
def node(tmp_path: Path) -> Node:
    made = Node(tmp_path)
    made.images.add("registry.test/app:1")
    (tmp_path / "resolv.conf").write_text("nameserver 192.0.2.53\n")
    made.api.put({"apiVersion": "v1", "kind": "Node", "metadata": {"name": NODE}})
    return made


def write(node: Node, version: str = "one") -> None:
    directory = node.root / "state" / "manifests"
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "web.yaml").write_text(MANIFEST.replace("VERSION", version))


@asynccontextmanager
async def static_pods(node: Node, *, served: bool = True) -> AsyncIterator[StaticPods]:
    async with node.kubelet() as manager, Scope() as scope:
        static = StaticPods(
            Manifests(node.root / "state" / "manifests", NODE),
            client=Client(node.api),
            manager=manager,
            informer=manager.informer,
            scope=scope,
            node=lambda: node.api.get(NODES, NODE),
        )
        await static.start()
        scope.spawn(static.run())
        if served:
            static.show()
        yield static


def run(test: Coroutine[Any, Any, None]) -> None:
    virtualtime.run(test)


def mirror(node: Node) -> meta.Object | None:
    return node.api.get(PODS, f"default/{NAME}")


def ready(node: Node) -> bool:
    return mirror(node) is not None and node.condition("Ready", NAME) == "True"


def test_a_static_pod_runs_and_its_mirror_shows_it(node: Node) -> None:
    async def main() -> None:
        write(node)
        async with static_pods(node):
            await node.until(lambda: ready(node))
            found = mirror(node)
            assert found is not None
            marks = meta.annotations(found)
            assert marks["kubernetes.io/config.mirror"] == marks["kubernetes.io/config.hash"]
            assert marks["kubernetes.io/config.source"] == "file"
            assert found["metadata"]["ownerReferences"][0]["kind"] == "Node"

    run(main())


def test_static_pods_start_and_follow_their_files_without_the_server_and_are_shown_when_it_comes(node: Node) -> None:
    async def main() -> None:
        write(node)
        async with static_pods(node, served=False) as static:
            await node.until(lambda: node.runtime.running("app") is not None)
            write(node, "two")
            await node.until(lambda: node.runtime.log.count("start app") == 2)
            assert mirror(node) is None
            static.show()
            await node.until(lambda: ready(node))
            assert node.runtime.log.count("start app") == 2

    run(main())


def test_a_deleted_mirror_comes_back_and_the_containers_run_on(node: Node) -> None:
    async def main() -> None:
        write(node)
        async with static_pods(node):
            await node.until(lambda: ready(node))
            first = mirror(node)
            assert first is not None
            await Client(node.api).delete(PODS, NAME, "default")
            await node.until(lambda: ready(node) and meta.uid(mirror(node) or first) != meta.uid(first))
            assert len(node.runtime.named("app")) == 1

    run(main())


def test_a_changed_manifest_ends_the_pod_before_the_new_one_starts(node: Node) -> None:
    async def main() -> None:
        write(node)
        node.runtime.stop_delay["app"] = 3.0
        async with static_pods(node):
            await node.until(lambda: ready(node))
            write(node, "two")
            await node.until(lambda: ready(node) and node.runtime.log.count("start app") == 2)
            log = [entry for entry in node.runtime.log if entry in ("start app", "stop app")]
            assert log == ["start app", "stop app", "start app"]
            assert (mirror(node) or {})["spec"]["containers"][0]["command"] == ["two"]
            (node.root / "state" / "manifests" / "web.yaml").unlink()
            await node.until(lambda: mirror(node) is None and node.runtime.running("app") is None)

    run(main())


def test_a_static_pod_survives_a_restart_of_the_node_process(node: Node) -> None:
    async def main() -> None:
        write(node)
        async with static_pods(node):
            await node.until(lambda: ready(node))
            first = mirror(node)
        async with static_pods(node):
            await node.until(lambda: ready(node))
            assert meta.uid(mirror(node) or {}) == meta.uid(first or {})
            assert len(node.runtime.named("app")) == 1

    run(main())


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("  serviceAccountName: robot", "serviceaccounts"),
        ("  volumes: [{name: v, secret: {secretName: s}}]", "secrets"),
        ("  restartPolicy: Sometimes", "spec.restartPolicy"),
    ],
)
def test_a_manifest_that_cannot_be_static_is_refused(line: str, why: str) -> None:
    with pytest.raises(ManifestError, match=why):
        make_pod(f"{MANIFEST}{line}\n".encode(), "/m/web.yaml", node_name=NODE)
