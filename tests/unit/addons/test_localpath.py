import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from wherry.addons.localpath import PROVISIONER, LocalPathProvisioner, storage_class
from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, Resource
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.informer import InformerFactory
from wherry.util.tasks import Scope


def make_claim(node: str = "n1", **spec: object) -> Object:
    annotations = {"volume.kubernetes.io/storage-provisioner": PROVISIONER, "volume.kubernetes.io/selected-node": node}
    return {
        "kind": "PersistentVolumeClaim", "apiVersion": "v1",
        "metadata": {"name": "c", "namespace": "ns", "uid": "u", "annotations": annotations},
        "spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": "local-path",
                 "resources": {"requests": {"storage": "1Gi"}}, **spec},
    }  # fmt: skip


@asynccontextmanager
async def provisioning(directory: Path, *objects: Object) -> AsyncIterator[FakeTransport]:
    fake = FakeTransport(storage_class(), *objects)
    client = Client(fake)
    async with Scope() as scope:
        informers = InformerFactory(client)
        provisioner = LocalPathProvisioner(client, informers, node="n1", directory=directory)
        informers.run(scope)
        scope.spawn(provisioner.run())
        yield fake


async def wait_for(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (threads make the directories)
            await asyncio.sleep(0.005)


def exists(path: Path) -> bool:
    return path.exists()


def found(fake: FakeTransport, resource: Resource, key: str) -> Object:
    obj = fake.get(resource, key)
    assert obj is not None
    return obj


async def test_a_volume_is_made_for_this_node_and_removed_with_its_data(tmp_path: Path) -> None:
    async with provisioning(tmp_path, make_claim()) as fake:
        await wait_for(lambda: fake.list(PERSISTENTVOLUMES))
        [volume] = fake.list(PERSISTENTVOLUMES)
        path = Path(volume["spec"]["local"]["path"])
        assert path == tmp_path / "pvc-u_ns_c" and exists(path)
        assert volume["spec"]["claimRef"]["uid"] == "u" and volume["spec"]["capacity"] == {"storage": "1Gi"}
        (path / "data").write_text("x")
        volume["metadata"]["finalizers"] = volume["metadata"]["finalizers"][1:]
        fake.put({**volume, "status": {"phase": "Released"}})
        await wait_for(lambda: not fake.list(PERSISTENTVOLUMES))
        assert not exists(path)


async def test_a_retained_volume_keeps_its_data_when_it_is_deleted(tmp_path: Path) -> None:
    async with provisioning(tmp_path, make_claim()) as fake:
        await wait_for(lambda: fake.list(PERSISTENTVOLUMES))
        [volume] = fake.list(PERSISTENTVOLUMES)
        volume["metadata"]["finalizers"] = volume["metadata"]["finalizers"][1:]
        volume["spec"]["persistentVolumeReclaimPolicy"] = "Retain"
        fake.put({**volume, "status": {"phase": "Released"}})
        await Client(fake).delete(PERSISTENTVOLUMES, meta.name(volume))
        await wait_for(lambda: not fake.list(PERSISTENTVOLUMES))
        assert exists(Path(volume["spec"]["local"]["path"]))


async def test_claims_of_other_nodes_and_impossible_ones_get_nothing(tmp_path: Path) -> None:
    elsewhere, block = make_claim("n2"), make_claim(volumeMode="Block")
    block["metadata"] |= {"name": "block", "uid": "b"}
    async with provisioning(tmp_path, elsewhere, block) as fake:
        await wait_for(lambda: any(call.resource.plural == "events" and "Failed" in call.body["reason"]
                                   for call in fake.calls if call.verb == "create"))  # fmt: skip
        assert not fake.list(PERSISTENTVOLUMES) and not exists(tmp_path / "pvc-b_ns_block")


async def test_a_grown_claim_has_its_new_size_at_once(tmp_path: Path) -> None:
    async with provisioning(tmp_path, make_claim()) as fake:
        await wait_for(lambda: fake.list(PERSISTENTVOLUMES))
        claim = make_claim(volumeName="pvc-u")
        claim["spec"]["resources"] = {"requests": {"storage": "2Gi"}}
        claim["status"] = {"phase": "Bound", "capacity": {"storage": "1Gi"}}
        fake.put(claim)
        size = {"storage": "2Gi"}
        await wait_for(lambda: found(fake, PERSISTENTVOLUMECLAIMS, "ns/c")["status"]["capacity"] == size)
        assert found(fake, PERSISTENTVOLUMES, "pvc-u")["spec"]["capacity"] == size
