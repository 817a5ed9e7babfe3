"""QoS classes and cgroup settings."""

from typing import Any

import pytest

from tests.unit.kubelet.fakes import container, make_pod
from wherry.kubelet import hosts, resources
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.qos import compute_qos_class
from wherry.runtime.protocol import ContainerError


def pod(*declared: dict[str, Any], init: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return make_pod(
        containers=[container(f"c{n}", resources=r) for n, r in enumerate(declared)], initContainers=init or []
    )


@pytest.mark.parametrize(
    ("declared", "quality"),
    [
        ({}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}, "Burstable"),
        ({"limits": {"memory": "1Gi"}}, "Burstable"),
        ({"limits": {"example.com/gpu": "1"}}, "BestEffort"),
    ],
)
def test_qos_class_follows_cpu_and_memory(declared: dict[str, Any], quality: str) -> None:
    assert compute_qos_class(pod(declared)) == quality


def test_container_limits_become_cgroup_settings() -> None:
    made = pod({"limits": {"cpu": "250m", "memory": "64Mi"}, "requests": {"cpu": "100m"}})
    found = resources.container_resources(made, made["spec"]["containers"][0], node_memory=1 << 30)
    assert (found.cpu_shares, found.cpu_quota, found.memory_limit) == (102, 25_000, 64 << 20)


def test_pod_total_is_the_larger_of_init_and_regular_containers() -> None:
    init = [
        container("sidecar", restartPolicy="Always", resources={"requests": {"cpu": "100m"}}),
        container("setup", resources={"requests": {"cpu": "1"}}),
    ]
    made = pod({"requests": {"cpu": "200m"}}, {"requests": {"cpu": "300m"}}, init=init)
    assert resources.total(made, "requests")["cpu"] == 1100


@pytest.mark.parametrize(("request_memory", "score"), [("4Gi", 500), ("7.99Gi", 3), ("1Mi", 999)])
def test_burstable_oom_score_falls_with_the_request(request_memory: str, score: int) -> None:
    made = pod({"requests": {"memory": request_memory}})
    assert resources.oom_score_adj(made, made["spec"]["containers"][0], node_memory=8 << 30) == score


def test_limits_and_requests_of_the_pod_count_for_containers_without() -> None:
    made = pod({"requests": {"memory": "1Gi"}}, {"limits": {"memory": "16Mi"}})
    made["spec"]["resources"] = {"limits": {"cpu": "1", "memory": "6Gi"}, "requests": {"memory": "5Gi"}}
    first, second = (
        resources.container_resources(made, each, node_memory=8 << 30) for each in made["spec"]["containers"]
    )
    assert (first.memory_limit, first.cpu_quota) == (6 << 30, 100_000)
    assert second.memory_limit == 16 << 20
    # Half of the 4 GiB that no container asks for, beside its own GiB.
    assert first.oom_score_adj == 1000 - 1000 * 3 // 8


def test_a_full_name_that_the_kernel_cannot_hold_is_refused() -> None:
    made = make_pod(hostname="h" * 40, subdomain="s", setHostnameAsFQDN=True)
    with pytest.raises(ContainerError, match=r"is too long \(64 characters is the max, 68 characters requested\)$"):
        hosts.hostname(made, node_hostname="n", cluster_domain="cluster.local")


def test_resolv_conf_prefers_the_cluster_and_keeps_the_hosts_search() -> None:
    config = KubeletConfig(node_name="n", root=None, run=None, cluster_dns=("10.96.0.10",))  # type: ignore[arg-type]
    made = make_pod(dnsConfig={"options": [{"name": "ndots", "value": "2"}], "searches": ["own.example"]})
    text = hosts.resolv_conf(made, config, "nameserver 192.0.2.1\nsearch example.com\n")
    assert text.splitlines() == [
        "search default.svc.cluster.local svc.cluster.local cluster.local example.com own.example",
        "nameserver 10.96.0.10",
        "options ndots:2",
    ]
    made["spec"]["dnsPolicy"] = "Default"
    assert "nameserver 192.0.2.1" in hosts.resolv_conf(made, config, "nameserver 192.0.2.1\n")
