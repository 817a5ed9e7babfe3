"""The local-path provisioner: a directory of this node for each claim.

Watches claims, volumes and storage classes. For a claim of a class with `PROVISIONER` that is meant for this node it
makes a directory and a PersistentVolume of type ``local``, which keeps the pods that use it on this node. When the
volume is released and its policy is Delete it removes both. Guarantees that a directory is removed only after the claim
is gone, and before the volume is (by a finalizer). Sizes are not enforced, so growing a claim is writing the new size
down.
"""

import asyncio
import contextlib
import logging
import shutil
from pathlib import Path

from wherry.api import errors, meta, quantity
from wherry.api.meta import Object
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, STORAGECLASSES
from wherry.client.client import Client
from wherry.client.events import NORMAL, WARNING, EventRecorder
from wherry.client.informer import InformerFactory
from wherry.client.workqueue import Workqueue

log = logging.getLogger(__name__)

PROVISIONER = "wherry.local/local-path"
USER = "wherry:local-path-provisioner"

_ASKED = ("volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner")
_SELECTED_NODE = "volume.kubernetes.io/selected-node"
_PROVISIONED_BY = "pv.kubernetes.io/provisioned-by"
_FINALIZER = "wherry.local/local-path"
_HOSTNAME = "kubernetes.io/hostname"
_VOLUME_KEY = "pv:"


class _Refused(Exception):
    """The claim asks for what a directory is not."""


def storage_class() -> Object:
    """Return the default StorageClass, which this provisioner serves."""
    return {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "local-path", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,
    }


def rights() -> list[Object]:
    """Return the RBAC rules that the provisioner needs."""
    return [
        {"apiGroups": [group], "resources": resources, "verbs": verbs}
        for group, resources, verbs in (
            ("", ["persistentvolumes"], ["get", "list", "watch", "create", "patch", "delete"]),
            ("", ["persistentvolumeclaims"], ["get", "list", "watch"]),
            ("", ["persistentvolumeclaims/status"], ["patch"]),
            ("", ["events"], ["create", "patch", "update"]),
            ("storage.k8s.io", ["storageclasses"], ["get", "list", "watch"]),
        )
    ]


def wants_volume(claim: Object, kind: Object | None, *, node: str) -> bool:
    """Tell whether a volume is to be made on `node` for a claim of the storage class `kind`."""
    annotations = meta.annotations(claim)
    if kind is None or kind["provisioner"] != PROVISIONER or claim["spec"].get("volumeName") or meta.is_deleting(claim):
        return False
    if all(annotations.get(name) != PROVISIONER for name in _ASKED):
        return False
    selected = annotations.get(_SELECTED_NODE)
    return selected == node or (selected is None and kind.get("volumeBindingMode") != "WaitForFirstConsumer")


def new_volume(claim: Object, kind: Object, *, node: str, path: str) -> Object:
    """Return the PersistentVolume for a claim: the directory `path` on `node`. Raises _Refused."""
    spec = claim["spec"]
    if spec.get("volumeMode") == "Block":
        raise _Refused("block volumes are not supported")
    if spec.get("selector"):
        raise _Refused("claim.Spec.Selector is not supported")
    here = {"key": _HOSTNAME, "operator": "In", "values": [node]}
    volume: Object = {
        "kind": "PersistentVolume",
        "apiVersion": "v1",
        "metadata": {
            "name": volume_name(claim),
            "annotations": {_PROVISIONED_BY: PROVISIONER},
            "finalizers": ["kubernetes.io/pv-protection", _FINALIZER],
        },
        "spec": {
            "accessModes": spec["accessModes"],
            "capacity": {"storage": spec["resources"]["requests"]["storage"]},
            "claimRef": {
                "kind": "PersistentVolumeClaim",
                "apiVersion": "v1",
                "namespace": meta.namespace(claim),
                "name": meta.name(claim),
                "uid": meta.uid(claim),
                "resourceVersion": claim["metadata"]["resourceVersion"],
            },
            "local": {"path": path},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [here]}]}},
            "persistentVolumeReclaimPolicy": kind.get("reclaimPolicy", "Delete"),
            "storageClassName": meta.name(kind),
            "volumeMode": "Filesystem",
        },
    }
    if kind.get("mountOptions"):
        volume["spec"]["mountOptions"] = list(kind["mountOptions"])
    return volume


def volume_name(claim: Object) -> str:
    """Return the name of the volume that is made for a claim."""
    return f"pvc-{meta.uid(claim)}"


def _is_on(volume: Object, node: str) -> bool:
    required = (volume["spec"].get("nodeAffinity") or {}).get("required") or {}
    for term in required.get("nodeSelectorTerms") or ():
        for entry in term.get("matchExpressions") or ():
            if entry["key"] == _HOSTNAME and node in (entry.get("values") or ()):
                return True
    return False


class LocalPathProvisioner:
    """``run()`` provisions below `directory` for `node` until cancelled; `client` and `informers` act as `USER`."""

    def __init__(self, client: Client, informers: InformerFactory, *, node: str, directory: Path) -> None:
        self._client = client
        self._node = node
        self._directory = directory
        self._recorder = EventRecorder(client, f"{PROVISIONER}_{node}")
        self._queue: Workqueue[str] = Workqueue("local-path")
        self._claims = informers.informer(PERSISTENTVOLUMECLAIMS)
        self._volumes = informers.informer(PERSISTENTVOLUMES)
        self._classes = informers.informer(STORAGECLASSES)
        self._claims.add_handler(on_add=self._claim_changed, on_update=lambda _, new: self._claim_changed(new))
        self._volumes.add_handler(on_add=self._volume_changed, on_update=lambda _, new: self._volume_changed(new))
        self._classes.add_handler(on_add=self._class_added)

    def _claim_changed(self, claim: Object) -> None:
        self._queue.add(meta.key_of(claim))

    def _volume_changed(self, volume: Object) -> None:
        self._queue.add(_VOLUME_KEY + meta.name(volume))
        ref = volume["spec"].get("claimRef") or {}
        if ref.get("name"):  # a reservation may be of anything
            self._queue.add(f"{ref.get('namespace', '')}/{ref['name']}")

    def _class_added(self, kind: Object) -> None:
        for claim in self._claims.lister.list():
            self._queue.add(meta.key_of(claim))

    async def run(self) -> None:
        """Provision and remove until cancelled."""
        for informer in (self._claims, self._volumes, self._classes):
            await informer.wait_synced()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._recorder.run())
            while True:
                await self._work(await self._queue.get())

    async def _work(self, key: str) -> None:
        try:
            if key.startswith(_VOLUME_KEY):
                await self._reconcile_volume(self._volumes.lister.get(key.removeprefix(_VOLUME_KEY)))
            elif (claim := self._claims.lister.get(key)) is not None:
                await self._reconcile_claim(claim)
        except (errors.StatusError, OSError) as error:
            log.warning("%s: %s", key, error)
            self._queue.add_rate_limited(key)
        else:
            self._queue.forget(key)
        finally:
            self._queue.done(key)

    async def _reconcile_claim(self, claim: Object) -> None:
        kind = self._classes.lister.get(claim["spec"].get("storageClassName") or "")
        if kind is not None and wants_volume(claim, kind, node=self._node):
            await self._provision(claim, kind)
        elif claim["spec"].get("volumeName"):
            await self._grow(claim)

    async def _provision(self, claim: Object, kind: Object) -> None:
        if self._volumes.lister.get(volume_name(claim)) is not None:
            return
        key = meta.key_of(claim)
        path = self._directory / f"{volume_name(claim)}_{meta.namespace(claim)}_{meta.name(claim)}"
        self._recorder.event(
            claim, NORMAL, "Provisioning", f'External provisioner is provisioning volume for claim "{key}"'
        )
        try:
            volume = new_volume(claim, kind, node=self._node, path=str(path))
            await asyncio.to_thread(_make, path)
        except (_Refused, OSError) as error:
            text = f'failed to provision volume with StorageClass "{meta.name(kind)}": {error}'
            self._recorder.event(claim, WARNING, "ProvisioningFailed", text)
            if isinstance(error, OSError):
                raise
            return
        try:
            await self._client.create(PERSISTENTVOLUMES, volume)
        except errors.AlreadyExists:
            return
        text = f"Successfully provisioned volume {meta.name(volume)}"
        self._recorder.event(claim, NORMAL, "ProvisioningSucceeded", text)

    async def _grow(self, claim: Object) -> None:
        """Write down the size that a bound claim asks for now."""
        volume = self._volumes.lister.get(claim["spec"]["volumeName"])
        if volume is None or not self._is_mine(volume) or (claim.get("status") or {}).get("phase") != "Bound":
            return
        wanted = claim["spec"]["resources"]["requests"]["storage"]
        if _less(volume["spec"]["capacity"]["storage"], wanted):
            patch: Object = {"spec": {"capacity": {"storage": wanted}}}
            await self._client.patch(PERSISTENTVOLUMES, meta.name(volume), patch)
        if _less((claim["status"].get("capacity") or {}).get("storage", "0"), wanted):
            conditions = [
                entry
                for entry in claim["status"].get("conditions") or ()
                if entry["type"] not in ("Resizing", "FileSystemResizePending")
            ]
            status = {"capacity": {"storage": wanted}, "conditions": conditions or None}
            await self._client.patch(
                PERSISTENTVOLUMECLAIMS,
                meta.name(claim),
                {"metadata": {"uid": meta.uid(claim)}, "status": status},
                meta.namespace(claim),
                subresource="status",
            )

    def _is_mine(self, volume: Object) -> bool:
        return meta.annotations(volume).get(_PROVISIONED_BY) == PROVISIONER and _is_on(volume, self._node)

    async def _reconcile_volume(self, volume: Object | None) -> None:
        if volume is None or not self._is_mine(volume):
            return
        released = (volume.get("status") or {}).get("phase") in ("Released", "Failed")
        ended = released and volume["spec"].get("persistentVolumeReclaimPolicy") == "Delete"
        bound = (volume.get("status") or {}).get("phase") == "Bound"
        name = meta.name(volume)
        if ended:
            await asyncio.to_thread(_remove, Path(volume["spec"]["local"]["path"]), self._directory)
        present = volume["metadata"].get("finalizers") or []
        with contextlib.suppress(errors.NotFound):
            if _FINALIZER in present and (ended or (meta.is_deleting(volume) and not bound)):
                kept = [finalizer for finalizer in present if finalizer != _FINALIZER]
                md = {"resourceVersion": volume["metadata"]["resourceVersion"], "finalizers": kept or None}
                await self._client.patch(PERSISTENTVOLUMES, name, {"metadata": md})
            if ended and not meta.is_deleting(volume):
                await self._client.delete(PERSISTENTVOLUMES, name, options={"preconditions": {"uid": meta.uid(volume)}})


def _less(left: str, right: str) -> bool:
    return quantity.parse(left).value < quantity.parse(right).value


def _make(path: Path) -> None:
    path.mkdir(parents=True, exist_ok=True, mode=0o711)
    # Whatever user the pod runs as is to write here.
    path.chmod(0o777)


def _remove(path: Path, root: Path) -> None:
    """Remove a directory that was made here, and nothing else, whatever the volume says by now."""
    if path.parent == root and path.exists():
        shutil.rmtree(path)
