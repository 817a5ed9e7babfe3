"""Webhooks over real HTTPS: what they see, change and refuse, and what happens when they fail."""

from typing import Any

import pytest

from tests.component.apiserver.admission.webhookserver import Webhook, patch
from wherry.api.resources import ENDPOINTSLICES
from wherry.apiserver.admission.chain import Chain
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.server import ApiServer

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
GROUP = "/apis/admissionregistration.k8s.io/v1"
RULE = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"]}


def configmap(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


async def register(http: Any, kind: str, *hooks: dict[str, Any], name: str = "config") -> None:
    common = {"sideEffects": "None", "admissionReviewVersions": ["v1"], "rules": [RULE]}
    made = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": f"{kind}WebhookConfiguration",
        "metadata": {"name": name},
        "webhooks": [{**common, "name": f"h{at}.example.com", **hook} for at, hook in enumerate(hooks)],
    }
    code, answer = await http("POST", f"{GROUP}/{kind.lower()}webhookconfigurations", made)
    assert code == 201, answer


async def test_validating_webhook_sees_the_request_and_its_refusal_is_passed_on(
    server: ApiServer, http: Any, webhook: Webhook
) -> None:
    refusal = {"allowed": False, "status": {"message": "no way", "code": 403, "reason": "Forbidden"}}
    webhook.answers["/v"] = lambda request: {**refusal, "warnings": ["careful"]}
    await register(http, "Validating", {"clientConfig": webhook.client("/v")})
    code, answer = await http("POST", f"{CONFIGMAPS}?fieldManager=m", configmap("a", k="v"))
    assert (code, answer["reason"]) == (403, "Forbidden")
    assert answer["message"] == 'admission webhook "h0.example.com" denied the request: no way'
    assert http.headers["Warning"] == '299 - "careful"'
    (seen,) = webhook.seen
    assert (seen["operation"], seen["name"], seen["namespace"]) == ("CREATE", "a", "default")
    assert seen["kind"] == seen["requestKind"] == {"group": "", "version": "v1", "kind": "ConfigMap"}
    assert seen["options"] == {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "m"}
    assert seen["object"]["data"] == {"k": "v"}
    assert seen["oldObject"] is None
    assert seen["userInfo"]["username"] == "admin"


async def test_mutating_webhooks_run_in_order_and_again_where_they_want(
    server: ApiServer, http: Any, webhook: Webhook
) -> None:
    def first(request: dict[str, Any]) -> dict[str, Any]:
        more = "two" in request["object"]["data"] and "three" not in request["object"]["data"]
        return patch({"op": "add", "path": "/data/three", "value": "3"}) if more else {}

    def second(request: dict[str, Any]) -> dict[str, Any]:
        return patch({"op": "add", "path": "/data/two", "value": "2"})

    webhook.answers |= {"/1": first, "/2": second}
    await register(
        http,
        "Mutating",
        {"clientConfig": webhook.client("/1"), "reinvocationPolicy": "IfNeeded"},
        {"clientConfig": webhook.client("/2")},
    )
    code, answer = await http("POST", CONFIGMAPS, configmap("a", one="1"))
    assert code == 201
    assert answer["data"] == {"one": "1", "two": "2", "three": "3"}
    assert len(webhook.seen) == 3


async def test_what_a_webhook_adds_is_defaulted(server: ApiServer, http: Any, webhook: Webhook) -> None:
    container = {"name": "init", "image": "i"}
    webhook.answers["/m"] = lambda request: patch({"op": "add", "path": "/spec/initContainers", "value": [container]})
    rule = {**RULE, "resources": ["pods"]}
    await register(http, "Mutating", {"clientConfig": webhook.client("/m"), "rules": [rule]})
    await http(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts",
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}},
    )
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    code, answer = await http(
        "POST", "/api/v1/namespaces/default/pods", {**pod, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    )
    assert code == 201, answer
    (added,) = answer["spec"]["initContainers"]
    assert added["terminationMessagePolicy"] == "File"
    # The plugins of the server ran again: the new container has the token, too.
    assert added["volumeMounts"][0]["mountPath"] == "/var/run/secrets/kubernetes.io/serviceaccount"


async def test_failure_policy_decides_when_a_webhook_does_not_answer(
    server: ApiServer, http: Any, webhook: Webhook
) -> None:
    def never(request: dict[str, Any]) -> dict[str, Any]:
        webhook.stopped.wait()
        return {}

    webhook.answers["/slow"] = never
    client = webhook.client("/slow")
    await register(http, "Validating", {"clientConfig": client, "timeoutSeconds": 1, "failurePolicy": "Ignore"})
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201
    await register(http, "Validating", {"clientConfig": client, "timeoutSeconds": 1}, name="strict")
    code, answer = await http("POST", CONFIGMAPS, configmap("b"))
    assert (code, answer["reason"]) == (500, "InternalError")
    assert answer["message"] == (
        'Internal error occurred: failed calling webhook "h0.example.com": failed to call webhook: '
        f'Post "{client["url"]}?timeout=1s": context deadline exceeded'
    )


async def test_unknown_authority_fails_closed(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {}
    await register(http, "Validating", {"clientConfig": {"url": webhook.client("/v")["url"]}})
    code, answer = await http("POST", CONFIGMAPS, configmap("a"))
    assert code == 500
    assert "x509" in answer["message"]
    assert webhook.seen == []


async def test_selectors_and_conditions_choose_what_a_webhook_sees(
    server: ApiServer, http: Any, webhook: Webhook
) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": False}
    condition = {"name": "c", "expression": "object.metadata.name != 'skip-me'"}
    hook = {"clientConfig": webhook.client("/v"), "matchConditions": [condition]}
    hook["objectSelector"] = {"matchLabels": {"check": "yes"}}
    await register(http, "Validating", hook)
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201
    marked = configmap("skip-me")
    marked["metadata"]["labels"] = {"check": "yes"}
    assert (await http("POST", CONFIGMAPS, marked))[0] == 201
    marked["metadata"]["name"] = "b"
    code, answer = await http("POST", CONFIGMAPS, marked)
    assert (code, answer["message"]) == (
        400,
        'admission webhook "h0.example.com" denied the request without explanation',
    )


async def test_equivalent_resource_is_seen_in_the_version_of_the_rule(
    server: ApiServer, http: Any, webhook: Webhook
) -> None:
    webhook.answers["/v"] = lambda request: {}
    rule = {**RULE, "apiGroups": ["autoscaling"], "apiVersions": ["v2"], "resources": ["horizontalpodautoscalers"]}
    await register(http, "Validating", {"clientConfig": webhook.client("/v"), "rules": [rule]})
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}
    made = {
        "apiVersion": "autoscaling/v1",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "h"},
        "spec": {"maxReplicas": 2, "scaleTargetRef": target, "targetCPUUtilizationPercentage": 50},
    }
    code, answer = await http("POST", "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers", made)
    assert code == 201, answer
    (seen,) = webhook.seen
    assert (seen["kind"]["version"], seen["requestKind"]["version"]) == ("v2", "v1")
    assert "metrics" in seen["object"]["spec"]


async def test_dry_run_is_told_to_webhooks(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {}
    hook = {"clientConfig": webhook.client("/v"), "sideEffects": "NoneOnDryRun"}
    await register(http, "Validating", {**hook, "admissionReviewVersions": ["v1beta1"]})
    code, _ = await http("POST", f"{CONFIGMAPS}?dryRun=All", configmap("a"))
    assert code == 201
    (seen,) = webhook.seen
    assert (seen["dryRun"], seen["options"]["dryRun"]) == (True, ["All"])


async def test_webhooks_do_not_see_webhook_configurations(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": False}
    rule = {"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}
    await register(http, "Validating", {"clientConfig": webhook.client("/v"), "rules": [rule]})
    path = f"{GROUP}/validatingwebhookconfigurations/config"
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 400
    assert (await http("DELETE", path))[0] == 200
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201


async def test_service_reference_goes_to_a_ready_endpoint(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": False, "status": {"message": "by service"}}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "hook"}, "spec": {"ports": [{"port": 443}]}}
    assert (await http("POST", "/api/v1/namespaces/default/services", service))[0] == 201
    reference = {"service": {"namespace": "default", "name": "hook", "path": "/v"}, "caBundle": webhook.bundle}
    await register(http, "Validating", {"clientConfig": reference})
    code, answer = await http("POST", CONFIGMAPS, configmap("a"))
    assert code == 500
    assert 'no endpoints available for service "hook"' in answer["message"]
    found = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {"name": "hook-1", "labels": {"kubernetes.io/service-name": "hook"}},
        "addressType": "IPv4",
        "ports": [{"name": "", "port": webhook.port}],
        "endpoints": [{"addresses": ["127.0.0.1"], "conditions": {"ready": True}}],
    }
    # Past the API, which does not let an endpoint be on loopback.
    await server.registry.write(ENDPOINTSLICES, found, namespace="default", name="hook-1", expected=0)
    code, answer = await http("POST", CONFIGMAPS, configmap("a"))
    assert (code, answer["message"]) == (400, 'admission webhook "h0.example.com" denied the request: by service')


async def test_custom_resources_are_pruned_and_defaulted_after_a_webhook(
    server: ApiServer, http: Any, webhook: Webhook
) -> None:
    fields = {"known": {"type": "string"}, "given": {"type": "string", "default": "d"}}
    schema = {"type": "object", "properties": {"data": {"type": "object", "properties": fields}}}
    definition = {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "things.example.com"},
        "spec": {
            "group": "example.com",
            "scope": "Namespaced",
            "names": {"plural": "things", "kind": "Thing"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }
    assert (await http("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", definition))[0] == 201
    added = {"known": "1", "unknown": "2"}
    webhook.answers["/m"] = lambda request: patch({"op": "add", "path": "/data", "value": added})
    rule = {**RULE, "apiGroups": ["example.com"], "resources": ["things"]}
    await register(http, "Mutating", {"clientConfig": webhook.client("/m"), "rules": [rule]})
    made = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    path = "/apis/example.com/v1/namespaces/default/things"
    while (await http("GET", path))[0] == 404:
        continue
    code, answer = await http("POST", path, made)
    assert code == 201, answer["message"]
    assert answer["data"] == {"known": "1", "given": "d"}


async def test_bindings_and_evictions_are_seen_as_what_they_are(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": request["subResource"] != "eviction"}
    rule = {**RULE, "operations": ["CREATE"], "resources": ["pods/binding", "pods/eviction"]}
    await register(http, "Validating", {"clientConfig": webhook.client("/v"), "rules": [rule]})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    labels = {"topology.kubernetes.io/zone": "z"}
    node = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n", "labels": labels}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "i"}]}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    assert (await http("POST", "/api/v1/nodes", node))[0] == 201
    assert (await http("POST", "/api/v1/namespaces/default/pods", pod))[0] == 201
    path = "/api/v1/namespaces/default/pods/p"
    binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}}
    assert (await http("POST", f"{path}/binding", {**binding, "target": {"kind": "Node", "name": "n"}}))[0] == 201
    _, bound = await http("GET", path)
    assert (bound["spec"]["nodeName"], bound["metadata"]["labels"]) == ("n", labels)
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await http("POST", f"{path}/eviction", eviction))[0] == 400
    assert [seen["kind"]["kind"] for seen in webhook.seen] == ["Binding", "Eviction"]
    assert (await http("GET", path))[1]["metadata"].get("deletionTimestamp") is None


async def test_attaching_can_be_denied(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": False, "status": {"message": "no attaching"}}
    rule = {**RULE, "operations": ["CONNECT"], "resources": ["pods/attach"]}
    await register(http, "Validating", {"clientConfig": webhook.client("/v"), "rules": [rule]})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "i"}]}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    assert (await http("POST", "/api/v1/namespaces/default/pods", pod))[0] == 201
    code, answer = await http("POST", "/api/v1/namespaces/default/pods/p/attach?stdin=true&container=c")
    assert (code, answer["message"]) == (400, 'admission webhook "h0.example.com" denied the request: no attaching')
    (seen,) = webhook.seen
    assert (seen["kind"]["kind"], seen["subResource"], seen["options"]) == ("PodAttachOptions", "attach", None)
    assert seen["object"] == {"kind": "PodAttachOptions", "apiVersion": "v1", "stdin": True, "container": "c"}


async def test_a_scale_is_told_and_changed_as_a_scale(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/m"] = lambda request: patch({"op": "replace", "path": "/spec/replicas", "value": 3})
    rule = {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["UPDATE"], "resources": ["deployments/scale"]}
    await register(http, "Mutating", {"clientConfig": webhook.client("/m"), "rules": [rule]})
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": template}
    path = "/apis/apps/v1/namespaces/default/deployments"
    made = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d"}, "spec": spec}
    assert (await http("POST", path, made))[0] == 201
    merge = {"Content_Type": "application/merge-patch+json"}
    code, answer = await http("PATCH", f"{path}/d/scale?fieldManager=m", {"spec": {"replicas": 9}}, **merge)
    assert (code, answer["spec"]["replicas"]) == (200, 3)
    assert (await http("GET", f"{path}/d"))[1]["spec"]["replicas"] == 3
    (seen,) = webhook.seen
    assert seen["kind"] == seen["requestKind"] == {"group": "autoscaling", "version": "v1", "kind": "Scale"}
    assert seen["resource"] == {"group": "apps", "version": "v1", "resource": "deployments"}
    assert (seen["oldObject"]["spec"], seen["object"]["spec"]) == ({"replicas": 1}, {"replicas": 9})
    assert seen["options"] == {"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1", "fieldManager": "m"}


async def test_a_deletion_is_told_with_its_options(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {}
    rule = {**RULE, "operations": ["DELETE"], "resources": ["*"]}
    await register(http, "Validating", {"clientConfig": webhook.client("/v"), "rules": [rule]})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "i"}], "nodeName": "n", "terminationGracePeriodSeconds": 7}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    assert (await http("POST", "/api/v1/namespaces/default/pods", pod))[0] == 201
    assert (await http("DELETE", "/api/v1/namespaces/default/pods/p", {"propagationPolicy": "Orphan"}))[0] == 200
    await http("POST", CONFIGMAPS, configmap("a"))
    assert (await http("DELETE", f"{CONFIGMAPS}?gracePeriodSeconds=5"))[0] == 200
    kind = {"kind": "DeleteOptions", "apiVersion": "meta.k8s.io/v1"}
    told = [(seen.get("name"), seen["oldObject"]["metadata"]["name"], seen["options"]) for seen in webhook.seen]
    assert told == [
        ("p", "p", {**kind, "gracePeriodSeconds": 7, "propagationPolicy": "Orphan"}),
        (None, "a", {**kind, "gracePeriodSeconds": 5}),
    ]


async def test_a_changed_eviction_stays_an_eviction(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/m"] = lambda request: patch({"op": "add", "path": "/deleteOptions", "value": {"dryRun": ["All"]}})
    rule = {**RULE, "operations": ["CREATE"], "resources": ["pods/eviction"]}
    await register(http, "Mutating", {"clientConfig": webhook.client("/m"), "rules": [rule]})
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {"containers": [{"name": "c", "image": "i"}]}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    assert (await http("POST", "/api/v1/namespaces/default/pods", pod))[0] == 201
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "p"}}
    assert (await http("POST", "/api/v1/namespaces/default/pods/p/eviction", eviction))[0] == 201
    assert (await http("GET", "/api/v1/namespaces/default/pods/p"))[0] == 200


async def test_connections_are_told_with_all_that_they_ask_for(server: ApiServer, http: Any, webhook: Webhook) -> None:
    webhook.answers["/v"] = lambda request: {"allowed": False}
    rule = {**RULE, "operations": ["CONNECT"], "resources": ["*/*"]}
    await register(http, "Validating", {"clientConfig": webhook.client("/v"), "rules": [rule]})
    path = "/api/v1/namespaces/default/pods/p"
    for request in ("exec?command=ls&command=-l&stdout=true", "portforward?ports=80&ports=81", "proxy/a%20b/"):
        assert (await http("POST", f"{path}/{request}"))[0] == 400
    told = [{k: v for k, v in seen["object"].items() if k != "apiVersion"} for seen in webhook.seen]
    assert told == [
        {"kind": "PodExecOptions", "stdout": True, "command": ["ls", "-l"]},
        {"kind": "PodPortForwardOptions", "ports": [80, 81]},
        {"kind": "PodProxyOptions", "path": "/a b/"},
    ]


_FAILED = 'Internal error occurred: failed calling webhook "h0.example.com": '
_WRONG = f"{_FAILED}received invalid webhook response: "
_PATCH = patch({"op": "add", "path": "/data/x", "value": "1"})


@pytest.mark.parametrize(
    ("kind", "answer", "message"),
    [
        ("Mutating", {"response": None}, f"{_WRONG}webhook response was absent"),
        ("Mutating", {"response": {"uid": "x"}}, f'{_WRONG}expected response.uid="UID", got "x"'),
        (
            "Mutating",
            {"apiVersion": "", "kind": ""},
            f"{_WRONG}expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
        ),
        (
            "Validating",
            {"apiVersion": "admission.k8s.io/v1beta1"},
            f"{_FAILED}failed to call webhook: converting (v1beta1.AdmissionReview) to (v1.AdmissionReview): unknown "
            "conversion",
        ),
        (
            "Mutating",
            {"response": {"patch": _PATCH["patch"]}},
            f"{_WRONG}webhook returned response.patch but not response.patchType",
        ),
        (
            "Mutating",
            {"response": {"patchType": "JSONPatch"}},
            f"{_WRONG}webhook returned response.patchType but not response.patch",
        ),
        (
            "Mutating",
            {"response": {**_PATCH, "patchType": ""}},
            f'{_WRONG}webhook returned invalid response.patchType of ""',
        ),
        ("Mutating", {"response": {**_PATCH, "patchType": "X"}}, f'{_FAILED}unsupported patch type "X"'),
        (
            "Mutating",
            {"response": {**_PATCH, "patch": "a!"}},
            f"{_FAILED}failed to call webhook: illegal base64 data at input byte 1",
        ),
        (
            "Mutating",
            {"response": {**_PATCH, "patch": "eA=="}},
            "Internal error occurred: invalid character 'x' looking for beginning of value",
        ),
        (
            "Mutating",
            {"response": {**_PATCH, "patch": "e30="}},
            "Internal error occurred: json: cannot unmarshal object into Go value of type jsonpatch.Patch",
        ),
        ("Validating", {"response": _PATCH}, f"{_WRONG}validating webhook may not return response.patch"),
        (
            "Validating",
            {"response": {"patchType": "JSONPatch"}},
            f"{_WRONG}validating webhook may not return response.patchType",
        ),
        (
            "Validating",
            {"response": {"allowed": False}},
            'admission webhook "h0.example.com" denied the request without explanation',
        ),
    ],
)
async def test_answers_that_make_no_sense_are_told_in_upstreams_words(
    server: ApiServer, http: Any, webhook: Webhook, kind: str, answer: dict[str, Any], message: str
) -> None:
    webhook.answers["/w"] = lambda request: {"allowed": True}
    webhook.reviews["/w"] = answer
    await register(http, kind, {"clientConfig": webhook.client("/w")})
    code, told = await http("POST", CONFIGMAPS, configmap("a"))
    uid = webhook.seen[0]["uid"]
    assert told["message"] == message.replace("UID", uid)
    assert code == (400 if "denied" in message else 500)


async def test_what_webhooks_did_is_annotated_and_counted(
    http: Any, server: ApiServer, webhook: Webhook, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Operation] = []

    admit = Chain.admit

    async def look(self: Chain, operation: Operation) -> None:
        operation.has_details = True
        seen.append(operation)
        await admit(self, operation)

    monkeypatch.setattr(Chain, "admit", look)
    webhook.answers["/m"] = lambda request: {**_PATCH, "auditAnnotations": {"who": "me", "bad key": "x"}}
    webhook.answers["/down"] = lambda request: {"uid": "other"}
    await register(
        http,
        "Mutating",
        {"clientConfig": webhook.client("/m")},
        {"clientConfig": webhook.client("/down"), "failurePolicy": "Ignore"},
    )
    await register(http, "Validating", {"clientConfig": webhook.client("/down"), "failurePolicy": "Ignore"})
    seen.clear()
    assert (await http("POST", CONFIGMAPS, configmap("a", k="v")))[0] == 201
    start = '{"configuration":"config","webhook":"h0.example.com",'
    assert seen[0].annotations == {
        "mutation.webhook.admission.k8s.io/round_0_index_0": f'{start}"mutated":true}}',
        "patch.webhook.admission.k8s.io/round_0_index_0": (
            f'{start}"patch":[{{"op":"add","path":"/data/x","value":"1"}}],"patchType":"JSONPatch"}}'
        ),
        "h0.example.com/who": "me",
        "mutation.webhook.admission.k8s.io/round_0_index_1": (
            '{"configuration":"config","webhook":"h1.example.com","mutated":false}'
        ),
        "failed-open.mutation.webhook.admission.k8s.io/round_0_index_1": "h1.example.com",
        "failed-open.validating.webhook.admission.k8s.io/round_0_index_0": "h0.example.com",
    }
    await http("GET", "/metrics")
    lines = http.body.decode().splitlines()
    labels = 'name="h0.example.com",operation="CREATE",rejected="false",type="admit"'
    assert f'apiserver_admission_webhook_request_total{{code="200",{labels}}} 1' in lines
    assert 'apiserver_admission_webhook_fail_open_count{name="h1.example.com",type="admit"} 1' in lines


async def test_the_time_that_plugins_and_steps_take_is_counted(server: ApiServer, http: Any) -> None:
    account = {"metadata": {"name": "default"}}
    assert (await http("POST", "/api/v1/namespaces/default/serviceaccounts", account))[0] == 201
    await http("POST", "/api/v1/namespaces/default/pods", {"metadata": {"name": "p"}, "spec": {"containers": []}})
    pod = {
        "metadata": {"name": "p"},
        "spec": {"priorityClassName": "none", "containers": [{"name": "c", "image": "i"}]},
    }
    assert (await http("POST", "/api/v1/namespaces/default/pods", pod))[0] == 403
    lines = (await http("GET", "/metrics"))[1].splitlines()
    plugin = 'admission_duration_seconds_count{name="Priority",operation="CREATE",rejected="true",type="admit"} 1'
    step = 'admission_duration_seconds_count{operation="CREATE",rejected="true",type="admit"} 1'
    assert f"apiserver_admission_controller_{plugin}" in lines and f"apiserver_admission_step_{step}" in lines
    passed = 'name="ServiceAccount",operation="CREATE",rejected="false",type="admit"'
    assert f'apiserver_admission_controller_admission_duration_seconds_bucket{{le="2.5",{passed}}} 2' in lines
    assert "# TYPE apiserver_admission_step_admission_duration_seconds_summary summary" in lines
