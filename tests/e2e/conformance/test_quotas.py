"""Quotas count what lives in a namespace; limit ranges fill in what pods do not say."""

from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.api import Refused
from tests.e2e.conformance.objects import template
from tests.e2e.conformance.world import World

pytestmark = pytest.mark.e2e


def _quota(world: World, name: str, hard: dict[str, str], **spec: Any) -> None:
    body = {"metadata": {"name": name}, "spec": {"hard": hard, **spec}}
    world.api.create(f"{world.core}/resourcequotas", body)
    world.api.wait(
        f"{world.core}/resourcequotas/{name}",
        lambda found: found["status"].get("hard") == hard and found["status"].get("used", {}).keys() == hard.keys(),
        seconds=5,
    )


def _used(world: World, name: str, **wanted: str) -> None:
    wanted = {key.replace("__", ".").replace("_", "-"): value for key, value in wanted.items()}

    def shows(found: dict[str, Any]) -> bool:
        return {key: found["status"]["used"].get(key) for key in wanted} == wanted

    world.api.wait(f"{world.core}/resourcequotas/{name}", shows, what=f"{name} uses {wanted}", seconds=10)


def _requests(cpu: str, memory: str, **more: str) -> dict[str, Any]:
    both = {"cpu": cpu, "memory": memory}
    return {"resources": {"requests": {**both, **more}, "limits": {**both, **more}}}


def test_a_quota_follows_objects_of_every_kind(world: World) -> None:
    hard = {
        "configmaps": "5", "secrets": "5", "services": "5", "services.nodeports": "1", "services.loadbalancers": "1",
        "replicationcontrollers": "5", "resourcequotas": "1", "persistentvolumeclaims": "5",
        "requests.storage": "10Gi", "count/replicasets.apps": "5",
    }  # fmt: skip
    _quota(world, "q", hard)
    _used(world, "q", configmaps="1", secrets="0", resourcequotas="1")
    core, api = world.core, world.api
    selector = {"matchLabels": {"app": "x"}}
    kinds: dict[str, tuple[str, dict[str, Any], dict[str, str], dict[str, str]]] = {
        "configmap": (f"{core}/configmaps", {}, {"configmaps": "2"}, {"configmaps": "1"}),
        "secret": (f"{core}/secrets", {}, {"secrets": "1"}, {"secrets": "0"}),
        "service": (
            f"{core}/services",
            {"spec": {"type": "NodePort", "ports": [{"port": 80}]}},
            {"services": "1", "services__nodeports": "1"},
            {"services": "0", "services__nodeports": "0"},
        ),
        "rc": (
            f"{core}/replicationcontrollers",
            {"spec": {"replicas": 0, "selector": {"app": "x"}, "template": template()}},
            {"replicationcontrollers": "1"},
            {"replicationcontrollers": "0"},
        ),
        "rs": (
            f"{world.apis('apps/v1')}/replicasets",
            {"spec": {"replicas": 0, "selector": selector, "template": template()}},
            {"count/replicasets__apps": "1"},
            {"count/replicasets__apps": "0"},
        ),
        "pvc": (
            f"{core}/persistentvolumeclaims",
            {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}},
            {"persistentvolumeclaims": "1", "requests__storage": "1Gi"},
            {"persistentvolumeclaims": "0", "requests__storage": "0"},
        ),
    }
    for name, (path, body, during, after) in kinds.items():
        api.create(path, {"metadata": {"name": name}, **body})
        _used(world, "q", **during)
        if name == "service":
            with pytest.raises(Refused) as second:
                api.create(path, {"metadata": {"name": "second"}, **body})
            assert (second.value.code, second.value.reason) == (403, "Forbidden")
            assert "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1" in str(second.value)
        api.delete(f"{path}/{name}", {"propagationPolicy": "Background"})
        _used(world, "q", **after)


def test_a_quota_follows_pods(world: World) -> None:
    gpu = "requests.example.com/dongle"
    hard = {"pods": "5", "cpu": "1", "memory": "500Mi", "requests.ephemeral-storage": "50Gi", gpu: "3"}
    _quota(world, "q", hard)
    more = {"ephemeral-storage": "20Gi", "example.com/dongle": "2"}
    world.pod("one", container=_requests("500m", "252Mi", **more))
    used = {"pods": "1", "cpu": "500m", "memory": "252Mi", "requests__ephemeral_storage": "20Gi", gpu: "2"}
    _used(world, "q", **used)
    with pytest.raises(Refused) as cpu:
        world.pod("two", container=_requests("600m", "100Mi", **more))
    assert cpu.value.code == 403
    with pytest.raises(Refused) as dongles:
        world.pod("two", container=_requests("100m", "100Mi", **more))
    assert f"{gpu}=2, used: {gpu}=2, limited: {gpu}=3" in str(dongles.value)
    with pytest.raises(Refused) as none:
        world.pod("two")
    assert "must specify cpu" in str(none.value)
    pod = world.api.get(f"{world.core}/pods/one")
    pod["spec"]["containers"][0]["resources"]["requests"]["cpu"] = "100m"
    with pytest.raises(Refused) as update:
        world.api.update(f"{world.core}/pods/one", pod)
    assert update.value.code == 422
    world.api.delete(f"{world.core}/pods/one")
    _used(world, "q", pods="0", cpu="0", memory="0", **{gpu: "0"})


@pytest.mark.parametrize(
    ("scope", "other", "inside"),
    [
        ("BestEffort", "NotBestEffort", {}),
        ("Terminating", "NotTerminating", {"activeDeadlineSeconds": 3600}),
    ],
)
def test_scopes(world: World, scope: str, other: str, inside: dict[str, Any]) -> None:
    for name in (scope, other):
        _quota(world, name.lower(), {"pods": "5"}, scopes=[name])
    world.pod("in", **inside)
    outside: dict[str, Any] = {"container": _requests("10m", "10Mi")} if scope == "BestEffort" else {}
    _used(world, scope.lower(), pods="1")
    _used(world, other.lower(), pods="0")
    world.api.delete(f"{world.core}/pods/in")
    _used(world, scope.lower(), pods="0")
    world.pod("out", **outside)
    _used(world, other.lower(), pods="1")
    _used(world, scope.lower(), pods="0")
    world.api.delete(f"{world.core}/pods/out")
    _used(world, other.lower(), pods="0")


def test_a_quotas_status_follows_its_spec_and_can_be_written(world: World) -> None:
    path = f"{world.core}/resourcequotas/q"
    _quota(world, "q", {"cpu": "1", "memory": "500Mi"})
    found = world.api.get(path)
    found["status"]["hard"] = {"cpu": "2", "memory": "1Gi"}
    assert world.api.update(f"{path}/status", found)["status"]["hard"]["cpu"] == "2"
    world.api.patch(path, {"spec": {"hard": {"cpu": "4", "memory": "2Gi"}}})
    world.api.wait(path, lambda quota: quota["status"]["hard"] == {"cpu": "4", "memory": "2Gi"}, seconds=10)
    assert world.api.patch(f"{path}/status", {"status": {"hard": {"cpu": "5"}}})["status"]["hard"]["cpu"] == "5"
    assert world.api.get(path)["spec"] == {"hard": {"cpu": "4", "memory": "2Gi"}}


def test_limit_ranges_give_defaults_and_refuse(world: World) -> None:
    limits = {
        "type": "Container",
        "min": {"cpu": "50m", "memory": "100Mi"},
        "max": {"cpu": "500m", "memory": "500Mi"},
        "default": {"cpu": "500m", "memory": "500Mi"},
        "defaultRequest": {"cpu": "100m", "memory": "200Mi"},
    }
    path = f"{world.core}/limitranges"
    world.api.create(path, {"metadata": {"name": "l"}, "spec": {"limits": [limits]}})
    made = world.pod("defaulted")
    wanted = {"requests": limits["defaultRequest"], "limits": limits["default"]}
    assert made["spec"]["containers"][0]["resources"] == wanted
    some = world.pod("some", container={"resources": {"requests": {"cpu": "300m"}, "limits": {"memory": "300Mi"}}})
    assert some["spec"]["containers"][0]["resources"] == {
        "requests": {"cpu": "300m", "memory": "300Mi"},
        "limits": {"cpu": "500m", "memory": "300Mi"},
    }
    for cpu in ("10m", "600m"):
        with pytest.raises(Refused) as refused:
            world.pod("refused", container=_requests(cpu, "200Mi"))
        assert refused.value.code == 403
    found = world.api.get(f"{path}/l")
    found["spec"]["limits"][0]["min"] = {"cpu": "9m", "memory": "9Mi"}
    world.api.update(f"{path}/l", found)
    world.pod("small", container={"image": IMAGE} | _requests("10m", "10Mi"))
