"""Resizing pods that have a node: no more than that has, nothing that it does not say it can do."""

from typing import Any

from tests.component.apiserver.conftest import Http

PODS = "/api/v1/namespaces/default/pods"
NODE = {
    "metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux"}},
    "status": {"allocatable": {"cpu": "2", "memory": "1Gi"}},
}
MERGE = "application/merge-patch+json"


async def pod(http: Http, name: str, node: str, **spec: Any) -> None:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": "1", "memory": "64Mi"}}}
    made = {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [container], **spec}}
    account = {"metadata": {"name": "default"}}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    code, answer = await http("POST", PODS, made)
    assert code == 201, answer


async def resize(http: Http, name: str, cpu: str, memory: str = "64Mi", **spec: Any) -> tuple[int, Any]:
    container = {"name": "c", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    _, found = await http("GET", f"{PODS}/{name}")
    found["spec"]["containers"][0]["resources"] = container["resources"]
    found["spec"] |= spec
    return await http("PUT", f"{PODS}/{name}/resize", found)


async def test_a_resize_beyond_the_node_is_refused_with_a_cause(http: Http) -> None:
    await http("POST", "/api/v1/nodes", NODE)
    await pod(http, "p", "n")
    assert (await resize(http, "p", "2"))[0] == 200
    code, answer = await resize(http, "p", "2500m", "2Gi")
    assert (code, answer["reason"], answer["details"]["causes"]) == (403, "Forbidden", [{"reason": "NodeCapacity"}])
    assert answer["message"] == (
        'pods "p" is forbidden: Node didn\'t have enough allocatable resources: '
        "cpu, requested: 2500, allocatable: 2000; memory, requested: 2147483648, allocatable: 1073741824"
    )


async def test_a_pod_of_an_unknown_node_is_not_resized(http: Http) -> None:
    await pod(http, "p", "gone")
    code, answer = await resize(http, "p", "2")
    assert (code, answer["message"]) == (403, 'pods "p" is forbidden: node "gone" not found')


async def test_a_pod_as_a_whole_is_resized_only_where_the_node_says_that_it_can(http: Http) -> None:
    await http("POST", "/api/v1/nodes", NODE)
    await pod(http, "p", "n", resources={"requests": {"cpu": "1", "memory": "64Mi"}})
    wanted = {"requests": {"cpu": "2", "memory": "64Mi"}}
    code, answer = await resize(http, "p", "1", resources=wanted)
    assert (code, answer["message"]) == (
        403,
        'pods "p" is forbidden: pod update requires features InPlacePodLevelResourcesVerticalScaling which are not '
        'available on node "n"',
    )
    declared = {"status": {"declaredFeatures": ["InPlacePodLevelResourcesVerticalScaling"]}}
    code, answer = await http("PATCH", "/api/v1/nodes/n/status", declared, Content_Type=MERGE)
    assert code == 200, answer
    assert (await resize(http, "p", "1", resources=wanted))[0] == 200
