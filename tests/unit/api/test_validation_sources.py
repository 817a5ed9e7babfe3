"""Sources of volumes, security profiles and Jobs' indexes: the rules that only few objects meet."""

from typing import Any

import pytest

from wherry.api.validation.indexes import count_indexes, overlap
from wherry.api.validation.jobstatus import job_status
from wherry.api.validation.pod_platform import host_processes, only_of_linux, profile_annotations
from wherry.api.validation.pod_spec import pod_spec
from wherry.api.validation.security import security_context
from wherry.api.validation.volumes import volume_source


@pytest.mark.parametrize(
    ("source", "errors"),
    [
        ({"scaleIO": {"gateway": "g", "system": "s", "volumeName": "v"}}, []),
        ({"flexVolume": {}}, ["v.flexVolume.driver: Required value"]),
        (
            {"flexVolume": {"driver": "d", "options": {"a.k8s.io/x": "1"}}},
            [
                'v.flexVolume.options[a.k8s.io/x]: Invalid value: "a.k8s.io/x": '
                "kubernetes.io and k8s.io namespaces are reserved"
            ],
        ),
        ({"gcePersistentDisk": {}}, ["v.persistentDisk.pdName: Required value"]),
        ({"emptyDir": {}, "cephfs": {}}, ["v.cephFS: Forbidden: may not specify more than 1 volume type"]),
        (
            {"iscsi": {"targetPortal": "p", "iqn": "iqn.bad"}},
            ['v.iscsi.iqn: Invalid value: "iqn.bad": must be valid format'],
        ),
        ({"iscsi": {"targetPortal": "p", "iqn": "iqn.2001-04.com.example:storage"}}, []),
        (
            {"quobyte": {"registry": "r", "volume": "v"}},
            ['v.quobyte.registry: Invalid value: "r": must be a host:port pair or multiple pairs separated by commas'],
        ),
        ({"quobyte": {"registry": "r:1,[::1]:2", "volume": "v"}}, []),
        ({"image": {"pullPolicy": "Always"}}, []),
        (
            {"projected": {"sources": [{"serviceAccountToken": {"expirationSeconds": 600}}]}},
            ["v.projected.path: Required value"],
        ),
    ],
)
def test_sources_of_volumes(source: dict[str, Any], errors: list[str]) -> None:
    assert [str(e) for e in volume_source(source, "v")] == errors


@pytest.mark.parametrize(
    ("user", "wrong"),
    [
        ("NT AUTHORITY\\SYSTEM", []),
        ("a\\b\\c", ["runAsUserName cannot contain more than one backslash"]),
        ("..", ["runAsUserName's User cannot contain only periods or spaces"]),
        ("\\u", ["runAsUserName's Domain doesn't match the NetBios nor the DNS format"]),
    ],
)
def test_users_of_windows(user: str, wrong: list[str]) -> None:
    found = security_context({"windowsOptions": {"runAsUserName": user}}, "s", True)
    assert [e.text.rpartition(": ")[2] for e in found] == wrong


def test_platform_rules_of_pods() -> None:
    hosted = {"securityContext": {"windowsOptions": {"hostProcess": True}}}
    spec = {"containers": [{"name": "a", **hosted}, {"name": "b"}]}
    assert [e.field for e in host_processes(spec, "spec")] == ["spec", "spec.hostNetwork"]
    windows = {"hostPID": False, "shareProcessNamespace": False, "securityContext": {"sysctls": [], "fsGroup": 1}}
    paths = [e.field for e in only_of_linux(windows, "spec")]
    assert paths == ["spec.securityContext.fsGroup", "spec.shareProcessNamespace"]
    profile = {"type": "Localhost", "localhostProfile": "x"}
    pod = {"containers": [{"name": "c", "securityContext": {"seccompProfile": profile}}]}
    key = "container.seccomp.security.alpha.kubernetes.io/c"
    for annotation, member in (("runtime/default", "type"), ("localhost/y", "localhostProfile")):
        (error,) = profile_annotations({key: annotation}, pod, "spec")
        assert error.field == f"spec.containers[0].securityContext.seccompProfile.{member}"
    assert profile_annotations({key: "localhost/x"}, pod, "spec") == []


def test_indexes_of_jobs() -> None:
    assert count_indexes("0,2-4", 5) == (4, "")
    assert count_indexes("3,1", 5)[1] == "non-increasing order, previous: 3, current: 1"
    assert count_indexes("1-2-3", 5)[1].startswith('the fragment "1-2-3" violates')
    assert overlap("0-3", "x,2", 5) == 2
    assert overlap("0-1", "2", 5) is None


@pytest.mark.parametrize(
    ("old", "new", "errors"),
    [
        ({"failed": 2}, {"failed": 1}, ["status.failed: Invalid value: 1: cannot decrease the failed counter"]),
        ({}, {"ready": 1}, ["status.ready: Invalid value: 1: cannot set more ready pods than active"]),
        (
            {"startTime": "t"},
            {},
            ["status.startTime: Required value: startTime cannot be removed for unsuspended job"],
        ),
        (
            {"conditions": [{"type": "Failed", "status": "True"}]},
            {},
            ["status.conditions: Invalid value: cannot disable the terminal Failed=True condition"],
        ),
    ],
)
def test_status_of_jobs(old: dict[str, Any], new: dict[str, Any], errors: list[str]) -> None:
    spec = {"completions": 3, "parallelism": 1}
    found = job_status({"spec": spec, "status": new}, {"spec": spec, "status": old})
    assert [str(e) for e in found] == errors


@pytest.mark.parametrize(
    ("members", "error"),
    [
        (
            {"dnsPolicy": "None", "dnsConfig": {}},
            "spec.dnsConfig.nameservers: Required value: "
            "must provide at least one DNS nameserver when `dnsPolicy` is None",
        ),
        (
            {"shareProcessNamespace": True, "hostPID": True},
            "spec.securityContext.shareProcessNamespace: Invalid value: true: "
            "ShareProcessNamespace and HostPID cannot both be enabled",
        ),
        (
            {"preemptionPolicy": "Sometimes"},
            'spec.preemptionPolicy: Unsupported value: "Sometimes": supported values: "PreemptLowerPriority", "Never"',
        ),
    ],
)
def test_members_of_the_pod_itself(members: dict[str, Any], error: str) -> None:
    container = {"name": "c", "image": "i", "terminationMessagePolicy": "File", "imagePullPolicy": "Always"}
    spec = {"containers": [container], "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", **members}
    assert [str(e) for e in pod_spec(spec)] == [error]
