"""Controllers of pods: selectors, the templates of StatefulSets, and how often an update's errors are told."""

from typing import Any

import pytest

from wherry.api import defaults, field, meta, schema, strategy, validation
from wherry.api.resources import TABLE

Object = dict[str, Any]

_SCHEMA = schema.load()
_UNKNOWN = "spec.selector.matchExpressions[0].operator"
_NO_NAME = "spec.template.spec.containers[0].name"


def made(kind: str, **spec: Any) -> Object:
    labels = {"a": "b"}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    whole = {"selector": {"matchLabels": labels}, "template": template, **spec}
    return created({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": "x"}, "spec": whole})


def job(**spec: Any) -> Object:
    pod = {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}
    whole = {"template": {"spec": pod}, **spec}
    return created({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "x.y"}, "spec": whole})


def created(given: Object) -> Object:
    resource = TABLE.for_object(given["apiVersion"], given["kind"])
    assert resource is not None
    out, _, error = _SCHEMA.for_resource(resource).conform(given)
    assert out is not None
    assert not error
    out["metadata"] |= {"namespace": "ns", "uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z"}
    defaults.default(resource, out)
    strategy.prepare_create(resource, out)
    return out


def errors(obj: Object, old: Object | None = None) -> list[field.FieldError]:
    resource = TABLE.for_object(obj["apiVersion"], obj["kind"])
    assert resource is not None
    if old is None:
        return validation.validate_create(resource, obj)
    old["metadata"]["resourceVersion"] = obj["metadata"]["resourceVersion"] = "1"
    return validation.validate_update(resource, obj, old)


def fields(obj: Object, old: Object | None = None) -> list[str]:
    return [error.field for error in errors(obj, old)]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Deployment", [_UNKNOWN, "spec.selector"]),
        ("ReplicaSet", [_UNKNOWN, "spec.selector"]),
        ("StatefulSet", [_UNKNOWN, "spec.selector"]),
        ("DaemonSet", [_UNKNOWN, _NO_NAME]),
    ],
)
def test_a_template_is_not_held_against_a_selector_that_means_nothing(kind: str, expected: list[str]) -> None:
    obj = made(kind, selector={"matchExpressions": [{"key": "a", "operator": "Like"}]})
    obj["spec"]["template"]["spec"]["containers"][0]["name"] = ""
    assert fields(obj) == expected


def test_a_selector_is_shown_in_the_order_of_its_type() -> None:
    selector = {"matchExpressions": [{"operator": "Exists", "key": "k"}], "matchLabels": {"b": "1", "a": "2"}}
    expected = '{"matchLabels":{"a":"2","b":"1"},"matchExpressions":[{"key":"k","operator":"Exists"}]}'
    assert field.show(selector) == expected


def test_the_claims_of_a_set_are_volumes_before_the_others_and_pods_get_names_of_their_own() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1"}}}}
    obj = made("StatefulSet", volumeClaimTemplates=[claim], replicas=-1, serviceName="a.b")
    pod = obj["spec"]["template"]["spec"]
    pod["volumes"] = [{"name": "data", "emptyDir": {}}, {"name": "B", "emptyDir": {}}]
    pod["hostname"] = "not a name"
    assert fields(obj) == [
        "spec.volumeClaimTemplates[0].spec.accessModes",
        "spec.replicas",
        "spec.serviceName",
        "spec.template.spec.volumes[1].name",
    ]


def test_what_a_set_cannot_change_or_had_wrong_already_does_not_stop_its_update() -> None:
    claims = [{"metadata": {"name": "data"}, "spec": {}}]
    old = made("StatefulSet", serviceName="a.b", volumeClaimTemplates=claims)
    new = meta.copy(old)
    new["spec"]["template"]["spec"]["containers"][0]["name"] = ""
    assert fields(new, old) == [_NO_NAME]
    assert fields(meta.copy(new), new) == []


@pytest.mark.parametrize(("kind", "times"), [("Deployment", 1), ("ReplicaSet", 2), ("DaemonSet", 2)])
def test_an_error_of_an_update_is_told_as_often_as_it_is_found(kind: str, times: int) -> None:
    old = made(kind)
    new = meta.copy(old)
    new["spec"]["template"]["spec"]["containers"][0]["name"] = ""
    assert fields(new, old) == [_NO_NAME] * times


def test_the_data_of_a_revision_is_only_held_against_what_it_was_once_there() -> None:
    old = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "metadata": made("Deployment")["metadata"]}
    assert fields({**old, "revision": -1}) == ["revision", "data"]
    assert fields({**old, "data": [1], "revision": 1}, {**old, "data": {}, "revision": 1}) == ["data"]


def test_the_names_of_the_pods_of_an_indexed_job_must_be_labels() -> None:
    expected = 'metadata.name: Invalid value: "x.y": will not able to create pod with invalid DNS label: x.y-1'
    assert list(map(str, errors(job(completionMode="Indexed", completions=2)))) == [expected]


@pytest.mark.parametrize(
    ("status", "rests"),
    [
        ({}, True),
        ({"startTime": "t"}, False),
        ({"startTime": "t", "conditions": [{"type": "Suspended", "status": "True"}]}, True),
        ({"startTime": "t", "active": 1, "conditions": [{"type": "Suspended", "status": "True"}]}, False),
    ],
)
def test_a_resting_job_may_change_where_its_pods_go_and_what_they_take(status: Object, rests: bool) -> None:
    old = job(suspend=True)
    old["status"] = status
    new = meta.copy(old)
    pod = new["spec"]["template"]["spec"]
    pod |= {"nodeSelector": {"a": "b"}, "affinity": {"nodeAffinity": {}}}
    pod["containers"][0]["resources"] = {"limits": {"cpu": "1"}}
    assert fields(new, old) == ([] if rests else ["spec.template"])


def test_a_resting_job_may_not_change_the_rest() -> None:
    old = job(suspend=True)
    changes: list[Object] = [{"affinity": {"podAffinity": {}}}, {"hostname": "h"}]
    for change in changes:
        new = meta.copy(old)
        new["spec"]["template"]["spec"] |= change
        assert fields(new, old) == ["spec.template.spec"]


def test_a_selector_of_the_generated_labels_counts_as_generated() -> None:
    assert errors(job(selector={"matchLabels": {"job-name": "x.y"}})) == []
