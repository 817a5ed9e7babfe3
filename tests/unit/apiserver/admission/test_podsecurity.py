"""Pod security checks: which violations a level and version finds, and in what words."""

from typing import Any

import pytest

from wherry.apiserver.admission.podsecurity import policy
from wherry.apiserver.admission.podsecurity.evaluate import details, evaluate
from wherry.apiserver.admission.podsecurity.policy import LATEST, LevelVersion

GOOD = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def pod(*securities: dict[str, Any], **spec: Any) -> dict[str, Any]:
    containers = [{"name": chr(97 + at), "securityContext": found} for at, found in enumerate(securities)]
    return {"containers": containers, **spec}


def violations(level: str, spec: dict[str, Any], minor: int = LATEST, **annotations: str) -> str:
    return details(evaluate(LevelVersion(level, minor), {"annotations": annotations}, spec))


def test_good_pod_violates_nothing() -> None:
    assert violations("restricted", pod(GOOD)) == ""


def test_privileged_level_checks_nothing() -> None:
    assert violations("privileged", pod({"privileged": True}, hostNetwork=True)) == ""


def test_restricted_lists_baseline_checks_first_and_replaces_those_it_covers() -> None:
    spec = pod({**GOOD, "capabilities": {"drop": ["ALL"], "add": ["SYS_TIME"]}}, hostPID=True)
    spec["volumes"] = [{"name": "v", "hostPath": {"path": "/"}}]
    assert violations("restricted", spec) == (
        'host namespaces (hostPID=true), unrestricted capabilities (container "a" must not include "SYS_TIME" in '
        'securityContext.capabilities.add), restricted volume types (volume "v" uses restricted volume type "hostPath")'
    )


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            pod({"capabilities": {"add": ["NET_RAW"]}}, {"capabilities": {"add": ["SYS_ADMIN", "CHOWN"]}}),
            'non-default capabilities (containers "a", "b" must not include "NET_RAW", "SYS_ADMIN" in '
            "securityContext.capabilities.add)",
        ),
        (
            pod({}, securityContext={"seLinuxOptions": {"type": "x", "user": "u"}}),
            'seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type "x"; user may not be set)',
        ),
        (
            pod({"seccompProfile": {"type": "Unconfined"}}, securityContext={"seccompProfile": {"type": "Unconfined"}}),
            'seccompProfile (pod and container "a" must not set securityContext.seccompProfile.type to "Unconfined")',
        ),
        (pod({}, securityContext={"sysctls": [{"name": "kernel.msgmax"}]}), "forbidden sysctls (kernel.msgmax)"),
        (
            pod({"procMount": "Unmasked"}),
            'procMount (container "a" must not set securityContext.procMount to "Unmasked")',
        ),
        (
            pod({"appArmorProfile": {"type": "Unconfined"}}),
            'forbidden AppArmor profile (container "a" must not set AppArmor profile type to "Unconfined")',
        ),
        (
            {"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "h"}}}]},
            'probe or lifecycle host (container "c" uses probe or lifecycle host "h")',
        ),
    ],
)
def test_baseline_words(spec: dict[str, Any], expected: str) -> None:
    assert violations("baseline", spec) == expected


def test_checks_are_those_of_the_version() -> None:
    windows = pod({"runAsNonRoot": True}, os={"name": "windows"})
    assert violations("restricted", windows, 24) != ""
    assert violations("restricted", windows, 25) == ""
    mapped = pod({**GOOD, "runAsNonRoot": None, "runAsUser": 0}, hostUsers=False)
    assert "runAsNonRoot" in violations("restricted", mapped, 34)
    assert violations("restricted", mapped) == ""
    assert violations("restricted", pod({"runAsNonRoot": True}), 7) == ""


def test_ephemeral_containers_are_checked() -> None:
    spec = pod(GOOD, ephemeralContainers=[{"name": "e", "securityContext": {**GOOD, "privileged": True}}])
    assert violations("baseline", spec).startswith('privileged (container "e"')


def test_wrong_labels_fail_closed_for_enforce_and_open_for_the_others() -> None:
    labels = {"enforce": "x", "warn": "y", "audit": "baseline"}
    found = policy.of({policy.PREFIX + mode: level for mode, level in labels.items()})
    assert (str(found.enforce), str(found.warn), str(found.audit)) == (
        "restricted:latest",
        "privileged:latest",
        "baseline:latest",
    )
    expected = 'metadata.labels[{}{}]: Invalid value: "{}": must be one of privileged, baseline, restricted'
    assert [str(error) for error in found.errors] == [
        expected.format(policy.PREFIX, mode, labels[mode]) for mode in ("enforce", "warn")
    ]


@pytest.mark.parametrize(
    ("labels", "warned"),
    [
        ({"enforce": "restricted"}, "restricted:latest"),
        ({"enforce": "baseline", "enforce-version": "v1.20"}, "baseline:v1.20"),
        ({"enforce": "baseline", "warn-version": "v1.3"}, "baseline:v1.3"),
        ({"enforce": "restricted", "warn": "baseline"}, "baseline:latest"),
        ({"enforce": "restricted", "warn": "privileged"}, "privileged:latest"),
        ({"enforce": "wrong"}, "privileged:latest"),
        ({"enforce": "privileged", "enforce-version": "v1.2"}, "privileged:latest"),
    ],
)
def test_what_is_enforced_is_warned_about_too_unless_the_namespace_says_otherwise(labels: dict, warned: str) -> None:
    found = policy.of({policy.PREFIX + key: value for key, value in labels.items()})
    assert str(found.warn) == warned


def test_volumes_from_images_are_not_restricted() -> None:
    assert violations("restricted", pod(GOOD, volumes=[{"name": "v", "image": {"reference": "r"}}])) == ""
