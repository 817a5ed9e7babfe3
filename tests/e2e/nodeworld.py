"""Scenarios with real containers and images: each runs in a process of its own that enters a mount namespace.

``@scenario`` turns ``async def test_x(world: World)`` into a pytest function. What a scenario leaves behind in
processes, mounts or cgroups fails it.
"""

# ruff: noqa: ASYNC110 (a scenario has its process to itself)

import asyncio
import functools
import hashlib
import importlib.util
import inspect
import io
import json
import os
import subprocess
import sys
import tarfile
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.leaks import RUN
from wherry.images.store import OverlayImageStore
from wherry.runtime import mountns
from wherry.runtime.crun import CrunRuntime
from wherry.runtime.defaults import (
    DEFAULT_CAPABILITIES,
    DEFAULT_MASKED_PATHS,
    DEFAULT_READ_ONLY_PATHS,
    DEFAULT_SECCOMP,
)
from wherry.runtime.handlers import Program
from wherry.runtime.protocol import ContainerConfig, ContainerStatus, RuntimeEvent, SandboxConfig

BUSYBOX = "/bin/busybox"
ROOT = Path(__file__).parents[2]
_APPLETS = (
    *("sh", "cat", "dd", "echo", "env", "hostname", "id", "kill", "ls", "mkdir", "mount", "ps", "readlink", "sleep"),
    *("stty", "tail", "touch", "true", "tty"),
)
Scenario = Callable[["World"], Awaitable[None]]


def directory_layer(files: Mapping[str, bytes | None], *, links: Mapping[str, str] | None = None) -> bytes:
    """Return a layer as a tar: `files` with their contents (None: a directory), and symbolic `links`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if data is None:
                member.type = tarfile.DIRTYPE
            else:
                member.size = len(data)
            tar.addfile(member, io.BytesIO(data or b""))
        for name, target in (links or {}).items():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, target
            tar.addfile(member)
    return buffer.getvalue()


def docker_archive(path: Path, layers: Sequence[bytes], *, tags: Sequence[str], **config: object) -> str:
    """Write a docker-archive of one image and return the image's id."""
    ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    rootfs = {"type": "layers", "diff_ids": ids}
    described = json.dumps({"architecture": "amd64", "os": "linux", "config": config, "rootfs": rootfs}).encode()
    names = [f"{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": list(tags), "Layers": names}]
    parts = dict(zip(names, layers, strict=True)) | {"config.json": described}
    with tarfile.open(path, "w") as tar:
        for name, data in (parts | {"manifest.json": json.dumps(manifest).encode()}).items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return f"sha256:{hashlib.sha256(described).hexdigest()}"


def busybox_layer() -> bytes:
    """Return a layer with a static busybox and a user `app` (1000, group 1001, also in group `extra`)."""
    return directory_layer(
        {
            "bin": None,
            "bin/busybox": Path(BUSYBOX).read_bytes(),
            "etc": None,
            "etc/passwd": b"root:x:0:0::/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
            "etc/group": b"root:x:0:\napp:x:1001:\nextra:x:50:app\n",
            "tmp": None,
        },
        links={f"bin/{name}": "busybox" for name in _APPLETS},
    )


class World:
    """A directory, a cgroup and what the scenario makes in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.cgroup = f"/{RUN}-{directory.name}"
        self.images = OverlayImageStore(f"{directory}/images")
        self.image = ""
        self.runtime = self.new_runtime()

    def new_runtime(self, **programs: Program) -> CrunRuntime:
        """Return a runtime on the same directories, as a new process has it, with the programs of further handlers."""
        return CrunRuntime(
            state_dir=f"{self.directory}/containers",
            run_dir=f"{self.directory}/run",
            cgroup_root=self.cgroup,
            programs=programs,
        )

    async def busybox(self) -> str:
        """Load the busybox image once and return its id."""
        if not self.image:
            path = self.directory / "busybox.tar"
            self.image = docker_archive(path, [busybox_layer()], tags=["busybox:1"])
            await self.images.load(str(path))
        return self.image

    async def sandbox(self, sandbox_id: str = "pod", **options: Any) -> str:
        """Run a sandbox in the host's network but with a host name of its own."""
        options = {"network_namespace": "/proc/self/ns/net", "cgroup_parent": f"{self.cgroup}/{sandbox_id}"} | options
        await self.runtime.run_sandbox(SandboxConfig(id=sandbox_id, hostname="a-pod", **options))
        return sandbox_id

    async def create(self, container_id: str, *args: str, sandbox_id: str = "pod", **options: Any) -> None:
        """Create a container of the busybox image with the usual restrictions."""
        rootfs = await self.images.mount(await self.busybox(), container_id)
        options = {
            "capabilities": DEFAULT_CAPABILITIES,
            "masked_paths": DEFAULT_MASKED_PATHS,
            "read_only_paths": DEFAULT_READ_ONLY_PATHS,
            "seccomp": DEFAULT_SECCOMP,
            "log_path": f"{self.directory}/logs/{container_id}.log",
        } | options
        config = ContainerConfig(id=container_id, name=container_id, rootfs=rootfs, args=args, **options)
        await self.runtime.create_container(sandbox_id, config)

    async def run(self, container_id: str, *args: str, **options: Any) -> None:
        """Create and start a container."""
        await self.create(container_id, *args, **options)
        await self.runtime.start_container(container_id)

    async def run_to_end(self, container_id: str, *args: str, **options: Any) -> ContainerStatus:
        """Run a container, wait until it has exited and return its state."""
        events = self.runtime.events()
        await self.run(container_id, *args, **options)
        await wait_for(events, RuntimeEvent(options.get("sandbox_id", "pod"), container_id, "exited"))
        return await self.status(container_id)

    async def status(self, container_id: str) -> ContainerStatus:
        found = await self.runtime.container_status(container_id)
        assert found is not None
        return found

    def log(self, container_id: str) -> list[tuple[str, str]]:
        """Return the log's lines as stream and text."""
        lines = (self.directory / "logs" / f"{container_id}.log").read_text().splitlines()
        return [(line.split(" ", 3)[1], line.split(" ", 3)[3]) for line in lines]

    def output(self, container_id: str) -> str:
        """Return what a container wrote to its standard output."""
        return "\n".join(text for stream, text in self.log(container_id) if stream == "stdout")

    async def destroy(self) -> None:
        await self.runtime.destroy()
        await self.images.destroy()


async def wait_for(events: Any, wanted: RuntimeEvent) -> None:
    """Wait for one event."""
    async with asyncio.timeout(20):
        async for event in events:
            if event == wanted:
                return


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait for something that sends no event."""
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def scenario(function: Scenario) -> Callable[[Path], None]:
    """Run a scenario in a process of its own (see the module)."""

    @pytest.mark.e2e
    @functools.wraps(function)
    def test(tmp_path: Path) -> None:
        module = [sys.executable, "-m", "tests.e2e.nodeworld"]
        arguments = [*module, inspect.getfile(function), function.__name__, str(tmp_path)]
        done = subprocess.run(arguments, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        mountns.destroy(f"{tmp_path}/run/mnt")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Traceback" not in done.stderr, done.stderr

    test.scenario = function  # type: ignore[attr-defined]
    del test.__wrapped__  # type: ignore[attr-defined]
    test.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [inspect.Parameter("tmp_path", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Path)]
    )
    return test


def _left_behind(world: World) -> list[str]:
    found = [
        f"mount {line}"
        for line in Path("/proc/self/mountinfo").read_text().splitlines()
        if str(world.directory) in line.split()[4] and line.split()[4] != f"{world.directory}/run"
    ]
    found += [f"cgroup {path}" for path in Path("/sys/fs/cgroup").glob(f"*{world.cgroup}*")]
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(world.directory) in command and entry.name not in (str(os.getpid()), str(os.getppid())):
            found.append(f"process {entry.name} {command}")
    return found


def _main() -> int:
    """In the process of a scenario: enter the namespace, run it, clean up, and say what is left."""
    file, name, directory = sys.argv[1:]
    mountns.enter(f"{directory}/run/mnt")
    description = importlib.util.spec_from_file_location("scenarios", file)
    assert description is not None and description.loader is not None
    module = importlib.util.module_from_spec(description)
    description.loader.exec_module(module)
    world = World(Path(directory))
    os.chdir(directory)  # conmon notes an out-of-memory kill in its working directory

    async def run() -> None:
        try:
            await getattr(module, name).scenario(world)
        finally:
            await world.destroy()

    try:
        asyncio.run(run())
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        return 1
    left = _left_behind(world)
    print("\n".join(left))
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(_main())
