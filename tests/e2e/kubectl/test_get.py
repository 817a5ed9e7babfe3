"""``kubectl get``, ``describe``, ``explain``, ``events`` and ``wait``: how objects are read."""

import json
import re

import pytest

from tests.e2e.cluster import IMAGE, Namespace
from tests.e2e.conformance.world import eventually

pytestmark = pytest.mark.e2e

NOT_DESCRIBED = {
    # kubectl 1.32 asks for these in a version that 1.36 no longer serves
    "ipaddresses.networking.k8s.io",
    "servicecidrs.networking.k8s.io",
}


@pytest.fixture
def three(namespace: Namespace) -> Namespace:
    """A namespace with the configmaps a, b and c."""
    for name, size, team in (("b", "2", "red"), ("c", "10", "blue"), ("a", "30", "red")):
        namespace.kubectl("create", "configmap", name, f"--from-literal=size={size}")
        namespace.kubectl("label", "configmap", name, f"team={team}")
    return namespace


OUTPUTS = {
    "-o name -l team=red": "configmap/a configmap/b",
    "-o name -l team!=red,team": "configmap/c",
    "-o name -l team in (blue,green)": "configmap/c",
    "-o name --field-selector=metadata.name=b": "configmap/b",
    "-l team -o jsonpath={.items[*].metadata.name}": "a b c",
    "-l team -o jsonpath={range .items[*]}{.data.size};{end}": "30;2;10;",
    "-l team -o jsonpath={.items[?(@.data.size=='10')].metadata.name}": "c",
    "-l team -o go-template={{range .items}}{{.metadata.name}}{{end}}": "abc",
    "-l team -o custom-columns=N:.metadata.name,S:.data.size --no-headers": "a 30 b 2 c 10",
    "-l team -o custom-columns=N:.metadata.name --sort-by=.data.size --no-headers": "b c a",
    "-l team=blue -L team,none --no-headers": "c 1 0s blue",
    "-l team=blue --show-labels --no-headers": "c 1 0s team=blue",
    "c a --no-headers": "c 1 0s a 1 0s",
    "c --show-kind --no-headers": "configmap/c 1 0s",
    "none --ignore-not-found": "",
}


def test_every_form_of_output(three: Namespace) -> None:
    for line, expected in OUTPUTS.items():
        arguments = re.sub(r" in \(", "\0", line).replace("range .", "range\1.").replace("{{range .", "{{range\1.")
        words = [word.replace("\0", " in (").replace("\1", " ") for word in arguments.split(" ")]
        shown = re.sub(r"\b\d+s\b", "0s", three.kubectl("get", "configmap", *words))
        assert " ".join(shown.split()) == expected, line
    assert three.kubectl("get", "configmap", "a", "-o", "yaml").startswith('apiVersion: v1\ndata:\n  size: "30"\n')
    assert "managedFields" not in three.kubectl("get", "configmap", "a", "-o", "json")
    assert "managedFields" in three.kubectl("get", "configmap", "a", "-o", "json", "--show-managed-fields")


def test_chunks_make_the_whole_list(three: Namespace) -> None:
    assert len(three.kubectl("get", "configmap", "-o", "name", "--chunk-size=1").split()) == 4
    everywhere = three.kubectl("get", "configmaps", "-A", "--no-headers")
    assert {line.split()[0] for line in everywhere.splitlines()} >= {three.name, "default", "kube-system"}


def test_raw_paths(three: Namespace) -> None:
    assert json.loads(three.kubectl("get", "--raw", f"/api/v1/namespaces/{three.name}/configmaps/a"))["data"]["size"]
    assert three.kubectl("get", "--raw", "/readyz") == "ok"
    assert "apiserver_request_total" in three.kubectl("get", "--raw", "/metrics")


def test_watching_shows_each_change(three: Namespace) -> None:
    shown = "jsonpath={.type} {.object.data.size}{'\\n'}"
    watch = three.start("get", "configmap", "a", "-w", "-o", shown, "--output-watch-events")
    try:
        assert watch.stdout is not None
        assert watch.stdout.readline().split() == ["ADDED", "30"]
        three.kubectl("patch", "configmap", "a", "-p", '{"data":{"size":"31"}}')
        assert watch.stdout.readline().split() == ["MODIFIED", "31"]
        three.kubectl("delete", "configmap", "a")
        assert watch.stdout.readline().split() == ["DELETED", "31"]
    finally:
        watch.kill()
        watch.communicate()


def test_every_kind_can_be_described_and_explained(namespace: Namespace) -> None:
    namespace.kubectl("create", "deployment", "d", f"--image={IMAGE}")
    namespace.kubectl("expose", "deployment", "d", "--port=80")
    kinds = namespace.kubectl("api-resources", "--verbs=list", "-o", "name").split()
    assert len(kinds) > 55
    shown = [kind for kind in kinds if kind not in NOT_DESCRIBED]
    every = namespace.cluster.run("describe", "-A", ",".join(shown))
    assert every.returncode == 0, every.stderr
    for kind in ("Node", "Namespace", "APIService", "ClusterRole"):
        assert re.search(rf"(?m)^(Kind: +{kind}|Name: +\S+)$", every.stdout)
    for kind in kinds[::6]:
        assert "FIELDS:" in namespace.kubectl("explain", kind)


def test_explanations_go_deep(namespace: Namespace) -> None:
    recursive = namespace.kubectl("explain", "deployment.spec.template.spec.containers", "--recursive")
    assert re.search(r"readinessProbe\s+<Probe>", recursive) and re.search(r"\n +httpGet\s+<HTTPGetAction>", recursive)
    assert "FIELD: replicas <integer>" in namespace.kubectl("explain", "deploy.spec.replicas")
    assert "GROUP:      networking.k8s.io" in namespace.kubectl("explain", "ing", "--api-version=networking.k8s.io/v1")
    assert "does not exist" in namespace.run("explain", "pod.spec.nothing").stderr
    older = namespace.kubectl("explain", "pod.spec.containers", "--output=plaintext-openapiv2")
    assert "RESOURCE: containers <[]Object>" in older


def test_events_of_a_pod(namespace: Namespace) -> None:
    namespace.ready_pod("a")
    eventually(lambda: "Started" in namespace.kubectl("events", "--for=pod/a"), "the events of the pod")
    shown = namespace.kubectl("events", "--for=pod/a")
    assert [line.split()[2] for line in shown.splitlines()[1:]] == ["Scheduled", "Pulled", "Created", "Started"]
    assert "Started" in namespace.kubectl("events", "--types=Normal", "-o", "jsonpath={.items[*].reason}")
    by_field = namespace.kubectl("get", "events", "--field-selector=involvedObject.name=a,reason=Started", "-o", "name")
    assert len(by_field.split()) == 1
    assert "Successfully assigned" in namespace.kubectl("describe", "pod", "a")


def test_waiting(namespace: Namespace) -> None:
    waiting = [
        namespace.start("wait", "--for=create", "configmap/later", "--timeout=20s"),
        namespace.start("wait", "--for=condition=Available", "--for=create", "deployment/d", "--timeout=20s"),
    ]
    namespace.kubectl("create", "configmap", "later")
    namespace.kubectl("create", "deployment", "d", f"--image={IMAGE}")
    for process in waiting:
        shown, _ = process.communicate(timeout=30)
        assert "condition met" in shown
    namespace.kubectl("wait", "deploy/d", "--for=jsonpath={.status.readyReplicas}=1", "--timeout=20s")
    namespace.kubectl("wait", "pods", "-l", "app=d", "--for=condition=Ready", "--timeout=20s")
    deleted = namespace.start("wait", "--for=delete", "configmap/later", "--timeout=20s")
    namespace.kubectl("delete", "configmap", "later")
    assert deleted.wait(timeout=20) == 0
    deleted.communicate()
    assert "timed out" in namespace.run("wait", "--for=delete", "deploy/d", "--timeout=0.1s").stderr
