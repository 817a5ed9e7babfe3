"""Directories whose whole content changes at one instant, as kubelets write ConfigMap and Secret volumes.

The files lie in a directory with a time in its name; ``..data`` is a symbolic link to it, and each top-level name is a
link through ``..data``. Renaming a new link over ``..data`` swaps everything at once; readers that hold the old
directory keep a consistent view until it is removed.
"""

import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from wherry.util import clock

_DATA, _NEW = "..data", "..data_tmp"


@dataclass(frozen=True, slots=True)
class File:
    """`owner` is a uid that the file is given to, None: root."""

    data: bytes
    mode: int
    owner: int | None = None


Payload = Mapping[str, File]
"""Files by relative path; no path has ``..`` in it (validation sees to that)."""


def write(target: Path, payload: Payload, *, group: int | None = None) -> bool:
    """Make `target` hold exactly `payload`; return whether anything changed. Blocks: call it off the loop.

    With `group` files and directories belong to it and it can read them.
    """
    target.mkdir(parents=True, exist_ok=True)
    os.chmod(target, 0o755)
    current = _read(target)
    wanted = {path: (file.data, _mode(file, group)) for path, file in payload.items()}
    if current == wanted and (target / _DATA).is_symlink():
        return False
    old = os.readlink(target / _DATA) if (target / _DATA).is_symlink() else None
    stamp = clock.now().strftime("..%Y_%m_%d_%H_%M_%S.")
    fresh = Path(tempfile.mkdtemp(prefix=stamp, dir=target))
    os.chmod(fresh, 0o755)
    for path, file in payload.items():
        _write_file(fresh, path, file, group)
    if group is not None:
        for directory in (target, fresh, *(p for p in fresh.rglob("*") if p.is_dir())):
            os.chown(directory, -1, group)
            os.chmod(directory, 0o2755)
    link = target / _NEW
    link.unlink(missing_ok=True)
    link.symlink_to(fresh.name)
    os.replace(link, target / _DATA)
    _update_links(target, payload)
    if old:
        shutil.rmtree(target / old, ignore_errors=True)
    return True


def _mode(file: File, group: int | None) -> int:
    return file.mode | 0o440 if group is not None else file.mode


def _write_file(root: Path, path: str, file: File, group: int | None) -> None:
    full = root / path
    full.parent.mkdir(parents=True, exist_ok=True)
    full.write_bytes(file.data)
    if file.owner is not None or group is not None:
        os.chown(full, -1 if file.owner is None else file.owner, -1 if group is None else group)
    os.chmod(full, _mode(file, group))


def _update_links(target: Path, payload: Payload) -> None:
    wanted = {path.split("/", 1)[0] for path in payload}
    for name in wanted:
        if not (target / name).is_symlink():
            (target / name).symlink_to(f"{_DATA}/{name}")
    for entry in target.iterdir():
        if not entry.name.startswith("..") and entry.name not in wanted:
            entry.unlink()


def _read(target: Path) -> dict[str, tuple[bytes, int]]:
    data = target / _DATA
    found: dict[str, tuple[bytes, int]] = {}
    if not data.is_dir():
        return found
    for directory, _, names in os.walk(data):
        for name in names:
            full = Path(directory) / name
            found[str(full.relative_to(data))] = (full.read_bytes(), full.stat().st_mode & 0o7777)
    return found
