"""Users of an image, looked up in its own ``/etc/passwd`` and ``/etc/group`` (the OCI configuration's ``User``)."""

import os

from wherry.images.protocol import ImageError, User
from wherry.util import linux

_MOST_BYTES = 8 << 20


def resolve(rootfs: str, user: str) -> User:
    """Resolve ``name``, ``uid``, ``name:group``, ``uid:gid`` … in a mounted root; "" is root. Blocks briefly.

    A number needs no entry; without one its group is 0. A group given explicitly leaves out the others that the user
    is a member of. Raises ImageError when a name is unknown.
    """
    root = os.open(rootfs, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        passwd = _entries(root, "/etc/passwd", 7)
        groups = _entries(root, "/etc/group", 4)
    finally:
        os.close(root)
    who, _, group = user.partition(":")
    who = who or "0"
    entry = next((each for each in passwd if each[0] == who), None)
    if entry is None and who.isdigit():
        entry = next((each for each in passwd if each[2] == who), None)
    if entry is None and not who.isdigit():
        raise ImageError(
            f"unable to find user {who}: no matching entries in passwd file", reason="CreateContainerError"
        )
    uid = int(entry[2]) if entry else int(who)
    gid = int(entry[3]) if entry else 0
    home = (entry[5] if entry else "") or "/"
    if group:
        return User(uid, _group(groups, group), (), home)
    members = [int(each[2]) for each in groups if entry and entry[0] in each[3].split(",")]
    return User(uid, gid, tuple(dict.fromkeys(member for member in members if member != gid)), home)


def _group(groups: list[list[str]], name: str) -> int:
    entry = next((each for each in groups if each[0] == name), None)
    if entry is not None:
        return int(entry[2])
    if name.isdigit():
        return int(name)
    raise ImageError(f"unable to find group {name}: no matching entries in group file", reason="CreateContainerError")


def _entries(root: int, path: str, columns: int) -> list[list[str]]:
    """Read a colon-separated file, skipping lines whose ids are no numbers; nothing when there is none."""
    try:
        descriptor = linux.open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    with os.fdopen(descriptor, errors="replace") as file:
        rows = [line.rstrip("\n").split(":") for line in file.read(_MOST_BYTES).splitlines()]
    ids = slice(2, 4) if columns > 4 else slice(2, 3)
    return [row for row in rows if len(row) >= columns and all(each.isdigit() for each in row[ids])]
