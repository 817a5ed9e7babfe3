"""overlayfs mounts of stacked layers. Blocks briefly; call it off the loop."""

import os
import shutil
import threading

from wherry.util import linux

UPPER, WORK, MERGED = "upper", "work", "merged"


def mount(layers: list[str], layer_root: str, directory: str) -> str:
    """Stack `layers` (names below `layer_root`, the lowest first) under a writable one in `directory`.

    Returns the path of the mounted root; what was written to an earlier mount in `directory` is there again. Raises
    OSError.
    """
    merged = f"{directory}/{MERGED}"
    if linux.is_mount(merged):
        return merged
    for name in (UPPER, WORK, MERGED):
        os.makedirs(f"{directory}/{name}", exist_ok=True)
    # A mounted root takes its mode and owner from the writable layer.
    top = os.stat(f"{layer_root}/{layers[-1]}")
    os.chown(f"{directory}/{UPPER}", top.st_uid, top.st_gid)
    os.chmod(f"{directory}/{UPPER}", top.st_mode & 0o7777)
    lower = ":".join(reversed(layers))
    data = f"lowerdir={lower},upperdir={directory}/{UPPER},workdir={directory}/{WORK}"
    _mount_from(layer_root, merged, data)
    return merged


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
