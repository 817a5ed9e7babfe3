"""Reading, writing and deleting objects over HTTP."""

import asyncio
from typing import Any

import pytest

from tests.component.apiserver.conftest import Http

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"


def configmap(name: str, **metadata: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, **metadata}, "data": {"a": "1"}}


async def test_what_was_created_is_read_back_byte_for_byte(http: Http) -> None:
    code, created = await http("POST", CONFIGMAPS, configmap("c"))
    assert code == 201
    assert created["metadata"]["uid"] and created["metadata"]["resourceVersion"]
    assert await http("GET", f"{CONFIGMAPS}/c") == (200, created)


async def test_a_second_object_of_a_name_is_refused(http: Http) -> None:
    await http("POST", CONFIGMAPS, configmap("c"))
    code, status = await http("POST", CONFIGMAPS, configmap("c"))
    assert (code, status["reason"], status["message"]) == (409, "AlreadyExists", 'configmaps "c" already exists')


async def test_a_name_beside_a_base_for_names_is_kept(http: Http) -> None:
    given = configmap("base-x", generateName="base-")
    assert (await http("POST", CONFIGMAPS, given))[1]["metadata"]["name"] == "base-x"
    assert (await http("POST", CONFIGMAPS, given))[0] == 409


async def test_an_update_that_changes_nothing_keeps_the_resource_version(http: Http) -> None:
    _, created = await http("POST", CONFIGMAPS, configmap("c"))
    _, updated = await http("PUT", f"{CONFIGMAPS}/c", created)
    assert updated["metadata"]["resourceVersion"] == created["metadata"]["resourceVersion"]


async def test_an_update_of_an_old_version_conflicts(http: Http) -> None:
    _, created = await http("POST", CONFIGMAPS, configmap("c"))
    await http("PUT", f"{CONFIGMAPS}/c", {**configmap("c"), "data": {"a": "2"}})
    code, status = await http("PUT", f"{CONFIGMAPS}/c", {**created, "data": {"a": "3"}})
    assert (code, status["reason"]) == (409, "Conflict")


async def test_concurrent_patches_all_land(http: Http) -> None:
    await http("POST", CONFIGMAPS, configmap("c"))
    patches = (
        http("PATCH", f"{CONFIGMAPS}/c", {"data": {f"k{n}": "v"}}, Content_Type="application/merge-patch+json")
        for n in range(20)
    )
    assert {code for code, _ in await asyncio.gather(*patches)} == {200}
    _, found = await http("GET", f"{CONFIGMAPS}/c")
    assert len(found["data"]) == 21


async def test_a_finalizer_holds_an_object_until_it_is_removed(http: Http) -> None:
    await http("POST", CONFIGMAPS, configmap("c", finalizers=["example.com/f"]))
    _, marked = await http("DELETE", f"{CONFIGMAPS}/c")
    assert marked["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    code, _ = await http("PATCH", f"{CONFIGMAPS}/c", patch, Content_Type="application/merge-patch+json")
    assert code == 200
    assert (await http("GET", f"{CONFIGMAPS}/c"))[0] == 404


async def test_a_list_after_a_delete_collection_is_empty(http: Http) -> None:
    for name in "ab":
        await http("POST", CONFIGMAPS, configmap(name, labels={"t": "x"}))
    await http("GET", CONFIGMAPS)
    _, deleted = await http("DELETE", CONFIGMAPS)
    assert [o["metadata"]["name"] for o in deleted["items"]] == ["a", "b"]
    assert (await http("GET", CONFIGMAPS))[1]["items"] == []


async def test_pages_are_of_one_revision(http: Http) -> None:
    for name in "abc":
        await http("POST", CONFIGMAPS, configmap(name, labels={"t": "x"}))
    _, first = await http("GET", f"{CONFIGMAPS}?limit=2")
    assert first["metadata"]["remainingItemCount"] == 1
    await http("POST", CONFIGMAPS, configmap("d"))
    _, second = await http("GET", f"{CONFIGMAPS}?limit=2&continue={first['metadata']['continue']}")
    assert [o["metadata"]["name"] for o in second["items"]] == ["c"]
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]


async def test_a_compacted_continue_token_offers_an_inconsistent_one(http: Http, server: Any) -> None:
    for name in "abc":
        await http("POST", CONFIGMAPS, configmap(name))
    _, first = await http("GET", f"{CONFIGMAPS}?limit=2")
    await http("POST", CONFIGMAPS, configmap("d"))
    await server.registry.store.compact(server.registry.store.revision)
    code, status = await http("GET", f"{CONFIGMAPS}?limit=2&continue={first['metadata']['continue']}")
    assert (code, status["reason"]) == (410, "Expired")
    _, rest = await http("GET", f"{CONFIGMAPS}?continue={status['metadata']['continue']}")
    assert [o["metadata"]["name"] for o in rest["items"]] == ["c", "d"]


async def test_a_dry_run_leaves_nothing(http: Http) -> None:
    assert (await http("POST", f"{CONFIGMAPS}?dryRun=All", configmap("c")))[0] == 201
    assert (await http("GET", f"{CONFIGMAPS}/c"))[0] == 404


async def test_a_cluster_ip_is_free_again_after_the_service(http: Http) -> None:
    services = "/api/v1/namespaces/default/services"
    body = {"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}], "clusterIP": "10.96.1.2"}}
    assert (await http("POST", services, body))[0] == 201
    assert (await http("GET", "/apis/networking.k8s.io/v1/ipaddresses/10.96.1.2"))[0] == 200
    code, status = await http("POST", services, {**body, "metadata": {"name": "t"}})
    assert code == 422
    assert "provided IP is already allocated" in status["message"]
    await http("DELETE", f"{services}/s")
    assert (await http("GET", "/apis/networking.k8s.io/v1/ipaddresses/10.96.1.2"))[0] == 404
    assert (await http("POST", services, {**body, "metadata": {"name": "t"}}))[0] == 201


async def test_a_user_without_rights_is_told_what_is_missing(http: Http) -> None:
    code, status = await http("GET", CONFIGMAPS, Authorization="Bearer plain")
    assert code == 403
    assert status["message"] == (
        'configmaps is forbidden: User "jane" cannot list resource "configmaps" in API group "" '
        'in the namespace "default"'
    )


async def test_an_event_is_one_object_in_both_its_groups(http: Http) -> None:
    event = {
        "metadata": {"name": "e"},
        "reason": "Why",
        "message": "because",
        "type": "Normal",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": "default"},
    }
    assert (await http("POST", "/api/v1/namespaces/default/events", event))[0] == 201
    _, seen = await http("GET", "/apis/events.k8s.io/v1/namespaces/default/events/e")
    assert (seen["apiVersion"], seen["note"], seen["regarding"]["name"]) == ("events.k8s.io/v1", "because", "p")


async def test_a_body_above_the_limit_is_refused(http: Http) -> None:
    code, status = await http("POST", CONFIGMAPS, {"data": {"a": "x" * (3 << 20)}})
    assert (code, status["reason"]) == (413, "RequestEntityTooLarge")


async def test_the_server_is_ready_and_says_its_version(http: Http) -> None:
    assert await http("GET", "/readyz") == (200, "ok")
    assert (await http("GET", "/version"))[1]["gitVersion"] == "v1.36.2"
    code, groups = await http("GET", "/apis")
    assert code == 200
    assert {"apps", "batch"} <= {group["name"] for group in groups["groups"]}


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "message"),
    [
        ("DELETE", "/api/v1/configmaps", None, 405, "the server does not allow this method on the requested resource"),
        ("POST", "/api/v1/bindings", {}, 404, "the server could not find the requested resource"),
        ("GET", "/api/v1/configmaps/c", None, 404, "the server could not find the requested resource"),
        ("GET", f"{CONFIGMAPS}?timeoutSeconds=x", None, 400, 'strconv.ParseInt: parsing "x": invalid syntax'),
        ("DELETE", f"{CONFIGMAPS}/c?dryRun=x", None, 422, 'dryRun: Unsupported value: ["x"]: supported values: "All"'),
        (
            "DELETE",
            f"{CONFIGMAPS}/c",
            {"gracePeriodSeconds": "x"},
            400,
            "json: cannot unmarshal string into Go struct field DeleteOptions.gracePeriodSeconds of type int64",
        ),
        (
            "DELETE",
            "/apis/scheduling.k8s.io/v1/priorityclasses/system-node-critical",
            None,
            403,
            "this is a system priority class and cannot be deleted",
        ),
    ],
)
async def test_a_request_that_means_nothing_is_refused(
    http: Http, method: str, path: str, body: Any, code: int, message: str
) -> None:
    answered, status = await http(method, path, body)
    assert (answered, status["code"]) == (code, code)
    assert status["message"].endswith(message)


async def test_options_that_no_deletion_has_are_refused_in_every_place(http: Http) -> None:
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    account = {"metadata": {"name": "default"}}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    code, status = await http("POST", "/api/v1/namespaces/default/pods", pod)
    assert code == 201, status
    wanted = (
        'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "Sideways": '
        'supported values: "Foreground", "Background", "Orphan", "nil"'
    )
    eviction = {"metadata": {"name": "p"}, "deleteOptions": {"propagationPolicy": "Sideways"}}
    for method, path, body in (
        ("POST", "/api/v1/namespaces/default/pods/p/eviction", eviction),
        ("DELETE", "/api/v1/namespaces/default/pods/p", {"propagationPolicy": "Sideways"}),
        ("DELETE", "/api/v1/namespaces/default/pods/p?propagationPolicy=Sideways", None),
    ):
        code, status = await http(method, path, body)
        assert (code, status["message"]) == (422, wanted)
    code, status = await http("POST", "/api/v1/namespaces/default/pods/p/eviction", {})
    assert (code, status["message"]) == (400, "name in URL does not match name in Eviction object")


async def test_a_webhook_without_rules_is_asked_about_nothing(http: Http) -> None:
    hook = {
        "name": "a.example.com",
        "clientConfig": {"url": "https://127.0.0.1:1"},
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
    }
    path = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations"
    assert (await http("POST", path, {"metadata": {"name": "w"}, "webhooks": [hook]}))[0] == 201
    assert (await http("POST", CONFIGMAPS, configmap("c")))[0] == 201


async def test_a_row_is_the_same_in_every_version(http: Http) -> None:
    path = "/apis/autoscaling/{}/namespaces/default/horizontalpodautoscalers"
    target = {"type": "AverageValue", "averageValue": "5"}
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"},
        "maxReplicas": 3,
        "metrics": [{"type": "Pods", "pods": {"metric": {"name": "m"}, "target": target}}],
    }
    assert (await http("POST", path.format("v2"), {"metadata": {"name": "h"}, "spec": spec}))[0] == 201
    for version in ("v1", "v2"):
        accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
        _, found = await http("GET", f"{path.format(version)}/h", Accept=accept)
        assert found["rows"][0]["cells"][:3] == ["h", "Deployment/d", "<unknown>/5"]
