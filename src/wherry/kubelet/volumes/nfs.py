"""nfs volumes: an export of another machine, mounted by the host's own ``mount.nfs``."""

import asyncio
import contextlib
import os
from collections.abc import Sequence

from wherry.kubelet.volumes.plugin import Context, Volume, VolumeError
from wherry.util import linux


class NFSVolume:
    """An export named in the pod itself."""

    source = "nfs"
    dynamic = False

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Mount the export. Raises VolumeError with what mount says."""
        source = volume[self.source]
        return await mount_export(
            source, context.directory("nfs", volume["name"]), read_only=source.get("readOnly", False)
        )


async def mount_export(source: Volume, directory: str, *, read_only: bool = False, options: Sequence[str] = ()) -> str:
    """Mount an NFS `source` (its ``server`` and ``path``) on `directory`, unless it is mounted there; return that.

    Raises VolumeError in the words of Kubernetes' ``k8s.io/mount-utils``.
    """
    if await asyncio.to_thread(linux.is_mount, directory):
        return directory
    await asyncio.to_thread(os.makedirs, directory, 0o750, True)
    server = f"[{source['server']}]" if ":" in source["server"] else source["server"]
    joined = ",".join(sorted({*options, *(["ro"] if read_only else [])}))
    arguments = ["-t", "nfs", *(["-o", joined] if joined else []), f"{server}:{source['path']}", directory]
    code, output = await _run("mount", *arguments)
    if code != 0:
        await asyncio.to_thread(os.rmdir, directory)
        raise VolumeError(
            f"mount failed: exit status {code}\nMounting command: mount\n"
            f"Mounting arguments: {' '.join(arguments)}\nOutput: {output}"
        )
    return directory


async def _run(*command: str) -> tuple[int, str]:
    """Run a program to its end, however long that takes; cancelled, kill it."""
    pipe, nothing = asyncio.subprocess.PIPE, asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(
        *command, stdin=nothing, stdout=pipe, stderr=asyncio.subprocess.STDOUT
    )
    try:
        output, _ = await process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")
