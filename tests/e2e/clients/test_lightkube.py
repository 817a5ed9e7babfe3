"""lightkube: models, server-side apply, waiting, generic resources, exec."""

import pytest

from tests.e2e.cluster import IMAGE, Cluster, Namespace

lightkube = pytest.importorskip("lightkube", reason="needs the dependency group clients")

from lightkube.core.exceptions import ApiError  # noqa: E402
from lightkube.generic_resource import create_namespaced_resource, load_in_cluster_generic_resources  # noqa: E402
from lightkube.models.apps_v1 import DeploymentSpec  # noqa: E402
from lightkube.models.core_v1 import Container, PodSpec, PodTemplateSpec  # noqa: E402
from lightkube.models.meta_v1 import LabelSelector, ObjectMeta  # noqa: E402
from lightkube.resources.apps_v1 import Deployment  # noqa: E402
from lightkube.resources.core_v1 import ConfigMap, Pod  # noqa: E402
from lightkube.types import PatchType  # noqa: E402

pytestmark = pytest.mark.e2e


def client(namespace: Namespace) -> "lightkube.Client":
    config = lightkube.KubeConfig.from_file(namespace.cluster.kubeconfig)
    return lightkube.Client(config=config, namespace=namespace.name, field_manager="lightkube")


def test_objects_patches_and_lists(namespace: Namespace) -> None:
    api = client(namespace)
    for name in "abc":
        api.create(ConfigMap(metadata=ObjectMeta(name=name, labels={"set": "one"}), data={"k": name}))
    assert [c.metadata.name for c in api.list(ConfigMap, labels={"set": "one"}, chunk_size=1)] == ["a", "b", "c"]
    assert [c.metadata.name for c in api.list(ConfigMap, fields={"metadata.name": "b"})] == ["b"]
    api.patch(ConfigMap, "a", {"data": {"x": "1"}}, patch_type=PatchType.MERGE)
    api.patch(ConfigMap, "a", [{"op": "remove", "path": "/data/k"}], patch_type=PatchType.JSON)
    applied = api.apply(ConfigMap(metadata=ObjectMeta(name="a"), data={"y": "2"}), field_manager="other")
    assert applied.data == {"x": "1", "y": "2"}
    api.deletecollection(ConfigMap)
    with pytest.raises(ApiError) as missing:
        api.get(ConfigMap, "a")
    assert (missing.value.status.reason, missing.value.status.code) == ("NotFound", 404)


def test_a_deployment_becomes_available_and_is_watched(namespace: Namespace) -> None:
    api = client(namespace)
    template = PodTemplateSpec(
        metadata=ObjectMeta(labels={"app": "d"}), spec=PodSpec(containers=[Container(name="c", image=IMAGE)])
    )
    spec = DeploymentSpec(replicas=1, selector=LabelSelector(matchLabels={"app": "d"}), template=template)
    api.create(Deployment(metadata=ObjectMeta(name="d"), spec=spec))
    api.wait(Deployment, "d", for_conditions=["Available"])
    scale = api.get(Deployment.Scale, "d")
    scale.spec.replicas = 0
    api.replace(scale, "d")
    for kind, found in api.watch(Deployment, fields={"metadata.name": "d"}):
        assert kind in ("ADDED", "MODIFIED")
        if not found.status.replicas:
            break


def test_exec_and_logs(served: Namespace) -> None:
    api = client(served)
    assert list(api.log("web")) == ["began\n"]
    command = ["sh", "-c", "cat; echo err >&2; exit 3"]
    done = api.exec("web", command=command, stdin="in", stdout=True, stderr=True, timeout=10)
    assert (done.stdout, done.stderr, done.exit_code) == ("in", "err\n", 3)
    assert api.get(Pod, "web").status.phase == "Running"


def test_custom_resources(boats: Cluster, namespace: Namespace) -> None:
    api = client(namespace)
    load_in_cluster_generic_resources(api)
    kind = create_namespaced_resource("example.com", "v1", "Boat", "boats")
    api.create(kind(metadata=ObjectMeta(name="a"), spec={"oars": 2}))
    api.patch(kind.Status, "a", {"status": {"afloat": True}}, patch_type=PatchType.MERGE)
    found = api.get(kind, "a")
    assert (found["spec"], found["status"]) == ({"oars": 2}, {"afloat": True})
