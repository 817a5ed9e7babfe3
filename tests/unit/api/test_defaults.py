"""Defaulting is Kubernetes' own, and doing it twice changes nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api import defaults, meta
from wherry.api.defaults.core import aggregate_requests
from wherry.api.defaults.pod_spec import pull_policy
from wherry.api.resources import DEPLOYMENTS, JOBS, LIMITRANGES, NAMESPACES, NODES, PODS, SECRETS, SERVICES


def pod(**spec: object) -> dict:
    return {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "img:1"}], **spec}}


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"),
        ("nginx:latest", "Always"),
        ("nginx:1.27", "IfNotPresent"),
        ("localhost:5000/nginx", "Always"),
        ("localhost:5000/a/b:2", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"),
        ("nginx:latest@sha256:" + "a" * 64, "Always"),
        ("Not A Reference", "IfNotPresent"),
        ("", "IfNotPresent"),
    ],
)
def test_pull_policy_follows_the_tag(image: str, policy: str) -> None:
    assert pull_policy(image) == policy


def test_requests_follow_limits_in_pods_but_not_in_templates() -> None:
    container = {"name": "c", "image": "i", "resources": {"limits": {"cpu": "1"}}}
    alone = pod(containers=[meta.copy(container)])
    defaults.default(PODS, alone)
    assert alone["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1"}
    deployment = {"metadata": {"name": "d"}, "spec": {"template": {"spec": {"containers": [container]}}}}
    defaults.default(DEPLOYMENTS, deployment)
    assert "requests" not in deployment["spec"]["template"]["spec"]["containers"][0]["resources"]


def test_host_ports_follow_container_ports_on_the_hosts_network() -> None:
    obj = pod(hostNetwork=True, containers=[{"name": "c", "image": "i", "ports": [{"containerPort": 80}]}])
    defaults.default(PODS, obj)
    assert obj["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]


def test_amounts_finer_than_a_thousandth_are_rounded_up() -> None:
    obj = pod(containers=[{"name": "c", "image": "i", "resources": {"requests": {"cpu": "1u", "memory": "1Gi"}}}])
    defaults.default(PODS, obj)
    assert obj["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "1m", "memory": "1Gi"}


def test_sidecars_count_throughout_and_init_containers_at_their_peak() -> None:
    def needs(cpu: str, **more: str) -> dict:
        return {"resources": {"requests": {"cpu": cpu}}, **more}

    spec = {
        "initContainers": [needs("1"), needs("200m", restartPolicy="Always"), needs("2")],
        "containers": [needs("500m"), needs("500m")],
    }
    assert aggregate_requests(spec) == {"cpu": "2200m"}


def test_string_data_is_written_over_data() -> None:
    secret = {"metadata": {"name": "s"}, "data": {"a": "eA=="}, "stringData": {"a": "y", "b": "z"}}
    defaults.default(SECRETS, secret)
    assert secret == {"metadata": {"name": "s"}, "data": {"a": "eQ==", "b": "eg=="}, "type": "Opaque"}


def test_limit_range_defaults_come_from_the_maximum_then_the_minimum() -> None:
    limits = [{"type": "Container", "max": {"cpu": "2"}, "min": {"memory": "1Mi"}}]
    obj = {"metadata": {"name": "l"}, "spec": {"limits": limits}}
    defaults.default(LIMITRANGES, obj)
    assert obj["spec"]["limits"][0]["default"] == {"cpu": "2"}
    assert obj["spec"]["limits"][0]["defaultRequest"] == {"cpu": "2", "memory": "1Mi"}


def test_labels_generated_for_a_template_show_on_the_job() -> None:
    job = {"metadata": {"name": "j"}, "spec": {"template": {"metadata": {"labels": {"a": "b"}}, "spec": {}}}}
    defaults.default(JOBS, job)
    assert job["metadata"]["labels"] is job["spec"]["template"]["metadata"]["labels"]


_CONTAINER = st.fixed_dictionaries(
    {"name": st.just("c"), "image": st.sampled_from(["a", "a:1", "a@x"])},
    optional={
        "ports": st.just([{"containerPort": 1}]),
        "resources": st.just({"limits": {"cpu": "1", "memory": "5n"}}),
        "livenessProbe": st.just({"httpGet": {"port": 1}}),
        "lifecycle": st.just({"preStop": {"sleep": {"seconds": 1}}}),
        "env": st.just([{"name": "A", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]),
    },
)
_SPEC = st.fixed_dictionaries(
    {"containers": st.lists(_CONTAINER, min_size=1, max_size=2)},
    optional={
        "volumes": st.lists(st.sampled_from([{"name": "v"}, {"name": "w", "secret": {}}]), max_size=2),
        "hostNetwork": st.booleans(),
        "restartPolicy": st.sampled_from(["Always", "Never"]),
        "resources": st.just({"limits": {"cpu": "4"}}),
    },
)


@given(_SPEC)
def test_defaulting_a_pod_again_changes_nothing(spec: dict) -> None:
    obj = meta.copy({"metadata": {"name": "p"}, "spec": spec})
    defaults.default(PODS, obj)
    once = meta.copy(obj)
    defaults.default(PODS, obj)
    assert obj == once


@pytest.mark.parametrize(
    ("spec", "members"),
    [
        ({"type": "NodePort"}, {"externalTrafficPolicy": "Cluster", "internalTrafficPolicy": "Cluster"}),
        ({"type": "LoadBalancer"}, {"allocateLoadBalancerNodePorts": True, "externalTrafficPolicy": "Cluster"}),
        ({"sessionAffinity": "ClientIP"}, {"sessionAffinityConfig": {"clientIP": {"timeoutSeconds": 10800}}}),
        ({"type": "ExternalName", "externalName": "a"}, {"sessionAffinity": "None"}),
    ],
)
def test_service_defaults(spec: dict, members: dict) -> None:
    obj = {"metadata": {"name": "s"}, "spec": spec}
    defaults.default(SERVICES, obj)
    assert {k: obj["spec"].get(k) for k in members} == members


@pytest.mark.parametrize(
    ("status", "ips"),
    [
        ({"podIP": "1.1.1.1"}, ["1.1.1.1"]),
        ({"podIPs": [{"ip": "2.2.2.2"}]}, ["2.2.2.2"]),
        ({"podIP": "1.1.1.1", "podIPs": [{"ip": "1.1.1.1"}, {"ip": "::1"}]}, ["1.1.1.1", "::1"]),
        ({"podIP": "1.1.1.1", "podIPs": [{"ip": "2.2.2.2"}, {"ip": "::1"}]}, ["1.1.1.1"]),
    ],
)
def test_the_single_address_decides_where_it_differs_from_the_list(status: dict, ips: list[str]) -> None:
    obj = {**pod(), "status": {**status, "hostIP": "3.3.3.3", "hostIPs": [{"ip": "4.4.4.4"}]}}
    defaults.default(PODS, obj)
    assert [entry["ip"] for entry in obj["status"]["podIPs"]] == ips
    assert obj["status"]["podIP"] == ips[0]
    assert obj["status"]["hostIP"] == "3.3.3.3", "validation is to find that it differs"


def test_a_node_has_its_first_cidr_twice() -> None:
    node: dict = {"metadata": {"name": "n"}, "spec": {"podCIDR": "10.1.0.0/24"}}
    defaults.default(NODES, node)
    assert node["spec"]["podCIDRs"] == ["10.1.0.0/24"]


def test_a_namespace_cannot_carry_another_name_as_label() -> None:
    namespace: dict = {"metadata": {"name": "n", "labels": {"kubernetes.io/metadata.name": "other"}}}
    defaults.default(NAMESPACES, namespace)
    assert namespace["metadata"]["labels"] == {"kubernetes.io/metadata.name": "n"}
