"""kubernetes-asyncio: the official client's API over aiohttp."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.cluster import Cluster, Namespace

kubernetes_asyncio = pytest.importorskip("kubernetes_asyncio", reason="needs the dependency group clients")

from kubernetes_asyncio import client, config, dynamic, watch  # noqa: E402
from kubernetes_asyncio.stream import WsApiClient  # noqa: E402
from kubernetes_asyncio.stream.ws_client import ERROR_CHANNEL, STDERR_CHANNEL, STDOUT_CHANNEL  # noqa: E402

pytestmark = pytest.mark.e2e


@pytest.fixture
async def api(cluster: Cluster) -> AsyncIterator[Any]:
    """The client, configured from the cluster's kubeconfig."""
    await config.load_kube_config(str(cluster.kubeconfig))
    async with client.ApiClient() as made:
        yield made


async def test_objects_and_watches(api: Any, namespace: Namespace) -> None:
    core = client.CoreV1Api(api)
    metadata = client.V1ObjectMeta(name="a", labels={"set": "one"})
    made = await core.create_namespaced_config_map(namespace.name, client.V1ConfigMap(metadata=metadata))
    version = made.metadata.resource_version
    await core.patch_namespaced_config_map("a", namespace.name, {"data": {"x": "1"}})
    await core.delete_namespaced_config_map("a", namespace.name)
    async with watch.Watch().stream(
        core.list_namespaced_config_map, namespace.name, resource_version=version, timeout_seconds=1
    ) as events:
        shown = [(event["type"], event["object"].metadata.name) async for event in events]
    assert shown == [("MODIFIED", "a"), ("DELETED", "a")]


async def test_exec_over_a_websocket(api: Any, served: Namespace) -> None:
    async with WsApiClient() as sockets:
        core = client.CoreV1Api(sockets)
        command = ["sh", "-c", "echo out; echo err >&2; exit 5"]
        streams = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
        run = core.connect_get_namespaced_pod_exec
        answer = await run("web", served.name, command=command, _preload_content=False, **streams)
        output: dict[int, str] = {}
        async with answer as socket:
            async for message in socket:
                output[message.data[0]] = output.get(message.data[0], "") + message.data[1:].decode()
        assert (output[STDOUT_CHANNEL], output[STDERR_CHANNEL]) == ("out\n", "err\n")
        assert WsApiClient.parse_error_data(output[ERROR_CHANNEL]) == 5
        assert (await run("web", served.name, command=["echo", "hi"], **streams)).strip() == "hi"


async def test_the_dynamic_client_knows_custom_resources(api: Any, boats: Cluster, namespace: Namespace) -> None:
    kinds = await dynamic.DynamicClient(api)
    kind = await kinds.resources.get(api_version="example.com/v1", kind="Boat")
    body = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "a"}, "spec": {"oars": 2}}
    await kind.create(body=body, namespace=namespace.name)
    await kind.patch(
        body={"spec": {"oars": 3}}, name="a", namespace=namespace.name, content_type="application/merge-patch+json"
    )
    assert (await kind.get(name="a", namespace=namespace.name)).spec.oars == 3
    await kind.delete(name="a", namespace=namespace.name)
