"""What a directory holds on its disk."""

import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DiskUsage:
    """Bytes on the disk, and inodes."""

    size: int = 0
    inodes: int = 0

    def __add__(self, other: "DiskUsage") -> "DiskUsage":
        return DiskUsage(self.size + other.size, self.inodes + other.inodes)


def usage(path: str) -> DiskUsage:
    """Return what lies at and below `path` in its own filesystem; a file with several names counts once. Blocks.

    What goes while it is counted does not count; nothing does where there is no `path`.
    """
    try:
        found = os.lstat(path)
    except OSError:
        return DiskUsage()
    size, inodes, linked = found.st_blocks * 512, 1, set[int]()
    left = [path]
    while left:
        try:
            entries = list(os.scandir(left.pop()))
        except OSError:
            continue
        for entry in entries:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if status.st_dev != found.st_dev or status.st_ino in linked:
                continue
            is_directory = entry.is_dir(follow_symlinks=False)
            if status.st_nlink > 1 and not is_directory:
                linked.add(status.st_ino)
            size, inodes = size + status.st_blocks * 512, inodes + 1
            if is_directory:
                left.append(entry.path)
    return DiskUsage(size, inodes)
