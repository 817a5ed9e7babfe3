"""What the node is short of: eviction signals against their thresholds.

The signals and thresholds are those of kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction. Images
and volumes share one filesystem here, so ``imagefs`` and ``containerfs`` read as ``nodefs`` does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from wherry.api import quantity
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.machine import Machine
from wherry.util import clock

MEMORY, STORAGE, INODES, PIDS = "memory", "ephemeral-storage", "inodes", "pids"

SIGNALS: Mapping[str, tuple[str, str]] = {
    "memory.available": ("MemoryPressure", MEMORY),
    "nodefs.available": ("DiskPressure", STORAGE),
    "imagefs.available": ("DiskPressure", STORAGE),
    "containerfs.available": ("DiskPressure", STORAGE),
    "nodefs.inodesFree": ("DiskPressure", INODES),
    "imagefs.inodesFree": ("DiskPressure", INODES),
    "containerfs.inodesFree": ("DiskPressure", INODES),
    "pid.available": ("PIDPressure", PIDS),
}
"""The node's condition and the resource that pods use, by signal; the first is looked at first."""


@dataclass(frozen=True, slots=True)
class Shortage:
    """A resource that the node has too little of, with quantities as events show them.

    `grace` are the seconds that an evicted pod gets at most: those of a soft threshold, 1 for a hard one.
    """

    resource: str
    threshold: str
    available: str
    grace: float = 1.0


def amount(threshold: str, capacity: int) -> int:
    """Return a threshold (``100Mi``, ``10%``) in units of its signal."""
    if threshold.endswith("%"):
        return int(capacity * float(threshold[:-1]) / 100)
    return quantity.parse(threshold).whole()


class Pressures:
    """Remembers since when each threshold has been crossed, and when each condition was last true.

    Once a threshold is met there is a shortage until so much more than it is there as ``evictionMinimumReclaim`` says.
    """

    def __init__(self, config: KubeletConfig, machine: Machine) -> None:
        self._config = config
        self._machine = machine
        self._since: dict[str, float] = {}
        self._last_true: dict[str, float] = {}
        self._met: set[str] = set()
        self.shortages: list[Shortage] = []

    def measure(self) -> None:
        """Compare the machine with the thresholds. Blocks."""
        config, now = self._config, clock.monotonic()
        readings = {signal: (available, capacity) for signal, available, capacity in self._readings()}
        found: list[Shortage] = []
        for signal, (kind, resource) in SIGNALS.items():
            available, capacity = readings[signal.partition(".")[2] if resource in (STORAGE, INODES) else signal]
            reclaim = amount(config.eviction_minimum_reclaim.get(signal, "0"), capacity)
            for threshold, wait, grace in self._thresholds(signal):
                least, key = amount(threshold, capacity), f"{signal}<{threshold}"
                if available >= least + (reclaim if key in self._met else 0):
                    self._since.pop(key, None)
                    self._met.discard(key)
                elif now - self._since.setdefault(key, now) >= wait:
                    self._last_true[kind] = now
                    self._met.add(key)
                    found.append(Shortage(resource, _shown(least), _shown(available), grace))
        self.shortages = found
        for kind, last in list(self._last_true.items()):
            if last < now and now - last >= config.pressure_transition:
                del self._last_true[kind]

    def conditions(self) -> dict[str, bool]:
        """Return the pressure conditions; one stays true for a while after its shortage has gone."""
        return {kind: kind in self._last_true for kind, _ in SIGNALS.values()}

    def _thresholds(self, signal: str) -> Iterator[tuple[str, float, float]]:
        """Yield threshold, the seconds for which it must be crossed, the grace of pods."""
        config = self._config
        if signal in config.eviction_hard:
            yield config.eviction_hard[signal], 0.0, 1.0
        if signal in config.eviction_soft:
            wait = config.eviction_soft_grace.get(signal, 0.0)
            yield config.eviction_soft[signal], wait, config.eviction_max_pod_grace

    def _readings(self) -> Iterator[tuple[str, int, int]]:
        machine = self._machine
        disk = machine.disk(self._config.root)
        running, most = machine.processes()
        yield "memory.available", machine.available_memory(), machine.memory
        yield "available", disk.available, disk.total
        yield "inodesFree", disk.inodes_free, disk.inodes
        yield "pid.available", most - running, most


def _shown(number: int) -> str:
    return quantity.of(number, "BinarySI")
