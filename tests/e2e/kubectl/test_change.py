"""Small changes: labels, annotations, scale, ``expose``, ``set``, ``taint``, ``rollout``, ``delete``."""

import re
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE, OTHER_IMAGE, Namespace

pytestmark = pytest.mark.e2e


@pytest.fixture
def web(namespace: Namespace) -> Namespace:
    """A namespace with the ready deployment `web`."""
    namespace.kubectl("create", "deployment", "web", f"--image={IMAGE}", "--port=80")
    namespace.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    return namespace


def test_labels_and_annotations(namespace: Namespace) -> None:
    namespace.kubectl("create", "configmap", "a", "--from-literal=k=v")
    for command, field in (("label", "labels"), ("annotate", "annotations")):
        namespace.kubectl(command, "configmap", "a", "x=1", "y=2")
        assert "overwrite is false" in namespace.run(command, "configmap", "a", "x=2").stderr
        namespace.kubectl(command, "--overwrite", "configmap", "a", "x=2", "y-")
        assert namespace.get("configmap", "a")["metadata"][field] == {"x": "2"}
    assert "x=2" in namespace.kubectl("label", "configmap", "a", "--list")
    namespace.kubectl("label", "configmaps", "--all", "all=yes")
    assert "configmap/a" in namespace.kubectl("get", "configmap", "-l", "all=yes", "-o", "name")
    refused = namespace.run("label", "configmap", "a", "bad=-x")
    assert "a valid label must be an empty string or consist of alphanumeric characters" in refused.stderr


def test_scaling(web: Namespace) -> None:
    assert web.kubectl("scale", "deployment/web", "--replicas=3") == "deployment.apps/web scaled\n"
    web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert web.kubectl("get", "deployment", "web", "--no-headers").split()[1:4] == ["3/3", "3", "3"]
    refused = web.run("scale", "deployment/web", "--current-replicas=1", "--replicas=2")
    assert "Expected replicas to be 1, was 3" in refused.stderr
    web.kubectl("scale", "rs", "-l", "app=web", "--replicas=3")
    web.kubectl("autoscale", "deployment/web", "--min=1", "--max=3", "--cpu-percent=50")
    assert web.get("hpa", "web")["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] == 50
    assert "Deployment/web" in web.kubectl("describe", "hpa", "web")


def test_exposing(web: Namespace) -> None:
    web.kubectl("expose", "deployment", "web", "--name=by-deployment", "--target-port=8080")
    assert web.get("service", "by-deployment")["spec"]["ports"][0] == {
        "port": 80, "protocol": "TCP", "targetPort": 8080,
    }  # fmt: skip
    pod = web.kubectl("get", "pods", "-l", "app=web", "-o", "name").strip()
    web.kubectl("expose", pod, "--name=by-pod", "--port=80", "--type=NodePort")
    web.kubectl("expose", "service", "by-pod", "--name=again", "--port=81", "--session-affinity=ClientIP")
    assert web.get("service", "again")["spec"]["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"] == 10800
    web.kubectl("wait", "endpointslice", "-l", "kubernetes.io/service-name=again", "--for=create", "--timeout=10s")


def test_setting_parts_of_a_template(web: Namespace) -> None:
    web.kubectl("create", "configmap", "env", "--from-literal=FROM_MAP=1")
    web.kubectl("create", "serviceaccount", "robot")
    web.kubectl("set", "image", "deployment/web", f"*={OTHER_IMAGE}")
    web.kubectl("set", "env", "deployment/web", "A=1", "B=2")
    web.kubectl("set", "env", "deployment/web", "B-")
    web.kubectl("set", "env", "deployment/web", "--from=configmap/env", "--prefix=P_")
    web.kubectl("set", "resources", "deployment/web", "--limits=cpu=200m,memory=64Mi", "--requests=cpu=10m")
    web.kubectl("set", "serviceaccount", "deployment/web", "robot")
    spec = web.get("deployment", "web")["spec"]["template"]["spec"]
    container = spec["containers"][0]
    assert container["image"] == OTHER_IMAGE and spec["serviceAccountName"] == "robot"
    assert [e["name"] for e in container["env"]] == ["A", "P_FROM_MAP"]
    assert container["resources"] == {"limits": {"cpu": "200m", "memory": "64Mi"}, "requests": {"cpu": "10m"}}
    listed = web.kubectl("set", "env", "deployment/web", "--list", "--resolve")
    assert "A=1" in listed and "P_FROM_MAP=1" in listed
    web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    web.kubectl("create", "service", "clusterip", "s", "--tcp=80")
    web.kubectl("set", "selector", "service", "s", "app=web")
    web.kubectl("create", "rolebinding", "b", "--clusterrole=view", "--user=ann")
    web.kubectl("set", "subject", "rolebinding", "b", "--user=bob", "--serviceaccount=default:x")
    assert len(web.get("rolebinding", "b")["subjects"]) == 3


def revisions(namespace: Namespace, kind: str) -> list[str]:
    return re.findall(r"(?m)^(\d+) ", namespace.kubectl("rollout", "history", f"{kind}/web"))


def test_rollouts_of_a_deployment(web: Namespace) -> None:
    web.kubectl("rollout", "pause", "deployment/web")
    web.kubectl("set", "image", "deployment/web", f"box={OTHER_IMAGE}")
    assert "can't restart paused deployment" in web.run("rollout", "restart", "deployment/web").stderr
    web.kubectl("rollout", "resume", "deployment/web")
    assert "successfully rolled out" in web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    before = revisions(web, "deployment")
    assert OTHER_IMAGE in web.kubectl("rollout", "history", "deployment/web", f"--revision={before[-1]}")
    assert "rolled back" in web.kubectl("rollout", "undo", "deployment/web")
    web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    assert web.get("deployment", "web")["spec"]["template"]["spec"]["containers"][0]["image"] == IMAGE
    web.kubectl("rollout", "undo", "deployment/web", f"--to-revision={before[-1]}")
    web.kubectl("rollout", "restart", "deployment", "-l", "app=web")
    web.kubectl("rollout", "status", "deployment/web", "--timeout=30s")
    template = web.get("deployment", "web")["spec"]["template"]
    assert template["spec"]["containers"][0]["image"] == OTHER_IMAGE
    assert "kubectl.kubernetes.io/restartedAt" in template["metadata"]["annotations"]
    web.kubectl("set", "image", "deployment/web", "box=wherry.local/none:1")
    stuck = web.run("rollout", "status", "deployment/web", "--timeout=1s")
    assert stuck.returncode == 1 and "timed out" in stuck.stderr


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet"])
def test_rollouts_of_other_workloads(namespace: Namespace, kind: str) -> None:
    container = {"name": "box", "image": IMAGE}
    template: dict[str, Any] = {"metadata": {"labels": {"app": "web"}}}
    template["spec"] = {"containers": [container]}
    spec: dict[str, Any] = {"selector": {"matchLabels": {"app": "web"}}, "template": template}
    if kind == "StatefulSet":
        spec |= {"serviceName": "web", "replicas": 2}
    namespace.apply({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "web"}, "spec": spec})
    namespace.kubectl("rollout", "status", f"{kind}/web", "--timeout=30s")
    namespace.kubectl("set", "image", f"{kind}/web", f"box={OTHER_IMAGE}")
    namespace.kubectl("rollout", "status", f"{kind}/web", "--timeout=30s")
    assert revisions(namespace, kind) == ["1", "2"]
    namespace.kubectl("rollout", "undo", f"{kind}/web")
    namespace.kubectl("rollout", "status", f"{kind}/web", "--timeout=30s")
    images = namespace.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={..spec.containers[*].image}")
    assert set(images.split()) == {IMAGE}
    namespace.kubectl("rollout", "restart", f"{kind}/web")
    assert "Pods Status:" in namespace.kubectl("describe", kind, "web")


def test_deleting_by_name_label_and_file(namespace: Namespace) -> None:
    for name in ("a", "b", "c", "d"):
        namespace.kubectl("create", "configmap", name)
    namespace.kubectl("label", "configmap", "a", "b", "gone=soon")
    assert namespace.kubectl("delete", "configmap", "-l", "gone=soon").count("deleted") == 2
    assert 'configmap "c" deleted' in namespace.kubectl("delete", "configmap/c")
    text = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"d"}}'
    assert namespace.kubectl("delete", "-f", "-", "-o", "name", stdin=text) == "configmap/d\n"
    assert '"d" not found' in namespace.run("delete", "configmap", "d").stderr
    assert namespace.kubectl("delete", "configmap", "d", "--ignore-not-found") == ""
    namespace.kubectl("delete", "configmap", "--field-selector=metadata.name=kube-root-ca.crt")
    namespace.kubectl("wait", "configmap/kube-root-ca.crt", "--for=create", "--timeout=10s")


def test_cascades(web: Namespace) -> None:
    web.kubectl("delete", "deployment", "web", "--cascade=orphan")
    [replicaset] = web.get("rs")["items"]
    assert "ownerReferences" not in replicaset["metadata"]
    name = replicaset["metadata"]["name"]
    web.kubectl("delete", "rs", name, "--cascade=foreground")
    assert web.kubectl("get", "pods", "-l", "app=web", "-o", "name") == ""
    web.kubectl("create", "deployment", "web", f"--image={IMAGE}")
    web.kubectl("wait", "deployment/web", "--for=condition=Available", "--timeout=30s")
    web.kubectl("delete", "deployment", "web", "--cascade=background")
    web.kubectl("wait", "rs,pods", "-l", "app=web", "--for=delete", "--timeout=10s")


def test_deletion_with_grace_period_and_finalizer(namespace: Namespace) -> None:
    namespace.ready_pod("a", "sleep", "1d")
    assert 'pod "a" deleted' in namespace.kubectl("delete", "pod", "a", "--grace-period=1")
    namespace.kubectl("create", "configmap", "kept")
    namespace.kubectl("patch", "configmap", "kept", "-p", '{"metadata":{"finalizers":["example.com/keep"]}}')
    namespace.kubectl("delete", "configmap", "kept", "--wait=false")
    assert namespace.get("configmap", "kept")["metadata"]["deletionTimestamp"]
    namespace.kubectl("patch", "configmap", "kept", "--type=merge", "-p", '{"metadata":{"finalizers":null}}')
    assert "NotFound" in namespace.run("get", "configmap", "kept").stderr


def test_deleting_a_namespace_empties_it(namespace: Namespace) -> None:
    name = f"{namespace.name}-b"
    namespace.kubectl("create", "namespace", name)
    namespace.cluster.kubectl("-n", name, "create", "deployment", "d", f"--image={IMAGE}")
    namespace.cluster.kubectl("-n", name, "create", "configmap", "c")
    namespace.cluster.kubectl("-n", name, "wait", "deployment/d", "--for=condition=Available", "--timeout=30s")
    namespace.kubectl("delete", "namespace", name, "--timeout=60s")
    assert "NotFound" in namespace.run("get", "namespace", name).stderr
