"""Writes of custom resources in the corners: scales without replicas, patches, nulls."""

from typing import Any

from tests.component.extensions.test_definitions import BOATS, CRDS, MERGE, Http, boat, definition

SCALE = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
JSON_PATCH = "application/json-patch+json"


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
