"""Writes of custom resources in the corners: scales without replicas, patches, nulls."""

from typing import Any

from tests.component.extensions.test_definitions import BOATS, CRDS, MERGE, Http, boat, definition

SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
JSON_PATCH, APPLY = "application/json-patch+json", "application/apply-patch+yaml"


async def _defined(http: Http) -> None:
    assert (await http("POST", CRDS, definition(subresources={"status": {}, "scale": SCALE})))[0] == 201
    assert (await http("POST", BOATS, boat(length=3)))[0] == 201


def causes(answer: Any) -> list[tuple[str, str]]:
    return [(cause["field"], cause["message"]) for cause in answer["details"]["causes"]]


async def test_a_scale_without_replicas_can_be_patched_but_not_left_so(http: Http) -> None:
    await _defined(http)
    status, answer = await http("PATCH", f"{BOATS}/anna/scale", {"spec": {}}, Content_Type=MERGE)
    assert (status, answer["message"]) == (400, 'the spec replicas field ".spec.replicas" cannot be empty')
    status, answer = await http("PATCH", f"{BOATS}/anna/scale", {"spec": {"replicas": -1}}, Content_Type=MERGE)
    assert status == 422
    assert causes(answer) == [(".spec.replicas", "Invalid value: -1: should be a non-negative integer")]
    status, answer = await http("PATCH", f"{BOATS}/anna/scale", {"spec": {"replicas": 2}}, Content_Type=MERGE)
    assert (status, answer["spec"]) == (200, {"replicas": 2})


async def test_a_spec_that_is_no_object_has_no_replicas_either(http: Http) -> None:
    await _defined(http)
    status, answer = await http("PATCH", f"{BOATS}/anna", {"spec": "x"}, Content_Type=MERGE)
    problem = ".spec.replicas accessor error: x is of the type string, expected map[string]interface{}"
    assert (status, causes(answer)[1]) == (422, (".spec.replicas", f"Invalid value: 0: {problem}"))


async def test_a_patched_uid_is_refused_by_validation(http: Http) -> None:
    await _defined(http)
    status, answer = await http("PATCH", f"{BOATS}/anna", {"metadata": {"uid": "x"}}, Content_Type=MERGE)
    assert (status, causes(answer)[0]) == (422, ("metadata.uid", 'Invalid value: "x": field is immutable'))


async def test_a_patch_may_not_take_the_kind_away(http: Http) -> None:
    await _defined(http)
    status, answer = await http("PATCH", f"{BOATS}/anna", [{"op": "remove", "path": "/kind"}], Content_Type=JSON_PATCH)
    assert (status, answer["details"]["causes"][0]["field"]) == (422, "patch")
    assert "Object 'Kind' is missing in '{" in answer["message"]


async def test_strange_members_of_json_patches_are_told(http: Http) -> None:
    await _defined(http)
    patch = [{"op": "add", "path": "/spec/color", "value": "red", "why": 1}]
    path = f"{BOATS}/anna?fieldValidation=Strict"
    status, answer = await http("PATCH", path, patch, Content_Type=JSON_PATCH)
    assert status == 422
    assert answer["message"].endswith('strict decoding error: json patch unknown field "[0].why"')


async def test_a_null_that_the_schema_does_not_allow_is_dropped_at_the_root_too(http: Http) -> None:
    await _defined(http)
    empty = {**boat("bella"), "spec": None}
    status, answer = await http("POST", BOATS, empty)
    assert (status, "spec" in answer) == (201, False)


async def test_metadata_that_is_null_has_no_name(http: Http) -> None:
    await _defined(http)
    status, answer = await http("POST", BOATS, {**boat(), "metadata": None})
    assert (status, causes(answer)) == (
        422,
        [("metadata.name", "Required value: name or generateName is required")],
    )


async def test_yaml_repeats_what_is_shared(http: Http) -> None:
    await _defined(http)
    _, text = await http("GET", f"{BOATS}/anna", Accept="application/yaml")
    assert "f:length: {}" in text and "&id" not in text


APPLY = "application/apply-patch+yaml"


async def test_an_apply_that_empties_a_map_leaves_a_null_that_validation_refuses(http: Http) -> None:
    await _defined(http)
    path = f"{BOATS}/clara?fieldManager=m"
    assert (await http("PATCH", path, boat("clara", kind="skiff"), Content_Type=APPLY))[0] == 201
    status, answer = await http("PATCH", path, boat("clara"), Content_Type=APPLY)
    refused = 'Invalid value: "null": spec in body must be of type object: "null"'
    assert (status, causes(answer)[0]) == (422, ("spec", refused))


async def test_an_apply_that_gives_up_a_struct_takes_its_defaults_along(http: Http) -> None:
    await _defined(http)
    path = f"{BOATS}/clara?fieldManager=m"
    await http("PATCH", path, boat("clara", length=2), Content_Type=APPLY)
    bare = {name: value for name, value in boat("clara").items() if name != "spec"}
    status, answer = await http("PATCH", path, bare, Content_Type=APPLY)
    assert (status, "spec" in answer) == (200, False)


async def test_an_apply_that_creates_needs_a_name_and_no_uid_and_ignores_versions(http: Http) -> None:
    await _defined(http)
    path = f"{BOATS}/clara?fieldManager=m"
    nameless = {**boat(length=1), "metadata": {}}
    _, answer = await http("PATCH", path, nameless, Content_Type=APPLY)
    assert answer["message"] == "the name of the object (clara based on URL) was undeterminable: name must be provided"
    known = {**boat(length=1), "metadata": {"name": "clara", "uid": "u"}}
    status, answer = await http("PATCH", path, known, Content_Type=APPLY)
    assert status == 409 and answer["message"].endswith("specified uid u, and no existing object was found")
    old = {**boat(length=1), "metadata": {"name": "clara", "resourceVersion": "1"}}
    assert (await http("PATCH", path, old, Content_Type=APPLY))[0] == 201


async def test_a_scale_moves_the_ownership_of_the_replicas(http: Http) -> None:
    await _defined(http)
    body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "anna"}, "spec": {"replicas": 1}}
    assert (await http("PATCH", f"{BOATS}/anna", {"spec": {"replicas": 3}}, Content_Type=MERGE))[0] == 200
    assert (await http("PUT", f"{BOATS}/anna/scale", body, User_Agent="scaler/1"))[0] == 200
    _, found = await http("GET", f"{BOATS}/anna")
    owners = {entry["manager"]: entry for entry in found["metadata"]["managedFields"]}
    assert owners["scaler"]["fieldsV1"] == {"f:spec": {"f:replicas": {}}}
    assert (owners["scaler"]["subresource"], "time" in owners["scaler"]) == ("scale", False)


async def test_an_applied_scale_of_a_custom_resource_is_refused_as_upstream_does(http: Http) -> None:
    await _defined(http)
    assert (await http("PATCH", f"{BOATS}/anna", {"spec": {"replicas": 3}}, Content_Type=MERGE))[0] == 200
    body = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "anna"}, "spec": {"replicas": 1}}
    path = f"{BOATS}/anna/scale?fieldManager=m"
    assert (await http("PATCH", path, body, Content_Type=APPLY))[0] == 409
    status, answer = await http("PATCH", f"{path}&force=true", body, Content_Type=APPLY)
    assert (status, answer["message"].partition(" (")[0]) == (500, "failed to convert new object")


async def test_a_scale_needs_the_name_and_the_namespace_of_its_path(http: Http) -> None:
    await _defined(http)
    body: dict[str, Any] = {"spec": {"replicas": 1}}
    assert (await http("PUT", f"{BOATS}/anna/scale", body))[0] == 400
    body["metadata"] = {"name": "anna", "namespace": "other"}
    assert (await http("PUT", f"{BOATS}/anna/scale", body))[0] == 400


async def test_a_label_selector_of_a_scale_is_text(http: Http) -> None:
    scale = {**SCALE, "labelSelectorPath": ".status.selector"}
    assert (await http("POST", CRDS, definition(subresources={"status": {}, "scale": scale})))[0] == 201
    assert (await http("POST", BOATS, boat(length=3)))[0] == 201
    status, answer = await http("PATCH", f"{BOATS}/anna/status", {"status": {"selector": 5}}, Content_Type=MERGE)
    problem = ".status.selector accessor error: 5 is of the type int64, expected string"
    assert (status, causes(answer)) == (422, [(".status.selector", f'Invalid value: "": {problem}')])


async def test_a_status_is_not_replaced_without_a_version(http: Http) -> None:
    await _defined(http)
    status, answer = await http("PUT", f"{BOATS}/anna/status", {**boat(length=3), "status": {"x": 1}})
    assert (status, causes(answer)) == (
        422,
        [("metadata.resourceVersion", "Invalid value: 0: must be specified for an update")],
    )


async def test_nobody_owns_what_the_server_does_not_take(http: Http) -> None:
    await _defined(http)
    bella = boat("bella")
    bella["metadata"].update(deletionTimestamp="2020-01-01T00:00:00Z", selfLink="x")
    _, made = await http("POST", BOATS, bella)
    assert "f:metadata" not in made["metadata"]["managedFields"][0]["fieldsV1"]
    _, patched = await http("PATCH", f"{BOATS}/anna", {"metadata": {"selfLink": "x"}}, Content_Type=MERGE)
    assert "selfLink" not in patched["metadata"]


async def test_text_that_looks_like_something_else_is_quoted_in_yaml(http: Http) -> None:
    await _defined(http)
    assert (await http("POST", BOATS, boat("bella", color="1e3", kind="y")))[0] == 201
    _, text = await http("GET", f"{BOATS}/bella", Accept="application/yaml")
    assert 'color: "1e3"' in text and 'kind: "y"' in text
