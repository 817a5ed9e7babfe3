"""Content-addressed files, and what the manifests among them say. Everything blocks; call it off the loop."""

import contextlib
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from wherry.images.protocol import ImageError
from wherry.util import linux

OCI_INDEX = "application/vnd.oci.image.index.v1+json"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar"

MOST_DOCUMENT = 8 << 20
"""Bytes that a manifest or a configuration may have."""

_DIGEST = re.compile(r"sha256:[a-f0-9]{64}")
_CHUNK = 1 << 20
_AHEAD = 16 << 20  # a large blob goes to the disk in pieces of this size while the rest still comes in
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386", "riscv64": "riscv64"}


def architecture() -> str:
    """Return this machine's processor as Go and the OCI specification name it."""
    return _ARCHITECTURES.get(platform.machine(), platform.machine())


def sha256(data: bytes) -> str:
    """Return the digest of `data`."""
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def check_digest(digest: object) -> str:
    """Return `digest`. Raises ImageError unless it is a well-formed sha256 digest (it becomes a path)."""
    if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
        raise ImageError(f"unsupported digest {digest!r}")
    return digest


def document(data: bytes) -> dict[str, Any]:
    """Parse a JSON object. Raises ImageError."""
    try:
        value = json.loads(data)
    except ValueError as error:
        raise ImageError(f"damaged image document: {error}") from error
    if not isinstance(value, dict):
        raise ImageError("damaged image document: not an object")
    return value


@dataclass(frozen=True, slots=True)
class Descriptor:
    """What a manifest says of a blob."""

    digest: str
    size: int
    media_type: str = ""

    @staticmethod
    def parse(value: object) -> "Descriptor":
        """Read the OCI object. Raises ImageError."""
        if not isinstance(value, Mapping) or not isinstance(size := value.get("size"), int) or size < 0:
            raise ImageError("damaged manifest: bad descriptor")
        return Descriptor(check_digest(value.get("digest")), size, str(value.get("mediaType", "")))

    def object(self) -> dict[str, object]:
        """Return the OCI object."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class Manifest:
    """An image for one platform."""

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @staticmethod
    def parse(data: bytes) -> "Manifest":
        """Read a manifest of OCI or of Docker, schema 2. Raises ImageError."""
        value = document(data)
        layers = value.get("layers")
        if not isinstance(layers, list) or "config" not in value:
            raise ImageError("unsupported manifest: it has no layers and configuration (schema 1?)")
        return Manifest(Descriptor.parse(value["config"]), tuple(Descriptor.parse(layer) for layer in layers))


def choose(index: Mapping[str, Any]) -> Descriptor:
    """Return the manifest of an index that fits this machine. Raises ImageError when none does."""
    manifests = index.get("manifests")
    for entry in manifests if isinstance(manifests, list) else []:
        wanted = entry.get("platform") or {}
        if wanted.get("os", "linux") == "linux" and wanted.get("architecture", architecture()) == architecture():
            return Descriptor.parse(entry)
    raise ImageError(f"no match for platform in manifest: linux/{architecture()}: not found")


def is_index(media_type: str, value: Mapping[str, Any]) -> bool:
    """Return whether a document lists manifests rather than being one."""
    return media_type in (OCI_INDEX, DOCKER_LIST) or ("manifests" in value and "layers" not in value)


def diff_ids(config: Mapping[str, Any], layers: int) -> list[str]:
    """Return the digests of the uncompressed layers. Raises ImageError unless there are `layers` of them."""
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, Mapping) else None
    ids = [check_digest(each) for each in found or []]
    if len(ids) != layers:
        raise ImageError(f"image has {layers} layers, but its configuration names {len(ids)}")
    return ids


class Blobs:
    """The files below ``ROOT/blobs/sha256``, and temporary ones below ``ROOT/tmp``."""

    def __init__(self, root: str) -> None:
        self._directory = f"{root}/blobs/sha256"
        self.temporary = f"{root}/tmp"

    def make_directories(self) -> None:
        """Make the directories, and delete what an interrupted process left in the temporary one."""
        os.makedirs(self._directory, exist_ok=True)
        os.makedirs(self.temporary, exist_ok=True)

    def path(self, digest: str) -> str:
        """Return where the blob `digest` is or would be."""
        return f"{self._directory}/{check_digest(digest).removeprefix('sha256:')}"

    def has(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def read(self, digest: str) -> bytes:
        """Return a manifest or a configuration. Raises ImageError when it is missing or too large."""
        try:
            with open(self.path(digest), "rb") as file:
                data = file.read(MOST_DOCUMENT + 1)
        except FileNotFoundError:
            raise ImageError(f"content {digest} not found") from None
        if len(data) > MOST_DOCUMENT:
            raise ImageError(f"content {digest} is too large for a document")
        return data

    def put(self, data: bytes) -> str:
        """Store bytes and return their digest."""
        digest = sha256(data)
        if not self.has(digest):
            with self.writing() as blob:
                blob.write(data)
                blob.commit(digest)
        return digest

    @contextlib.contextmanager
    def writing(self) -> Iterator["NewBlob"]:
        """Give a blob to write; without `commit` it is gone in the end."""
        descriptor, path = tempfile.mkstemp(dir=self.temporary)
        with os.fdopen(descriptor, "wb") as file:
            blob = NewBlob(self, file, path)
            try:
                yield blob
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(path)

    def digests(self) -> list[str]:
        """Return every blob there is."""
        return [f"sha256:{name}" for name in os.listdir(self._directory)]

    def delete(self, digest: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(digest))


class NewBlob:
    """A blob that is being written and hashed."""

    def __init__(self, blobs: Blobs, file: BinaryIO, path: str) -> None:
        self.size = 0
        self._blobs = blobs
        self._file = file
        self._path = path
        self._hash = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.size += len(data)

    def copy(self, source: BinaryIO) -> None:
        """Write everything that `source` has."""
        while data := source.read(_CHUNK):
            self.write(data)
            if self.size % _AHEAD < _CHUNK:
                linux.begin_writeback(self._file.fileno())

    @property
    def digest(self) -> str:
        return f"sha256:{self._hash.hexdigest()}"

    def commit(self, expected: str | None = None) -> str:
        """Put it in its place and return its digest. Raises ImageError unless that is `expected`."""
        if expected is not None and self.digest != expected:
            raise ImageError(f"content is {self.digest}, not {expected}: unexpected digest")
        self._file.flush()
        os.replace(self._path, self._blobs.path(self.digest))
        return self.digest
