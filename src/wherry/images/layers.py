"""Unpacking a layer into a directory that overlayfs can stack, without trusting the archive.

Every path is opened by the kernel with the layer's directory as its root (openat2 with RESOLVE_IN_ROOT), so no name,
symbolic link or hard link in an archive reaches anything outside. Whiteouts become overlayfs' own: a ``.wh.NAME`` is a
character device 0:0 and an opaque directory carries an extended attribute (the OCI image specification, "Layer").
"""

import errno
import hashlib
import os
import shutil
import stat
import tarfile
from collections.abc import Iterator
from typing import BinaryIO

from wherry.images import compression
from wherry.images.protocol import ImageError
from wherry.util import linux

MOST_BYTES = 64 << 30
MOST_ENTRIES = 2_000_000
_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_OPAQUE_ATTRIBUTE = "trusted.overlay.opaque"
_PAX_ATTRIBUTE = "SCHILY.xattr."
_CHUNK = 1 << 20
_SMALL = 1 << 16  # bytes from which the kernel's copy is worth its call
_LARGE = 1 << 20  # bytes from which a file may go to the disk while others are unpacked


class _Hashing:
    """A stream that hashes what is read from it."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._hash = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._hash.update(data)
        return data

    def digest(self) -> str:
        """Return the digest of the whole stream, reading what nobody read."""
        while self.read(_CHUNK):
            pass
        return f"sha256:{self._hash.hexdigest()}"


def unpack(blob: str, directory: str, *, diff_id: str, known: bool = False, most_bytes: int = MOST_BYTES) -> int:
    """Unpack the layer in the file `blob` into the new `directory` and return its size in bytes.

    `known` says that the file has been found to be the plain tar whose digest is `diff_id`: its files are then copied
    by the kernel. Raises ImageError when it is damaged, is not the layer `diff_id` or holds more than `most_bytes`;
    there may be a part of it in `directory` then.
    """
    free = shutil.disk_usage(os.path.dirname(directory)).free
    os.mkdir(directory, 0o755)
    os.chmod(directory, 0o755)
    root = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        unpacker = _Unpacker(root, min(most_bytes, free))
        if known:
            with open(blob, "rb", buffering=_SMALL) as plain, tarfile.open(fileobj=plain, mode="r:") as archive:
                unpacker.run(archive, plain.fileno())
            return unpacker.size
        with open(blob, "rb") as raw, compression.reading(raw) as stream:
            hashing = _Hashing(stream)
            with tarfile.open(fileobj=hashing, mode="r|", bufsize=_CHUNK) as archive:  # type: ignore[call-overload]
                unpacker.run(archive)
            if (actual := hashing.digest()) != diff_id:
                raise ImageError(f"layer is {actual}, not {diff_id}")
            return unpacker.size
    except (tarfile.TarError, OSError, UnicodeError, *compression.ERRORS) as error:
        raise ImageError(f"cannot unpack layer {diff_id}: {error}") from error
    finally:
        os.close(root)


class _Unpacker:
    """Puts the members of one archive below the directory descriptor `root`."""

    def __init__(self, root: int, most_bytes: int) -> None:
        self.size = 0
        self._root = root
        self._most_bytes = most_bytes
        self._parent_path: str | None = None
        self._parent = -1
        self._source = -1
        self._times: dict[str, float] = {}

    def run(self, archive: tarfile.TarFile, source: int = -1) -> None:
        """Unpack every member, directories' times last. `source` is a descriptor of the archive where it is a file."""
        self._source = source
        try:
            for count, member in enumerate(_members(archive)):
                if count >= MOST_ENTRIES:
                    raise ImageError(f"layer has more than {MOST_ENTRIES} entries")
                self._member(archive, member)
            for path, mtime in self._times.items():
                self._set_directory_time(path, mtime)
        finally:
            self._leave_parent()

    def _set_directory_time(self, path: str, mtime: float) -> None:
        try:
            descriptor = linux.open_in_root(self._root, path or ".", os.O_RDONLY | os.O_DIRECTORY)
        except OSError:  # replaced by something else later in the archive
            return
        try:
            os.utime(descriptor, (mtime, mtime))
        finally:
            os.close(descriptor)

    def _leave_parent(self) -> None:
        if self._parent >= 0:
            os.close(self._parent)
        self._parent, self._parent_path = -1, None

    def _enter(self, path: str) -> int:
        """Return a descriptor of the directory `path`, making it and its parents where they are missing."""
        if path == self._parent_path:
            return self._parent
        self._leave_parent()
        try:
            descriptor = linux.open_in_root(self._root, path or ".", os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            above, _, name = path.rpartition("/")
            os.mkdir(name, 0o755, dir_fd=self._enter(above))
            self._leave_parent()
            descriptor = linux.open_in_root(self._root, path, os.O_RDONLY | os.O_DIRECTORY)
        self._parent, self._parent_path = descriptor, path
        return descriptor

    def _member(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        parts = _parts(member.name)
        if not parts:
            self._own(self._enter(""), member)
            return
        above, name = "/".join(parts[:-1]), parts[-1]
        parent = self._enter(above)
        if name == _OPAQUE:
            os.setxattr(parent, _OPAQUE_ATTRIBUTE, b"y")
        elif name.startswith(_WHITEOUT):
            self._whiteout(parent, name.removeprefix(_WHITEOUT))
        else:
            self._make(archive, member, parent, name)
            if member.isdir():
                self._times["/".join(parts)] = member.mtime

    def _whiteout(self, parent: int, name: str) -> None:
        if name.startswith(_WHITEOUT):  # aufs' own bookkeeping
            return
        if name in ("", ".", ".."):
            raise ImageError(f"layer has a whiteout of {name!r}")
        _clear(parent, name)
        os.mknod(name, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)

    def _make(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        if member.isdir():
            self._make_directory(member, parent, name)
            return
        _clear(parent, name)
        if member.isreg():
            self._make_file(archive, member, parent, name)
            return
        if member.islnk():
            self._make_hard_link(member, parent, name)
            return
        if member.issym():
            os.symlink(member.linkname, name, dir_fd=parent)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            device = os.makedev(member.devmajor, member.devminor)
            if member.ischr() and device == 0:
                raise ImageError(f"layer has the device 0:0 as {member.name!r}")
            os.mknod(name, kind | 0o600, device, dir_fd=parent)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
        else:
            return
        os.chown(name, member.uid, member.gid, dir_fd=parent, follow_symlinks=False)
        if not member.issym():
            os.chmod(name, member.mode & 0o7777, dir_fd=parent)
        os.utime(name, (member.mtime, member.mtime), dir_fd=parent, follow_symlinks=False)

    def _make_directory(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        try:
            os.mkdir(name, 0o755, dir_fd=parent)
        except FileExistsError:
            if not stat.S_ISDIR(os.stat(name, dir_fd=parent, follow_symlinks=False).st_mode):
                os.unlink(name, dir_fd=parent)
                os.mkdir(name, 0o755, dir_fd=parent)
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent)
        try:
            self._own(descriptor, member)
        finally:
            os.close(descriptor)

    def _make_file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, parent: int, name: str) -> None:
        self.size += member.size
        if self.size > self._most_bytes:
            raise ImageError(f"layer holds more than {self._most_bytes} bytes")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(name, flags, 0o600, dir_fd=parent), "wb") as file:
            if self._source >= 0 and member.size >= _SMALL and not member.issparse():
                _copy_in_kernel(self._source, member.offset_data, file.fileno(), member.size)
            elif (source := archive.extractfile(member)) is not None:
                shutil.copyfileobj(source, file, _CHUNK)
            file.flush()
            if member.size >= _LARGE:
                linux.begin_writeback(file.fileno())
            self._own(file.fileno(), member)
            os.utime(file.fileno(), (member.mtime, member.mtime))

    def _make_hard_link(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        target = _parts(member.linkname)
        if not target:
            raise ImageError(f"layer links {member.name!r} to its root")
        holder = linux.open_in_root(self._root, "/".join(target[:-1]) or ".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.link(target[-1], name, src_dir_fd=holder, dst_dir_fd=parent, follow_symlinks=False)
        finally:
            os.close(holder)

    def _own(self, descriptor: int, member: tarfile.TarInfo) -> None:
        """Set owner, mode and extended attributes; the mode after the owner, which would clear set-user-id."""
        os.chown(descriptor, member.uid, member.gid)
        os.chmod(descriptor, member.mode & 0o7777)
        for key, value in member.pax_headers.items():
            attribute = key.removeprefix(_PAX_ATTRIBUTE)
            if attribute != key and (attribute == "security.capability" or attribute.startswith("user.")):
                os.setxattr(descriptor, attribute, value.encode("utf-8", "surrogateescape"))


def _copy_in_kernel(source: int, offset: int, target: int, size: int) -> None:
    """Copy a part of a file to the beginning of another (which shares the disk's blocks where a filesystem can)."""
    done = 0
    while done < size:
        try:
            copied = os.copy_file_range(source, target, size - done, offset + done, done)
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            os.lseek(target, done, os.SEEK_SET)
            copied = os.sendfile(target, source, offset + done, size - done)
        if not copied:
            raise tarfile.ReadError("unexpected end of data")
        done += copied


def _members(archive: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Yield the members and keep none: tarfile would remember each for the archive's whole life."""
    while (member := archive.next()) is not None:
        yield member
        archive.members = []  # type: ignore[attr-defined]


def _parts(path: str) -> list[str]:
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        raise ImageError(f"layer has the path {path!r}, which leads out of it")
    return parts


def _clear(parent: int, name: str) -> None:
    """Remove what an earlier entry of the same archive put there."""
    try:
        os.unlink(name, dir_fd=parent)
    except FileNotFoundError:
        pass
    except IsADirectoryError:
        shutil.rmtree(name, dir_fd=parent)
