"""Field ownership and server-side apply."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import schema
from wherry.api.errors import BadRequest, Conflict, StatusError
from wherry.api.managedfields import apply, same_but_managed_fields, to_object, to_scale, track_update
from wherry.api.managedfields.fieldset import difference, intersection, union

SCHEMA = schema.load()
CONFIGMAP, POD = SCHEMA.for_kind("v1", "ConfigMap"), SCHEMA.for_kind("v1", "Pod")
NOW = "2030-01-01T00:00:00Z"
DATA = st.dictionaries(st.sampled_from("abcd"), st.sampled_from("12"))


def configmap(data: dict[str, str] | None = None, **metadata: Any) -> dict[str, Any]:
    body: dict[str, Any] = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", **metadata}}
    return {**body, "data": data} if data is not None else body


def applied(live: Any, config: Any, manager: str, *, force: bool = False) -> dict[str, Any]:
    new = apply(
        live, config, manager=manager, force=force, operation_time=NOW, api_version="v1", subresource="",
        type_schema=CONFIGMAP,
    )  # fmt: skip
    out = CONFIGMAP.conform(new).obj
    out["metadata"]["uid"] = "u"
    return out


def updated(old: Any, new: Any, manager: str = "m") -> list[dict[str, Any]]:
    return track_update(
        old, new, manager=manager, operation_time=NOW, api_version="v1", subresource="", type_schema=CONFIGMAP
    )


def fields(obj: dict[str, Any]) -> dict[str, Any]:
    return {entry["manager"]: entry["fieldsV1"] for entry in obj["metadata"].get("managedFields", ())}


def test_create_owns_what_it_adds_to_the_empty_object() -> None:
    entries = updated(None, configmap({"a": "1"}, labels={"x": "y"}))
    assert entries[0]["fieldsV1"] == {
        "f:metadata": {"f:labels": {".": {}, "f:x": {}}},
        "f:data": {".": {}, "f:a": {}},
    }


def test_update_takes_changed_fields_from_their_owner() -> None:
    old = applied(None, configmap({"a": "1", "b": "1"}), "one")
    new = configmap({"a": "2", "b": "1"}, uid="u")
    owners = {entry["manager"]: entry["fieldsV1"] for entry in updated(old, new, "two")}
    assert owners == {"one": {"f:data": {"f:b": {}}}, "two": {"f:data": {"f:a": {}}}}


def test_update_of_an_untracked_object_tracks_nothing() -> None:
    assert updated(configmap({"a": "1"}, uid="u"), configmap({"a": "2"}, uid="u")) == []


def test_equal_but_for_times_is_the_same() -> None:
    one = applied(None, configmap({"a": "1"}), "m")
    later = {
        **one,
        "metadata": {
            **one["metadata"],
            "managedFields": [{**one["metadata"]["managedFields"][0], "time": "2031-01-01T00:00:00Z"}],
        },
    }
    assert same_but_managed_fields(later, one)
    assert not same_but_managed_fields({**later, "data": {"a": "2"}}, one)


def test_conflicts_name_manager_and_field() -> None:
    live = applied(None, configmap({"a": "1"}), "one")
    with pytest.raises(Conflict) as caught:
        applied(live, configmap({"a": "2"}), "two")
    assert caught.value.message == 'Apply failed with 1 conflict: conflict with "one": .data.a'
    assert fields(applied(live, configmap({"a": "2"}), "two", force=True)) == {"two": {"f:data": {"f:a": {}}}}


def test_set_items_belong_to_those_who_want_them() -> None:
    one = applied(None, configmap(finalizers=["x/a"]), "one")
    both = applied(one, configmap(finalizers=["x/b"]), "two")
    assert both["metadata"]["finalizers"] == ["x/a", "x/b"]
    left = applied(both, configmap(finalizers=[]), "one")
    assert left["metadata"]["finalizers"] == ["x/b"] and left["metadata"]["uid"] == "u"


def test_list_items_merge_by_their_keys() -> None:
    def pod(*containers: dict[str, Any]) -> dict[str, Any]:
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": list(containers)}}

    def put(live: Any, config: Any, manager: str) -> Any:
        new = apply(
            live, config, manager=manager, force=False, operation_time=NOW, api_version="v1", subresource="",
            type_schema=POD,
        )  # fmt: skip
        return POD.conform(new).obj

    one = put(None, pod({"name": "a", "image": "1"}), "one")
    two = put(one, pod({"name": "b", "image": "1"}), "two")
    assert [container["name"] for container in two["spec"]["containers"]] == ["a", "b"]
    gone = put(two, pod(), "one")
    assert [container["name"] for container in gone["spec"]["containers"]] == ["b"]


def test_configurations_are_checked_against_the_schema() -> None:
    with pytest.raises(StatusError, match=r"/c; /v1, Kind=ConfigMap\): \.colour: field not declared in schema"):
        applied(None, {**configmap(), "colour": "red"}, "m")
    with pytest.raises(BadRequest, match="managedFields must be nil"):
        applied(None, configmap(managedFields=[]), "m")


@given(DATA, DATA)
def test_apply_is_idempotent(first: dict[str, str], second: dict[str, str]) -> None:
    once = applied(applied(None, configmap(first), "m"), configmap(second), "m")
    assert applied(once, configmap(second), "m") == once
    assert once.get("data", {}) == second


@given(DATA, DATA)
def test_applying_nothing_removes_what_was_owned_alone(mine: dict[str, str], theirs: dict[str, str]) -> None:
    live = applied(applied(None, configmap(mine), "m"), configmap({**theirs}), "n", force=True)
    assert applied(live, configmap(), "m").get("data", {}) == theirs


@given(DATA, DATA)
def test_managers_of_disjoint_fields_never_conflict(one: dict[str, str], other: dict[str, str]) -> None:
    theirs = {key.upper(): value for key, value in other.items()}
    live = applied(applied(None, configmap(one or None), "m"), configmap(theirs or None), "n")
    assert live.get("data", {}) == {**one, **theirs}


SETS = st.recursive(
    st.just({}), lambda inner: st.dictionaries(st.sampled_from(["f:a", "f:b", "f:c"]), inner, min_size=1), max_leaves=6
)


@given(SETS, SETS)
def test_sets_obey_the_laws_of_sets(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert union(one, other) == union(other, one)
    assert difference(union(one, other), other) == difference(one, other)
    assert intersection(difference(one, other), other) == {}
    assert union(difference(one, other), intersection(one, other)) == one


@pytest.mark.parametrize(
    ("api_version", "shown"), [("v2", "/v2, Kind=ConfigMap"), ("", "/, Kind=ConfigMap"), ("a/b/c", "/, Kind=")]
)
def test_an_apply_of_another_version_is_refused(api_version: str, shown: str) -> None:
    config = {"apiVersion": api_version, "kind": "ConfigMap"}
    with pytest.raises(BadRequest, match=f"^invalid object type: {shown}$"):
        applied(None, config, "one")


def _entry(manager: str, *names: str, version: str = "apps/v1", operation: str = "Update", **more: Any) -> Any:
    owned = {"f:spec": {f"f:{name}": {} for name in names}}
    return {
        "manager": manager,
        "operation": operation,
        "apiVersion": version,
        "fieldsType": "FieldsV1",
        "fieldsV1": owned,
        **more,
    }


def _replicas(version: str) -> tuple[str, ...] | None:
    return {"apps/v1": ("spec", "replicas"), "apps/v2": ()}.get(version)


def test_a_scale_shows_who_owns_the_replicas() -> None:
    entries = [_entry("a", "replicas", "x", time=NOW), _entry("b", "x"), _entry("c", "replicas", version="apps/v9")]
    shown = to_scale(entries, _replicas)
    assert shown == [_entry("a", "replicas", version="autoscaling/v1", time=NOW)]


def test_who_takes_the_replicas_through_a_scale_owns_nothing_else_of_it() -> None:
    before = [_entry("a", "replicas", "x", time=NOW), _entry("b", "x", version="apps/v2"), _entry("c", version="v9")]
    taken = _entry("s", "replicas", version="autoscaling/v1", subresource="scale", time=NOW)
    after = to_object(before, [taken], _replicas, api_version="apps/v1")
    assert after == [
        _entry("b", "x", version="apps/v2"),
        _entry("s", "replicas", subresource="scale"),
        _entry("a", "x", time=NOW),
    ]


def test_who_applied_the_replicas_keeps_what_a_scale_leaves_alone() -> None:
    before = [_entry("a", "replicas", "x", operation="Apply", time=NOW)]
    assert to_object(before, to_scale(before, _replicas), _replicas, api_version="apps/v1") == before


def test_of_two_entries_of_one_manager_the_last_counts() -> None:
    entries = [_entry("a", "replicas"), _entry("a", "x")]
    assert to_scale(entries, _replicas) == []


CUSTOM = schema.from_openapi(
    {
        "type": "object",
        "properties": {
            "m": {"type": "object", "properties": {"a": {"type": "string"}}},
            "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            "sets": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "array"}},
            "keyed": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k", "p"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "p": {"type": "integer"}}},
            },
            "object": {
                "type": "object",
                "x-kubernetes-embedded-resource": True,
                "x-kubernetes-preserve-unknown-fields": True,
            },
        },
    },
    api_version="g/v1",
    kind="Thing",
)


def _thing(**members: Any) -> dict[str, Any]:
    return {"apiVersion": "g/v1", "kind": "Thing", "metadata": {"name": "t"}, **members}


def _apply_thing(live: Any, config: Any, manager: str = "m", *, force: bool = False) -> Any:
    return apply(
        live, config, manager=manager, force=force, operation_time=NOW, api_version="g/v1", subresource="",
        type_schema=CUSTOM,
    )  # fmt: skip


def test_an_applied_null_leaves_what_others_have_in_a_map_alone() -> None:
    live = _apply_thing(None, _thing(m={"a": "x"}), "other")
    assert _apply_thing(live, _thing(m=None))["m"] == {"a": "x"}


def test_a_scalar_that_becomes_a_map_is_owned_with_its_members() -> None:
    old = _apply_thing(None, _thing(free={"x": 1}), "other")
    old["metadata"]["uid"] = "u"
    new = _thing(free={"x": {"y": 2}})
    entries = track_update(
        old, new, manager="m", operation_time=NOW, api_version="g/v1", subresource="", type_schema=CUSTOM
    )
    assert {entry["manager"]: entry["fieldsV1"] for entry in entries} == {
        "m": {"f:free": {"f:x": {".": {}, "f:y": {}}}}
    }


def test_an_item_may_lack_some_of_its_keys_but_not_all() -> None:
    made = _apply_thing(None, _thing(keyed=[{"k": "a"}, {"k": "a", "p": 1}]))
    assert list(made["metadata"]["managedFields"][0]["fieldsV1"]["f:keyed"]) == ['k:{"k":"a"}', 'k:{"k":"a","p":1}']
    with pytest.raises(StatusError, match="element 0: associative list with keys has an element that omits all key"):
        _apply_thing(None, _thing(keyed=[{}]))


def test_an_object_whose_values_the_schema_does_not_allow_any_more_cannot_be_applied_to() -> None:
    live = {**_thing(sets=[["x"]]), "metadata": {"name": "t", "uid": "u"}}
    with pytest.raises(StatusError, match="failed to create manager for existing fields"):
        _apply_thing(live, _thing())


def test_the_metadata_of_an_embedded_object_is_that_of_every_object() -> None:
    made = _apply_thing(None, _thing(object={"metadata": {"name": "x"}, "spec": {"a": 1}}))
    owned = made["metadata"]["managedFields"][0]["fieldsV1"]["f:object"]
    assert owned == {"f:metadata": {"f:name": {}}, "f:spec": {".": {}, "f:a": {}}}


def test_conflicts_tell_members_before_what_is_below_their_neighbours() -> None:
    live = _apply_thing(None, _thing(free={"a": {"b": 1}, "c": 1}), "other")
    with pytest.raises(Conflict) as caught:
        _apply_thing(live, _thing(free={"a": {"b": 2}, "c": 2}))
    assert [cause["field"] for cause in caught.value.details["causes"]] == [".free.c", ".free.a.b"]
