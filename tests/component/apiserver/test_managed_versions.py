"""Managers of one object who write it in different versions."""

from typing import Any

from tests.component.apiserver.conftest import Http
from tests.component.extensions.test_conversion import CRDS, converting, definition

NAMESPACE = "namespaces/default"
HPA = "horizontalpodautoscalers"
V1 = f"/apis/autoscaling/v1/{NAMESPACE}/{HPA}/h"
V2 = f"/apis/autoscaling/v2/{NAMESPACE}/{HPA}/h"
APPLY = "application/apply-patch+yaml"
MERGE = "application/merge-patch+json"
TARGET = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "d"}


def autoscaler(version: str, **spec: Any) -> Any:
    body = {"apiVersion": f"autoscaling/{version}", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "h"}}
    return {**body, "spec": {"scaleTargetRef": TARGET, "maxReplicas": 5, **spec}}


def cpu(utilization: int) -> Any:
    target = {"type": "Utilization", "averageUtilization": utilization}
    return [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]


def owners(obj: Any) -> dict[tuple[str, str], Any]:
    return {(e["manager"], e["apiVersion"]): e["fieldsV1"] for e in obj["metadata"].get("managedFields", ())}


async def apply(http: Http, path: str, body: Any, manager: str, *, force: bool = False) -> tuple[int, Any]:
    query = f"?fieldManager={manager}{'&force=true' if force else ''}"
    return await http("PATCH", path + query, body, Content_Type=APPLY)


async def test_entries_keep_the_version_they_were_written_in(http: Http) -> None:
    assert (await apply(http, V1, autoscaler("v1", targetCPUUtilizationPercentage=50), "one"))[0] == 201
    code, made = await apply(http, V2, autoscaler("v2", metrics=cpu(50)), "two")
    assert code == 200, made
    found = owners(made)
    assert "f:targetCPUUtilizationPercentage" in found["one", "autoscaling/v1"]["f:spec"]
    assert "f:metrics" in found["two", "autoscaling/v2"]["f:spec"]


async def test_a_change_in_one_version_conflicts_with_who_owns_the_field_in_the_other(http: Http) -> None:
    await apply(http, V1, autoscaler("v1", targetCPUUtilizationPercentage=50), "one")
    code, refused = await apply(http, V2, autoscaler("v2", metrics=cpu(60)), "two")
    assert code == 409
    assert refused["details"]["causes"] == [
        {
            "reason": "FieldManagerConflict",
            "message": 'conflict with "one"',
            "field": ".spec.targetCPUUtilizationPercentage",
        }
    ]
    code, made = await apply(http, V2, autoscaler("v2", metrics=cpu(60)), "two", force=True)
    assert code == 200
    assert "f:targetCPUUtilizationPercentage" not in owners(made)["one", "autoscaling/v1"]["f:spec"]


async def test_an_update_in_one_version_takes_the_field_from_its_owner_in_the_other(http: Http) -> None:
    await apply(http, V1, autoscaler("v1", targetCPUUtilizationPercentage=50), "one")
    code, made = await http("PATCH", f"{V2}?fieldManager=two", {"spec": {"metrics": cpu(70)}}, Content_Type=MERGE)
    assert code == 200
    assert "f:targetCPUUtilizationPercentage" not in owners(made)["one", "autoscaling/v1"]["f:spec"]
    assert "f:metrics" in owners(made)["two", "autoscaling/v2"]["f:spec"]


async def test_applying_in_another_version_removes_what_was_applied_before(http: Http) -> None:
    await apply(http, V2, autoscaler("v2", minReplicas=2, metrics=cpu(50)), "one")
    code, made = await apply(http, V1, autoscaler("v1"), "one")
    assert code == 200, made
    # Without a metric the defaults of the version fill one in; two replicas were the configuration's alone.
    assert made["spec"]["minReplicas"] == 1
    assert [version for _, version in owners(made)] == ["autoscaling/v1"]


async def test_entries_of_versions_that_nobody_knows_go(http: Http) -> None:
    body = autoscaler("v2", metrics=cpu(50))
    _, made = await apply(http, V2, body, "one")
    entry = made["metadata"]["managedFields"][0]
    stale = {**entry, "manager": "old", "apiVersion": "autoscaling/v2beta9"}
    patch = {"metadata": {"managedFields": [entry, stale], "resourceVersion": made["metadata"]["resourceVersion"]}}
    _, made = await http("PATCH", V2, patch, Content_Type=MERGE)
    assert {manager for manager, _ in owners(made)} == {"one"}


async def test_events_of_both_groups_are_compared(http: Http) -> None:
    core, new = f"/api/v1/{NAMESPACE}/events/e", f"/apis/events.k8s.io/v1/{NAMESPACE}/events/e"
    regarding = {"kind": "Pod", "namespace": "default", "name": "p"}
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": regarding,
        "message": "hello",
        "eventTime": "2030-01-01T00:00:00.000000Z",
        "reportingComponent": "example.com/c",
        "reportingInstance": "i",
        "action": "Act",
        "reason": "Why",
        "type": "Normal",
    }
    assert (await apply(http, core, event, "one"))[0] == 201
    body = {"apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "e"}, "note": "other"}
    code, refused = await apply(http, new, body, "two")
    assert code == 409 and refused["details"]["causes"][0]["field"] == ".message"
    code, made = await apply(http, new, {**body, "note": "hello"}, "two")
    assert code == 200, made
    assert set(owners(made)) == {("one", "v1"), ("two", "events.k8s.io/v1")}


async def test_a_webhook_is_asked_for_the_versions_of_other_managers(http: Http, tmp_path: Any) -> None:
    async with converting(tmp_path) as webhook:
        await http("POST", CRDS, definition(webhook.config))
        base = "/apis/yard.example.com/{}/namespaces/default/boats/anna"

        def boat(version: str, spec: Any) -> Any:
            return {
                "apiVersion": f"yard.example.com/{version}",
                "kind": "Boat",
                "metadata": {"name": "anna"},
                "spec": spec,
            }

        assert (await apply(http, base.format("v1"), boat("v1", {"length": 7}), "one"))[0] == 201
        code, refused = await apply(http, base.format("v2"), boat("v2", {"size": {"length": 8}}), "two")
        assert code == 409, refused
        assert [cause["field"] for cause in refused["details"]["causes"]] == [".spec.length"]
        code, made = await apply(http, base.format("v2"), boat("v2", {"size": {"length": 8}}), "two", force=True)
        assert code == 200, made
        assert [version for _, version in owners(made)] == ["yard.example.com/v2"]
        assert (await http("GET", base.format("v1")))[1]["spec"] == {"length": 8}


async def test_versions_that_are_renamed_share_their_fields(http: Http) -> None:
    crd = definition({})
    crd["spec"]["conversion"] = {"strategy": "None"}
    crd["spec"]["versions"][1]["schema"] = crd["spec"]["versions"][0]["schema"]
    assert (await http("POST", CRDS, crd))[0] == 201
    base = "/apis/yard.example.com/{}/namespaces/default/boats/anna"
    body = {"kind": "Boat", "metadata": {"name": "anna"}}
    await apply(http, base.format("v1"), {"apiVersion": "yard.example.com/v1", **body, "spec": {"length": 7}}, "one")
    second = {"apiVersion": "yard.example.com/v2", **body}
    code, _ = await apply(http, base.format("v2"), {**second, "spec": {"length": 8}}, "two")
    assert code == 409
    code, made = await apply(http, base.format("v2"), {**second, "spec": {"length": 9}}, "one")
    assert code == 200 and [version for _, version in owners(made)] == ["yard.example.com/v2"]
    code, made = await apply(http, base.format("v1"), {"apiVersion": "yard.example.com/v1", **body}, "one")
    assert code == 200 and "spec" not in made
