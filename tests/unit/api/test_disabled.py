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
            ("", "pods"),
            {"spec": {"containers": [{"lifecycle": {"stopSignal": "SIGUSR1"}}], "initContainers": [{"lifecycle": {}}]}},
            {"spec": {"containers": [{}], "initContainers": [{"lifecycle": {}}]}},
        ),
        (
            ("apps", "daemonsets"),
            {"spec": {"template": {"spec": {"containers": [{"lifecycle": {"stopSignal": "SIGUSR1", "preStop": {}}}]}}}},
            {"spec": {"template": {"spec": {"containers": [{"lifecycle": {"preStop": {}}}]}}}},
        ),
        (
            ("coordination.k8s.io", "leases"),
            {"spec": {"strategy": "OldestEmulationVersion", "preferredHolder": "a"}},
            {"spec": {}},
        ),
        (
            ("resource.k8s.io", "resourceslices"),
            {"spec": {"devices": [{"attributes": {"a": {"ints": [1]}, "b": {"int": 1}}}, {}]}},
            {"spec": {"devices": [{"attributes": {"a": {}, "b": {"int": 1}}}, {}]}},
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


def test_a_status_keeps_only_what_is_on_or_in_use() -> None:
    obj = {
        "status": {
            "nodeAllocatableResourceClaimStatuses": [{"resourceClaimName": "c"}],
            "containerStatuses": [{"volumeMounts": [{"name": "v", "volumeStatus": {}}], "stopSignal": "SIGUSR1"}],
        }
    }
    untouched = meta.copy(obj)
    drop_disabled(("", "pods"), obj)
    assert obj == untouched, "a write of the rest does not look at the status"
    old = {"status": {"nodeAllocatableResourceClaimStatuses": []}}
    drop_disabled(("", "pods"), obj, old, status=True)
    assert obj["status"] == {
        **old["status"],
        "nodeAllocatableResourceClaimStatuses": [{"resourceClaimName": "c"}],
        "containerStatuses": [{"volumeMounts": [{"name": "v"}], "stopSignal": "SIGUSR1"}],
    }


def test_generations_in_the_status_of_definitions_are_not_tracked() -> None:
    obj = {"status": {"observedGeneration": 3, "conditions": [{"type": "Established", "observedGeneration": 3}]}}
    drop_disabled(("apiextensions.k8s.io", "customresourcedefinitions"), obj, {}, status=True)
    assert obj == {"status": {"conditions": [{"type": "Established"}]}}
