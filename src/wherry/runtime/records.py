"""What the runtime remembers on disk: one JSON file per sandbox and per container, written whole.

A file is replaced by a rename, so a reader finds the state before or after a change. There is no fsync: what a power
failure takes is a container that it killed as well.
"""

import contextlib
import json
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from typing import Any, TypeVar

from wherry.runtime.protocol import CREATED, EXITED, RUNNING, ContainerStatus, Resources, SandboxConfig, SandboxStatus
from wherry.util import linux

log = logging.getLogger(__name__)

STARTING = "starting"
"""Between the decision to start a container and the knowledge that it runs; on disk it is still created."""

_EXIT_FLAGS = linux.MS_NOSUID | linux.MS_NODEV | linux.MS_NOEXEC

T = TypeVar("T")


@dataclass(slots=True, kw_only=True)
class ContainerRecord:
    """A container. `boot` is the kernel's boot in which it started; `pid_start` and `conmon_start` tell a process from
    a later one with the same id (clock ticks since boot)."""

    id: str
    sandbox_id: str
    name: str
    labels: dict[str, str]
    log_path: str
    cgroup: str
    stop_signal: str
    tty: bool
    stdin: bool
    stdin_once: bool
    shares_processes: bool
    created_at: float
    handler: str = ""
    state: str = CREATED
    boot: str = ""
    pid: int = 0
    pid_start: int = 0
    conmon_pid: int = 0
    conmon_start: int = 0
    started_at: float = 0.0
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""

    def status(self) -> ContainerStatus:
        """Return what the runtime's callers see."""
        return ContainerStatus(
            id=self.id,
            sandbox_id=self.sandbox_id,
            name=self.name,
            state=CREATED if self.state == STARTING else self.state,
            pid=self.pid if self.state == RUNNING else 0,
            labels=self.labels,
            created_at=self.created_at,
            started_at=self.started_at,
            finished_at=self.finished_at,
            exit_code=self.exit_code,
            reason=self.reason,
            message=self.message,
            log_path=self.log_path,
        )

    def finish(self, *, code: int, at: float, reason: str, message: str = "") -> None:
        """Make it exited."""
        self.state, self.exit_code, self.finished_at, self.reason, self.message = EXITED, code, at, reason, message


@dataclass(slots=True, kw_only=True)
class SandboxRecord:
    """A sandbox. `ready` is false from the moment that stopping it began, and until making it is done."""

    id: str
    config: dict[str, Any]
    created_at: float
    boot: str
    ready: bool = False
    pause_pid: int = 0
    pause_start: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    def parsed(self) -> SandboxConfig:
        """Return the configuration that the sandbox was made with."""
        values = self.config | {"resources": Resources(**self.config["resources"])}
        return SandboxConfig(**values)

    def status(self) -> SandboxStatus:
        """Return what the runtime's callers see."""
        return SandboxStatus(
            id=self.id,
            ready=self.ready,
            labels=self.labels,
            created_at=self.created_at,
            network_namespace=self.config["network_namespace"],
        )


class Records:
    """The records below a state directory: ``sandboxes/ID.json``, ``containers/ID/record.json``.

    The codes with which containers ended are files of the directory `exits`, which is kept in memory: conmon can write
    them where the disk is full or broken, and nobody asks for them after a reboot.
    """

    def __init__(self, state_dir: str, *, exits: str) -> None:
        self.sandboxes = f"{state_dir}/sandboxes"
        self.containers = f"{state_dir}/containers"
        self.exits = exits

    def make_directories(self) -> None:
        """Make the directories where they are missing."""
        for directory in (self.sandboxes, self.containers, self.exits):
            os.makedirs(directory, mode=0o711, exist_ok=True)
        if not linux.is_in_memory(self.exits):
            linux.mount("tmpfs", self.exits, kind="tmpfs", flags=_EXIT_FLAGS, data="mode=0711,size=16m")

    def close(self) -> None:
        """Let go of the memory that holds exit codes, for good."""
        linux.unmount_if_mounted(self.exits)

    def bundle(self, container_id: str) -> str:
        """Return the directory of a container, which is its OCI bundle too."""
        return f"{self.containers}/{container_id}"

    def save(self, record: ContainerRecord | SandboxRecord) -> None:
        """Write a record."""
        if isinstance(record, SandboxRecord):
            write_json(f"{self.sandboxes}/{record.id}.json", asdict(record))
        else:
            write_json(f"{self.bundle(record.id)}/record.json", asdict(record))

    def note(self, record: ContainerRecord | SandboxRecord) -> None:
        """Write a record of what has happened, if that can be written.

        On a full or broken disk what happened still holds for this process, and the next one finds it out anew.
        """
        try:
            self.save(record)
        except OSError as error:
            log.warning("cannot write down that %s is %s: %s", record.id, record.status(), error)

    def forget_container(self, container_id: str) -> None:
        """Delete everything of a container."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.exits}/{container_id}")
        shutil.rmtree(self.bundle(container_id), ignore_errors=True)

    def forget_sandbox(self, sandbox_id: str) -> None:
        """Delete the record of a sandbox."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.sandboxes}/{sandbox_id}.json")

    def load_sandboxes(self) -> Iterator[SandboxRecord]:
        """Read the sandboxes; a file that a power failure cut short is deleted."""
        for name in sorted(os.listdir(self.sandboxes)):
            if (record := _load(f"{self.sandboxes}/{name}", SandboxRecord)) is not None:
                yield record
            else:
                os.unlink(f"{self.sandboxes}/{name}")

    def load_containers(self) -> Iterator[ContainerRecord]:
        """Read the containers; one without a readable record was never promised to anybody and is deleted."""
        for name in sorted(os.listdir(self.containers)):
            if (record := _load(f"{self.containers}/{name}/record.json", ContainerRecord)) is not None:
                yield record
            else:
                self.forget_container(name)

    def exit(self, container_id: str) -> tuple[int, float] | None:
        """Return the exit code that conmon wrote and when it did (seconds since the epoch), None while it did not."""
        path = f"{self.exits}/{container_id}"
        try:
            with open(path) as file:
                return int(file.read()), os.stat(path).st_mtime
        except (FileNotFoundError, ValueError):
            return None


def write_json(path: str, value: object) -> None:
    """Write a JSON file by a rename."""
    temporary = f"{path}.tmp"
    with open(temporary, "w") as file:
        json.dump(value, file)
    os.replace(temporary, path)


def _load(path: str, kind: type[T]) -> T | None:
    try:
        with open(path) as file:
            values = json.load(file)
        known = {member.name for member in fields(kind)}  # type: ignore[arg-type]
        return kind(**{name: value for name, value in values.items() if name in known})
    except (OSError, ValueError, TypeError):
        return None
