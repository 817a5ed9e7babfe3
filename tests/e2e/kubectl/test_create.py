"""``kubectl create``: every generator makes the object that its arguments describe; `get` and `describe` show each."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE, Namespace

pytestmark = pytest.mark.e2e

GENERATORS: dict[str, tuple[str, dict[str, Any]]] = {
    "configmap/settings --from-literal=a=1 --from-literal=b=two": (
        "configmap/settings",
        {"data": {"a": "1", "b": "two"}},
    ),
    "secret generic/key --from-literal=a=1 --type=example.com/key": (
        "secret/key",
        {"data.a": "MQ==", "type": "example.com/key"},
    ),
    "secret docker-registry/pull --docker-server=r --docker-username=u --docker-password=p": (
        "secret/pull",
        {"type": "kubernetes.io/dockerconfigjson"},
    ),
    "serviceaccount/robot": ("serviceaccount/robot", {}),
    "role/reader --verb=get,list --resource=pods,deployments.apps --resource-name=one": (
        "role/reader",
        {"rules.0.verbs": ["get", "list"], "rules.1.apiGroups": ["apps"], "rules.1.resourceNames": ["one"]},
    ),
    "rolebinding/reads --role=reader --serviceaccount=default:robot --user=ann --group=staff": (
        "rolebinding/reads",
        {"roleRef.name": "reader", "subjects.0.name": "ann", "subjects.2.namespace": "default"},
    ),
    f"deployment/web --image={IMAGE} --replicas=2 --port=80": (
        "deployment/web",
        {"spec.replicas": 2, "spec.template.spec.containers.0.ports.0.containerPort": 80},
    ),
    "service clusterip/inside --tcp=80:8080": (
        "service/inside",
        {"spec.ports.0.targetPort": 8080, "spec.type": "ClusterIP"},
    ),
    "service clusterip/headless --clusterip=None": ("service/headless", {"spec.clusterIP": "None"}),
    "service nodeport/outside --tcp=80 --node-port=30123": ("service/outside", {"spec.ports.0.nodePort": 30123}),
    "service loadbalancer/balanced --tcp=80": ("service/balanced", {"spec.allocateLoadBalancerNodePorts": True}),
    "service externalname/far --external-name=example.com": ("service/far", {"spec.externalName": "example.com"}),
    f"job/once --image={IMAGE} -- echo hi": (
        "job/once",
        {"spec.template.spec.containers.0.command": ["echo", "hi"], "spec.completions": 1},
    ),
    f"cronjob/often --image={IMAGE} --schedule=*/5_*_*_*_* -- date": (
        "cronjob/often",
        {"spec.schedule": "*/5 * * * *", "spec.concurrencyPolicy": "Allow"},
    ),
    "job/now --from=cronjob/often": (
        "job/now",
        {"metadata.annotations.cronjob\\.kubernetes\\.io/instantiate": "manual"},
    ),
    "ingress/site --class=any --rule=a.example/x*=inside:80,tls=pair --annotation=k=v": (
        "ingress/site",
        {"spec.rules.0.http.paths.0.pathType": "Prefix", "spec.tls.0.secretName": "pair"},
    ),
    "poddisruptionbudget/budget --selector=app=web --min-available=1": (
        "poddisruptionbudget/budget",
        {"spec.minAvailable": 1},
    ),
    "quota/limits --hard=configmaps=100,cpu=1500m": ("quota/limits", {"spec.hard.cpu": "1500m"}),
}  # fmt: skip
CLUSTER_WIDE = {
    "clusterrole/{n} --verb=get --resource=nodes": ("clusterrole/{n}", {"rules.0.resources": ["nodes"]}),
    "clusterrole/{n}-urls --verb=get --non-resource-url=/x/*": (
        "clusterrole/{n}-urls",
        {"rules.0.nonResourceURLs": ["/x/*"]},
    ),
    "clusterrole/{n}-sum --aggregation-rule=sum=up": (
        "clusterrole/{n}-sum",
        {"aggregationRule.clusterRoleSelectors.0.matchLabels.sum": "up"},
    ),
    "clusterrolebinding/{n} --clusterrole={n} --group=g": ("clusterrolebinding/{n}", {"subjects.0.kind": "Group"}),
    "priorityclass/{n} --value=7 --preemption-policy=Never": (
        "priorityclass/{n}",
        {"value": 7, "preemptionPolicy": "Never"},
    ),
}  # fmt: skip


def at(obj: Any, path: str) -> Any:
    """Return what `path`, member names and indexes between dots, finds in an object."""
    for part in path.replace("\\.", "\0").split("."):
        obj = obj[int(part)] if isinstance(obj, list) else obj[part.replace("\0", ".")]
    return obj


def create(namespace: Namespace, line: str) -> None:
    """Run ``kubectl create``; in `line` the name follows the kind behind a slash, `_` in a schedule is a space."""
    first, *more = line.split(" ")
    kind = [first]
    while "/" not in kind[-1]:
        kind.append(more.pop(0))
    last, _, name = kind.pop().partition("/")
    more = [word.replace("_", " ") if word.startswith("--schedule") else word for word in more]
    shown = namespace.kubectl("create", *kind, last, name, *more)
    assert shown.rstrip().endswith("created")


def test_every_generator_makes_the_object_that_get_and_describe_show(namespace: Namespace) -> None:
    for line in GENERATORS:
        create(namespace, line)
    references = [reference for reference, _ in GENERATORS.values()]
    found = namespace.get(*references)["items"]
    for obj, (line, (_, expected)) in zip(found, GENERATORS.items(), strict=True):
        assert {path: at(obj, path) for path in expected} == expected, line
    described = namespace.kubectl("describe", *references)
    shown = namespace.kubectl("get", *references)
    for reference in references:
        name = reference.split("/")[1]
        assert re.search(rf"(?m)^Name: +{name}$", described)
        assert re.search(rf"(?m)^\S+/{name} ", shown)


def test_cluster_wide_generators(namespace: Namespace) -> None:
    names = [reference.format(n=namespace.name) for reference, _ in CLUSTER_WIDE.values()]
    try:
        for line, (reference, expected) in CLUSTER_WIDE.items():
            create(namespace, line.format(n=namespace.name))
            obj = namespace.get(reference.format(n=namespace.name))
            assert {path: at(obj, path) for path in expected} == expected
            assert namespace.name in namespace.kubectl("describe", *reference.format(n=namespace.name).split("/"))
    finally:
        namespace.kubectl("delete", *names)


def test_secrets_and_configmaps_from_files(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "some.env").write_text("A=1\nB=2\n")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    key, certificate = tmp_path / "tls.key", tmp_path / "tls.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    files = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=a.example"]
    subprocess.run([*command, *files], check=True, capture_output=True)
    namespace.kubectl("create", "configmap", "env", f"--from-env-file={tmp_path / 'some.env'}")
    namespace.kubectl("create", "configmap", "files", f"--from-file={tmp_path / 'binary'}", "--append-hash")
    namespace.kubectl("create", "secret", "tls", "pair", f"--cert={certificate}", f"--key={key}")
    assert namespace.get("configmap", "env")["data"] == {"A": "1", "B": "2"}
    assert [c["binaryData"] for c in namespace.get("configmaps")["items"] if "binaryData" in c] == [{"binary": "//4="}]
    assert namespace.get("secret", "pair")["type"] == "kubernetes.io/tls"


def test_dry_runs_leave_nothing(namespace: Namespace) -> None:
    for where in ("client", "server"):
        shown = namespace.kubectl("create", "configmap", "a", f"--dry-run={where}", "-o", "jsonpath={.metadata.name}")
        assert shown == "a"
    server = namespace.kubectl("create", "service", "clusterip", "s", "--tcp=80", "--dry-run=server", "-o", "name")
    assert server == "service/s\n"
    assert "NotFound" in namespace.run("get", "configmap", "a").stderr
    assert "NotFound" in namespace.run("get", "service", "s").stderr


def test_errors_are_in_the_words_of_kubernetes(namespace: Namespace) -> None:
    namespace.kubectl("create", "configmap", "a")
    assert namespace.run("create", "configmap", "a").stderr == (
        'error: failed to create configmap: configmaps "a" already exists\n'
    )
    assert namespace.run("create", "service", "clusterip", "Upper", "--tcp=80").stderr.startswith(
        'error: failed to create ClusterIP service: Service "Upper" is invalid: metadata.name: Invalid value: "Upper": '
    )
    unknown = '{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"b"},"daat":{}}'
    assert 'unknown field "daat"' in namespace.run("create", "-f", "-", stdin=unknown).stderr
    assert 'unknown field "daat"' in namespace.run("create", "--validate=warn", "-f", "-", stdin=unknown).stderr
    assert namespace.get("configmap", "b")["kind"] == "ConfigMap"
