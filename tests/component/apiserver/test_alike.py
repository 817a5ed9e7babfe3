"""Pods whose bodies say the same but for metadata are decoded once; each must come out as if it were the first."""

from typing import Any

import pytest

from tests.component.apiserver.conftest import Http

PODS = "/api/v1/namespaces/default/pods"


def pod(name: str, **metadata: Any) -> dict[str, Any]:
    limits = {"limits": {"cpu": "0.5"}}
    container = {"name": "c", "image": "i", "ports": [{"containerPort": 80}], "resources": limits}
    spec = {"containers": [container]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, **metadata}, "spec": spec}


@pytest.fixture(autouse=True)
async def account(http: Http) -> None:
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", {"metadata": {"name": "default"}})


def told(obj: dict[str, Any]) -> tuple[Any, ...]:
    """What is the same of pods that are alike: all but names, uids, times and revisions."""
    spec = {name: value for name, value in obj["spec"].items() if name != "volumes"}
    for container in spec["containers"]:
        container.pop("volumeMounts", None)
    entries = [{name: value for name, value in e.items() if name != "time"} for e in obj["metadata"]["managedFields"]]
    return spec, obj["status"], entries, obj["metadata"].get("labels")


async def test_pods_that_are_alike_come_out_alike(http: Http) -> None:
    for name in ("one", "two", "three"):
        status, _ = await http("POST", PODS, pod(name, labels={"app": "a"}))
        assert status == 201
    found = [(await http("GET", f"{PODS}/{name}"))[1] for name in ("one", "two", "three")]
    assert told(found[0]) == told(found[1]) == told(found[2])
    owned = found[2]["metadata"]["managedFields"][0]["fieldsV1"]
    assert set(owned) == {"f:metadata", "f:spec"}
    assert set(owned["f:metadata"]["f:labels"]) == {".", "f:app"}
    assert found[2]["spec"]["containers"][0]["resources"]["requests"] == {"cpu": "500m"}


async def test_metadata_of_a_pod_that_is_like_others_is_looked_at(http: Http) -> None:
    await http("POST", PODS, pod("first"))
    status, answer = await http("POST", PODS + "?fieldValidation=Strict", pod("second", nonsense=1))
    assert status == 400 and 'unknown field "metadata.nonsense"' in answer["message"]
    status, answer = await http("POST", PODS, pod("third", labels=[1]))
    assert status == 400
    status, answer = await http("POST", PODS, pod("-", labels={"a": "b"}))
    assert status == 422


async def test_a_pod_that_brings_managed_fields_or_a_status_is_like_those_without(http: Http) -> None:
    await http("POST", PODS, pod("first"))
    body = pod("second", managedFields=[{"manager": "m", "operation": "Update", "apiVersion": "v1"}])
    body["status"] = {"phase": "Running"}
    for name in ("second", "again"):
        body["metadata"]["name"] = name
        status, made = await http("POST", PODS, body)
        assert status == 201 and made["status"]["phase"] == "Pending"
        assert set(made["metadata"]["managedFields"][0]["fieldsV1"]) == {"f:spec"}


async def test_what_admission_and_rules_add_to_one_pod_is_not_in_those_that_are_like_it(http: Http) -> None:
    for namespace, cpu in (("small", "1"), ("large", "4")):
        await http("POST", "/api/v1/namespaces", {"metadata": {"name": namespace}})
        await http("POST", f"/api/v1/namespaces/{namespace}/serviceaccounts", {"metadata": {"name": "default"}})
        limits = {"spec": {"limits": [{"type": "Container", "defaultRequest": {"cpu": cpu}}]}}
        await http("POST", f"/api/v1/namespaces/{namespace}/limitranges", {"metadata": {"name": "l"}, **limits})
    spread = {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule",
              "labelSelector": {"matchLabels": {"app": "a"}}, "matchLabelKeys": ["hash"]}  # fmt: skip
    for number, (namespace, cpu) in enumerate((("small", "1"), ("large", "4"), ("small", "1"), ("large", "4"))):
        body = pod(f"p{number}", labels={"app": "a", "hash": str(number)})
        body["spec"]["containers"][0].pop("resources")
        body["spec"]["topologySpreadConstraints"] = [spread]
        status, made = await http("POST", f"/api/v1/namespaces/{namespace}/pods", body)
        container = made["spec"]["containers"][0]
        assert status == 201 and container["resources"] == {"requests": {"cpu": cpu}}
        assert len(container["volumeMounts"]) == len(made["spec"]["volumes"]) == 1
        selector = made["spec"]["topologySpreadConstraints"][0]["labelSelector"]
        assert selector["matchExpressions"] == [{"key": "hash", "operator": "In", "values": [str(number)]}]
