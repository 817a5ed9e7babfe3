"""Members behind gates that are off vanish, unless the object has them already."""

from typing import Any

import pytest

from wherry.api import meta
from wherry.api.strategy.disabled import drop_disabled

POD_SPEC = {
    "schedulingGroup": {"podGroupName": "g"},
    "volumes": [{"name": "v", "projected": {"sources": [{"podCertificate": {}}, {"secret": {"name": "s"}}]}}],
}
DROPPED = {"volumes": [{"name": "v", "projected": {"sources": [{}, {"secret": {"name": "s"}}]}}]}


@pytest.mark.parametrize(
    ("kind", "given", "kept"),
    [
        (("", "pods"), {"spec": POD_SPEC}, {"spec": DROPPED}),
        (("", "podtemplates"), {"template": {"spec": POD_SPEC}}, {"template": {"spec": DROPPED}}),
        (
            ("apps", "deployments"),
            {"spec": {"template": {"spec": POD_SPEC}}},
            {"spec": {"template": {"spec": DROPPED}}},
        ),
        (("", "configmaps"), {"spec": POD_SPEC}, {"spec": POD_SPEC}),
        (
            ("resource.k8s.io", "resourceslices"),
            {"spec": {"devices": [{"attributes": {"a": {"ints": [1]}, "b": {"int": 1}}}, {}]}},
            {"spec": {"devices": [{"attributes": {"a": {}, "b": {"int": 1}}}, {}]}},
        ),
        (
            ("", "persistentvolumeclaims"),
            {"spec": {"dataSourceRef": {"kind": "X", "namespace": "n"}}},
            {"spec": {"dataSourceRef": {"kind": "X"}}},
        ),
    ],
)
def test_members_that_are_off_vanish(kind: tuple[str, str], given: dict[str, Any], kept: dict[str, Any]) -> None:
    obj = meta.copy(given)
    parts = dict(obj)
    drop_disabled(kind, obj)
    assert obj == kept
    assert parts == given, "what the object shares with others stays as it was"


def test_an_update_keeps_what_is_in_use() -> None:
    obj, old = {"spec": {**POD_SPEC}}, {"spec": {"schedulingGroup": {"podGroupName": "g"}}}
    drop_disabled(("", "pods"), obj, old)
    assert obj["spec"] == {**DROPPED, "schedulingGroup": {"podGroupName": "g"}}
