"""Definitions and what they define, through the whole server."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import ClientSession

from tests.component.extensions.conftest import caller, new_server
from wherry.store.memory import MemoryStore

Http = Callable[..., Awaitable[tuple[int, Any]]]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
BOATS = "/apis/yard.example.com/v1/namespaces/default/boats"
MERGE = "application/merge-patch+json"
SPEC = {
    "type": "object",
    "properties": {
        "length": {"type": "integer", "minimum": 1},
        "kind": {"type": "string", "default": "wherry"},
        "replicas": {"type": "integer"},
        "color": {"type": "string"},
    },
    "x-kubernetes-validations": [{"rule": "!has(self.color) || self.color != 'invisible'"}],
}
SCHEMA = {
    "type": "object",
    "properties": {"spec": SPEC, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
}


def definition(plural: str = "boats", kind: str = "Boat", **version: Any) -> Any:
    one = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": SCHEMA}, **version}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.yard.example.com"},
        "spec": {
            "group": "yard.example.com",
            "scope": "Namespaced",
            "names": {"plural": plural, "kind": kind},
            "versions": [one],
        },
    }


def boat(name: str = "anna", **spec: Any) -> Any:
    return {"apiVersion": "yard.example.com/v1", "kind": "Boat", "metadata": {"name": name}, "spec": spec}


async def until(http: Http, path: str, good: Callable[[int, Any], bool]) -> None:
    """Ask again until the answer is good: what happens is done beside the requests."""
    for _ in range(500):
        if good(*await http("GET", path)):
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{path} never became what it should")


async def test_what_is_defined_is_served_when_its_definition_is_answered(http: Http):
    assert (await http("GET", BOATS))[0] == 404
    assert (await http("POST", CRDS, definition()))[0] == 201
    assert (await http("GET", BOATS)) == (
        200,
        {
            "kind": "BoatList",
            "apiVersion": "yard.example.com/v1",
            "metadata": {
                "resourceVersion": (await http("GET", BOATS))[1]["metadata"]["resourceVersion"],
                "continue": "",
            },
            "items": [],
        },
    )
    _, made = await http("GET", f"{CRDS}/boats.yard.example.com")
    assert [(c["type"], c["status"]) for c in made["status"]["conditions"]] == [
        ("NamesAccepted", "True"),
        ("Established", "True"),
    ]
    _, resources = await http("GET", "/apis/yard.example.com/v1")
    assert [entry["name"] for entry in resources["resources"]] == ["boats"]
    _, index = await http("GET", "/openapi/v3")
    assert "apis/yard.example.com/v1" in str(index)


async def test_objects_are_defaulted_pruned_validated_and_judged(http: Http):
    await http("POST", CRDS, definition())
    code, made = await http("POST", BOATS, boat(length=7, sail="red"))
    assert code == 201 and made["spec"] == {"length": 7, "kind": "wherry"} and made["metadata"]["generation"] == 1
    code, refused = await http("POST", BOATS, boat("b", length=0))
    assert code == 422 and refused["details"]["causes"][0]["field"] == "spec.length"
    code, refused = await http("POST", BOATS, boat("b", color="invisible"))
    assert code == 422 and "failed rule" in refused["message"]
    code, changed = await http("PATCH", f"{BOATS}/anna", {"spec": {"length": 8}}, Content_Type=MERGE)
    assert code == 200 and changed["metadata"]["generation"] == 2
    code, same = await http("PATCH", f"{BOATS}/anna", {"metadata": {"labels": {"a": "b"}}}, Content_Type=MERGE)
    assert code == 200 and same["metadata"]["generation"] == 2


async def test_status_and_scale_are_endpoints_of_their_own(http: Http):
    paths = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    scale = {**paths, "labelSelectorPath": ".status.selector"}
    await http("POST", CRDS, definition(subresources={"status": {}, "scale": scale}))
    _, made = await http("POST", BOATS, {**boat(replicas=1), "status": {"replicas": 9}})
    assert "status" not in made
    status = {"status": {"replicas": 1, "selector": "a=b"}, "spec": {"replicas": 5}}
    code, made = await http("PATCH", f"{BOATS}/anna/status", status, Content_Type=MERGE)
    assert code == 200 and made["spec"]["replicas"] == 1 and made["metadata"]["generation"] == 1
    code, scaled = await http("PATCH", f"{BOATS}/anna/scale", {"spec": {"replicas": 3}}, Content_Type=MERGE)
    assert code == 200 and scaled["spec"] == {"replicas": 3} and scaled["status"] == {"replicas": 1, "selector": "a=b"}
    _, made = await http("GET", f"{BOATS}/anna")
    assert made["spec"]["replicas"] == 3 and made["metadata"]["generation"] == 2


async def test_a_custom_kind_says_itself_what_it_does_not_do(http: Http):
    await http("POST", CRDS, definition(subresources={"status": {}}))
    await http("POST", BOATS, boat(length=7))
    never = 'is not supported on resources of kind "boats.yard.example.com"'
    asked = {
        ("GET", f"{BOATS}/anna/scale"): (404, 'boats.yard.example.com "anna" not found'),
        ("DELETE", f"{BOATS}/anna/status"): (405, f"delete {never}"),
        ("PUT", BOATS): (400, "name must be provided"),
    }
    for (method, path), told in asked.items():
        code, status = await http(method, path, boat())
        assert (code, status["message"]) == told
    assert (await http("POST", f"{BOATS}/other", boat("berta", length=8)))[0] == 201
    assert (await http("POST", BOATS.replace("namespaces/default/", ""), boat("carla")))[0] == 404


async def test_a_served_definition_takes_no_certificates_that_cannot_be_read(http: Http):
    await http("POST", CRDS, definition())
    client = {"url": "https://x.example.com", "caBundle": "Cg=="}
    webhook = {"strategy": "Webhook", "webhook": {"clientConfig": client, "conversionReviewVersions": ["v1"]}}
    patch = {"spec": {"conversion": webhook}}
    code, status = await http("PATCH", f"{CRDS}/boats.yard.example.com", patch, Content_Type=MERGE)
    assert code == 422 and [c["field"] for c in status["details"]["causes"]] == [
        "spec.conversion.webhookClientConfig.caBundle"
    ]


async def test_columns_and_selectable_fields_are_those_of_the_definition(http: Http):
    columns = [{"name": "Length", "type": "integer", "jsonPath": ".spec.length"}]
    await http(
        "POST", CRDS, definition(additionalPrinterColumns=columns, selectableFields=[{"jsonPath": ".spec.color"}])
    )
    await http("POST", BOATS, boat(length=7, color="red"))
    await http("POST", BOATS, boat("berta", length=8))
    _, table = await http("GET", BOATS, Accept="application/json;as=Table;v=v1;g=meta.k8s.io")
    assert [row["cells"] for row in table["rows"]] == [["anna", 7], ["berta", 8]]
    _, red = await http("GET", f"{BOATS}?fieldSelector=spec.color%3Dred")
    assert [item["metadata"]["name"] for item in red["items"]] == ["anna"]
    assert (await http("GET", f"{BOATS}?fieldSelector=spec.length%3D7"))[0] == 400
    _, partial = await http(
        "GET", f"{BOATS}/anna", Accept="application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io"
    )
    assert partial["kind"] == "PartialObjectMetadata" and "spec" not in partial


async def test_a_changed_schema_holds_at_once_also_for_what_is_stored(http: Http):
    await http("POST", CRDS, definition())
    await http("POST", BOATS, boat(length=7))
    hull = {"op": "add", "path": "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/hull"}
    patch = [{**hull, "value": {"type": "string", "default": "oak"}}]
    assert (await http("PATCH", f"{CRDS}/boats.yard.example.com", patch, Content_Type="application/json-patch+json"))[
        0
    ] == 200
    _, made = await http("GET", f"{BOATS}/anna")
    assert made["spec"]["hull"] == "oak"
    _, listed = await http("GET", BOATS)
    assert listed["items"][0]["spec"]["hull"] == "oak" and listed["items"][0]["kind"] == "Boat"


async def test_names_are_taken_by_the_first_and_free_when_it_goes(http: Http):
    await http("POST", CRDS, definition())
    other = definition("ships", "Boat")
    assert (await http("POST", CRDS, other))[0] == 201
    _, waiting = await http("GET", f"{CRDS}/ships.yard.example.com")
    accepted, established = waiting["status"]["conditions"]
    assert (accepted["status"], accepted["reason"]) == ("False", "ListKindConflict")
    assert established["status"] == "False"
    assert waiting["status"]["acceptedNames"] == {"plural": "ships", "kind": ""}
    await http("DELETE", f"{CRDS}/boats.yard.example.com")
    await until(http, "/apis/yard.example.com/v1/namespaces/default/ships", lambda code, _: code == 200)


async def test_of_definitions_made_at_the_same_time_one_gets_the_names(http: Http):
    plurals = ["boats", "ships", "barges"]
    await asyncio.gather(*(http("POST", CRDS, definition(plural, "Boat")) for plural in plurals))
    found = [await http("GET", f"{CRDS}/{plural}.yard.example.com") for plural in plurals]
    assert sorted(made["status"]["conditions"][0]["status"] for _, made in found) == ["False", "False", "True"]


async def test_deleting_a_definition_deletes_its_objects_first(http: Http):
    await http("POST", CRDS, definition())
    held = boat(length=1)
    held["metadata"]["finalizers"] = ["example.com/hold"]
    await http("POST", BOATS, held)
    code, going = await http("DELETE", f"{CRDS}/boats.yard.example.com")
    assert code == 200 and going["metadata"]["finalizers"] == ["customresourcecleanup.apiextensions.k8s.io"]
    code, refused = await http("POST", BOATS, boat("late", length=1))
    assert code == 403
    assert refused["message"].endswith("create not allowed while custom resource definition is terminating")
    await until(http, f"{BOATS}/anna", lambda _, made: "deletionTimestamp" in made["metadata"])
    assert (await http("PATCH", f"{BOATS}/anna", {"metadata": {"finalizers": None}}, Content_Type=MERGE))[0] == 200
    await until(http, f"{CRDS}/boats.yard.example.com", lambda code, _: code == 404)
    assert (await http("GET", BOATS))[0] == 404


async def test_a_definition_whose_status_is_garbage_goes_all_the_same(http: Http):
    await http("POST", CRDS, definition())
    await http("POST", BOATS, boat(length=1))
    path = f"{CRDS}/boats.yard.example.com"
    patch = {"metadata": {"labels": {"a": "b"}}, "status": {"storedVersions": ["other"]}}
    code, found = await http("PATCH", f"{path}/status", patch, Content_Type=MERGE)
    assert (code, found["metadata"]["labels"], found["status"]["storedVersions"]) == (200, {"a": "b"}, ["other"])
    code, refused = await http("PATCH", path, {"metadata": {"labels": {"a": "c"}}}, Content_Type=MERGE)
    assert (code, refused["details"]["causes"][-1]["field"]) == (422, "status.storedVersions[0]")
    assert (await http("DELETE", path))[0] == 200
    await until(http, path, lambda code, _: code == 404)


async def test_definitions_are_served_again_after_a_restart():
    store = MemoryStore()
    async with ClientSession() as session:
        async with new_server(store) as server:
            http = caller(session, server)
            await http("POST", CRDS, definition())
            await http("POST", BOATS, boat(length=7))
        async with new_server(store) as server:
            code, made = await caller(session, server)("GET", f"{BOATS}/anna")
            assert code == 200 and made["spec"]["length"] == 7
    await store.close()


async def test_watches_deliver_objects_in_the_version_that_was_asked_for(http: Http):
    two = definition()
    two["spec"]["versions"].append({**two["spec"]["versions"][0], "name": "v2", "storage": False})
    await http("POST", CRDS, two)
    await http("POST", BOATS, boat(length=7))
    _, events = await http("GET", "/apis/yard.example.com/v2/boats?watch=1&timeoutSeconds=1")
    event = events[0]
    assert event["type"] == "ADDED" and event["object"]["apiVersion"] == "yard.example.com/v2"


async def test_a_conversion_must_know_a_version_of_the_review_unless_it_never_did(http: Http):
    await http("POST", CRDS, definition())
    webhook = {"conversionReviewVersions": ["v9"], "clientConfig": {"url": "https://127.0.0.1:1/x"}}
    patch = {"spec": {"conversion": {"strategy": "Webhook", "webhook": webhook}}}
    code, refused = await http("PATCH", f"{CRDS}/boats.yard.example.com", patch, Content_Type=MERGE)
    assert code == 422 and "must include at least one of v1, v1beta1" in refused["message"]
    code, patched = await http(
        "PATCH", f"{CRDS}/boats.yard.example.com", {"spec": {"conversion": {"webhook": {}}}}, Content_Type=MERGE
    )
    assert (code, patched["spec"]["conversion"]) == (200, {"strategy": "None"})


async def test_an_apply_fails_where_a_manager_wrote_in_a_version_that_lacks_a_field(http: Http):
    less = {"type": "object", "properties": {"spec": {"type": "object", "properties": {"color": {"type": "string"}}}}}
    given = definition()
    given["spec"]["versions"].append(
        {"name": "v2", "served": True, "storage": False, "schema": {"openAPIV3Schema": less}}
    )
    await http("POST", CRDS, given)
    apply = "application/apply-patch+yaml"
    red = {**boat(color="red"), "apiVersion": "yard.example.com/v2"}
    path = BOATS.replace("/v1/", "/v2/")
    assert (await http("PATCH", f"{path}/anna?fieldManager=old", red, Content_Type=apply))[0] == 201
    code, refused = await http("PATCH", f"{BOATS}/anna?fieldManager=new", boat(length=3), Content_Type=apply)
    assert code == 500 and refused["message"].endswith(".spec.kind: field not declared in schema")
