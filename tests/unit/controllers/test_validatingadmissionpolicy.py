from typing import Any

from tests.unit.controllers.cluster import running
from wherry.api.resources import builtin
from wherry.controllers.validatingadmissionpolicy import ValidatingAdmissionPolicyStatusController

POLICIES = builtin("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")


def policy(*expressions: str, group: str = "apps", plural: str = "deployments", **spec: Any) -> dict[str, Any]:
    rule = {"apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": [plural]}
    return {
        "kind": "ValidatingAdmissionPolicy",
        "apiVersion": "admissionregistration.k8s.io/v1",
        "metadata": {"name": "p", "generation": 2},
        "spec": {
            "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": expression} for expression in expressions],
            **spec,
        },
    }


async def status(*objects: dict[str, Any]) -> dict[str, Any]:
    async with running(ValidatingAdmissionPolicyStatusController, objects=objects) as cluster:
        return cluster.get(POLICIES, "p", None)["status"]


async def test_good_expressions_have_no_warnings() -> None:
    found = policy(
        "object.spec.replicas < variables.most && object.metadata.name.startsWith('a')",
        "object.spec.template.spec.containers.all(c, !has(c.securityContext))",
        variables=[{"name": "most", "expression": "oldObject.spec.replicas + 1"}],
    )
    assert await status(found) == {"observedGeneration": 2, "typeChecking": {}}


async def test_misspelt_fields_and_wrong_types_are_told_by_kind() -> None:
    found = await status(policy("object.spec.replica > 1", "object.spec.replicas == 'many'"))
    first, second = found["typeChecking"]["expressionWarnings"]
    assert first["fieldRef"] == "spec.validations[0].expression"
    assert first["warning"].startswith("apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replica'")
    assert second["fieldRef"] == "spec.validations[1].expression"
    assert "found no matching overload for '_==_'" in second["warning"]


async def test_rules_for_everything_are_not_checked() -> None:
    assert await status(policy("object.nothing", plural="*")) == {"observedGeneration": 2, "typeChecking": {}}


async def test_custom_resources_are_checked_by_their_definition() -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}}
    definition = {
        "kind": "CustomResourceDefinition",
        "apiVersion": "apiextensions.k8s.io/v1",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    found = await status(definition, policy("object.spec.sizes > 1", group="example.com", plural="things"))
    (warning,) = found["typeChecking"]["expressionWarnings"]
    assert warning["warning"].startswith("example.com/v1, Kind=Thing: ERROR: <input>:1:12: undefined field 'sizes'")
