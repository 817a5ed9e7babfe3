"""The official Python client: typed and dynamic objects, watches, streams, informer, leader election."""

import json
import threading
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE, Cluster, Namespace

kubernetes = pytest.importorskip("kubernetes", reason="needs the dependency group clients")

from kubernetes import client, dynamic, utils, watch  # noqa: E402
from kubernetes.client.exceptions import ApiException  # noqa: E402
from kubernetes.informer import SharedInformer  # noqa: E402
from kubernetes.leaderelection import electionconfig  # noqa: E402
from kubernetes.leaderelection.leaderelection import LeaderElection  # noqa: E402
from kubernetes.leaderelection.resourcelock.leaselock import LeaseLock  # noqa: E402
from kubernetes.stream import portforward, stream  # noqa: E402
from kubernetes.stream.ws_client import create_websocket  # noqa: E402

pytestmark = pytest.mark.e2e


@pytest.fixture
def api(cluster: Cluster) -> Any:
    """The client, configured from the cluster's kubeconfig."""
    kubernetes.config.load_kube_config(str(cluster.kubeconfig))
    with client.ApiClient() as made:
        yield made


def configmap(name: str, **data: str) -> Any:
    return client.V1ConfigMap(metadata=client.V1ObjectMeta(name=name, labels={"set": "one"}), data=data)


def test_objects_are_created_read_paged_patched_and_deleted(api: Any, namespace: Namespace) -> None:
    core = client.CoreV1Api(api)
    for number in range(5):
        core.create_namespaced_config_map(namespace.name, configmap(f"c{number}", n=str(number)))
    pages, token = [], None
    while token != "":
        page = core.list_namespaced_config_map(namespace.name, limit=2, label_selector="set=one", _continue=token)
        pages.append([item.metadata.name for item in page.items])
        token = page.metadata._continue or ""
    assert pages == [["c0", "c1"], ["c2", "c3"], ["c4"]]
    core.patch_namespaced_config_map("c0", namespace.name, {"data": {"n": None, "m": "1"}})
    core.patch_namespaced_config_map("c0", namespace.name, [{"op": "add", "path": "/data/j", "value": "2"}])
    found = core.read_namespaced_config_map("c0", namespace.name)
    assert found.data == {"m": "1", "j": "2"} and found.metadata.creation_timestamp.tzinfo is not None
    stale, found.data = found.metadata.resource_version, {"k": "3"}
    assert core.replace_namespaced_config_map("c0", namespace.name, found).data == {"k": "3"}
    found.metadata.resource_version = stale
    with pytest.raises(ApiException) as conflict:
        core.replace_namespaced_config_map("c0", namespace.name, found)
    assert conflict.value.status == 409
    core.delete_collection_namespaced_config_map(namespace.name, label_selector="set=one")
    assert not core.list_namespaced_config_map(namespace.name, label_selector="set=one").items


def test_a_deployment_from_the_clients_models_rolls_out(api: Any, namespace: Namespace) -> None:
    apps = client.AppsV1Api(api)
    labels = {"app": "d"}
    template = client.V1PodTemplateSpec(
        metadata=client.V1ObjectMeta(labels=labels),
        spec=client.V1PodSpec(containers=[client.V1Container(name="c", image=IMAGE)]),
    )
    spec = client.V1DeploymentSpec(replicas=1, selector=client.V1LabelSelector(match_labels=labels), template=template)
    body = client.V1Deployment(metadata=client.V1ObjectMeta(name="d"), spec=spec)
    apps.create_namespaced_deployment(namespace.name, body)
    watcher = watch.Watch()
    for event in watcher.stream(apps.list_namespaced_deployment, namespace.name, timeout_seconds=20):
        if event["object"].status.available_replicas == 1:
            watcher.stop()
    apps.patch_namespaced_deployment_scale("d", namespace.name, {"spec": {"replicas": 0}})
    assert apps.read_namespaced_deployment("d", namespace.name).spec.replicas == 0


def test_a_watch_goes_on_where_the_list_ended(api: Any, namespace: Namespace) -> None:
    core = client.CoreV1Api(api)
    core.create_namespaced_config_map(namespace.name, configmap("before"))
    version = core.list_namespaced_config_map(namespace.name).metadata.resource_version
    core.create_namespaced_config_map(namespace.name, configmap("a"))
    core.patch_namespaced_config_map("a", namespace.name, {"data": {"x": "1"}})
    core.delete_namespaced_config_map("a", namespace.name)
    arguments = {"label_selector": "set=one", "resource_version": version, "timeout_seconds": 1}
    events = watch.Watch().stream(core.list_namespaced_config_map, namespace.name, **arguments)
    shown = [(event["type"], event["object"].metadata.name) for event in events]
    assert shown == [("ADDED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]


def test_exec_logs_and_port_forward(api: Any, served: Namespace) -> None:
    core = client.CoreV1Api(api)
    run = core.connect_get_namespaced_pod_exec
    streams = {"stdin": False, "stdout": True, "stderr": True, "tty": False}
    with pytest.raises(ApiException) as plain:
        run("web", served.name, command=["echo", "hi"], **streams)
    assert (plain.value.status, json.loads(plain.value.body)["message"]) == (400, "Upgrade request required")
    assert stream(run, "web", served.name, command=["echo", "hi"], **streams) == "hi\n"
    session = stream(
        run, "web", served.name, command=["sh"], _preload_content=False, stdin=True, stdout=True, stderr=True, tty=False
    )
    session.write_stdin("echo got; echo bad >&2; exit 4\n")
    session.run_forever(timeout=10)
    assert (session.read_stdout(), session.read_stderr(), session.returncode) == ("got\n", "bad\n", 4)
    assert core.read_namespaced_pod_log("web", served.name) == "began\n"
    follow = core.read_namespaced_pod_log("web", served.name, follow=True, _preload_content=False)
    assert next(iter(follow.stream())).startswith(b"began")
    follow.close()
    host = api.configuration.host.replace("https", "wss")
    url = f"{host}/api/v1/namespaces/{served.name}/pods/web/log"
    socket = create_websocket(api.configuration, url, {"sec-websocket-protocol": "binary.k8s.io"})
    assert b"".join(iter(socket.recv, "")) == b"began\n"
    forward = portforward(core.connect_get_namespaced_pod_portforward, "web", served.name, ports="8080")
    connection = forward.socket(8080)
    connection.setblocking(True)
    connection.sendall(b"GET /index.html HTTP/1.0\r\n\r\n")
    assert b"hello" in b"".join(iter(lambda: connection.recv(1024), b""))
    assert forward.error(8080) is None


def test_custom_objects_and_the_dynamic_client(api: Any, boats: Cluster, namespace: Namespace) -> None:
    custom = client.CustomObjectsApi(api)
    where = ("example.com", "v1", namespace.name, "boats")
    body: Any = {"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": "a"}, "spec": {"oars": 2}}
    custom.create_namespaced_custom_object(*where, body)
    custom.patch_namespaced_custom_object(*where, "a", {"spec": {"colour": "red"}})
    custom.patch_namespaced_custom_object_status(*where, "a", {"status": {"afloat": True}})
    custom.patch_namespaced_custom_object_scale(*where, "a", {"spec": {"replicas": 4}})
    kind = dynamic.DynamicClient(api).resources.get(api_version="example.com/v1", kind="Boat")
    found = kind.get(name="a", namespace=namespace.name)
    assert (found.spec.oars, found.spec.colour, found.status.afloat) == (4, "red", True)
    applied = kind.server_side_apply(
        namespace=namespace.name, name="b", body=body | {"metadata": {"name": "b"}}, field_manager="test"
    )
    assert applied.metadata.managedFields[0].manager == "test"
    with pytest.raises(ApiException) as refused:
        custom.create_namespaced_custom_object(*where, body | {"metadata": {"name": "c"}, "spec": {"oars": -1}})
    assert refused.value.status == 422 and "should be greater than or equal to 0" in refused.value.body
    events = kind.watch(namespace=namespace.name, timeout=1)
    assert [(event["type"], event["object"].metadata.name) for event in events] == [("ADDED", "a"), ("ADDED", "b")]


def test_creating_from_a_document_of_many_objects(api: Any, namespace: Namespace) -> None:
    objects = [
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}},
    ]
    for obj in objects:
        utils.create_from_dict(api, obj, namespace=namespace.name)
    with pytest.raises(utils.FailToCreateError, match="already exists"):
        utils.create_from_dict(api, objects[1], namespace=namespace.name)


def test_the_informer_follows(api: Any, namespace: Namespace) -> None:
    core = client.CoreV1Api(api)
    seen = {kind: threading.Event() for kind in ("ADDED", "MODIFIED", "DELETED")}
    informer = SharedInformer(core.list_namespaced_config_map, namespace=namespace.name, label_selector="set=one")
    for kind, event in seen.items():
        informer.add_event_handler(kind, lambda obj, event=event: event.set())
    informer.start()
    try:
        core.create_namespaced_config_map(namespace.name, configmap("a"))
        assert seen["ADDED"].wait(10)
        core.patch_namespaced_config_map("a", namespace.name, {"data": {"x": "1"}})
        assert seen["MODIFIED"].wait(10)
        assert informer.cache.get_by_key(f"{namespace.name}/a").data == {"x": "1"}
        core.delete_namespaced_config_map("a", namespace.name)
        assert seen["DELETED"].wait(10)
    finally:
        informer.stop()


def test_leader_election_by_lease(api: Any, namespace: Namespace) -> None:
    led, ended = threading.Event(), threading.Event()
    lock = LeaseLock("leader", namespace.name, "me")
    config = electionconfig.Config(
        lock, lease_duration=3, renew_deadline=2, retry_period=1, onstarted_leading=led.set, onstopped_leading=ended.set
    )
    threading.Thread(target=LeaderElection(config).run, daemon=True).start()
    assert led.wait(10)
    lease = client.CoordinationV1Api(api).read_namespaced_lease("leader", namespace.name)
    assert lease.spec.holder_identity == "me"
    taken = {"spec": {"holderIdentity": "other", "renewTime": "2100-01-01T00:00:00.000000Z"}}
    client.CoordinationV1Api(api).patch_namespaced_lease("leader", namespace.name, taken)
    assert ended.wait(20)
