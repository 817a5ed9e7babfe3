"""``kubectl apply``, ``diff``, ``edit``, ``replace``, ``patch``: how declared state is brought to the server."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE, OTHER_IMAGE, Namespace

pytestmark = pytest.mark.e2e


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "labels": {"set": "one"}}, "data": data}


def pod_template(image: str = IMAGE) -> dict[str, Any]:
    return {"metadata": {"labels": {"app": "d"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


def deployment(image: str = IMAGE, **spec: Any) -> dict[str, Any]:
    spec = {"replicas": 0, "selector": {"matchLabels": {"app": "d"}}, "template": pod_template(image)} | spec
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}


def apply(namespace: Namespace, *args: str, objects: list[dict[str, Any]]) -> str:
    return namespace.kubectl("apply", "-f", "-", *args, stdin="\n".join(map(json.dumps, objects)))


def test_applying_creates_configures_and_removes_what_is_no_longer_declared(namespace: Namespace) -> None:
    assert apply(namespace, objects=[configmap("a", x="1", y="1")]) == "configmap/a created\n"
    assert apply(namespace, objects=[configmap("a", x="1", y="1")]) == "configmap/a unchanged\n"
    namespace.kubectl("patch", "configmap", "a", "-p", '{"data":{"other":"kept"}}')
    assert apply(namespace, objects=[configmap("a", x="2")]) == "configmap/a configured\n"
    assert namespace.get("configmap", "a")["data"] == {"x": "2", "other": "kept"}
    assert '"x":"2"' in namespace.kubectl("apply", "view-last-applied", "configmap/a", "-o", "json").replace(" ", "")


def test_applying_merges_lists_by_their_keys(namespace: Namespace) -> None:
    apply(namespace, objects=[deployment()])
    sidecar = {"spec": {"template": {"spec": {"containers": [{"name": "sidecar", "image": IMAGE}]}}}}
    namespace.kubectl("patch", "deployment", "d", "-p", json.dumps(sidecar))
    apply(namespace, objects=[deployment(OTHER_IMAGE, replicas=0, paused=True)])
    containers = namespace.get("deployment", "d")["spec"]["template"]["spec"]["containers"]
    assert {c["name"]: c["image"] for c in containers} == {"c": OTHER_IMAGE, "sidecar": IMAGE}
    assert apply(namespace, objects=[deployment()]) == "deployment.apps/d configured\n"
    assert "paused" not in namespace.get("deployment", "d")["spec"]


def test_pruning_removes_what_left_the_set(namespace: Namespace) -> None:
    lists = ("--prune", "-l", "set=one", "--prune-allowlist=core/v1/ConfigMap")
    apply(namespace, *lists, objects=[configmap("a"), configmap("b")])
    assert "configmap/b pruned" in apply(namespace, *lists, objects=[configmap("a")])
    assert namespace.kubectl("get", "configmap", "-l", "set=one", "-o", "name") == "configmap/a\n"


def test_pruning_by_apply_set(namespace: Namespace) -> None:
    env = {"KUBECTL_APPLYSET": "true"}
    lines = [json.dumps(configmap(name)) for name in "ab"]
    for wanted in (lines, lines[:1]):
        arguments = ("apply", "-f", "-", "--prune", "--applyset=configmap/parent")
        namespace.kubectl(*arguments, stdin="\n".join(wanted), env=env)
    assert namespace.kubectl("get", "configmap", "-l", "set=one", "-o", "name") == "configmap/a\n"


def test_server_side_owners_conflict_until_forced(namespace: Namespace) -> None:
    text = json.dumps(configmap("a", x="1"))
    namespace.kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=text)
    other = json.dumps(configmap("a", x="2", y="2"))
    refused = namespace.run("apply", "--server-side", "--field-manager=two", "-f", "-", stdin=other)
    assert refused.returncode == 1
    assert 'Apply failed with 1 conflict: conflict with "one": .data.x' in refused.stderr
    forced = ("apply", "--server-side", "--field-manager=two", "--force-conflicts", "-f", "-")
    assert namespace.kubectl(*forced, stdin=other) == "configmap/a serverside-applied\n"
    namespace.kubectl("apply", "--server-side", "--field-manager=one", "-f", "-", stdin=json.dumps(configmap("a")))
    assert namespace.get("configmap", "a")["data"] == {"x": "2", "y": "2"}
    fields = namespace.get("configmap", "a", "--show-managed-fields")["metadata"]["managedFields"]
    assert [(f["manager"], f["operation"]) for f in fields] == [("one", "Apply"), ("two", "Apply")]


def test_client_side_apply_hands_over_to_server_side_apply(namespace: Namespace) -> None:
    apply(namespace, objects=[configmap("a", x="1", y="1")])
    text = json.dumps(configmap("a", x="1"))
    namespace.kubectl("apply", "--server-side", "-f", "-", stdin=text)
    assert namespace.get("configmap", "a")["data"] == {"x": "1"}


def test_kustomize_directories(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "deployment.json").write_text(json.dumps(deployment()))
    (tmp_path / "kustomization.yaml").write_text(
        "resources: [deployment.json]\nnamePrefix: my-\nlabels: [{pairs: {team: red}}]\n"
        f"images: [{{name: {IMAGE.split(':')[0]}, newTag: '2'}}]\n"
        "configMapGenerator: [{name: made, literals: [a=1]}]\n"
    )
    shown = namespace.kubectl("apply", "-k", str(tmp_path))
    assert "configmap/my-made-" in shown and "deployment.apps/my-d created" in shown
    assert OTHER_IMAGE in namespace.kubectl("get", "deploy", "my-d", "-o", "jsonpath={..image}")
    assert "name: my-d" in namespace.kubectl("kustomize", str(tmp_path))
    assert "deleted" in namespace.kubectl("delete", "-k", str(tmp_path))


def test_directories_and_set_last_applied(namespace: Namespace, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for path, name in ((tmp_path, "a"), (tmp_path / "deep", "b")):
        (path / "x.json").write_text(json.dumps(configmap(name)))
    assert namespace.kubectl("apply", "-R", "-f", str(tmp_path)).count("created") == 2
    namespace.kubectl("create", "configmap", "c")
    (tmp_path / "c.json").write_text(json.dumps(configmap("c")))
    arguments = ("set-last-applied", "--create-annotation", "-f", str(tmp_path / "c.json"))
    assert "configured" in namespace.kubectl("apply", *arguments)


def test_diff_shows_what_would_change(namespace: Namespace) -> None:
    apply(namespace, objects=[deployment()])
    assert namespace.run("diff", "-f", "-", stdin=json.dumps(deployment())).returncode == 0
    done = namespace.run("diff", "-f", "-", stdin=json.dumps(deployment(OTHER_IMAGE)))
    assert done.returncode == 1, done.stderr
    assert f"-      - image: {IMAGE}" in done.stdout and f"+      - image: {OTHER_IMAGE}" in done.stdout
    arguments = ("diff", "--server-side", "--force-conflicts", "-f", "-")
    assert "+kind: ConfigMap" in namespace.run(*arguments, stdin=json.dumps(configmap("n"))).stdout


def test_editing_with_an_editor(namespace: Namespace, tmp_path: Path) -> None:
    apply(namespace, objects=[deployment()])
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\nsed -i 's/replicas: 0/replicas: 3/; s/  revisionHistoryLimit: 10//' \"$1\"\n")
    editor.chmod(0o755)
    env = {"KUBE_EDITOR": str(editor)}
    assert namespace.kubectl("edit", "deployment", "d", env=env) == "deployment.apps/d edited\n"
    assert namespace.kubectl("get", "deployment", "d", "-o", "jsonpath={.spec.replicas}") == "3"
    editor.write_text("#!/bin/sh\nsed -i 's/^  generation: .*/&/' \"$1\"\n")
    assert "no changes" in namespace.run("edit", "deployment", "d", env=env).stderr


def test_editing_to_something_invalid_reopens_the_editor_with_the_reason(namespace: Namespace, tmp_path: Path) -> None:
    apply(namespace, objects=[deployment()])
    editor = tmp_path / "editor"
    text = f'#!/bin/sh\ncp "$1" {tmp_path}/seen-$(ls {tmp_path} | wc -l)\nsed -i \'s/replicas: 0/replicas: -1/\' "$1"\n'
    editor.write_text(text)
    editor.chmod(0o755)
    failed = namespace.run("edit", "deployment", "d", env={"KUBE_EDITOR": str(editor)})
    assert failed.returncode == 1
    seen = "".join(path.read_text() for path in tmp_path.glob("seen-*"))
    assert "spec.replicas: Invalid value: -1: must be greater than or equal to 0" in seen


def test_replacing(namespace: Namespace) -> None:
    apply(namespace, objects=[configmap("a", x="1")])
    before = namespace.get("configmap", "a")["metadata"]
    text = json.dumps(configmap("a", y="1"))
    assert namespace.kubectl("replace", "-f", "-", stdin=text) == "configmap/a replaced\n"
    assert namespace.get("configmap", "a")["data"] == {"y": "1"}
    old = configmap("a")
    old["metadata"]["resourceVersion"] = before["resourceVersion"]
    conflict = namespace.run("replace", "-f", "-", stdin=json.dumps(old))
    assert "the object has been modified; please apply your changes to the latest version" in conflict.stderr
    namespace.kubectl("replace", "--force", "-f", "-", stdin=text)
    assert namespace.get("configmap", "a")["metadata"]["uid"] != before["uid"]
    missing = namespace.run("replace", "-f", "-", stdin=json.dumps(configmap("none")))
    assert '"none" not found' in missing.stderr


def test_patches_of_every_type(namespace: Namespace) -> None:
    apply(namespace, objects=[deployment()])
    patches = {
        "strategic": {"spec": {"template": {"spec": {"containers": [{"name": "x", "image": IMAGE}]}}}},
        "merge": {"metadata": {"labels": {"a": "b"}}, "spec": {"revisionHistoryLimit": None, "paused": True}},
        "json": [
            {"op": "test", "path": "/spec/paused", "value": True},
            {"op": "replace", "path": "/spec/template/spec/containers/0/image", "value": OTHER_IMAGE},
            {"op": "move", "from": "/metadata/labels/a", "path": "/metadata/labels/c~1d"},
        ],
    }
    for kind, patch in patches.items():
        namespace.kubectl("patch", "deployment", "d", f"--type={kind}", "-p", json.dumps(patch))
    found = namespace.get("deployment", "d")
    assert [c["name"] for c in found["spec"]["template"]["spec"]["containers"]] == ["x", "c"]
    assert found["spec"]["template"]["spec"]["containers"][0]["image"] == OTHER_IMAGE
    assert found["metadata"]["labels"] == {"c/d": "b"} and found["spec"]["revisionHistoryLimit"] == 10
    test = '[{"op":"test","path":"/kind","value":"x"}]'
    failed = namespace.run("patch", "deployment", "d", "--type=json", "-p", test)
    assert failed.returncode == 1 and failed.stderr.startswith("The request is invalid: ")


def test_patches_of_subresources(namespace: Namespace) -> None:
    apply(namespace, objects=[deployment()])
    namespace.kubectl(
        "patch", "deployment", "d", "--subresource=scale", "--type=merge", "-p", '{"spec":{"replicas":2}}'
    )
    assert namespace.get("deployment", "d", "--subresource=scale")["spec"]["replicas"] == 2
    condition = '{"status":{"conditions":[{"type":"Odd","status":"True"}]}}'
    namespace.kubectl("patch", "deployment", "d", "--subresource=status", "-p", condition)
    assert "Odd" in namespace.kubectl("get", "deployment", "d", "-o", "jsonpath={.status.conditions[*].type}")
