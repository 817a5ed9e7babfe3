"""hostPath volumes."""

import asyncio
import os
import stat
from collections.abc import Callable

from wherry.kubelet.volumes.plugin import Context, Volume, VolumeError

_CHECKS: dict[str, tuple[Callable[[int], bool], str]] = {
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


class HostPathVolume:
    """A path of the host as it is."""

    source = "hostPath"
    dynamic = False

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Check the path's type, or make it for the types that say so. Raises VolumeError."""
        source = volume[self.source]
        await asyncio.to_thread(check, source["path"], source.get("type") or "")
        return str(source["path"])


def check(path: str, kind: str) -> None:
    """Make or check a path by its hostPath type. Blocks. Raises VolumeError, OSError."""
    if kind == "DirectoryOrCreate":
        os.makedirs(path, mode=0o755, exist_ok=True)
        kind = "Directory"
    elif kind == "FileOrCreate":
        if not os.path.exists(path):
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o644))
        kind = "File"
    if not kind:
        # Docker made missing paths as directories, and kubelets kept to it.
        if not os.path.lexists(path):
            os.makedirs(path, mode=0o755, exist_ok=True)
        return
    test, complaint = _CHECKS[kind]
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        raise VolumeError(f"hostPath type check failed: {path} {complaint}") from None
    if not test(mode):
        raise VolumeError(f"hostPath type check failed: {path} {complaint}")
