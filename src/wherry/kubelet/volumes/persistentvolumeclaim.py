"""persistentVolumeClaim and ephemeral volumes: claims whose PersistentVolume this host reaches."""

import asyncio
import os

from wherry.api import meta
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES
from wherry.kubelet.volumes import hostpath, nfs, ownership
from wherry.kubelet.volumes.plugin import Context, Volume, VolumeError


class PersistentVolumeClaimVolume:
    """The volume bound to a claim; types hostPath, local and nfs."""

    source = "persistentVolumeClaim"
    dynamic = False

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Return the path of the claim's volume. Raises VolumeError while the claim is not bound to this pod's use."""
        source = volume[self.source]
        return await path_of_claim(source["claimName"], context, read_only=source.get("readOnly", False))


class EphemeralVolume:
    """A claim made for this pod by the ephemeral-volume controller."""

    source = "ephemeral"
    dynamic = False

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Return the path of the claim's volume. Raises VolumeError."""
        name = f"{meta.name(context.pod)}-{volume['name']}"
        claim = await context.lookup(PERSISTENTVOLUMECLAIMS, name)
        owner = meta.controller_of(claim) if claim else None
        if claim is not None and (owner is None or owner.get("uid") != context.uid):
            raise VolumeError(f"PVC {meta.namespace(context.pod)}/{name} was not created for pod")
        return await path_of_claim(name, context)


async def path_of_claim(name: str, context: Context, *, read_only: bool = False) -> str:
    """Return the host path of a bound claim; `read_only` matters to volumes that are mounted. Raises VolumeError."""
    claim = await context.lookup(PERSISTENTVOLUMECLAIMS, name)
    if claim is None:
        raise VolumeError(f'persistentvolumeclaim "{name}" not found')
    if meta.is_deleting(claim) and not claim["metadata"].get("finalizers"):
        raise VolumeError(f"PVC {meta.key_of(claim)} is being deleted")
    volume_name = claim["spec"].get("volumeName")
    if not volume_name or (claim.get("status") or {}).get("phase") != "Bound":
        raise VolumeError(f"PVC {meta.key_of(claim)} is not bound")
    volume = await context.lookup(PERSISTENTVOLUMES, volume_name)
    if volume is None:
        raise VolumeError(f'persistentvolume "{volume_name}" not found')
    if (volume["spec"].get("claimRef") or {}).get("uid") != meta.uid(claim):
        raise VolumeError(f"PV {volume_name} is not bound to PVC {meta.key_of(claim)}")
    return await _path_of_volume(volume, context, read_only=read_only)


async def _path_of_volume(volume: meta.Object, context: Context, *, read_only: bool) -> str:
    spec = volume["spec"]
    policy = (context.pod["spec"].get("securityContext") or {}).get("fsGroupChangePolicy")
    if source := spec.get("hostPath"):
        await asyncio.to_thread(hostpath.check, source["path"], source.get("type") or "")
        return str(source["path"])
    if source := spec.get("local"):
        path = str(source["path"])
        if not await asyncio.to_thread(os.path.exists, path):
            raise VolumeError(f'path "{path}" does not exist')
        if spec.get("volumeMode") != "Block":
            await asyncio.to_thread(ownership.give, path, context.fs_group, only_on_mismatch=policy == "OnRootMismatch")
        return path
    if source := spec.get("nfs"):
        directory = context.directory("nfs", meta.name(volume))
        return await nfs.mount_export(source, directory, read_only=read_only, options=spec.get("mountOptions") or ())
    raise VolumeError(f"no volume plugin matched for PersistentVolume {meta.name(volume)}")
