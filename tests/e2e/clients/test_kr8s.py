"""kr8s: objects that act, lookups by kind, exec and port-forward."""

import httpx
import pytest

from tests.e2e.cluster import IMAGE, Cluster, Namespace

kr8s = pytest.importorskip("kr8s", reason="needs the dependency group clients")

from kr8s.asyncio import api as connect  # noqa: E402
from kr8s.asyncio.objects import ConfigMap, Deployment, Pod, new_class, object_from_spec  # noqa: E402

pytestmark = [pytest.mark.e2e, pytest.mark.filterwarnings("ignore:Kubernetes version:UserWarning")]


async def client(namespace: Namespace) -> "kr8s.asyncio.Api":
    return await connect(kubeconfig=str(namespace.cluster.kubeconfig), namespace=namespace.name)


async def test_objects(namespace: Namespace) -> None:
    api = await client(namespace)
    obj = await ConfigMap({"metadata": {"name": "a", "namespace": namespace.name}, "data": {"k": "v"}}, api=api)
    await obj.create()
    await obj.label({"set": "one"})
    await obj.annotate({"note": "x"})
    await obj.patch({"data": {"x": "1"}})
    [found] = [item async for item in api.get("configmaps", namespace=namespace.name, label_selector="set=one")]
    assert found.raw["data"] == {"k": "v", "x": "1"}
    version = await api.version()
    assert version["minor"] == "36"
    await obj.delete()
    await obj.wait("delete", timeout=10)
    assert not await obj.exists()
    assert await api.whoami() == "kubernetes-admin"


async def test_a_deployment_is_scaled_and_waited_for(namespace: Namespace) -> None:
    api = await client(namespace)
    spec = {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "d"}},
        "template": {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}},
    }
    deployment = await Deployment({"metadata": {"name": "d", "namespace": namespace.name}, "spec": spec}, api=api)
    await deployment.create()
    await deployment.wait("condition=Available", timeout=30)
    await deployment.scale(2)
    await deployment.refresh()
    await deployment.wait("jsonpath='{.status.readyReplicas}'=2", timeout=30)
    assert deployment.replicas == 2
    pods = [pod async for pod in api.get("pods", namespace=namespace.name, label_selector={"app": "d"})]
    assert all(isinstance(pod, Pod) for pod in pods) and len(pods) == 2


def test_exec_logs_and_port_forward(served: Namespace) -> None:
    api = kr8s.api(kubeconfig=str(served.cluster.kubeconfig))
    pod = kr8s.objects.Pod.get("web", namespace=served.name, api=api)
    assert list(pod.logs()) == ["began"]
    done = pod.exec(["sh", "-c", "echo out; echo err >&2; exit 6"], check=False)
    assert (done.stdout, done.stderr, done.returncode) == (b"out\n", b"err\n", 6)
    with pod.portforward(remote_port=8080) as port:
        assert httpx.get(f"http://127.0.0.1:{port}/index.html").text == "hello\n"


async def test_custom_resources(boats: Cluster, namespace: Namespace) -> None:
    api = await client(namespace)
    kind = new_class(kind="Boat", version="example.com/v1", namespaced=True, scalable=True, scalable_spec="oars")
    spec = {"metadata": {"name": "a", "namespace": namespace.name}, "spec": {"oars": 2}}
    boat = await kind(spec, api=api)
    await boat.create()
    await boat.patch({"status": {"afloat": True}}, subresource="status")
    await boat.scale(5)
    await boat.refresh()
    assert (boat.spec.oars, boat.status.afloat) == (5, True)
    same = await object_from_spec({"apiVersion": "example.com/v1", "kind": "Boat"} | spec, api=api)
    assert same.plural == "boats"
