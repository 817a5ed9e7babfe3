"""What containers find in their volumes: content, modes, owners, and changes while they run."""

import base64
from functools import partial
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.api import Object, Refused
from tests.e2e.conformance.world import World, eventually

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def data(town: World) -> World:
    """A namespace with a ConfigMap and a Secret."""
    content = {"data-1": "value-1", "data-2": "value-2\n", "data-3": "value-3"}
    binary = {"dump.bin": base64.b64encode(bytes([0xDE, 0xCA, 0xFE, 0xBA, 0xD0, 0xFE, 0xFF])).decode()}
    town.api.create(f"{town.core}/configmaps", {"metadata": {"name": "c"}, "data": content, "binaryData": binary})
    town.api.create(f"{town.core}/secrets", {"metadata": {"name": "s"}, "stringData": content})
    return town


def _source(kind: str, projected: bool, **options: Any) -> Object:
    """A volume of a ConfigMap or a Secret, itself or projected; `options` are items and defaultMode."""
    mode = {key: options.pop(key) for key in ("defaultMode",) if key in options}
    if projected:
        return {"projected": {"sources": [{kind: {"name": kind[0], **options}}], **mode}}
    name = {"configMap": "name", "secret": "secretName"}[kind]
    return {kind: {name: kind[0], **options, **mode}}


def _run(world: World, name: str, command: str, volumes: dict[str, Object], **spec: Any) -> list[str]:
    """Run a command in a pod with volumes below /v; return the lines that it wrote."""
    mounts = [{"name": volume, "mountPath": f"/v/{volume}"} for volume in volumes]
    listed = [{"name": volume, **source} for volume, source in volumes.items()]
    container = {"volumeMounts": mounts} | spec.pop("container", {})
    world.pod(name, command, volumes=listed, restartPolicy="Never", container=container, **spec)
    pod = world.ended(name)
    assert pod["status"]["phase"] == "Succeeded", (world.log(name), pod["status"])
    return world.log(name).splitlines()


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("kind", ["configMap", "secret"])
@pytest.mark.parametrize("user", [None, 1000])
def test_files_of_configmaps_and_secrets(data: World, kind: str, projected: bool, user: int | None) -> None:
    items = [{"key": "data-2", "path": "path/to/data-2"}]
    volumes = {
        "plain": _source(kind, projected),
        "again": _source(kind, projected),
        "mapped": _source(kind, projected, items=items),
        "item": _source(kind, projected, items=[items[0] | {"mode": 0o444 if user else 0o400}]),
        "moded": _source(kind, projected, defaultMode=0o440 if user else 0o400),
    }
    files = ["plain/data-1", "again/data-1", "mapped/path/to/data-2", "item/path/to/data-2", "moded/data-1"]
    command = "cd /v; " + "; ".join(f"cat {f}; stat -L -c ' %a %u:%g' {f}" for f in files)
    security = {"securityContext": {"runAsUser": user, "fsGroup": 1001}} if user else {}
    name = f"{kind.lower()}-{projected}-{user}".lower()
    owner = "0:1001" if user else "0:0"
    plain = "644"
    wanted = [
        f"value-1 {plain} {owner}",
        f"value-1 {plain} {owner}",
        "value-2",
        f" {plain} {owner}",
        "value-2",
        f" {'444' if user else '400'} {owner}",
        f"value-1 {'440' if user else '400'} {owner}",
    ]
    assert _run(data, name, command, volumes, **security) == wanted


def test_binary_data(data: World) -> None:
    assert _run(data, "binary", "od -An -tx1 /v/c/dump.bin", {"c": _source("configMap", False)}) == [
        " de ca fe ba d0 fe ff"
    ]


def test_the_secret_of_ones_own_namespace(data: World, world: World) -> None:
    world.api.create(f"{world.core}/secrets", {"metadata": {"name": "s"}, "stringData": {"data-1": "other"}})
    assert _run(data, "own", "cat /v/s/data-1; echo", {"s": _source("secret", False)}) == ["value-1"]


@pytest.mark.parametrize("projected", [False, True])
@pytest.mark.parametrize("kind", ["configMap", "secret"])
def test_changes_reach_the_volume(world: World, kind: str, projected: bool) -> None:
    path = f"{world.core}/{kind.lower()}s"
    data = "data" if kind == "configMap" else "stringData"
    names = {"configMap": "name", "secret": "secretName"}

    def volume(name: str) -> Object:
        if projected:
            return {"projected": {"sources": [{kind: {"name": name, "optional": True}}]}}
        return {kind: {names[kind]: name, "optional": True}}

    for name in ("deleted", "updated"):
        world.api.create(path, {"metadata": {"name": name}, data: {"key": "first"}})
    sources = {name: volume(name) for name in ("deleted", "updated", "created")}
    mounts = [{"name": name, "mountPath": f"/v/{name}"} for name in sources]
    listed = [{"name": name, **source} for name, source in sources.items()]
    world.pod("p", volumes=listed, container={"volumeMounts": mounts})
    world.ready("p")
    world.api.delete(f"{path}/deleted")
    world.api.patch(f"{path}/updated", {data: {"key": "second", "more": "new"}})
    world.api.create(path, {"metadata": {"name": "created"}, data: {"key": "first"}})
    command = "cat /v/updated/key /v/updated/more /v/created/key; ls /v/deleted"
    eventually(lambda: world.try_exec("p", command) == "secondnewfirst", "changes", 60)


def test_downward_api(world: World) -> None:
    items: list[Object] = [
        {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
        {"path": "moded", "fieldRef": {"fieldPath": "metadata.name"}, "mode": 0o400},
        {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
        {"path": "annotations", "fieldRef": {"fieldPath": "metadata.annotations"}},
    ]
    fields = ("limits.cpu", "requests.cpu", "limits.memory", "requests.memory")
    items += [{"path": field, "resourceFieldRef": {"containerName": "c", "resource": field}} for field in fields]
    volumes = [
        {"name": "plain", "downwardAPI": {"items": items}},
        {"name": "projected", "projected": {"sources": [{"downwardAPI": {"items": items}}], "defaultMode": 0o600}},
    ]
    mounts = [{"name": name, "mountPath": f"/v/{name}"} for name in ("plain", "projected")]
    resources = {"requests": {"cpu": "1250m", "memory": "32Mi"}, "limits": {"cpu": "2", "memory": "64Mi"}}
    world.pod("p", volumes=volumes, labels={"a": "1"}, container={"volumeMounts": mounts, "resources": resources})
    listed = [dict(volume) for volume in volumes]
    world.pod("free", volumes=listed, container={"volumeMounts": mounts})
    world.ready("p")
    show = "cat name limits.cpu requests.cpu limits.memory requests.memory"
    for place, mode in (("plain", "644"), ("projected", "600")):
        assert world.exec("p", f"cd /v/{place}; {show}") == "p22" + str(64 << 20) + str(32 << 20)
        assert world.exec("p", f"cd /v/{place}; stat -L -c %a name moded").split() == [mode, "400"]
    allocatable = world.api.get("/api/v1/nodes")["items"][0]["status"]["allocatable"]
    world.ready("free")
    cpu, memory = world.exec("free", "cd /v/plain; cat limits.cpu; echo; cat limits.memory").split()
    assert cpu == allocatable["cpu"] and memory == str(int(allocatable["memory"].removesuffix("Ki")) * 1024)
    patch = {"metadata": {"labels": {"b": "2"}, "annotations": {"builder": "bar"}}}
    world.api.patch(f"{world.core}/pods/p", patch)

    def shows(place: str) -> bool:
        shown = world.exec("p", f"cd /v/{place}; cat labels annotations")
        return 'b="2"' in shown and 'builder="bar"' in shown

    for place in ("plain", "projected"):
        eventually(partial(shows, place), "labels and annotations", 60)


def test_everything_projected_into_one_directory(data: World) -> None:
    sources = [
        {"downwardAPI": {"items": [{"path": "podname", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"secret": {"name": "s", "items": [{"key": "data-1", "path": "my-secret"}]}},
        {"configMap": {"name": "c", "items": [{"key": "data-1", "path": "my-configmap"}]}},
    ]
    shown = _run(
        data, "all", "cd /v/all; cat podname my-secret my-configmap; echo", {"all": {"projected": {"sources": sources}}}
    )
    assert shown == ["allvalue-1value-1"]


@pytest.mark.parametrize("medium", ["", "Memory"])
@pytest.mark.parametrize("user", [None, 1001])
def test_empty_directories(world: World, medium: str, user: int | None) -> None:
    volumes = {"e": {"emptyDir": {"medium": medium} if medium else {}}}
    command = "cd /v/e; stat -c '%a' .; grep ' /v/e ' /proc/mounts | cut -d' ' -f3; umask 0; "
    command += "; ".join(
        f"echo mount-tester >f{m}; chmod {m} f{m}; stat -c '%a %u' f{m}; cat f{m}" for m in ("0644", "0666", "0777")
    )
    lines = _run(world, "p", command, volumes, **({"securityContext": {"runAsUser": user}} if user else {}))
    assert lines[0] == "777" and (lines[1] == "tmpfs") == bool(medium)
    assert lines[2:] == [x for m in ("644", "666", "777") for x in (f"{m} {user or 0}", "mount-tester")]


def test_containers_share_an_empty_directory(world: World) -> None:
    mount = {"volumeMounts": [{"name": "e", "mountPath": "/e"}]}
    writer = {"name": "w", "image": IMAGE, "command": ["sh", "-c", "echo shared >/e/f; sleep 1d"]} | mount
    reader = {"name": "c", "image": IMAGE, "command": ["sleep", "1d"]} | mount
    world.pod("p", containers=[writer, reader], volumes=[{"name": "e", "emptyDir": {}}])
    world.ready("p")
    eventually(lambda: world.kubectl("exec", "p", "-c", "c", "--", "cat", "/e/f") == "shared\n", "the file")


@pytest.mark.parametrize("kind", ["configMap", "secret", "downward", "projected"])
def test_subpaths(data: World, kind: str) -> None:
    items = [{"path": "data-1", "fieldRef": {"fieldPath": "metadata.name"}}]
    volume = {
        "configMap": _source("configMap", False),
        "secret": _source("secret", False),
        "downward": {"downwardAPI": {"items": items}},
        "projected": _source("configMap", True),
    }[kind]
    mounts = [
        {"name": "v", "mountPath": "/whole"},
        {"name": "v", "mountPath": "/etc/passwd", "subPath": "data-1"},
        {"name": "v", "mountPath": "/new/file", "subPath": "data-1"},
    ]
    name, command = f"sub-{kind.lower()}", "cat /etc/passwd; echo; cat /new/file; echo; cat /whole/data-1; echo"
    shown = _run(data, name, command, {"v": volume}, container={"volumeMounts": mounts})
    assert shown == [name if kind == "downward" else "value-1"] * 3


@pytest.mark.parametrize("plural", ["configmaps", "secrets"])
def test_immutable_data(world: World, plural: str) -> None:
    path = f"{world.core}/{plural}"
    value = {"x": base64.b64encode(b"1").decode()}
    world.api.create(path, {"metadata": {"name": "i"}, "data": value})
    world.api.patch(f"{path}/i", {"data": {"x": "Mg=="}})
    world.api.patch(f"{path}/i", {"immutable": True})
    for patch in ({"data": {"x": "Mw=="}}, {"immutable": False}, {"immutable": None}):
        with pytest.raises(Refused) as refused:
            world.api.patch(f"{path}/i", patch)
        assert refused.value.code == 422 and "field is immutable when `immutable` is set" in str(refused.value)
    world.api.patch(f"{path}/i", {"metadata": {"labels": {"a": "b"}}})
    world.api.delete(f"{path}/i")


def test_many_configmap_volumes_and_wrapped_ones(world: World) -> None:
    names = [f"race-{number}" for number in range(50)]
    for name in names:
        world.api.create(f"{world.core}/configmaps", {"metadata": {"name": name}, "data": {"d": name}})
    volumes = [{"name": name, "configMap": {"name": name}} for name in names]
    mounts = [{"name": name, "mountPath": f"/v/{name}"} for name in names]
    for number in range(5):
        world.pod(f"p{number}", volumes=volumes, container={"volumeMounts": mounts})
    for number in range(5):
        world.ready(f"p{number}")
    assert world.exec("p4", "cat /v/*/d | wc -c").strip() == str(sum(map(len, names)))


def test_a_claim_is_provisioned_bound_and_written(world: World) -> None:
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    world.api.create(f"{world.core}/persistentvolumeclaims", {"metadata": {"name": "c"}, "spec": claim})
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]
    mounts = {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}
    for name, command in (("first", "echo kept >/v/f"), ("second", "cat /v/f")):
        world.pod(name, command, restartPolicy="Never", volumes=volumes, container=mounts)
        assert world.ended(name)["status"]["phase"] == "Succeeded"
    assert world.log("second") == "kept\n"
    volume = world.api.get(f"{world.core}/persistentvolumeclaims/c")["spec"]["volumeName"]
    for name in ("first", "second"):
        world.api.delete(f"{world.core}/pods/{name}")
    world.api.delete(f"{world.core}/persistentvolumeclaims/c")
    world.api.gone(f"/api/v1/persistentvolumes/{volume}")


def test_a_volume_and_a_claim_bind_by_hand(world: World) -> None:
    name = f"pv-{world.ns}"
    labels = {"e2e": world.ns}
    base = {"accessModes": ["ReadWriteOnce"], "storageClassName": f"class-{world.ns}"}
    spec = base | {
        "capacity": {"storage": "2Gi"},
        "hostPath": {"path": "/tmp"},
        "persistentVolumeReclaimPolicy": "Retain",
    }
    world.api.create("/api/v1/persistentvolumes", {"metadata": {"name": name, "labels": labels}, "spec": spec})
    world.api.wait(f"/api/v1/persistentvolumes/{name}", lambda pv: pv["status"]["phase"] == "Available")
    claims = f"{world.core}/persistentvolumeclaims"
    request = base | {"resources": {"requests": {"storage": "1Gi"}}}
    world.api.create(claims, {"metadata": {"name": "c", "labels": labels}, "spec": request})
    found = world.api.wait(f"{claims}/c", lambda pvc: pvc["status"]["phase"] == "Bound")
    assert found["spec"]["volumeName"] == name and found["status"]["capacity"] == {"storage": "2Gi"}
    world.api.delete(f"{claims}/c")
    world.api.gone(f"{claims}/c")
    world.api.wait(f"/api/v1/persistentvolumes/{name}", lambda pv: pv["status"]["phase"] == "Released")
    world.api.delete(f"/api/v1/persistentvolumes/{name}")
    world.api.gone(f"/api/v1/persistentvolumes/{name}")


def test_pods_with_inline_csi_volumes_are_kept(world: World) -> None:
    volume = {"name": "v", "csi": {"driver": "e2e.example.com", "readOnly": True, "volumeAttributes": {"a": "b"}}}
    made = world.pod("p", volumes=[volume], nodeSelector={"no-such": "node"})
    assert volume in made["spec"]["volumes"]
    world.api.patch(f"{world.core}/pods/p", {"metadata": {"labels": {"a": "b"}}})
    world.api.delete(f"{world.core}/pods/p")
    world.api.gone(f"{world.core}/pods/p")
