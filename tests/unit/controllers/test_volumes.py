from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, PODS
from wherry.controllers.persistentvolume import Inputs, PersistentVolumeController, plan
from wherry.controllers.volumeprotection import ClaimProtectionController, VolumeProtectionController


def volume(name: str, size: str, **spec: object) -> dict:
    return {
        "kind": "PersistentVolume", "apiVersion": "v1", "metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": "", **spec},
    }  # fmt: skip


def claim(name: str = "c", size: str = "1Gi", **spec: object) -> dict:
    return {
        "kind": "PersistentVolumeClaim", "apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}, "storageClassName": "",
                 **spec},
    }  # fmt: skip


def storage_class(**more: object) -> dict:
    return {"kind": "StorageClass", "apiVersion": "storage.k8s.io/v1", "metadata": {"name": "fast"},
            "provisioner": "example.com/p", **more}  # fmt: skip


async def test_a_claim_gets_the_smallest_volume_that_fits_and_both_sides_say_so() -> None:
    objects = (volume("big", "10Gi"), volume("small", "500Mi"), volume("right", "2Gi"), claim())
    async with running(PersistentVolumeController, objects=objects) as cluster:
        bound = cluster.get(PERSISTENTVOLUMECLAIMS, "c")
        assert bound["spec"]["volumeName"] == "right"
        assert bound["status"] == {"phase": "Bound", "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "2Gi"}}
        assert meta.annotations(bound) == {
            "pv.kubernetes.io/bind-completed": "yes", "pv.kubernetes.io/bound-by-controller": "yes",
        }  # fmt: skip
        right = cluster.get(PERSISTENTVOLUMES, "right", None)
        assert right["status"]["phase"] == "Bound" and right["spec"]["claimRef"]["uid"] == meta.uid(bound)
        assert cluster.get(PERSISTENTVOLUMES, "big", None)["status"]["phase"] == "Available"
        cluster.fake.remove(PERSISTENTVOLUMECLAIMS, "ns/c")
        await cluster.settle()
        assert cluster.get(PERSISTENTVOLUMES, "right", None)["status"]["phase"] == "Released"


async def test_two_claims_never_share_a_volume() -> None:
    async with running(PersistentVolumeController, objects=(claim("a"), claim("b"))) as cluster:
        cluster.fake.put(volume("only", "1Gi"))
        await cluster.settle(seconds=5)
        phases = sorted(found["status"]["phase"] for found in cluster.fake.list(PERSISTENTVOLUMECLAIMS))
        assert phases == ["Bound", "Pending"]


async def test_a_volume_is_nobodys_before_it_is_available() -> None:
    new = {**volume("new", "1Gi"), "status": {"phase": "Pending"}}
    todo = plan(Inputs(claim(), (new,), storage_class()))
    assert todo.soon and todo.bind is None and not todo.provisioner
    async with running(PersistentVolumeController, objects=(new, claim())) as cluster:
        await cluster.settle(seconds=1)
        assert cluster.get(PERSISTENTVOLUMECLAIMS, "c")["status"]["phase"] == "Bound"


async def test_a_class_that_waits_for_a_consumer_asks_the_provisioner_after_the_scheduler() -> None:
    waiting = storage_class(volumeBindingMode="WaitForFirstConsumer")
    async with running(PersistentVolumeController, objects=(waiting, claim(storageClassName="fast"))) as cluster:
        found = cluster.get(PERSISTENTVOLUMECLAIMS, "c")
        assert "volume.kubernetes.io/storage-provisioner" not in meta.annotations(found)
        found["metadata"]["annotations"] = {"volume.kubernetes.io/selected-node": "n"}
        cluster.fake.put(found)
        await cluster.settle()
        annotations = meta.annotations(cluster.get(PERSISTENTVOLUMECLAIMS, "c"))
        assert annotations["volume.kubernetes.io/storage-provisioner"] == "example.com/p"
        made = volume("made", "1Gi", storageClassName="fast", claimRef={"namespace": "ns", "name": "c"})
        cluster.fake.put(made)
        await cluster.settle()
        assert cluster.get(PERSISTENTVOLUMECLAIMS, "c")["status"]["phase"] == "Bound"


async def test_a_claim_whose_volume_is_gone_is_lost() -> None:
    async with running(PersistentVolumeController, objects=(volume("v", "1Gi"), claim())) as cluster:
        cluster.fake.remove(PERSISTENTVOLUMES, "v")
        await cluster.settle()
        assert cluster.get(PERSISTENTVOLUMECLAIMS, "c")["status"]["phase"] == "Lost"


async def test_a_volume_that_is_reserved_for_half_a_claim_is_released() -> None:
    half = volume("v", "1Gi", claimRef={"uid": "u"}, persistentVolumeReclaimPolicy="Retain")
    async with running(PersistentVolumeController, objects=(half,)) as cluster:
        assert cluster.get(PERSISTENTVOLUMES, "v", None)["status"]["phase"] == "Released"


async def test_a_claim_in_use_is_protected_until_its_pod_ends() -> None:
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "ns"},
           "spec": {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]}}  # fmt: skip
    kinds = (ClaimProtectionController, VolumeProtectionController)
    async with running(*kinds, objects=(claim(), pod, volume("v", "1Gi"))) as cluster:
        assert cluster.get(PERSISTENTVOLUMES, "v", None)["metadata"]["finalizers"] == ["kubernetes.io/pv-protection"]
        await cluster.client.delete(PERSISTENTVOLUMECLAIMS, "c", "ns")
        await cluster.client.delete(PERSISTENTVOLUMES, "v")
        await cluster.settle()
        assert cluster.fake.list(PERSISTENTVOLUMES) == []
        assert meta.is_deleting(cluster.get(PERSISTENTVOLUMECLAIMS, "c"))
        cluster.set_phase(cluster.get(PODS, "p"), "Succeeded")
        await cluster.settle()
        assert cluster.fake.list(PERSISTENTVOLUMECLAIMS) == []


async def test_a_claim_without_a_class_gets_the_default_one_when_there_is_one() -> None:
    unclassed = claim()
    del unclassed["spec"]["storageClassName"]
    async with running(PersistentVolumeController, objects=(unclassed,)) as cluster:
        kind = storage_class()
        kind["metadata"]["annotations"] = {"storageclass.kubernetes.io/is-default-class": "true"}
        cluster.fake.put(kind)
        await cluster.settle()
        assert cluster.get(PERSISTENTVOLUMECLAIMS, "c")["spec"]["storageClassName"] == "fast"


async def test_a_volume_that_nobody_can_delete_fails_when_released() -> None:
    objects = (volume("v", "1Gi", persistentVolumeReclaimPolicy="Delete"), claim())
    async with running(PersistentVolumeController, objects=objects) as cluster:
        cluster.fake.remove(PERSISTENTVOLUMECLAIMS, "ns/c")
        await cluster.settle()
        status = cluster.get(PERSISTENTVOLUMES, "v", None)["status"]
        assert status["phase"] == "Failed" and "no deletable volume plugin matched" in status["message"]
