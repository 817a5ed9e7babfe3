"""overlayfs mounts of stacked layers. Blocks briefly; call it off the loop."""

import os
import shutil
import threading

from wherry.images.protocol import Ids
from wherry.util import linux

UPPER, WORK, MERGED = "upper", "work", "merged"
_MAPPED = "mapped"


def mount(layers: list[str], layer_root: str, directory: str, *, ids: Ids | None = None) -> str:
    """Stack `layers` (names below `layer_root`, the lowest first) under a writable one in `directory`.

    Returns the path of the mounted root; what was written to an earlier mount in `directory` is there again. With `ids`
    files of the layers show the ids of a user namespace. Raises OSError.
    """
    merged = f"{directory}/{MERGED}"
    if linux.is_mount(merged):
        return merged
    for name in (UPPER, WORK, MERGED):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    # A mounted root takes its mode and owner from the writable layer.
    top = os.stat(f"{layer_root}/{layers[-1]}")
    first = ids.host_id if ids is not None else 0
    os.chown(f"{directory}/{UPPER}", first + top.st_uid, first + top.st_gid)
    os.chmod(f"{directory}/{UPPER}", top.st_mode & 0o7777)
    if ids is None:
        _stack(layers, layer_root, directory)
        return merged
    mapped = f"{directory}/{_MAPPED}"
    try:
        names = _map(layers, layer_root, mapped, ids)
        _stack(names, mapped, directory)
    finally:
        # The stack holds its layers itself.
        for point in linux.mounts_below(mapped):
            linux.umount(point, linux.MNT_DETACH)
        shutil.rmtree(mapped, ignore_errors=True)
    return merged


def _stack(layers: list[str], layer_root: str, directory: str) -> None:
    lower = ":".join(reversed(layers))
    data = f"lowerdir={lower},upperdir={directory}/{UPPER},workdir={directory}/{WORK}"
    _mount_from(layer_root, f"{directory}/{MERGED}", data)


def _map(layers: list[str], layer_root: str, directory: str, ids: Ids) -> list[str]:
    """Mount each layer with the ids of a user namespace at a number below `directory` and return the numbers."""
    namespace = os.open(ids.namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for number, layer in enumerate(layers):
            os.makedirs(f"{directory}/{number}")
            linux.bind_mapped(f"{layer_root}/{layer}", f"{directory}/{number}", namespace)
    finally:
        os.close(namespace)
    return [str(number) for number in range(len(layers))]


def _mount_from(working_directory: str, target: str, data: str) -> None:
    """Mount with `working_directory` as the current one: the options have one page, and short names fit 127 layers.

    The thread gets a working directory of its own, which ends with it.
    """
    errors: list[OSError] = []

    def work() -> None:
        try:
            linux.unshare(linux.CLONE_FS)
            os.chdir(working_directory)
            linux.mount("overlay", target, kind="overlay", data=data)
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=work, name="mount")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


def unmount(directory: str) -> None:
    """Unmount the root in `directory` and delete it with everything written to it."""
    while linux.unmount_if_mounted(f"{directory}/{MERGED}"):
        pass
    shutil.rmtree(directory, ignore_errors=True)
