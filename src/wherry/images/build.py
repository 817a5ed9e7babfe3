"""Building images with buildah, without a daemon or a registry.

buildah keeps its storage below the image store's root, so deleting the root deletes it. It gets base images from the
store as OCI layouts of hard links to the blobs, and gives the result back as a docker-archive.
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any

from wherry.images import blobs
from wherry.images.blobs import Blobs, Descriptor, Manifest
from wherry.images.protocol import ImageError
from wherry.images.reference import Reference
from wherry.util import linux

_FROM = re.compile(r"^\s*FROM\s+(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*$", re.IGNORECASE)
_COPY_FROM = re.compile(r"^\s*(?:COPY|ADD)\s+(?:--\S+\s+)*?--from=(\S+)", re.IGNORECASE)
_ARG = re.compile(r"^\s*ARG\s+(\w+)(?:=(\S*))?\s*$", re.IGNORECASE)
_VARIABLE = re.compile(r"\$(?:\{(\w+)(?::-([^}]*))?\}|(\w+))")
_OUTPUT_TAIL = 20
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
_POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


def find_dockerfile(context_dir: str) -> str:
    """Return the path of the context's ``Dockerfile`` or ``Containerfile``. Raises ImageError when it has neither."""
    for name in ("Dockerfile", "Containerfile"):
        if os.path.isfile(path := os.path.join(context_dir, name)):
            return path
    raise ImageError(f"no Dockerfile in {context_dir}")


def base_images(dockerfile: str, build_args: Mapping[str, str]) -> list[str]:
    """Return the images that a Dockerfile starts from or copies from, but not its own stages and not ``scratch``.

    Raises ImageError when it cannot be read.
    """
    try:
        with open(dockerfile) as file:
            lines = re.sub(r"\\\n", " ", file.read()).splitlines()
    except (OSError, UnicodeError) as error:
        raise ImageError(f"cannot read {dockerfile}: {error}") from error
    values: dict[str, str] = {}
    stages = {"scratch"}
    found: dict[str, None] = {}
    count = 0
    for line in lines:
        if (match := _ARG.match(line)) and count == 0:
            values[match[1]] = build_args.get(match[1], match[2] or "").strip("\"'")
        elif match := _FROM.match(line):
            image = _VARIABLE.sub(lambda m: values.get(m[1] or m[3]) or m[2] or "", match[1])
            if image.lower() not in stages:
                found[image] = None
            stages |= {str(count), (match[2] or str(count)).lower()}
            count += 1
        elif (match := _COPY_FROM.match(line)) and match[1].lower() not in stages:
            found[match[1]] = None
    return list(found)


Report = Callable[[str], None]
"""Takes a line of buildah's output."""


@contextlib.contextmanager
def _named_directory(parent: str) -> Iterator[str]:
    """Give a new directory whose name buildah takes as a part of an image's name.

    `tempfile` makes some that it refuses, such as one that ends with an underscore.
    """
    path = f"{parent}/{secrets.token_hex(8)}"
    os.mkdir(path, 0o700)
    try:
        yield path
    finally:
        shutil.rmtree(path)


class Builder:
    """buildah with its storage in `directory`. Several builds may run at once; `directory` belongs to this object."""

    def __init__(self, directory: str, store: Blobs) -> None:
        self._directory = directory
        self._store = store
        self._offering = asyncio.Lock()
        self._gate = asyncio.Lock()
        self._running = 0
        self._environment: dict[str, str] | None = None

    async def offer(self, name: Reference, manifest: Manifest, *, report: Report) -> None:
        """Make an image of the store known to buildah under `name`, unless it is already. Raises ImageError."""
        async with self._offering:
            known = await asyncio.to_thread(self._known)
            if known.get(str(name)) == manifest.config.digest:
                return
            with _named_directory(self._store.temporary) as layout:
                await asyncio.to_thread(self._write_layout, layout, manifest)
                pulled = await self._run("pull", "--quiet", f"oci:{layout}:base", report=report)
                await self._run("tag", pulled.strip().splitlines()[-1], str(name), report=report)
            await asyncio.to_thread(self._note, str(name), manifest.config.digest)

    async def remember(self, name: str, config: str) -> None:
        """Note that buildah's image `name` is the store's image with this configuration digest."""
        async with self._offering:
            await asyncio.to_thread(self._note, name, config)

    def _note(self, name: str, config: str) -> None:
        _write_json(f"{self._directory}/known.json", self._known() | {name: config})

    def _known(self) -> dict[str, str]:
        try:
            with open(f"{self._directory}/known.json") as file:
                known: dict[str, str] = json.load(file)
        except (OSError, ValueError):
            return {}
        return known

    def _write_layout(self, layout: str, manifest: Manifest) -> None:
        os.makedirs(f"{layout}/blobs/sha256")
        for descriptor in manifest.layers:
            target = f"{layout}/blobs/sha256/{descriptor.digest.removeprefix('sha256:')}"
            if not os.path.exists(target):
                os.link(self._store.path(descriptor.digest), target)
        described = _with_history(self._store.read(manifest.config.digest), len(manifest.layers))
        layers = [Descriptor(each.digest, each.size, _oci_layer(each.media_type)).object() for each in manifest.layers]
        config = _write_blob(layout, described, _OCI_CONFIG)
        document = {"schemaVersion": 2, "mediaType": blobs.OCI_MANIFEST, "config": config, "layers": layers}
        named = {"annotations": {"org.opencontainers.image.ref.name": "base"}}
        entry = _write_blob(layout, json.dumps(document).encode(), blobs.OCI_MANIFEST) | named
        _write_json(f"{layout}/index.json", {"schemaVersion": 2, "manifests": [entry]})
        _write_json(f"{layout}/oci-layout", {"imageLayoutVersion": "1.0.0"})

    @contextlib.asynccontextmanager
    async def build(
        self, context_dir: str, *, dockerfile: str, tag: str, build_args: Mapping[str, str], report: Report
    ) -> AsyncIterator[str]:
        """Build, and give the path of a docker-archive with the result, which is gone in the end. Raises ImageError."""
        args = [argument for pair in build_args.items() for argument in ("--build-arg", "=".join(pair))]
        await self._run(
            "build",
            *("--isolation", "chroot", "--pull-never", "--layers", "--network", "host"),
            *("--file", dockerfile, "--tag", tag, *args, context_dir),
            report=report,
        )
        with tempfile.TemporaryDirectory(dir=self._store.temporary) as directory:
            path = f"{directory}/image.tar"
            # Of buildah's archives this one alone leaves the layers uncompressed.
            await self._run("push", "--quiet", tag, f"docker-archive:{path}:{tag}", report=report)
            yield path

    def _prepare(self) -> dict[str, str]:
        """Write buildah's configuration, so that the host's does not matter, and return its environment."""
        os.makedirs(self._directory, mode=0o700, exist_ok=True)
        _write_json(f"{self._directory}/policy.json", _POLICY)
        with open(f"{self._directory}/registries.conf", "w") as file:
            file.write('unqualified-search-registries = ["docker.io"]\n')
        with open(f"{self._directory}/storage.conf", "w") as file:
            file.write('[storage]\ndriver = "overlay"\n')
        return os.environ | {
            "CONTAINERS_REGISTRIES_CONF": f"{self._directory}/registries.conf",
            "CONTAINERS_STORAGE_CONF": f"{self._directory}/storage.conf",
            "TMPDIR": self._store.temporary,
        }

    @contextlib.asynccontextmanager
    async def _started(self) -> AsyncIterator[dict[str, str]]:
        """Give buildah's environment; after the last of those that run at once, unmount what a killed one left."""
        async with self._gate:
            if self._environment is None:
                self._environment = await asyncio.to_thread(self._prepare)
            self._running += 1
        try:
            yield self._environment
        finally:
            async with self._gate:
                self._running -= 1
                if not self._running:
                    await asyncio.to_thread(linux.unmount_below, self._directory)

    async def _run(self, command: str, *args: str, report: Report) -> str:
        """Run one buildah command, reporting its output line by line, and return that."""
        program = shutil.which("buildah")
        if program is None:
            raise ImageError("building needs the program buildah, which is not installed")
        # Each process would mount the storage's directory on itself, which hides the mounts of the others.
        storage = ("--storage-driver", "overlay", "--storage-opt", "overlay.skip_mount_home=true")
        directories = ("--root", f"{self._directory}/storage", "--runroot", f"{self._directory}/run")
        policy = () if command == "tag" else ("--signature-policy", f"{self._directory}/policy.json")
        async with self._started() as environment:
            code, lines = await _follow((program, *directories, *storage, command, *policy, *args), environment, report)
        if code != 0:
            tail = "\n".join(lines[-_OUTPUT_TAIL:])
            raise ImageError(f"buildah {command} failed: {tail}", reason="ErrImageBuild")
        return "\n".join(lines)


async def _follow(command: Sequence[str], environment: Mapping[str, str], report: Report) -> tuple[int, list[str]]:
    """Run a program to its end; return its exit code and the lines of its output. Cancelled, it kills the program."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment,
        limit=1 << 20,
    )
    assert process.stdout is not None
    lines: list[str] = []
    try:
        async for raw in process.stdout:
            lines.append(raw.decode(errors="replace").rstrip())
            report(lines[-1])
        return await process.wait(), lines
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise


def _with_history(config: bytes, layers: int) -> bytes:
    """Return a configuration whose history has its `layers` layers: buildah refuses a base without."""
    document = blobs.document(config)
    history = document.get("history") or []
    if sum(not entry.get("empty_layer") for entry in history) == layers:
        return config
    return json.dumps(document | {"history": [{"created_by": "unknown"}] * layers}).encode()


def _write_blob(layout: str, data: bytes, media_type: str) -> dict[str, object]:
    digest = blobs.sha256(data)
    with open(f"{layout}/blobs/sha256/{digest.removeprefix('sha256:')}", "wb") as file:
        file.write(data)
    return Descriptor(digest, len(data), media_type).object()


def _oci_layer(media_type: str) -> str:
    for suffix in ("gzip", "zstd"):
        if media_type.endswith(suffix):
            return f"{_OCI_LAYER}+{suffix}"
    return _OCI_LAYER


def _write_json(path: str, value: Any) -> None:
    with open(path, "w") as file:
        json.dump(value, file)
