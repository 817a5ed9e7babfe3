"""Table cells."""

from datetime import timedelta
from typing import Any

import pytest

from wherry.api import printers
from wherry.api.printers import text
from wherry.api.resources import PODS, TABLE, Resource


@pytest.mark.parametrize("resource", list(TABLE), ids=lambda r: r.group_resource)
def test_every_kind_has_as_many_cells_as_columns(resource: Resource) -> None:
    bare = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": {"name": "x"}}
    surplus = resource.plural == "ipaddresses"
    assert len(printers.cells(resource, bare)) == len(printers.columns(resource)) + surplus


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0s"), (119, "119s"), (120, "2m"), (150, "2m30s"), (600, "10m"), (10799, "179m"), (10800, "3h"),
        (3 * 3600 + 300, "3h5m"), (8 * 3600 + 300, "8h"), (47 * 3600, "47h"), (48 * 3600, "2d"), (49 * 3600, "2d1h"),
        (8 * 86400 + 3600, "8d"), (729 * 86400, "729d"), (730 * 86400, "2y"), (800 * 86400, "2y70d"),
        (3000 * 86400, "8y"), (-5, "<invalid>"),
    ],
)  # fmt: skip
def test_an_age_has_at_most_two_units(seconds: int, words: str) -> None:
    assert text.duration(timedelta(seconds=seconds)) == words


def pod(*statuses: dict[str, Any], phase: str = "Running", **status: Any) -> dict[str, Any]:
    return {
        "metadata": {"name": "p"},
        "spec": {"containers": [{"name": s["name"]} for s in statuses]},
        "status": {"phase": phase, "containerStatuses": list(statuses), **status},
    }


HOSTS = [{"host": name} for name in "abc"]


def container(name: str, state: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": name, "state": state, "restartCount": 0, "ready": False, **more}


def test_a_waiting_container_names_the_state_of_the_pod() -> None:
    crashed = container("a", {"waiting": {"reason": "CrashLoopBackOff"}}, restartCount=7)
    runs = container("b", {"running": {}}, ready=True)
    assert printers.cells(PODS, pod(crashed, runs))[1:4] == ["1/2", "CrashLoopBackOff", "7"]


def test_a_completed_container_beside_a_running_one_leaves_the_pod_running_or_not_ready() -> None:
    done = container("a", {"terminated": {"exitCode": 0, "reason": "Completed"}})
    runs = container("b", {"running": {}}, ready=True)
    assert printers.cells(PODS, pod(done, runs))[2] == "NotReady"
    ready = [{"type": "Ready", "status": "True"}]
    assert printers.cells(PODS, pod(done, runs, conditions=ready))[2] == "Running"


def test_a_deleted_pod_is_terminating_until_it_has_ended() -> None:
    found = pod(container("a", {"running": {}}, ready=True))
    found["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert printers.cells(PODS, found)[2] == "Terminating"
    found["status"]["phase"] = "Succeeded"
    assert printers.cells(PODS, found)[2] != "Terminating"


@pytest.mark.parametrize(
    ("group", "plural", "members", "index", "cell"),
    [
        ("networking.k8s.io", "ingresses", {"spec": {"rules": [*HOSTS, {}]}}, 2, "a,b,c + 1 more..."),
        ("networking.k8s.io", "ingresses", {"spec": {"rules": [{}, {"host": "a"}]}}, 2, "a"),
        (
            "networking.k8s.io",
            "ipaddresses",
            {"spec": {"parentRef": {"group": "G", "resource": "r", "name": "n"}}},
            1,
            "r.g/n",
        ),
        ("discovery.k8s.io", "endpointslices", {"ports": [{"port": 1}, {"name": "x"}, {}]}, 2, "1,x,*"),
        ("discovery.k8s.io", "endpointslices", {"ports": [{"name": ""}]}, 2, "<unset>"),
        ("", "endpoints", {"subsets": [{"notReadyAddresses": [{"ip": "1.1.1.1"}]}]}, 1, ""),
        ("", "endpoints", {}, 1, "<none>"),
        (
            "autoscaling",
            "horizontalpodautoscalers",
            {
                "spec": {"metrics": [{"type": "Pods", "pods": {"target": {"averageValue": "5"}}}]},
                "status": {"currentMetrics": [{"type": "Pods", "pods": {"current": {}}}]},
            },
            2,
            "<nil>/5",
        ),
        ("batch", "cronjobs", {"spec": {"suspend": False}}, 3, "False"),
        ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", {"spec": {"exempt": {"x": 1}}}, 2, "<none>"),
        ("", "events", {"reportingInstance": "i"}, 5, ", i"),
        ("", "persistentvolumeclaims", {"spec": {"volumeAttributesClassName": ""}}, 6, ""),
        (
            "admissionregistration.k8s.io",
            "validatingadmissionpolicybindings",
            {"spec": {"paramRef": {"name": "p"}}},
            2,
            "*/p",
        ),
        (
            "admissionregistration.k8s.io",
            "mutatingadmissionpolicybindings",
            {"spec": {"paramRef": {"selector": {"matchLabels": {"a": "b"}}}}},
            2,
            "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}",
        ),
    ],
)
def test_cells_that_are_worded_in_their_own_way(
    group: str, plural: str, members: dict[str, Any], index: int, cell: str
) -> None:
    resource = next(r for r in TABLE if (r.group, r.plural) == (group, plural))
    assert printers.cells(resource, {"metadata": {"name": "x"}, **members})[index] == cell


def test_flow_schemas_are_listed_as_they_are_matched() -> None:
    resource = next(r for r in TABLE if r.plural == "flowschemas")
    found = [{"metadata": {"name": n}, "spec": {"matchingPrecedence": p}} for n, p in (("a", 5), ("c", 1), ("b", 1))]
    assert [o["metadata"]["name"] for o in printers.ordered(resource, found)] == ["b", "c", "a"]
