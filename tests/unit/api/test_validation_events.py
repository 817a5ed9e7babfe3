"""Events: the form of ``events.k8s.io`` is stricter when it makes them, and lets nothing of them change."""

from typing import Any

import pytest

from wherry.api import schema, validation
from wherry.api.resources import TABLE

Object = dict[str, Any]

_SCHEMA = schema.load()
_NEW = "events.k8s.io/v1"
_STRICT: Object = {
    "eventTime": "2020-01-01T00:00:00.000000Z",
    "reportingController": "c",
    "reportingInstance": "i",
    "action": "a",
    "reason": "r",
    "type": "Normal",
}


def event(api_version: str, name: str = "e", **members: Any) -> Object:
    resource = TABLE.for_object(api_version, "Event")
    assert resource is not None
    given = {"apiVersion": api_version, "kind": "Event", "metadata": {"name": name}, **members}
    out, _, error = _SCHEMA.for_resource(resource).conform(given)
    assert out is not None
    assert not error
    out["metadata"] |= {"namespace": "default", "uid": "u", "resourceVersion": "1"}
    return out


def fields(obj: Object, old: Object | None = None) -> list[str]:
    resource = TABLE.for_object(obj["apiVersion"], "Event")
    assert resource is not None
    made = validation.validate_create(resource, obj) if old is None else validation.validate_update(resource, obj, old)
    return [error.field for error in made]


@pytest.mark.parametrize(("api_version", "wrong"), [("v1", []), (_NEW, ["metadata.name"])])
def test_only_the_new_form_asks_for_a_good_name(api_version: str, wrong: list[str]) -> None:
    members = _STRICT if api_version == _NEW else {}
    assert fields(event(api_version, "Not_a_name", **members)) == wrong


def test_what_the_old_form_left_in_an_event_does_not_stop_its_update_in_the_new_one() -> None:
    old = event(_NEW, regarding={"namespace": "default"}, deprecatedCount=3, deprecatedSource={"component": "c"})
    new = {**old, "series": {"count": 2, "lastObservedTime": "2020-01-01T00:00:00.000000Z"}}
    assert fields(new, old) == []
    assert fields({**old, "series": {"count": 1}}, old) == ["series.count", "series.lastObservedTime"]
    assert fields({**old, "series": {"count": 1}}, {**old, "series": {"count": 1}}) == []
    assert fields({**old, "deprecatedCount": 4}, old) == ["count"]


def test_texts_are_measured_in_bytes() -> None:
    assert fields(event(_NEW, **{**_STRICT, "note": "é" * 513})) == ["message"]
