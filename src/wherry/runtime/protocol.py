"""What a container runtime is, after the Container Runtime Interface (k8s.io/cri-api)."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

IDS = 65536
"""How many users, and groups, a user namespace has."""

CREATED, RUNNING, EXITED = "created", "running", "exited"
NOT_READY = "not ready"


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """cgroup limits: CPU quota and period in microseconds, memory in bytes; None leaves the limit off."""

    cpu_shares: int | None = None
    cpu_quota: int | None = None
    cpu_period: int | None = None
    cpuset_cpus: str = ""
    memory_limit: int | None = None
    pids_limit: int | None = None
    hugepage_limits: Mapping[str, int] = field(default_factory=dict)
    oom_score_adj: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxConfig:
    """What the containers of one pod share. Paths are absolute on the host.

    `network_namespace` is the file of a network namespace made by `wherry.network`; None: the host's.
    Without one the host's UTS namespace is used too. `cgroup_parent` is a cgroup path that every container of the pod
    goes below (``/wherry/NAME/burstable/podUID``); it is made with the limits of `resources` and removed with the
    sandbox. `sysctls` are written in the sandbox's namespaces. `shm_size` is that of the shared ``/dev/shm``.
    With a `host_id` the pod is in the user namespace that `make_user_namespace` made before. `handler` is one of the
    runtime's `handlers`.
    """

    id: str
    hostname: str
    labels: Mapping[str, str] = field(default_factory=dict)
    network_namespace: str | None = None
    host_pid: bool = False
    host_ipc: bool = False
    share_process_namespace: bool = False
    sysctls: Mapping[str, str] = field(default_factory=dict)
    cgroup_parent: str = ""
    log_directory: str = ""
    resources: Resources = field(default_factory=Resources)
    shm_size: int = 64 << 20
    host_id: int | None = None
    handler: str = ""


@dataclass(frozen=True, slots=True)
class UserNamespace:
    """The files of a user namespace and of a network namespace that belongs to it; `host_id` is its root's."""

    user: str
    network: str
    host_id: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """`propagation` is ``private``, ``rslave`` or ``rshared``; `options` are further mount options (``noexec`` …).

    `source` is a host path to bind, or with `type` other than ``bind`` a filesystem's source (``tmpfs``). In a user
    namespace files of a `mapped` one show the ids that they have on the host, others belong to nobody.
    """

    source: str
    destination: str
    type: str = "bind"
    read_only: bool = False
    recursive_read_only: bool = False
    propagation: str = "private"
    options: Sequence[str] = ()
    mapped: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    host_path: str
    container_path: str
    permissions: str = "rwm"


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerConfig:
    """One container. `rootfs` is a mounted, writable root made by ``wherry.images``; `args` is the full argv.

    `log_path` is where the log goes in the CRI format. `capabilities` is the final set; `seccomp` an OCI seccomp
    object or None for unconfined. `processes_of` is the id of a running container whose processes it joins.
    """

    id: str
    name: str
    rootfs: str
    args: Sequence[str]
    env: Sequence[tuple[str, str]] = ()
    cwd: str = "/"
    log_path: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    mounts: Sequence[Mount] = ()
    devices: Sequence[Device] = ()
    uid: int = 0
    gid: int = 0
    additional_gids: Sequence[int] = ()
    capabilities: Sequence[str] = ()
    privileged: bool = False
    read_only_rootfs: bool = False
    no_new_privileges: bool = False
    masked_paths: Sequence[str] = ()
    read_only_paths: Sequence[str] = ()
    seccomp: Mapping[str, object] | None = None
    apparmor_profile: str = ""
    resources: Resources = field(default_factory=Resources)
    tty: bool = False
    stdin: bool = False
    stdin_once: bool = False
    stop_signal: str = "SIGTERM"
    processes_of: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerStatus:
    """`started_at`, `finished_at`: seconds since the epoch, 0 when not yet. `reason`: "", Completed, Error, OOMKilled,
    StartError (it could not be started: exit code 128, `message` says why) or Unknown (it ended unseen, in a reboot:
    exit code 255). A signal shows as exit code 128 + n; `signal` stays 0 where only that is known."""

    id: str
    sandbox_id: str
    name: str
    state: str
    pid: int
    labels: Mapping[str, str]
    created_at: float
    started_at: float
    finished_at: float
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    log_path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxStatus:
    """`ready` is false once it was stopped or its namespaces are gone (a reboot)."""

    id: str
    ready: bool
    labels: Mapping[str, str]
    created_at: float
    network_namespace: str | None


@dataclass(frozen=True, slots=True)
class RuntimeEvent:
    """A container of a sandbox changed its state (`state` is the new one).

    Without a container it is the sandbox, which is not ready any more though nobody stopped it.
    """

    sandbox_id: str
    container_id: str
    state: str


@dataclass(frozen=True, slots=True)
class ExecResult:
    exit_code: int
    stdout: bytes
    stderr: bytes


@dataclass(frozen=True, slots=True)
class Stats:
    """cgroup counters of one container: CPU nanoseconds, bytes of memory (usage and working set), processes."""

    cpu_usage: int
    memory_usage: int
    memory_working_set: int
    pids: int


class ContainerError(Exception):
    """The runtime refused or failed; the message is fit for an event. `reason` as a container's waiting reason
    (CreateContainerError, RunContainerError)."""

    def __init__(self, message: str, *, reason: str = "RunContainerError") -> None:
        super().__init__(message)
        self.reason = reason


class Session(Protocol):
    """A running exec or attach: byte streams both ways. With a terminal, `stderr` is None and stdout carries both."""

    stdout: asyncio.StreamReader
    stderr: asyncio.StreamReader | None

    async def write_stdin(self, data: bytes) -> None: ...

    async def close_stdin(self) -> None: ...

    async def resize(self, width: int, height: int) -> None: ...

    async def wait(self) -> int:
        """Return the exit code (attach: 0 when the container ended or the streams closed).

        Raises ContainerError when the command could not be run.
        """
        ...

    async def close(self) -> None:
        """End it; an exec's process is killed."""
        ...


class Runtime(Protocol):
    """All methods are idempotent where CRI's are: stopping or removing what is gone succeeds."""

    async def start(self) -> None:
        """Adopt what an earlier process left; any other method does it first where it was not called."""
        ...

    async def version(self) -> str:
        """For ``nodeInfo.containerRuntimeVersion``: ``crun://1.8.1``."""
        ...

    @property
    def handlers(self) -> Sequence[str]:
        """The handlers that a RuntimeClass can name, the default one (``""``) first."""
        ...

    @property
    def user_namespaces(self) -> bool:
        """Whether pods can be in a user namespace of their own on this machine."""
        ...

    async def make_user_namespace(self, sandbox_id: str, host_id: int) -> UserNamespace:
        """Make the user namespace of a sandbox that is to run, with what belongs to it. Raises ContainerError.

        The same again for the same sandbox; `stop_sandbox` takes it away, also before the sandbox ran.
        """
        ...

    async def run_sandbox(self, config: SandboxConfig) -> None: ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """Kill what still runs in it and release its namespaces (not the network namespace)."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None: ...

    async def list_sandboxes(self) -> list[SandboxStatus]: ...

    async def create_container(self, sandbox_id: str, config: ContainerConfig) -> None:
        """Record a container; nothing runs yet. Raises ContainerError(CreateContainerError)."""
        ...

    async def start_container(self, container_id: str) -> None:
        """Run it. Raises ContainerError(RunContainerError); it has then exited with code 128 and reason StartError."""
        ...

    async def stop_container(self, container_id: str, timeout: float) -> None:
        """Send the stop signal, after `timeout` seconds SIGKILL; return when it has exited."""
        ...

    async def remove_container(self, container_id: str) -> None:
        """Forget a container that is not running; its log files stay."""
        ...

    async def list_containers(self) -> list[ContainerStatus]: ...

    async def container_status(self, container_id: str) -> ContainerStatus | None: ...

    async def update_resources(self, container_id: str, resources: Resources) -> None: ...

    async def exec_sync(self, container_id: str, args: Sequence[str], timeout: float | None) -> ExecResult:
        """Run a command and return its output. Raises TimeoutError, and kills the command, after `timeout` seconds."""
        ...

    async def exec(
        self,
        container_id: str,
        args: Sequence[str],
        *,
        stdin: bool,
        tty: bool,
        size: tuple[int, int] | None = None,
    ) -> Session:
        """Start a command; `size` (width, height) is its terminal's from the beginning. Raises ContainerError."""
        ...

    async def attach(self, container_id: str) -> Session: ...

    async def reopen_log(self, container_id: str) -> None:
        """Open the log file anew after a rotation."""
        ...

    async def stats(self, container_id: str) -> Stats | None: ...

    async def sandbox_stats(self, sandbox_id: str) -> Stats | None:
        """Return the counters of a sandbox's `cgroup_parent`; None when it has none."""
        ...

    async def set_cgroup_limits(self, path: str, resources: Resources) -> None:
        """Make the cgroup `path` where it is missing and set its limits (QoS classes, resized pods)."""
        ...

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Iterate over state changes from now on, also of containers started by an earlier process."""
        ...

    async def close(self) -> None:
        """Stop watching; containers run on."""
        ...
