from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import PODS, builtin
from wherry.controllers.resourceclaim import ResourceClaimController

CLAIMS = builtin("resource.k8s.io", "v1", "resourceclaims")
TEMPLATE: Object = {
    "kind": "ResourceClaimTemplate", "apiVersion": "resource.k8s.io/v1", "metadata": {"name": "t", "namespace": "ns"},
    "spec": {"metadata": {"labels": {"a": "b"}}, "spec": {"devices": {"requests": [{"name": "gpu"}]}}},
}  # fmt: skip


def make_pod() -> Object:
    entries = [{"name": "gpu", "resourceClaimTemplateName": "t"}, {"name": "other", "resourceClaimName": "shared"}]
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"resourceClaims": entries, "nodeName": "n"}}  # fmt: skip


def reserve(claim: Object) -> Object:
    user = {"resource": "pods", "name": "p", "uid": "u"}
    metadata = {**claim["metadata"], "finalizers": ["resource.kubernetes.io/delete-protection"]}
    return {**claim, "metadata": metadata, "status": {"allocation": {"x": 1}, "reservedFor": [user]}}


async def test_a_claim_is_made_from_the_template_and_named_in_the_pod() -> None:
    async with running(ResourceClaimController, objects=(make_pod(),)) as cluster:
        assert "FailedResourceClaimCreation" in (await cluster.events())[0]
        cluster.fake.put(TEMPLATE)
        await cluster.settle()
        [claim] = cluster.fake.list(CLAIMS)
        assert claim["metadata"]["generateName"] == "p-gpu-" and meta.labels(claim) == {"a": "b"}
        assert meta.annotations(claim) == {"resource.kubernetes.io/pod-claim-name": "gpu"}
        assert claim["spec"] == TEMPLATE["spec"]["spec"]
        named = [{"name": "gpu", "resourceClaimName": meta.name(claim)}]
        assert cluster.get(PODS, "p")["status"]["resourceClaimStatuses"] == named
        assert len(cluster.fake.written("create", CLAIMS)) == 1


async def test_devices_are_released_when_the_pod_has_ended() -> None:
    async with running(ResourceClaimController, objects=(TEMPLATE, make_pod())) as cluster:
        [claim] = cluster.fake.list(CLAIMS)
        shared = {"kind": CLAIMS.kind, "apiVersion": CLAIMS.api_version,
                  "metadata": {"name": "shared", "namespace": "ns"}, "spec": {}}  # fmt: skip
        cluster.fake.put(reserve(claim))
        cluster.fake.put(reserve(shared))
        await cluster.settle()
        assert cluster.get(CLAIMS, "shared")["status"]["allocation"]
        cluster.set_phase(cluster.get(PODS, "p"), "Succeeded")
        await cluster.settle()
        [left] = cluster.fake.list(CLAIMS)
        assert meta.name(left) == "shared" and not left.get("status")
        assert not left["metadata"].get("finalizers")
