"""What an administrator does: nodes, certificates, access, tokens, discovery, kubeconfigs."""

import base64
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import IMAGE, Cluster, Namespace
from wherry.util import clock

pytestmark = pytest.mark.e2e

NODE = "node-a"


@pytest.fixture
def node(namespace: Namespace) -> Iterator[Namespace]:
    """A namespace; afterwards the node takes pods again."""
    yield namespace
    namespace.kubectl("uncordon", NODE)
    namespace.run("taint", "node", NODE, "key-")


def test_draining_a_node(node: Namespace) -> None:
    node.kubectl("create", "deployment", "d", f"--image={IMAGE}")
    node.kubectl("rollout", "status", "deploy/d", "--timeout=30s")
    node.kubectl("run", "bare", f"--image={IMAGE}")
    node.kubectl("wait", "pod/bare", "--for=condition=Ready", "--timeout=30s")
    select = ("--pod-selector=app in (d)", "--ignore-daemonsets", "--timeout=30s")
    assert f"node/{NODE} cordoned" in node.kubectl("cordon", NODE)
    assert "SchedulingDisabled" in node.kubectl("get", "node", NODE)
    refused = node.run("drain", NODE, "--pod-selector=run=bare", "--dry-run=server")
    assert "cannot delete Pods that declare no controller" in refused.stderr
    assert f"node/{NODE} drained" in node.kubectl("drain", NODE, *select)
    node.kubectl("wait", "pod", "-l", "app=d", "--for=condition=PodScheduled=false", "--timeout=10s")
    assert "were unschedulable" in node.kubectl("events")
    node.kubectl("uncordon", NODE)
    node.kubectl("wait", "pod", "-l", "app=d", "--for=condition=Ready", "--timeout=30s")


def test_a_disruption_budget_refuses_an_eviction(node: Namespace) -> None:
    node.kubectl("create", "deployment", "d", f"--image={IMAGE}")
    node.kubectl("create", "pdb", "d", "--selector=app=d", "--min-available=1")
    node.kubectl("rollout", "status", "deploy/d", "--timeout=30s")
    node.kubectl("wait", "pdb/d", "--for=jsonpath={.status.currentHealthy}=1", "--timeout=10s")
    name = node.kubectl("get", "pods", "-l", "app=d", "-o", "jsonpath={.items[0].metadata.name}")
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}
    path = f"/api/v1/namespaces/{node.name}/pods/{name}/eviction"
    refused = node.run("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    assert refused.returncode == 1 and "would violate the pod's disruption budget" in refused.stderr


def test_taints_keep_pods_away(node: Namespace) -> None:
    assert "tainted" in node.kubectl("taint", "node", NODE, "key=value:NoSchedule")
    node.kubectl("run", "a", f"--image={IMAGE}")
    node.kubectl("wait", "pod/a", "--for=condition=PodScheduled=false", "--timeout=10s")
    assert "had untolerated taint" in node.kubectl("describe", "pod", "a")
    node.kubectl("taint", "node", NODE, "key:NoSchedule-")
    node.kubectl("wait", "pod/a", "--for=condition=Ready", "--timeout=30s")


def test_certificates_are_signed_after_approval(namespace: Namespace, tmp_path: Path) -> None:
    key, request = tmp_path / "key", tmp_path / "csr"
    command = ["openssl", "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subject = ["-subj", "/O=staff/CN=ann", "-keyout", str(key), "-out", str(request)]
    subprocess.run([*command, *subject], check=True, capture_output=True)
    names = [f"{namespace.name}-{verb}" for verb in ("yes", "no")]
    for name in names:
        spec = {"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"]}
        spec["request"] = base64.b64encode(request.read_bytes()).decode()
        kind = {"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest"}
        namespace.apply(kind | {"metadata": {"name": name}, "spec": spec})
    try:
        assert "approved" in namespace.kubectl("certificate", "approve", names[0])
        assert "denied" in namespace.kubectl("certificate", "deny", names[1])
        namespace.kubectl("wait", f"csr/{names[0]}", "--for=jsonpath={.status.certificate}", "--timeout=10s")
        shown = namespace.kubectl("get", "csr", *names, "--no-headers").splitlines()
        assert [line.split()[-1] for line in shown] == ["Approved,Issued", "Denied"]
        certificate = base64.b64decode(namespace.get("csr", names[0])["status"]["certificate"])
        (tmp_path / "crt").write_bytes(certificate)
        credentials = (f"--client-certificate={tmp_path / 'crt'}", f"--client-key={key}")
        env = {"KUBECONFIG": namespace.cluster.stranger()}
        who = namespace.kubectl(*credentials, "auth", "whoami", "-o", "json", env=env)
        assert json.loads(who)["status"]["userInfo"]["username"] == "ann"
    finally:
        namespace.kubectl("delete", "csr", *names)


def test_access_questions(namespace: Namespace) -> None:
    namespace.kubectl("create", "serviceaccount", "robot")
    user = f"--as=system:serviceaccount:{namespace.name}:robot"
    assert namespace.run("auth", "can-i", "get", "pods", user).stdout == "no\n"
    namespace.kubectl("create", "rolebinding", "b", "--clusterrole=view", f"--serviceaccount={namespace.name}:robot")
    assert namespace.kubectl("auth", "can-i", "get", "pods", user) == "yes\n"
    assert namespace.run("auth", "can-i", "create", "pods", user).returncode == 1
    assert namespace.run("auth", "can-i", "get", "pods", "--subresource=log", user).stdout == "yes\n"
    listed = namespace.kubectl("auth", "can-i", "--list", user)
    assert "selfsubjectreviews.authentication.k8s.io" in listed and "configmaps" in listed
    assert "system:masters" in namespace.kubectl("auth", "whoami")
    refused = namespace.run("create", "configmap", "x", user).stderr
    assert f'User "{user[5:]}" cannot create resource "configmaps" in API group ""' in refused
    role = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "r", "namespace": namespace.name},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}],
    }
    assert "reconciled" in namespace.kubectl("auth", "reconcile", "-f", "-", stdin=json.dumps(role))


def test_tokens_work_and_end_with_what_they_are_bound_to(namespace: Namespace) -> None:
    namespace.kubectl("create", "serviceaccount", "robot")
    namespace.kubectl("create", "secret", "generic", "bound")
    arguments = ("--bound-object-kind=Secret", "--bound-object-name=bound", "--duration=10m")
    token = namespace.kubectl("create", "token", "robot", *arguments).strip()
    env = {"KUBECONFIG": namespace.cluster.stranger()}
    who = (f"--token={token}", "auth", "whoami", "-o", "jsonpath={.status.userInfo.username}")
    assert namespace.kubectl(*who, env=env) == f"system:serviceaccount:{namespace.name}:robot"
    namespace.kubectl("delete", "secret", "bound")
    assert "must be logged in" in namespace.run(*who, env=env).stderr
    too_short = namespace.run("create", "token", "robot", "--duration=1m")
    assert "may not specify a duration less than 10 minutes" in too_short.stderr


def test_discovery(cluster: Cluster) -> None:
    listed = cluster.kubectl("api-resources", "--api-group=", "-o", "wide", "--no-headers", "--sort-by=name")
    [pods] = [line.split() for line in listed.splitlines() if line.startswith("pods ")]
    assert pods == [
        "pods",
        "po",
        "v1",
        "true",
        "Pod",
        "create,delete,deletecollection,get,list,patch,update,watch",
        "all",
    ]
    assert cluster.kubectl("api-resources", "--namespaced=false", "-o", "name").count("\n") > 20
    assert "deployments.apps" in cluster.kubectl("api-resources", "--api-group=apps", "-o", "name")
    versions = cluster.kubectl("api-versions").split()
    assert {"v1", "apps/v1", "rbac.authorization.k8s.io/v1", "apiregistration.k8s.io/v1"} <= set(versions)
    assert "Server Version: v1.36" in cluster.kubectl("version")
    assert json.loads(cluster.kubectl("version", "-o", "json"))["serverVersion"]["minor"] == "36"
    assert "control plane" in cluster.kubectl("cluster-info")
    for path in ("healthz", "livez?verbose", "readyz?verbose", "openapi/v2?timeout=32s", "openapi/v3", "version"):
        assert cluster.kubectl("get", "--raw", f"/{path}")


def test_a_dump_of_the_cluster(namespace: Namespace, tmp_path: Path) -> None:
    namespace.ready_pod("a", "sh", "-c", "echo logged; sleep 1d")
    namespace.kubectl("cluster-info", "dump", f"--namespaces={namespace.name}", f"--output-directory={tmp_path}")
    assert (tmp_path / "nodes.json").exists()
    assert (tmp_path / namespace.name / "a" / "logs.txt").read_text().splitlines()[1] == "logged"
    namespace.kubectl("delete", "pod", "a", "--grace-period=0", "--force")


def test_usage_is_shown(namespace: Namespace) -> None:
    namespace.ready_pod("a")
    assert NODE in namespace.kubectl("top", "nodes", "--no-headers")
    for _ in range(100):
        done = namespace.run("top", "pod", "a", "--containers", "--no-headers")
        if done.returncode == 0:
            break
        clock.block(0.2)
    assert done.stdout.split()[:2] == ["a", "a"], done.stderr


def test_kubeconfig_commands(cluster: Cluster, tmp_path: Path) -> None:
    env = {"KUBECONFIG": str(tmp_path / "config")}
    (tmp_path / "config").write_text(cluster.kubectl("config", "view", "--raw"))
    context = cluster.kubectl("config", "current-context", env=env).strip()
    assert context == f"wherry-{cluster.name}"
    cluster.kubectl("config", "set-context", "--current", "--namespace=kube-system", env=env)
    assert cluster.kubectl("config", "view", "--minify", "-o", "jsonpath={..namespace}", env=env) == "kube-system"
    assert "extension-apiserver-authentication" in cluster.kubectl("get", "configmap", env=env)
    cluster.kubectl("config", "rename-context", context, "other", env=env)
    assert "other" in cluster.kubectl("config", "get-contexts", "-o", "name", env=env)
    assert "REDACTED" in cluster.kubectl("config", "view", env=env) or "DATA+OMITTED" in cluster.kubectl(
        "config", "view", env=env
    )


def test_plugins_are_found(cluster: Cluster, tmp_path: Path) -> None:
    plugin = tmp_path / "kubectl-hello"
    plugin.write_text("#!/bin/sh\necho hello $*\n")
    plugin.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{cluster.environment['PATH']}"}
    assert str(plugin) in cluster.kubectl("plugin", "list", env=env)
    assert cluster.kubectl("hello", "you", env=env) == "hello you\n"
