"""JSON, merge and strategic merge patches."""

from typing import Any

import jsonpatch
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import schema
from wherry.api.errors import Invalid, StatusError
from wherry.api.patch import apply_json, apply_merge, apply_strategic

POD = schema.load().for_kind("v1", "Pod")
SCALARS = st.none() | st.booleans() | st.integers(0, 9) | st.text("ab", max_size=2)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("xyz", min_size=1, max_size=1), inner),
    max_leaves=8,
)
OBJECTS = st.dictionaries(st.text("xyz", min_size=1, max_size=1), VALUES)


def pod(containers: list[Any], **metadata: Any) -> dict[str, Any]:
    return {"metadata": metadata, "spec": {"containers": containers}}


def names(obj: dict[str, Any]) -> list[str]:
    return [container["name"] for container in obj["spec"]["containers"]]


@given(OBJECTS, OBJECTS)
def test_json_patches_lead_from_one_object_to_the_other(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert apply_json(one, jsonpatch.make_patch(one, other).patch) == other


def test_json_replace_of_a_missing_member_adds_it() -> None:
    assert apply_json({"data": {}}, [{"op": "replace", "path": "/data/a", "value": "1"}]) == {"data": {"a": "1"}}


@pytest.mark.parametrize(
    "operations", [[{"op": "frob", "path": "/a"}], [{"path": "/a"}], [{"op": "remove", "path": "/none"}]]
)
def test_json_operations_that_cannot_be_applied_are_invalid(operations: list[Any]) -> None:
    with pytest.raises(Invalid):
        apply_json({"a": 1}, operations)


def without_nulls(value: Any) -> Any:
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {name: without_nulls(item) for name, item in value.items() if item is not None}


@given(OBJECTS, OBJECTS)
def test_merge_patches_are_idempotent(obj: dict[str, Any], patch: dict[str, Any]) -> None:
    once = apply_merge(obj, patch)
    assert apply_merge(once, patch) == once


@given(OBJECTS)
def test_merge_patch_of_nothing_is_the_patch_without_nulls(patch: dict[str, Any]) -> None:
    assert apply_merge({}, patch) == without_nulls(patch)


def test_strategic_patch_merges_lists_by_key() -> None:
    obj = pod([{"name": "a", "image": "1"}, {"name": "b", "image": "1"}])
    patched = apply_strategic(obj, {"spec": {"containers": [{"name": "b", "image": "2"}]}}, POD)
    assert patched["spec"]["containers"] == [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}]


def test_strategic_directives() -> None:
    obj = pod([{"name": "a"}, {"name": "b"}], finalizers=["x", "y"], labels={"k": "v"})
    assert names(apply_strategic(obj, {"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}, POD)) == ["b"]
    order = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert names(apply_strategic(obj, order, POD)) == ["b", "a"]
    replaced = apply_strategic(obj, {"spec": {"containers": [{"$patch": "replace"}, {"name": "n"}]}}, POD)
    assert names(replaced) == ["n"]
    fewer = apply_strategic(obj, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["x"]}}, POD)
    assert fewer["metadata"]["finalizers"] == ["y"]
    labels = apply_strategic(obj, {"metadata": {"labels": {"$patch": "replace", "q": "w"}}}, POD)
    assert labels["metadata"]["labels"] == {"q": "w"}


def test_retain_keys_drops_the_other_members() -> None:
    obj = {"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}
    volume = {"$retainKeys": ["name", "emptyDir"], "name": "v", "emptyDir": {}}
    assert apply_strategic(obj, {"spec": {"volumes": [volume]}}, POD)["spec"]["volumes"] == [
        {"name": "v", "emptyDir": {}}
    ]


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ({"$retainKeys": "a"}, "invalid patch format of retainKeys"),
        ({"$deleteFromPrimitiveList": []}, "invalid patch format of primitive list"),
        ({"spec": {"$setElementOrders/containers": []}}, "invalid patch format of setElementOrder list"),
        ({"metadata": {"labels": {"$patch": "x"}}}, "unknown patch type: x in map: map[$patch:x]"),
        ({"metadata": {"labels": {"$patch": 1}}}, "unknown patch type: %!s(int64=1) in map: map[$patch:1]"),
        ({"spec": {"containers": [{"image": "i"}]}}, "map: map[image:i] does not contain declared merge key: name"),
        ({"spec": {"$setElementOrder/containers": "a"}}, "expected a []interface {}, but received a string"),
        (
            {"spec": {"$setElementOrder/containers": [{"name": "b"}], "containers": [{"name": "a"}]}},
            "The order in patch list:\n[map[name:a]]\n doesn't match $setElementOrder list:\n[map[name:b]]\n",
        ),
    ],
)
def test_malformed_directives_are_refused(patch: dict[str, Any], message: str) -> None:
    with pytest.raises(StatusError) as caught:
        apply_strategic(pod([{"name": "a"}], labels={"k": "v"}), patch, POD)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ({"op": "add", "path": "data/c", "value": 1}, {"l": [1, 2], "c": 1}),
        ({"op": "add", "path": "", "value": {}}, None),
        ({"op": "add", "path": "/l/-1", "value": 3}, {"l": [1, 2, 3]}),
        ({"op": "add", "path": "/l/3", "value": 3}, None),
        ({"op": "replace", "path": "/l/-", "value": 3}, None),
        ({"op": "replace", "path": "/x", "value": 3}, {"l": [1, 2], "x": 3}),
        ({"op": "copy", "from": "/x", "path": "/y"}, {"l": [1, 2], "y": None}),
        ({"op": "move", "from": "/x", "path": "/y"}, None),
        ({"op": "test", "path": "/x"}, {"l": [1, 2]}),
        ({"op": "test", "path": "/l/0", "value": True}, None),
        ({"op": "test", "path": "", "value": {"l": [1, 2]}}, {"l": [1, 2]}),
        ({"op": "remove", "path": "/l/2"}, None),
        (None, None),
    ],
)
def test_json_patch_departs_from_the_rfc_as_upstream_does(operation: Any, expected: Any) -> None:
    live = {"l": [1, 2]}
    if expected is None:
        with pytest.raises(Invalid):
            apply_json(live, [operation])
    else:
        assert apply_json(live, [operation]) == expected
    assert live == {"l": [1, 2]}


@given(st.lists(st.sampled_from("abcd"), unique=True), st.lists(st.sampled_from("abcd"), unique=True))
def test_strategic_list_merge_keeps_every_key_once(live: list[str], patch: list[str]) -> None:
    merged = apply_strategic(pod([{"name": n} for n in live]), pod([{"name": n} for n in patch]), POD)
    assert sorted(names(merged)) == sorted({*live, *patch})


def test_a_volume_changes_its_source_as_kubectl_apply_asks_for_it() -> None:
    pod = {"spec": {"volumes": [{"name": "assets", "emptyDir": {}}]}}
    volume = {"name": "assets", "emptyDir": None, "hostPath": {"path": "/x"}, "$retainKeys": ["hostPath", "name"]}
    patch = {"spec": {"volumes": [volume], "$setElementOrder/volumes": [{"name": "assets"}]}}
    merged = apply_strategic(pod, patch, schema.load().for_kind("v1", "Pod"))
    assert merged["spec"]["volumes"] == [{"name": "assets", "hostPath": {"path": "/x"}}]
