"""projected volumes: several sources in one directory, in memory."""

import asyncio
from pathlib import Path
from typing import Any

from wherry.api import meta
from wherry.api.resources import CONFIGMAPS, SECRETS
from wherry.kubelet import podspec
from wherry.kubelet.volumes import atomic, payload, trustbundle
from wherry.kubelet.volumes.atomic import File
from wherry.kubelet.volumes.plugin import Context, Volume

_TOKEN_LIFE = 3600


class ProjectedVolume:
    """ConfigMaps, Secrets, pod fields, service account tokens and trust bundles side by side, which follow them."""

    source = "projected"
    dynamic = True

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Write the files; later sources replace equal paths of earlier ones. Raises VolumeError."""
        source = volume[self.source]
        mode = payload.default_mode(source)
        parts = await asyncio.gather(*(_files(entry, context, mode) for entry in source.get("sources") or ()))
        files: dict[str, File] = {}
        for part in parts:
            files.update(part)
        path = context.memory_directory("projected", volume["name"])
        await asyncio.to_thread(atomic.write, Path(path), files, group=context.fs_group)
        return path


async def _files(entry: dict[str, Any], context: Context, mode: int) -> dict[str, File]:
    namespace = meta.namespace(context.pod)
    if source := entry.get("configMap"):
        found = await context.lookup(CONFIGMAPS, source.get("name") or "")
        return payload.of_config_map(found, source, namespace=namespace, mode=mode)
    if source := entry.get("secret"):
        found = await context.lookup(SECRETS, source.get("name") or "")
        return payload.of_secret(found, source, namespace=namespace, mode=mode)
    if source := entry.get("downwardAPI"):
        return payload.of_pod(context.pod, source.get("items") or [], context.facts, mode=mode)
    if source := entry.get("serviceAccountToken"):
        token = await context.tokens(source.get("audience") or "", int(source.get("expirationSeconds") or _TOKEN_LIFE))
        owner = _common_user(context.pod)
        private = owner is not None or context.fs_group is not None
        return {source["path"]: File(token.encode(), 0o600 if private else mode, owner)}
    if source := entry.get("clusterTrustBundle"):
        return {source["path"]: File(await trustbundle.certificates(source, context), mode)}
    return {}


def _common_user(pod: meta.Object) -> int | None:
    """Return the user that every container runs as, None when they differ or one does not say."""
    default = (pod["spec"].get("securityContext") or {}).get("runAsUser")
    users = {(c.get("securityContext") or {}).get("runAsUser", default) for _, c in podspec.every_container(pod)}
    return users.pop() if len(users) == 1 else None
