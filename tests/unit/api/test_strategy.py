"""Creation and updates reset what clients cannot set, and count generations."""

from typing import Any

import pytest

from wherry.api import defaults, meta, strategy
from wherry.api.resources import (
    CONFIGMAPS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    LEASES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    SERVICES,
    TABLE,
    Resource,
)
from wherry.api.strategy.pods import qos_class


def created(resource: Resource, **members: object) -> dict[str, Any]:
    obj: dict[str, Any] = {"metadata": {"name": "x", "namespace": "n", "uid": "u"}, **members}
    defaults.default(resource, obj)
    strategy.prepare_create(resource, obj)
    return obj


def template(image: str = "i:1") -> dict:
    return {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": image}]}}


def test_creation_drops_status_and_deletion_and_starts_the_generation() -> None:
    obj = {
        "metadata": {"name": "d", "deletionTimestamp": "x", "generation": 7},
        "spec": {"template": template()},
        "status": {"replicas": 3},
    }
    strategy.prepare_create(DEPLOYMENTS, obj)
    assert obj["metadata"] == {"name": "d", "generation": 1}
    assert obj["status"] == {}


def test_generation_counts_changes_of_the_spec_only() -> None:
    old = created(DEPLOYMENTS, spec={"template": template()})
    same = meta.copy(old)
    same["metadata"]["labels"] = {"x": "y"}
    strategy.prepare_update(DEPLOYMENTS, same, old)
    assert same["metadata"]["generation"] == 1
    changed = meta.copy(old)
    changed["metadata"]["generation"] = 40
    changed["spec"]["replicas"] = 5
    strategy.prepare_update(DEPLOYMENTS, changed, old)
    assert changed["metadata"]["generation"] == 2


def test_an_update_keeps_the_status_and_a_status_update_keeps_the_rest() -> None:
    old = created(DEPLOYMENTS, spec={"template": template()})
    new = {**meta.copy(old), "status": {"replicas": 9}}
    strategy.prepare_update(DEPLOYMENTS, new, old)
    assert new["status"] == {}
    new = {**meta.copy(old), "status": {"replicas": 9}}
    new["spec"]["replicas"] = 4
    new["metadata"]["labels"] = {"q": "r"}
    strategy.prepare_update(DEPLOYMENTS, new, old, "status")
    assert new["status"] == {"replicas": 9}
    assert new["spec"] == old["spec"]
    assert "labels" not in new["metadata"]


@pytest.mark.parametrize(("plural", "kept"), [("servicecidrs", False), ("ingresses", False), ("flowschemas", True)])
def test_a_status_update_changes_metadata_of_some_kinds(plural: str, kept: bool) -> None:
    resource = next(resource for resource in TABLE if resource.plural == plural)
    old: dict[str, Any] = {"metadata": {"name": "x", "uid": "u"}, "spec": {"a": 1}, "status": {}}
    new: dict[str, Any] = {
        "metadata": {**old["metadata"], "annotations": {"a": "b"}},
        "spec": {"a": 2},
        "status": {"conditions": []},
    }
    strategy.prepare_update(resource, new, old, "status")
    assert new["spec"] == old["spec"] and ("annotations" not in new["metadata"]) is kept


def test_deletion_cannot_be_undone_by_an_update() -> None:
    old = created(CONFIGMAPS)
    old["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}
    new = {"metadata": {"name": "x", "namespace": "n"}}
    strategy.prepare_update(CONFIGMAPS, new, old)
    assert new["metadata"]["deletionTimestamp"] == "2026-01-01T00:00:00Z"
    assert new["metadata"]["uid"] == "u"


def test_daemon_set_counts_templates_in_an_annotation() -> None:
    old = created(DAEMONSETS, spec={"template": template()})
    key = "deprecated.daemonset.template.generation"
    assert old["metadata"]["annotations"] == {key: "1"}
    new = meta.copy(old)
    new["metadata"].pop("annotations")
    new["spec"]["template"] = template("i:2")
    strategy.prepare_update(DAEMONSETS, new, old)
    assert new["metadata"]["annotations"] == {key: "2"}


def test_a_job_selects_its_pods_by_its_uid() -> None:
    job = created(JOBS, spec={"template": {"spec": {}}})
    assert job["spec"]["selector"] == {"matchLabels": {"batch.kubernetes.io/controller-uid": "u"}}
    assert job["spec"]["template"]["metadata"]["labels"]["batch.kubernetes.io/job-name"] == "x"
    assert "labels" not in job["metadata"]
    strategy.of(JOBS).stored(job)
    assert job["metadata"]["labels"] == job["spec"]["template"]["metadata"]["labels"]


def test_a_service_keeps_what_was_allocated_and_drops_it_with_its_type() -> None:
    port = {"port": 80, "protocol": "TCP", "targetPort": 80}
    allocated = {"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "type": "NodePort"}
    old = {"metadata": {"name": "s"}, "spec": {**allocated, "ports": [{**port, "nodePort": 30000}]}, "status": {}}
    new: dict[str, Any] = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [dict(port)]}}
    strategy.prepare_update(SERVICES, new, old)
    assert new["spec"]["clusterIP"] == "10.0.0.1"
    assert new["spec"]["ports"][0]["nodePort"] == 30000
    plain = meta.copy(old)
    plain["spec"]["type"] = "ClusterIP"
    strategy.prepare_update(SERVICES, plain, old)
    assert "nodePort" not in plain["spec"]["ports"][0]


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, "BestEffort"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "1000m", "memory": "1024Mi"}}, "Guaranteed"),
        ({"limits": {"cpu": "1", "memory": "1Gi"}, "requests": {"cpu": "500m", "memory": "1Gi"}}, "Burstable"),
        ({"requests": {"cpu": "1"}}, "Burstable"),
        ({"requests": {"ephemeral-storage": "1Gi"}}, "BestEffort"),
        ({"requests": {"cpu": "0"}}, "BestEffort"),
    ],
)
def test_qos_class(resources: dict, expected: str) -> None:
    assert qos_class({"spec": {"containers": [{"resources": resources}]}}) == expected


def test_one_container_without_limits_makes_a_pod_burstable() -> None:
    full = {"limits": {"cpu": "1", "memory": "1"}, "requests": {"cpu": "1", "memory": "1"}}
    assert qos_class({"spec": {"containers": [{"resources": full}, {}]}}) == "Burstable"


def test_a_gated_pod_says_so() -> None:
    pod = created(PODS, spec={"containers": [], "schedulingGates": [{"name": "g"}]})
    assert pod["status"]["conditions"][0]["reason"] == "SchedulingGated"


def test_pods_can_be_selected_by_node() -> None:
    fields = strategy.selectable_fields(PODS)
    assert fields["spec.nodeName"]({"spec": {"nodeName": "n"}}) == "n"
    assert fields["spec.nodeName"]({"spec": {}}) == ""
    assert set(strategy.selectable_fields(CONFIGMAPS)) == {"metadata.name", "metadata.namespace"}


def test_leases_are_created_by_put_and_updated_with_a_version() -> None:
    assert strategy.allows_create_on_update(LEASES)
    assert not strategy.allows_unconditional_update(LEASES)


def test_every_strategy_is_of_a_known_resource() -> None:
    known = {(r.group, r.plural) for r in TABLE}
    assert set(strategy._TABLE) <= known


def test_a_service_that_is_balanced_no_more_forgets_its_balancer() -> None:
    ports = [{"port": 80}]
    old = created(SERVICES, spec={"type": "LoadBalancer", "ports": ports})
    old["status"] = {"loadBalancer": {"ingress": [{"ip": "1.2.3.4"}]}, "conditions": []}
    new = {"metadata": {"name": "x"}, "spec": {"type": "ClusterIP", "ports": ports}}
    strategy.prepare_update(SERVICES, new, old)
    assert new["status"] == {"loadBalancer": {}, "conditions": []}
    assert old["status"]["loadBalancer"] == {"ingress": [{"ip": "1.2.3.4"}]}


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"dataSourceRef": {"kind": "X", "name": "x", "namespace": "n"}}, set()),
        ({"dataSource": {"kind": "X", "name": "x"}}, set()),
        ({"dataSource": {"kind": "X", "name": "x"}, "dataSourceRef": {"kind": "X", "name": "y"}}, {"x", "y"}),
    ],
)
def test_sources_of_a_claim_that_are_off_or_unknown_vanish(given: dict[str, Any], kept: set[str]) -> None:
    spec = created(PERSISTENTVOLUMECLAIMS, spec=given)["spec"]
    assert {spec[member]["name"] for member in ("dataSource", "dataSourceRef") if member in spec} == kept
