"""What this machine is and has: for node status and limits."""

import os
import platform
import shutil
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from wherry.runtime.protocol import Stats
from wherry.util import linux


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes and inodes of a filesystem."""

    total: int
    available: int
    inodes: int
    inodes_free: int


class Machine:
    """Reads of this machine; methods read anew, properties once."""

    @cached_property
    def memory(self) -> int:
        """Bytes of memory."""
        return _meminfo("MemTotal") * 1024

    @cached_property
    def processors(self) -> int:
        return os.cpu_count() or 1

    @cached_property
    def machine_id(self) -> str:
        return _text("/etc/machine-id") or _text("/var/lib/dbus/machine-id")

    @cached_property
    def system_uuid(self) -> str:
        return _text("/sys/class/dmi/id/product_uuid") or self.machine_id

    @cached_property
    def boot_id(self) -> str:
        return linux.boot_id()

    @cached_property
    def kernel(self) -> str:
        return platform.release()

    @cached_property
    def architecture(self) -> str:
        """The architecture in Go's word."""
        return {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())

    @cached_property
    def os_image(self) -> str:
        for line in _text("/etc/os-release").splitlines():
            if line.startswith("PRETTY_NAME="):
                return line.partition("=")[2].strip('"')
        return "Linux"

    @cached_property
    def apparmor(self) -> bool:
        """Whether the kernel enforces AppArmor profiles."""
        return _text("/sys/module/apparmor/parameters/enabled").startswith("Y")

    def huge_pages(self) -> dict[str, int]:
        """Return the bytes of huge pages by their size (``2Mi``)."""
        found = {}
        root = Path("/sys/kernel/mm/hugepages")
        for entry in root.iterdir() if root.is_dir() else ():
            kilobytes = int(entry.name.removeprefix("hugepages-").removesuffix("kB"))
            name = f"{kilobytes // 1024 // 1024}Gi" if kilobytes >= 1024 * 1024 else f"{kilobytes // 1024}Mi"
            found[name] = int((entry / "nr_hugepages").read_text()) * kilobytes * 1024
        return found

    def available_memory(self) -> int:
        """Return the bytes that could be had now."""
        return _meminfo("MemAvailable") * 1024

    def usage(self) -> Stats:
        """Return what all processes of this machine use: CPU since the boot, memory that could not be had now."""
        user, nice, system, _idle, _wait, interrupts, soft, stolen = map(int, _text("/proc/stat").split()[1:9])
        ticks = user + nice + system + interrupts + soft + stolen
        used = self.memory - _meminfo("MemFree") * 1024
        running, _ = self.processes()
        cpu = ticks * 1_000_000_000 // os.sysconf("SC_CLK_TCK")
        return Stats(cpu, used, self.memory - self.available_memory(), running)

    def disk(self, path: Path) -> Disk:
        """Return the filesystem of `path`."""
        found = os.statvfs(path)
        usage = shutil.disk_usage(path)
        return Disk(usage.total, usage.free, found.f_files, found.f_favail)

    def processes(self) -> tuple[int, int]:
        """Return how many tasks there are and how many there may be."""
        running = int(_text("/proc/loadavg").split()[3].partition("/")[2])
        return running, int(_text("/proc/sys/kernel/pid_max") or 32768)


def _meminfo(name: str) -> int:
    for line in _text("/proc/meminfo").splitlines():
        if line.startswith(f"{name}:"):
            return int(line.split()[1])
    return 0


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
