"""Decoding of objects as upstream decodes and shows them."""

from typing import Any

import pytest

from wherry.api import schema
from wherry.api.schema import DecodeError
from wherry.api.schema.decode import syntax_error

SCHEMA = schema.load()
POD = SCHEMA.for_kind("v1", "Pod")
CONFIGMAP = SCHEMA.for_kind("v1", "ConfigMap")


def pod(**spec: Any) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [], **spec}}


def test_empty_members_vanish_and_value_structs_appear() -> None:
    found = POD.conform(pod(containers=[{"name": "c", "image": "", "command": []}], hostNetwork=False, hostUsers=False))
    assert found.obj["spec"] == {"containers": [{"name": "c", "resources": {}}], "hostUsers": False}
    assert found.obj["status"] == {}


def test_nulls_are_absent_members_and_zero_map_values() -> None:
    found = CONFIGMAP.conform({"metadata": {"name": None, "labels": None}, "data": {"a": None, "b": "1"}})
    assert found.obj == {"metadata": {}, "data": {"a": "", "b": "1"}}


def test_required_lists_are_null_when_empty() -> None:
    role = SCHEMA.for_kind("rbac.authorization.k8s.io/v1", "Role")
    assert role.conform({"rules": []}).obj["rules"] is None


def test_unknown_fields_are_dropped_and_named_in_order() -> None:
    found = POD.conform(pod(containers=[{"name": "c", "shade": 1}], colour="red"))
    assert found.unknown == ["spec.containers[0].shade", "spec.colour"]
    assert found.obj["spec"]["containers"] == [{"name": "c", "resources": {}}]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"hostNetwork": "x"}, "string into PodSpec.spec.hostNetwork of type bool"),
        ({"containers": "x"}, "string into PodSpec.spec.containers of type []v1.Container"),
        ({"activeDeadlineSeconds": 1.5}, "number 1.5 into PodSpec.spec.activeDeadlineSeconds of type int64"),
        ({"priority": 2**31}, "number 2147483648 into PodSpec.spec.priority of type int32"),
    ],
)  # fmt: skip
def test_wrong_types_are_reported_in_gos_words(spec: dict[str, Any], message: str) -> None:
    what, _, where = message.partition(" into ")
    assert POD.conform(pod(**spec)).error == f"json: cannot unmarshal {what} into Go struct field {where}"


def test_conform_leaves_its_argument_alone() -> None:
    given = pod(containers=[{"name": "c", "resources": {"limits": {"cpu": "1000m"}}}])
    found = POD.conform(given)
    assert given["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1000m"}}
    assert found.obj["spec"]["containers"][0]["resources"] == {"limits": {"cpu": "1"}}


def test_times_are_brought_to_utc_and_whole_seconds() -> None:
    found = CONFIGMAP.conform({"metadata": {"creationTimestamp": "2030-01-01T01:00:00.5+01:00"}})
    assert found.obj["metadata"]["creationTimestamp"] == "2030-01-01T00:00:00Z"


def test_duplicate_members_are_found_and_the_last_wins() -> None:
    raw = b'{"metadata":{"name":"a","name":"b"},"data":{"x" : "1","x":"2"}}'
    obj, problems = schema.decode_body(raw, "application/json")
    assert obj == {"metadata": {"name": "b"}, "data": {"x": "2"}}
    assert problems == ['duplicate field "metadata.name"', 'duplicate field "data.x"']


def test_unknown_and_double_members_are_told_in_the_order_of_the_body() -> None:
    raw = b'{"spec":{"odd":1,"odd":2,"replicas":1,"replicas":2,"list":[{"name":"a","strange":1}]}}'
    double = ['duplicate field "spec.odd"', 'duplicate field "spec.replicas"']
    unknown = ['unknown field "spec.list[0].strange"', 'unknown field "spec.odd"']
    assert schema.in_order(raw, double + unknown) == [unknown[1], *double, unknown[0]]


def test_text_that_looks_like_a_member_is_no_duplicate() -> None:
    obj, problems = schema.decode_body(rb'{"a":"\"a\":1,\"a\":2"}', "application/json")
    assert problems == [] and obj == {"a": '"a":1,"a":2'}


def test_yaml_is_read_as_version_1_1_without_timestamps() -> None:
    obj, _ = schema.decode_body(b"a: yes\nb: 2030-01-01\nc: 010\nd: 1:30\n1: x\n", "application/yaml")
    assert obj == {"a": True, "b": "2030-01-01", "c": 8, "d": "1:30", "1": "x"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"{]", "invalid character ']' looking for beginning of object key string"),
        (b"", "unexpected end of JSON input"),
        (b"[1 2]", "invalid character '2' after array element"),
    ],
)
def test_syntax_errors_are_in_gos_words(raw: bytes, message: str) -> None:
    assert syntax_error(raw) == message


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (b"", "unexpected end of JSON input"),
        (b"hello", "invalid character 'h' looking for beginning of value"),
        (
            b"5",
            "json: cannot unmarshal number into Go value of type struct "
            r'{ APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }',
        ),
    ],
)
def test_a_body_that_is_no_object_is_refused_in_the_words_of_go(raw: bytes, told: str) -> None:
    with pytest.raises(schema.DecodeError) as refused:
        schema.decode_body(raw)
    assert str(refused.value) == f"couldn't get version/kind; json parse error: {told}"


@pytest.mark.parametrize("form", ["application/json", "application/yaml"])
def test_null_is_an_object_that_says_nothing(form: str) -> None:
    assert schema.decode_body(b"null", form) == ({}, [])


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ("v: [A,", "line 1: did not find expected node content"),
        ("v:\n- [A,", "line 2: did not find expected node content"),
        ("a:\n- b: *,", "line 2: did not find expected alphabetic or numeric character"),
        ("value: -", "block sequence entries are not allowed in this context"),
        ("a: b: c", "mapping values are not allowed in this context"),
        ("a: b\nc: d: e", "line 2: mapping values are not allowed in this context"),
        ("- record\n\texpr: foo\n", "line 2: found a tab character that violates indentation"),
        ("a:\n\tb: c", "line 2: found character that cannot start any token"),
        ("a:\n  - b\n c: d", "line 2: did not find expected key"),
        ("a: \x01", "control characters are not allowed"),
        ("a: *b", "unknown anchor 'b' referenced"),
        ("a: !!int abc", "cannot decode !!str `abc` as a !!int"),
        ("a: !!int 1.5", "cannot decode !!float `1.5` as a !!int"),
        ("a: !!bool 1", "cannot decode !!int `1` as a !!bool"),
    ],
)
def test_yaml_that_cannot_be_read_is_refused_in_the_words_of_gos_library(raw: str, message: str) -> None:
    with pytest.raises(DecodeError) as caught:
        schema.decode_body(raw.encode(), "application/yaml")
    assert str(caught.value) == f"yaml: {message}"
