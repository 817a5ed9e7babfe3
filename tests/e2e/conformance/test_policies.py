"""Admission policies in CEL; events; and that a service account sees what it may."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.conformance.api import STRATEGIC, Object, Refused
from tests.e2e.conformance.objects import template
from tests.e2e.conformance.world import World, eventually

pytestmark = pytest.mark.e2e
_REGISTRATION = "/apis/admissionregistration.k8s.io/v1"
_DEPLOYMENTS = [
    {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["deployments"]}
]


@pytest.fixture
def policy(world: World) -> Iterator[Any]:
    """Makes a policy and its binding for the test's namespace: ``policy("validating", validations=[…])``."""
    made: list[str] = []

    def make(kind: str, **spec: Any) -> str:
        selector = {"matchLabels": {"kubernetes.io/metadata.name": world.ns}}
        constraints = {"resourceRules": _DEPLOYMENTS, "namespaceSelector": selector}
        name = f"{world.ns}-{kind}"
        policies = f"{_REGISTRATION}/{kind}admissionpolicies"
        body = {"metadata": {"name": name}, "spec": {"matchConstraints": constraints, **spec}}
        world.api.create(policies, body)
        binding: Object = {"policyName": name}
        if kind == "validating":
            binding["validationActions"] = ["Deny"]
        bindings = f"{_REGISTRATION}/{kind}admissionpolicybindings"
        world.api.create(bindings, {"metadata": {"name": name}, "spec": binding})
        made.extend((f"{policies}/{name}", f"{bindings}/{name}"))
        return made[-2]

    yield make
    for path in made:
        world.api.raw("DELETE", path)


def _try(world: World, replicas: int) -> Object | Refused:
    spec = {"replicas": replicas, "selector": {"matchLabels": {"app": "x"}}, "template": template()}
    body = {"metadata": {"generateName": "d-"}, "spec": spec}
    try:
        made: Object = world.api.create(f"{world.apis('apps/v1')}/deployments", body, dryRun="All")
    except Refused as refused:
        return refused
    return made


def test_a_policy_denies_in_its_own_words(world: World, policy: Any) -> None:
    validation = {
        "expression": "object.spec.replicas > 1",
        "messageExpression": "'wants replicas: %d'.format([object.spec.replicas])",
    }
    path = policy("validating", validations=[validation])
    refused = eventually(lambda: isinstance(made := _try(world, 1), Refused) and made, "denial")
    name = path.rsplit("/", 1)[1]
    assert (refused.code, refused.reason) == (422, "Invalid")
    wanted = f"ValidatingAdmissionPolicy '{name}' with binding '{name}' denied request: wants replicas: 1"
    assert wanted in str(refused)
    assert isinstance(_try(world, 2), dict)


def test_expressions_refer_to_variables(world: World, policy: Any) -> None:
    variables = [
        {"name": "replicas", "expression": "object.spec.replicas"},
        {"name": "oddReplicas", "expression": "variables.replicas % 2 == 1"},
    ]
    validations = [{"expression": "variables.replicas > 1"}, {"expression": "variables.oddReplicas"}]
    policy("validating", variables=variables, validations=validations)
    eventually(lambda: isinstance(_try(world, 1), Refused), "denial of one")
    assert isinstance(_try(world, 4), Refused) and isinstance(_try(world, 3), dict)


def test_types_are_checked_in_the_status(world: World, policy: Any) -> None:
    path = policy("validating", validations=[{"expression": "object.spec.replicas > '1'"}])
    found = world.api.wait(path, lambda found: "typeChecking" in found.get("status", {}))
    assert found["status"]["typeChecking"]["expressionWarnings"][0]["fieldRef"] == "spec.validations[0].expression"
    assert "no matching overload for '_>_'" in str(found["status"]["typeChecking"])


def test_a_policy_mutates(world: World, policy: Any) -> None:
    metadata = "Object.metadata{annotations: {'my-foo': 'foo'}}"
    apply = {"expression": f"Object{{metadata: {metadata}, spec: Object.spec{{replicas: 4}}}}"}
    mutations = [
        {"patchType": "ApplyConfiguration", "applyConfiguration": apply},
        {
            "patchType": "JSONPatch",
            "jsonPatch": {"expression": "[JSONPatch{op: 'add', path: '/spec/paused', value: true}]"},
        },
    ]
    policy("mutating", mutations=mutations, reinvocationPolicy="Never", failurePolicy="Fail")

    def changed() -> bool:
        made = _try(world, 1)
        return isinstance(made, dict) and made["spec"]["replicas"] == 4 and made["spec"].get("paused") is True

    eventually(changed, "mutation")
    made = _try(world, 1)
    assert isinstance(made, dict) and made["metadata"]["annotations"]["my-foo"] == "foo"


@pytest.mark.parametrize("group", ["v1", "events.k8s.io/v1"])
def test_series_of_events(world: World, group: str) -> None:
    path = f"{world.core}/events" if group == "v1" else f"{world.apis(group)}/events"
    new = {
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "e2e",
        "reportingInstance": "e2e-1",
        "action": "Do",
        "reason": "Test",
        "type": "Normal",
        "note": "This is a test",
        "regarding": {"kind": "Pod", "name": "p", "namespace": world.ns},
    }
    old = {
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": world.ns},
        "message": "This is a test",
        "reason": "Test",
        "type": "Normal",
        "source": {"component": "e2e"},
        "count": 1,
        "firstTimestamp": "2026-01-02T03:04:05Z",
        "lastTimestamp": "2026-01-02T03:04:05Z",
    }
    body = old if group == "v1" else new
    world.api.create(path, {"metadata": {"name": "e", "labels": {"testevent-set": world.ns}}, **body})
    everywhere = "/api/v1/events" if group == "v1" else f"/apis/{group}/events"
    assert len(world.api.get(everywhere, labelSelector=f"testevent-set={world.ns}")["items"]) == 1
    if group == "v1":
        assert world.api.patch(f"{path}/e", {"message": "patched"}, STRATEGIC)["message"] == "patched"
    else:
        with pytest.raises(Refused):
            world.api.patch(f"{path}/e", {"note": "patched"}, STRATEGIC)
    series = {"count": 100, "lastObservedTime": "2026-01-02T03:05:06.000000Z"}
    found = world.api.get(f"{path}/e")
    found["series"] = series
    assert world.api.update(f"{path}/e", found)["series"] == series
    assert world.api.get(f"{path}/e")["series"] == series
    world.api.delete(f"{path}/e")
    assert not world.api.get(everywhere, labelSelector=f"testevent-set={world.ns}")["items"]
    selected = world.api.get(f"{world.core}/events", fieldSelector="involvedObject.kind=Pod,involvedObject.name=p")
    assert selected["items"] == []
