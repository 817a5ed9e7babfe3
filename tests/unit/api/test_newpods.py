"""What is remembered of new pods must be what looking at each would find."""

import copy
from typing import Any

import pytest

from wherry.api import newpods, strategy, validation, warnings
from wherry.api.resources import PODS

Object = dict[str, Any]


def pod(name: str = "p", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
    container = {"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
    return {
        "metadata": {"name": name, "namespace": "n", "labels": labels or {"app": "a"}},
        "spec": {"restartPolicy": "Always", "dnsPolicy": "Default", "containers": [container], **spec},
    }


SPREAD = {
    "maxSkew": 1,
    "topologyKey": "zone",
    "whenUnsatisfiable": "DoNotSchedule",
    "labelSelector": {"matchLabels": {"app": "a"}},
    "matchLabelKeys": ["hash"],
}
OLD_LABEL = {"beta.kubernetes.io/os": "x"}
CASES = {
    "alike": (pod(), pod("q")),
    "a name that is no label": (pod(), pod("q.r")),
    "an invalid name": (pod(), pod("-")),
    "an invalid label": (pod(), pod(labels={"-": ""})),
    "labels mixed in": (
        pod(topologySpreadConstraints=[SPREAD]),
        pod("q", labels={"hash": "1"}, topologySpreadConstraints=[SPREAD]),
    ),
    "a warning": (pod(nodeSelector=OLD_LABEL), pod("q", nodeSelector=OLD_LABEL)),
    "an error": (pod(hostNetwork=3, nodeName="-"), pod("q", hostNetwork=3, nodeName="-")),
    "gates": (pod(schedulingGates=[{"name": "a/b"}]), pod("q", schedulingGates=[{"name": "a/b"}])),
}


def looked_at(obj: Object) -> tuple[list[Any], list[str]]:
    given = warnings.for_given(PODS, obj)
    strategy.prepare_create(PODS, obj)
    errors = validation.validate_create(PODS, obj)
    return errors, given + ([] if errors else warnings.for_object(PODS, obj))


@pytest.mark.parametrize("case", CASES)
def test_the_second_pod_of_a_kind_fares_as_if_it_were_the_first(case: str) -> None:
    newpods.examine(copy.deepcopy(CASES[case][0]))
    second, expected = copy.deepcopy(CASES[case][1]), copy.deepcopy(CASES[case][1])
    assert newpods.examine(second) == looked_at(expected)
    assert second == expected


def test_pods_that_are_alike_share_no_status() -> None:
    first, second = pod(), pod("q")
    newpods.examine(first)
    newpods.examine(second)
    assert first["status"] == second["status"] == {"phase": "Pending", "qosClass": "BestEffort"}
    assert first["status"] is not second["status"]


def test_pods_that_are_alike_share_one_spec() -> None:
    first, second, other = pod(), pod("q"), pod(hostNetwork=True)
    for obj in (first, second, other):
        newpods.examine(obj)
    assert second["spec"] is first["spec"] and other["spec"] is not first["spec"]


def test_pods_that_are_read_share_the_parts_of_their_specs() -> None:
    first, second = (copy.deepcopy(pod(name, nodeName=name)) for name in ("p", "q"))
    for obj in (first, second):
        newpods.share(obj)
    assert second["spec"]["containers"] is first["spec"]["containers"] and second["spec"]["nodeName"] == "q"
