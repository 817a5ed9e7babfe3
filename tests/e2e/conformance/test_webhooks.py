"""Admission webhooks decide and change, also about themselves; the sample API server answers through the aggregator."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE, Namespace
from tests.e2e.conformance.api import Object, Refused
from tests.e2e.conformance.hooks import client_config, serve_hooks
from tests.e2e.conformance.world import World, eventually

pytestmark = pytest.mark.e2e
_REGISTRATION = "/apis/admissionregistration.k8s.io/v1"


@pytest.fixture(scope="module")
def bundle(town: World) -> str:
    """The certificate of the hooks' server in the file's namespace."""
    return serve_hooks(town)


@pytest.fixture
def hook(town: World, world: World, bundle: str) -> Iterator[Any]:
    """Registers a webhook for the test's namespace: ``hook("Validating", "/deny", "pods")``."""
    made: list[str] = []

    def register(kind: str, path: str, *resources: str, **more: Any) -> str:
        operations = more.pop("operations", ["*"])
        group = more.pop("group", "")
        rules = [{"apiGroups": [group], "apiVersions": ["*"], "operations": operations, "resources": list(resources)}]
        one: Object = {
            "name": f"h{len(made)}.{world.ns}.example.com",
            "clientConfig": client_config(town, bundle, path),
            "rules": rules,
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
            "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": world.ns}},
            "timeoutSeconds": 10,
        } | more
        name = f"{world.ns}-{len(made)}"
        collection = f"{_REGISTRATION}/{kind.lower()}webhookconfigurations"
        world.api.create(collection, {"metadata": {"name": name, "labels": {"e2e": world.ns}}, "webhooks": [one]})
        made.append(f"{collection}/{name}")
        return made[-1]

    yield register
    for path in made:
        world.api.raw("DELETE", path)


def _configmap(world: World, name: str, **data: str) -> Object:
    made: Object = world.api.create(f"{world.core}/configmaps", {"metadata": {"name": name}, "data": data})
    return made


def _denied(world: World, **data: str) -> Refused | None:
    """Try a server-side dry run of a ConfigMap; return the refusal."""
    body = {"metadata": {"generateName": "try-"}, "data": data}
    try:
        world.api.create(f"{world.core}/configmaps", body, dryRun="All")
    except Refused as refused:
        return refused
    return None


def test_a_validating_webhook_denies_what_it_does_not_want(world: World, hook: Any) -> None:
    path = hook("Validating", "/deny-unwanted", "pods", "configmaps")
    unwanted = {"webhook-e2e-test": "webhook-disallow"}
    refused = eventually(lambda: _denied(world, **unwanted), "denial")
    assert refused.code == 403
    said = f'admission webhook "h0.{world.ns}.example.com" denied the request: the object contains unwanted key'
    assert refused.status["message"] == said
    with pytest.raises(Refused) as pod:
        world.pod("p", labels={"e2e": "unwanted"})
    assert "unwanted key" in str(pod.value)
    answer = world.api.raw("POST", f"{world.core}/configmaps", {"metadata": {"name": "c"}, "data": {"a": "1"}})
    assert answer.code == 201 and "looked at" in answer.headers["warning"]
    with pytest.raises(Refused):
        world.api.patch(f"{world.core}/configmaps/c", {"data": unwanted})
    done = Namespace(world.cluster, world.ns).run("run", "p", f"--image={IMAGE}", "--labels=e2e=unwanted")
    assert done.returncode == 1 and "unwanted key" in done.stderr
    found = world.api.get(path)
    found["webhooks"][0]["rules"][0]["operations"] = ["UPDATE"]
    world.api.update(path, found)
    eventually(lambda: _denied(world, **unwanted) is None, "update of the rules")
    world.api.patch(
        path,
        [{"op": "replace", "path": "/webhooks/0/rules/0/operations", "value": ["CREATE"]}],
        "application/json-patch+json",
    )
    eventually(lambda: _denied(world, **unwanted), "patch of the rules")
    collection = path.rsplit("/", 1)[0]
    assert len(world.api.get(collection, labelSelector=f"e2e={world.ns}")["items"]) == 1
    world.api.call("DELETE", collection, labelSelector=f"e2e={world.ns}")
    eventually(lambda: _denied(world, **unwanted) is None, "deletion")


def test_attaching_can_be_denied(world: World, hook: Any) -> None:
    world.pod("p")
    world.ready("p")
    hook("Validating", "/deny", "pods/attach", "configmaps", operations=["CONNECT", "CREATE"])
    eventually(lambda: _denied(world), "denial")
    assert "denies all" in Namespace(world.cluster, world.ns).run("attach", "p", "-i", stdin="").stderr


def test_mutating_webhooks_see_each_others_work(world: World, hook: Any) -> None:
    hook("Mutating", "/mutate", "configmaps")
    hook("Mutating", "/mutate", "configmaps", reinvocationPolicy="IfNeeded")

    def made() -> Object:
        body = {"metadata": {"generateName": "try-"}, "data": {"mutation-start": "yes"}}
        found: Object = world.api.create(f"{world.core}/configmaps", body)["data"]
        return found

    wanted = {"mutation-start": "yes", "mutation-stage-1": "yes", "mutation-stage-2": "yes"}
    eventually(lambda: made() == wanted, "both stages")


def test_defaults_come_after_mutation(world: World, hook: Any) -> None:
    hook("Mutating", "/mutate-pods", "pods", operations=["CREATE"])

    def made() -> list[Object]:
        body = {"metadata": {"generateName": "p-"}, "spec": {"containers": [{"name": "c", "image": IMAGE}]}}
        found: list[Object] = world.api.create(f"{world.core}/pods", body, dryRun="All")["spec"].get("initContainers")
        return found

    added = eventually(made, "an init container")[0]
    assert added["terminationMessagePolicy"] == "File" and added["imagePullPolicy"] == "IfNotPresent"


def test_a_webhook_that_cannot_be_reached_fails_as_it_says(world: World, town: World, hook: Any) -> None:
    nowhere = {"service": {"namespace": town.ns, "name": "nobody", "path": "/x"}}
    path = hook("Validating", "/x", "configmaps", clientConfig=nowhere, failurePolicy="Fail")
    refused = eventually(lambda: _denied(world), "fail closed")
    assert refused.code == 500 and "failed calling webhook" in str(refused)
    world.api.patch(
        path, [{"op": "replace", "path": "/webhooks/0/failurePolicy", "value": "Ignore"}], "application/json-patch+json"
    )
    eventually(lambda: _denied(world) is None, "fail open")


@pytest.mark.parametrize(("seconds", "policy", "fails"), [(1, "Fail", True), (1, "Ignore", False)])
def test_timeouts(world: World, hook: Any, seconds: int, policy: str, fails: bool) -> None:
    hook("Validating", "/slow", "configmaps", timeoutSeconds=seconds, failurePolicy=policy)
    if fails:
        refused = eventually(lambda: _denied(world), "timeout")
        assert refused.code == 500 and "deadline exceeded" in str(refused)
    else:
        assert _denied(world) is None


def test_configurations_of_webhooks_are_beyond_webhooks(world: World, hook: Any) -> None:
    kinds = ("validatingwebhookconfigurations", "mutatingwebhookconfigurations")
    hook(
        "Validating", "/deny", *kinds, group="admissionregistration.k8s.io", namespaceSelector={}, operations=["DELETE"]
    )
    hook(
        "Mutating", "/mutate", *kinds, group="admissionregistration.k8s.io", namespaceSelector={}, operations=["CREATE"]
    )
    other = hook("Validating", "/deny", "nothings")
    world.api.delete(other)
    world.api.gone(other)


@pytest.mark.parametrize("kind", ["Validating", "Mutating"])
def test_match_conditions(world: World, hook: Any, kind: str) -> None:
    conditions = [{"name": "skip", "expression": "object.metadata.name != 'skip-me'"}]
    hook(kind, "/deny", "configmaps", operations=["CREATE"], matchConditions=conditions)
    eventually(lambda: _denied(world), "denial")
    _configmap(world, "skip-me")
    with pytest.raises(Refused) as invalid:
        hook(kind, "/deny", "configmaps", matchConditions=[{"name": "bad", "expression": "object.metadata.name =="}])
    assert invalid.value.code == 422 and "compilation failed" in str(invalid.value)


def test_definitions_can_be_denied(world: World, hook: Any) -> None:
    group = "apiextensions.k8s.io"
    selector = {"matchLabels": {"e2e": world.ns}}
    hook("Validating", "/deny", "customresourcedefinitions", group=group, namespaceSelector={}, objectSelector=selector)
    names = {"plural": "things", "kind": "Thing"}
    versions = [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": {"type": "object"}}}]
    spec = {"group": f"{world.ns}.example.com", "names": names, "scope": "Namespaced", "versions": versions}
    body = {"metadata": {"name": f"things.{world.ns}.example.com", "labels": {"e2e": world.ns}}, "spec": spec}

    def denied() -> str:
        try:
            world.api.create(f"/apis/{group}/v1/customresourcedefinitions", body, dryRun="All")
        except Refused as refused:
            return str(refused)
        return ""

    assert "denies all" in eventually(denied, "denial")


def test_an_api_server_behind_the_aggregator(town: World, world: World, bundle: str) -> None:
    path = "/apis/apiregistration.k8s.io/v1/apiservices"
    spec = {
        "group": "wardle.example.com", "version": "v1alpha1", "groupPriorityMinimum": 2000, "versionPriority": 200,
        "service": {"namespace": town.ns, "name": "hook", "port": 443}, "caBundle": bundle,
    }  # fmt: skip
    world.api.create(path, {"metadata": {"name": "v1alpha1.wardle.example.com"}, "spec": spec})

    def available(found: Object) -> bool:
        return any(c["type"] == "Available" and c["status"] == "True" for c in found["status"].get("conditions", []))

    try:
        world.api.wait(f"{path}/v1alpha1.wardle.example.com", available)
        assert "wardle.example.com" in [g["name"] for g in world.api.get("/apis")["groups"]]
        assert world.api.get("/apis/wardle.example.com")["preferredVersion"]["version"] == "v1alpha1"
        flunders = f"{world.apis('wardle.example.com/v1alpha1')}/flunders"
        body = {"apiVersion": "wardle.example.com/v1alpha1", "kind": "Flunder", "metadata": {"name": "f"}}
        made = world.api.create(flunders, body)
        assert made["metadata"]["annotations"]["by"]
        assert [o["metadata"]["name"] for o in world.api.get(flunders)["items"]] == ["f"]
        assert "flunders" in world.kubectl("api-resources", "--api-group=wardle.example.com")
        assert world.kubectl("get", "flunders.wardle.example.com", "-o", "name").strip().endswith("/f")
        world.api.delete(f"{flunders}/f")
        assert not world.api.get(flunders)["items"]
        status = world.api.get(f"{path}/v1alpha1.wardle.example.com/status")
        assert available(status)
    finally:
        world.api.delete(f"{path}/v1alpha1.wardle.example.com")
    eventually(lambda: "wardle.example.com" not in [g["name"] for g in world.api.get("/apis")["groups"]], "gone")
