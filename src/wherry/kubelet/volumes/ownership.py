"""Giving a volume to the pod's fsGroup."""

import os


def give(path: str, group: int | None, *, read_only: bool = False, only_on_mismatch: bool = False) -> None:
    """Let `group` own all below `path` and use it; directories pass the group on. None changes nothing. Blocks.

    With `only_on_mismatch` the walk is left out where `path` itself is right already (fsGroupChangePolicy).
    """
    if group is None:
        return
    if only_on_mismatch:
        found = os.lstat(path)
        if found.st_gid == group and found.st_mode & 0o2000:
            return
    _give(path, group, read_only, directory=True)
    for directory, names, files in os.walk(path):
        for name in names:
            _give(os.path.join(directory, name), group, read_only, directory=True)
        for name in files:
            _give(os.path.join(directory, name), group, read_only, directory=False)


def _give(path: str, group: int, read_only: bool, *, directory: bool) -> None:
    os.lchown(path, -1, group)
    if os.path.islink(path):
        return
    extra = 0o440 if read_only else 0o660
    if directory:
        extra |= 0o2110
    os.chmod(path, os.stat(path).st_mode & 0o7777 | extra)
