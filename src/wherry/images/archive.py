"""docker-archive and oci-archive tars (``docker save``, ``buildah push oci-archive:``), compressed or not.

Reading one puts its blobs into the store and says what images they make up; a layer that is unpacked already is not
read at all. Everything blocks; call it off the loop.
"""

import contextlib
import json
import os
import posixpath
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

from wherry.images import blobs, compression, reference
from wherry.images.blobs import Blobs, Descriptor, Manifest
from wherry.images.protocol import ImageError

_NAME_ANNOTATIONS = ("io.containerd.image.name", "org.opencontainers.image.ref.name")
_CHUNK = 1 << 20
_MOST_LINKS = 8


@dataclass(frozen=True, slots=True)
class Loaded:
    """An image whose blobs are in the store: the digest of its manifest and the references that it is to have."""

    manifest: str
    tags: Sequence[str]


def read(path: str, store: Blobs, *, has_layer: Callable[[str, str], bool]) -> list[Loaded]:
    """Take in the images of the archive at `path`. Raises ImageError.

    `has_layer(diff_id, digest)` tells whether a layer need not be read: it is unpacked, and its blob is there.
    """
    try:
        with _plain_tar(path, store.temporary) as archive:
            reader = _Reader(archive, store, has_layer)
            if "manifest.json" in reader.members:
                return reader.docker_images()
            if "index.json" in reader.members:
                return reader.oci_images()
            raise ImageError(f"{path} is neither a docker-archive nor an oci-archive")
    except (tarfile.TarError, OSError, UnicodeError, *compression.ERRORS) as error:
        raise ImageError(f"cannot read the image archive {path}: {error}") from error


@contextlib.contextmanager
def _plain_tar(path: str, temporary: str) -> Iterator[tarfile.TarFile]:
    """Open a tar whose members can be read in any order."""
    with open(path, "rb") as raw:
        start = raw.read(4)
        raw.seek(0)
        if compression.kind(start) == compression.PLAIN:
            with tarfile.open(fileobj=raw, mode="r:") as archive:
                yield archive
            return
        with tempfile.TemporaryFile(dir=temporary) as plain:
            with compression.reading(raw) as stream:
                shutil.copyfileobj(stream, plain, _CHUNK)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:") as archive:
                yield archive


class _Reader:
    def __init__(self, archive: tarfile.TarFile, store: Blobs, has_layer: Callable[[str, str], bool]) -> None:
        self._archive = archive
        self._store = store
        self._has_layer = has_layer
        self.members = {posixpath.normpath(member.name): member for member in archive}

    def _open(self, name: str) -> tuple[IO[bytes], int]:
        """Open a member, following links within the archive (``docker save`` links equal layers)."""
        name = posixpath.normpath(name)
        for _ in range(_MOST_LINKS):
            member = self.members.get(name)
            if member is None:
                raise ImageError(f"image archive lacks {name}")
            if member.isreg():
                file = self._archive.extractfile(member)
                assert file is not None
                return file, member.size
            if member.issym():
                name = posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
            elif member.islnk():
                name = posixpath.normpath(member.linkname)
            else:
                break
        raise ImageError(f"image archive has {name}, which is no file")

    def _document(self, name: str) -> bytes:
        file, size = self._open(name)
        if size > blobs.MOST_DOCUMENT:
            raise ImageError(f"image archive has {name}, which is too large")
        return file.read()

    # docker-archive

    def docker_images(self) -> list[Loaded]:
        """Take in what ``manifest.json`` lists."""
        try:
            entries = json.loads(self._document("manifest.json"))
            wanted = [(entry["Config"], entry.get("RepoTags") or [], entry["Layers"]) for entry in entries]
        except (ValueError, TypeError, KeyError) as error:
            raise ImageError(f"damaged manifest.json: {error}") from error
        return [self._docker_image(*each) for each in wanted]

    def _docker_image(self, config_name: str, tags: list[str], layers: list[str]) -> Loaded:
        config = self._document(config_name)
        ids = blobs.diff_ids(blobs.document(config), len(layers))
        descriptors = [self._docker_layer(name, diff_id) for name, diff_id in zip(layers, ids, strict=True)]
        manifest = {
            "schemaVersion": 2,
            "mediaType": blobs.DOCKER_MANIFEST,
            "config": Descriptor(self._store.put(config), len(config), blobs.DOCKER_CONFIG).object(),
            "layers": [descriptor.object() for descriptor in descriptors],
        }
        digest = self._store.put(json.dumps(manifest, separators=(",", ":")).encode())
        return Loaded(digest, [str(reference.parse(tag)) for tag in tags])

    def _docker_layer(self, name: str, diff_id: str) -> Descriptor:
        file, size = self._open(name)
        start = file.read(4)
        file.seek(0)
        how = compression.kind(start)
        media_type = f"{blobs.DOCKER_LAYER}.{how}" if how else blobs.DOCKER_LAYER
        if not how and self._has_layer(diff_id, diff_id):
            return Descriptor(diff_id, size, media_type)
        with self._store.writing() as blob:
            blob.copy(file)  # type: ignore[arg-type]
            return Descriptor(blob.commit(None if how else diff_id), size, media_type)

    # oci-archive

    def oci_images(self) -> list[Loaded]:
        """Take in what ``index.json`` lists."""
        index = blobs.document(self._document("index.json"))
        entries = index.get("manifests")
        if not isinstance(entries, list):
            raise ImageError("damaged index.json: no manifests")
        return [self._oci_image(entry) for entry in entries]

    def _oci_image(self, entry: dict[str, Any]) -> Loaded:
        data = self._oci_document(Descriptor.parse(entry))
        while blobs.is_index("", value := blobs.document(data)):
            data = self._oci_document(blobs.choose(value))
        manifest = Manifest.parse(data)
        config = self._oci_document(manifest.config)
        ids = blobs.diff_ids(blobs.document(config), len(manifest.layers))
        for layer, diff_id in zip(manifest.layers, ids, strict=True):
            if not self._has_layer(diff_id, layer.digest):
                file, _ = self._open(_oci_name(layer.digest))
                with self._store.writing() as blob:
                    blob.copy(file)  # type: ignore[arg-type]
                    blob.commit(layer.digest)
        return Loaded(self._store.put(data), _oci_tags(entry.get("annotations") or {}))

    def _oci_document(self, descriptor: Descriptor) -> bytes:
        data = self._document(_oci_name(descriptor.digest))
        if self._store.put(data) != descriptor.digest:
            raise ImageError(f"content of {descriptor.digest} has another digest")
        return data


def _oci_name(digest: str) -> str:
    return os.path.join("blobs", *digest.split(":"))


def _oci_tags(annotations: dict[str, str]) -> list[str]:
    """Return the name of an image in a layout: a full reference, where it is more than a bare tag."""
    for annotation in _NAME_ANNOTATIONS:
        name = annotations.get(annotation, "")
        if ":" in name or "/" in name:
            with contextlib.suppress(ImageError):
                return [str(reference.parse(name))]
    return []
