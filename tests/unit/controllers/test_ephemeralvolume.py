from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS
from wherry.controllers.ephemeralvolume import EphemeralVolumeController


def make_pod() -> Object:
    template = {"metadata": {"labels": {"a": "b"}}, "spec": {"accessModes": ["ReadWriteOnce"]}}
    return {
        "kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns", "uid": "u"},
        "spec": {"volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": template}}]},
    }  # fmt: skip


async def test_the_claim_is_the_pods_own_and_made_again_when_deleted() -> None:
    async with running(EphemeralVolumeController, objects=(make_pod(),)) as cluster:
        for _ in range(2):
            claim = cluster.get(PERSISTENTVOLUMECLAIMS, "p-v")
            assert claim["spec"] == {"accessModes": ["ReadWriteOnce"]} and meta.labels(claim) == {"a": "b"}
            assert meta.controller_of(claim)["uid"] == "u"
            cluster.fake.remove(PERSISTENTVOLUMECLAIMS, "ns/p-v")
            await cluster.settle()


async def test_a_claim_of_somebody_else_is_left_alone() -> None:
    claim = {"kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": "p-v", "namespace": "ns"},
             "spec": {}}  # fmt: skip
    async with running(EphemeralVolumeController, objects=(claim, make_pod())) as cluster:
        assert cluster.get(PERSISTENTVOLUMECLAIMS, "p-v")["spec"] == {}
        assert not cluster.fake.written("create", PERSISTENTVOLUMECLAIMS)
