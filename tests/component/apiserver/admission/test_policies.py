"""Admission policies: what they see, how they refuse, warn and change."""

from typing import Any

from wherry.apiserver.server import ApiServer

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
VERSION = "admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}


def configmap(name: str, namespace: str = "default", **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


async def create(http: Any, kind: str, name: str, spec: dict[str, Any]) -> None:
    made = {"apiVersion": VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec}
    plural = f"{kind.lower()}s".replace("policys", "policies")
    code, answer = await http("POST", f"/apis/{VERSION}/{plural}", made)
    assert code == 201, answer["message"]


async def validating(
    http: Any, *validations: dict[str, Any], actions: tuple[str, ...] = ("Deny",), **more: Any
) -> None:
    binding = {name: more.pop(name) for name in ("paramRef", "matchResources") if name in more}
    spec = {"matchConstraints": {"resourceRules": [RULE]}, "validations": list(validations), **more}
    await create(http, "ValidatingAdmissionPolicy", "p", spec)
    bound = {"policyName": "p", "validationActions": list(actions), **binding}
    await create(http, "ValidatingAdmissionPolicyBinding", "b", bound)


async def mutating(http: Any, name: str, expression: str, *, patch: bool = False, **more: Any) -> None:
    kind, member = ("JSONPatch", "jsonPatch") if patch else ("ApplyConfiguration", "applyConfiguration")
    spec = {
        "matchConstraints": {"resourceRules": [RULE]},
        "mutations": [{"patchType": kind, member: {"expression": expression}}],
        "reinvocationPolicy": "Never",
        **more,
    }
    await create(http, "MutatingAdmissionPolicy", name, spec)
    await create(http, "MutatingAdmissionPolicyBinding", name, {"policyName": name})


async def test_parameters_variables_and_message_expressions(server: ApiServer, http: Any) -> None:
    assert (await http("POST", CONFIGMAPS, configmap("limits", most="3")))[0] == 201
    await validating(
        http,
        {
            "expression": "variables.count <= variables.most",
            "messageExpression": "'at most ' + string(variables.most) + ' keys, not ' + string(variables.count)",
            "reason": "Forbidden",
        },
        paramKind={"apiVersion": "v1", "kind": "ConfigMap"},
        paramRef={"name": "limits", "namespace": "default", "parameterNotFoundAction": "Deny"},
        variables=[
            {"name": "most", "expression": "int(params.data.most)"},
            {"name": "count", "expression": "has(object.data) ? object.data.size() : 0"},
        ],
    )
    assert (await http("POST", CONFIGMAPS, configmap("a", one="", two="")))[0] == 201
    code, answer = await http("POST", CONFIGMAPS, configmap("b", one="", two="", three="", four=""))
    assert (code, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == (
        "configmaps \"b\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: "
        "at most 3 keys, not 4"
    )
    assert (await http("DELETE", f"{CONFIGMAPS}/limits"))[0] == 200
    code, answer = await http("POST", CONFIGMAPS, configmap("c"))
    assert (code, answer["reason"]) == (422, "Invalid")
    assert answer["message"].endswith(
        "denied request: failed to configure binding: no params found for policy binding with `Deny` "
        "parameterNotFoundAction"
    )


async def test_warnings_do_not_refuse(server: ApiServer, http: Any) -> None:
    await validating(http, {"expression": "false", "message": "careful"}, actions=("Warn", "Audit"))
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201
    assert http.headers["Warning"] == (
        "299 - \"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': careful\""
    )


async def test_failure_policy_decides_about_errors(server: ApiServer, http: Any) -> None:
    await validating(http, {"expression": "object.missing == 1"}, failurePolicy="Ignore")
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201


async def test_expressions_see_request_namespace_old_object_and_authorizer(server: ApiServer, http: Any) -> None:
    expressions = (
        "request.userInfo.username == 'admin' && request.resource.resource == 'configmaps'",
        "namespaceObject.metadata.name == request.namespace",
        "oldObject == null || oldObject.data.k != object.data.k",
        "authorizer.group('').resource('secrets').namespace('default').check('get').allowed()",
        "authorizer.requestResource.check('create').allowed()",
        "!authorizer.serviceAccount('default', 'x').group('').resource('pods').check('create').allowed()",
    )
    await validating(http, *({"expression": text} for text in expressions))
    assert (await http("POST", CONFIGMAPS, configmap("a", k="1")))[0] == 201
    code, answer = await http("PUT", f"{CONFIGMAPS}/a", configmap("a", k="1"))
    assert code == 422
    assert answer["message"].endswith(f"failed expression: {expressions[2]}")
    assert (await http("PUT", f"{CONFIGMAPS}/a", configmap("a", k="2")))[0] == 200


async def test_binding_narrows_what_the_policy_matches(server: ApiServer, http: Any) -> None:
    rule = {**RULE, "resourceNames": ["only"]}
    await validating(http, {"expression": "false"}, matchResources={"resourceRules": [rule]})
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201
    assert (await http("POST", CONFIGMAPS, configmap("only")))[0] == 422


async def test_json_patch_and_configuration_change_the_object(server: ApiServer, http: Any) -> None:
    patch = (
        "[JSONPatch{op: 'add', path: '/metadata/annotations/' + jsonpatch.escapeKey('a/b'), "
        "value: string(object.data.size())}, "
        "JSONPatch{op: 'remove', path: '/data/k'}]"
    )
    await mutating(http, "a", "Object{metadata: Object.metadata{annotations: {'seen': object.metadata.name}}}")
    await mutating(http, "b", patch, patch=True)
    code, answer = await http("POST", CONFIGMAPS, configmap("c", k="v"))
    assert code == 201, answer["message"]
    assert answer["metadata"]["annotations"] == {"seen": "c", "a/b": "1"}
    assert "data" not in answer


async def test_failed_test_operation_leaves_the_object(server: ApiServer, http: Any) -> None:
    patch = "[JSONPatch{op: 'test', path: '/data/k', value: 'x'}, JSONPatch{op: 'remove', path: '/data/k'}]"
    await mutating(http, "a", patch, patch=True)
    assert (await http("POST", CONFIGMAPS, configmap("c", k="v")))[1]["data"] == {"k": "v"}


async def test_policies_are_reinvoked_when_later_ones_change_the_object(server: ApiServer, http: Any) -> None:
    config = "Object{metadata: Object.metadata{labels: {'size': string(object.data.size())}}}"
    await mutating(http, "a", config, reinvocationPolicy="IfNeeded")
    await mutating(http, "b", "[JSONPatch{op: 'add', path: '/data/more', value: '1'}]", patch=True)
    code, answer = await http("POST", CONFIGMAPS, configmap("c", k="v"))
    assert code == 201
    assert answer["metadata"]["labels"] == {"size": "2"}


async def test_configuration_may_not_replace_atomic_lists(server: ApiServer, http: Any) -> None:
    rule = {**RULE, "apiGroups": ["apps"], "resources": ["deployments"]}
    config = (
        "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{"
        "containers: [Object.spec.template.spec.containers{name: 'c', command: ['sh']}]}}}}"
    )
    await mutating(http, "a", config, matchConstraints={"resourceRules": [rule]})
    labels = {"app": "a"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}}
    made["spec"] = {"selector": {"matchLabels": labels}, "template": template}
    code, answer = await http("POST", "/apis/apps/v1/namespaces/default/deployments", made)
    assert (code, answer["reason"]) == (403, "Invalid")
    assert answer["message"] == (
        "policy 'a' with binding 'a' denied request: error applying patch: invalid ApplyConfiguration: "
        "may not mutate atomic arrays, maps or structs: .spec.template.spec.containers[0].command"
    )


async def test_checks_and_match_conditions_are_counted(server: ApiServer, http: Any) -> None:
    await validating(
        http,
        {"expression": "!('bad' in object.data)"},
        actions=("Deny", "Audit"),
        matchConditions=[{"name": "data", "expression": "has(object.data)"}],
    )
    await mutating(http, "m", "Object{data: {'a': 'b'}}", matchConditions=[{"name": "no", "expression": "false"}])
    assert (await http("POST", CONFIGMAPS, configmap("a", bad="")))[0] == 422
    lines = (await http("GET", "/metrics"))[1].splitlines()
    for action in ("audit", "deny"):
        labels = f'enforcement_action="{action}",error_type="invalid_error",policy="p",policy_binding="b"'
        assert f"apiserver_validating_admission_policy_check_total{{{labels}}} 1" in lines
    labels = 'kind="policy",name="m",operation="CREATE",type="admit"'
    assert f"apiserver_admission_match_condition_exclusions_total{{{labels}}} 1" in lines
    labels = 'kind="policy",name="p",operation="CREATE",type="validate"'
    assert f"apiserver_admission_match_condition_evaluation_seconds_count{{{labels}}} 1" in lines


async def test_the_deletion_of_a_collection_names_no_object(server: ApiServer, http: Any) -> None:
    rules = {"resourceRules": [{**RULE, "operations": ["DELETE"]}]}
    await validating(http, {"expression": "has(request.name)"}, matchConstraints=rules)
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201
    code, answer = await http("DELETE", CONFIGMAPS)
    assert (code, answer["details"]["name"]) == (422, "Unknown")
    assert answer["message"].startswith('configmaps "Unknown" is forbidden: ')
    assert (await http("DELETE", f"{CONFIGMAPS}/a"))[0] == 200
