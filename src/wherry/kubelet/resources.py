"""Requests and limits as kernel settings (kubernetes.io/docs/concepts/configuration/manage-resources-containers)."""

from collections.abc import Mapping
from typing import Any

from wherry.api import meta, quantity
from wherry.kubelet import podspec
from wherry.kubelet.podspec import Container
from wherry.kubelet.qos import BEST_EFFORT, GUARANTEED, qos_class
from wherry.runtime.protocol import Resources

MIN_SHARES, MAX_SHARES = 2, 262144
PERIOD = 100_000
MIN_QUOTA = 1000
_MOST_KNOWN = 1024


def milli_cpu(values: Mapping[str, Any]) -> int:
    """Return the CPU of a resource list in thousandths, rounded up; 0 when it has none."""
    return quantity.parse(values.get("cpu") or "0").milli()


def memory(values: Mapping[str, Any]) -> int:
    """Return the bytes of memory of a resource list; 0 when it has none."""
    return quantity.parse(values.get("memory") or "0").whole()


def requirements(declared: Mapping[str, Any]) -> tuple[int, int, int, int]:
    """Return what a container's resources come to: CPU and memory of its requests, then of its limits."""
    requests, limits = declared.get("requests") or {}, declared.get("limits") or {}
    return milli_cpu(requests), memory(requests), milli_cpu(limits), memory(limits)


def cpu_shares(milli: int) -> int:
    """Return the cgroup's cpu.shares for a CPU request."""
    return min(MAX_SHARES, max(MIN_SHARES, milli * 1024 // 1000))


def cpu_quota(milli: int) -> int | None:
    """Return the CFS quota in microseconds per `PERIOD` for a CPU limit; None for no limit."""
    return max(MIN_QUOTA, milli * PERIOD // 1000) if milli else None


def container_resources(pod: meta.Object, container: Container, *, node_memory: int) -> Resources:
    """Return the cgroup settings of one container; where it has no limit, the pod's own holds for it too."""
    declared = container.get("resources") or {}
    of_pod = (pod["spec"].get("resources") or {}).get("limits") or {}
    limits: dict[str, Any] = {name: of_pod[name] for name in ("cpu", "memory") if of_pod.get(name)}
    limits |= declared.get("limits") or {}
    requests = declared.get("requests") or {}
    # Without a request the limit counts as one: that is how the API defaults it, and static pods are not defaulted.
    request = milli_cpu(requests) or milli_cpu(limits)
    return Resources(
        cpu_shares=cpu_shares(request),
        cpu_quota=cpu_quota(milli_cpu(limits)),
        cpu_period=PERIOD,
        memory_limit=memory(limits) or None,
        hugepage_limits={
            name.removeprefix("hugepages-"): quantity.parse(value).whole()
            for name, value in limits.items()
            if name.startswith("hugepages-")
        },
        oom_score_adj=oom_score_adj(pod, container, node_memory=node_memory),
    )


def pod_level_resources(pod: meta.Object) -> Resources:
    """Return the cgroup settings of the pod as a whole; limits only where every container has one."""
    requests, limits = total(pod, "requests"), total(pod, "limits")
    return Resources(
        cpu_shares=cpu_shares(requests["cpu"] or limits["cpu"]),
        cpu_quota=cpu_quota(limits["cpu"]) if _all_limited(pod, "cpu") else None,
        cpu_period=PERIOD,
        memory_limit=limits["memory"] if _all_limited(pod, "memory") else None,
    )


def _all_limited(pod: meta.Object, name: str) -> bool:
    if ((pod["spec"].get("resources") or {}).get("limits") or {}).get(name):
        return True
    kinds = (podspec.INIT, podspec.REGULAR)
    return all(
        ((c.get("resources") or {}).get("limits") or {}).get(name)
        for kind, c in podspec.every_container(pod)
        if kind in kinds
    )


def total(pod: meta.Object, kind: str) -> dict[str, int]:
    """Return the pod's ``requests`` or ``limits``: CPU in thousandths (``cpu``) and bytes (``memory``).

    Regular containers and sidecars add up; an init container counts with the sidecars before it, where that is more.
    """
    regular = _sum(podspec.containers(pod), kind)
    sidecars = {"cpu": 0, "memory": 0}
    peak = {"cpu": 0, "memory": 0}
    for container in podspec.init_containers(pod):
        own = _of(container, kind)
        if podspec.is_sidecar(container):
            sidecars = {k: sidecars[k] + own[k] for k in own}
            own = {"cpu": 0, "memory": 0}
        peak = {k: max(peak[k], sidecars[k] + own[k]) for k in peak}
    overhead = pod["spec"].get("overhead") or {}
    extra = {"cpu": milli_cpu(overhead), "memory": memory(overhead)}
    of_pod = (pod["spec"].get("resources") or {}).get(kind) or {}
    result = {k: max(regular[k] + sidecars[k], peak[k]) for k in regular}
    if of_pod.get("cpu"):
        result["cpu"] = milli_cpu(of_pod)
    if of_pod.get("memory"):
        result["memory"] = memory(of_pod)
    return {k: result[k] + (extra[k] if result[k] or kind == "requests" else 0) for k in result}


class Requests:
    """The requests of pods, reckoned once for each generation: every new pod is held against all the others."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, int], dict[str, int]] = {}

    def of(self, pod: meta.Object) -> dict[str, int]:
        """Return what `total` returns for a pod's requests."""
        generation = pod["metadata"].get("generation")
        if not generation:
            return total(pod, "requests")
        key = meta.uid(pod), int(generation)
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            found = self._known[key] = total(pod, "requests")
        return found


def _of(container: Container, kind: str) -> dict[str, int]:
    values = (container.get("resources") or {}).get(kind) or {}
    return {"cpu": milli_cpu(values), "memory": memory(values)}


def _sum(containers: list[Container], kind: str) -> dict[str, int]:
    found = [_of(c, kind) for c in containers]
    return {k: sum(f[k] for f in found) for k in ("cpu", "memory")}


def _share_of_rest(pod: meta.Object) -> int:
    """Return each container's part of the memory that the pod asks for beyond what its containers do."""
    of_pod = memory((pod["spec"].get("resources") or {}).get("requests") or {})
    kinds = (podspec.INIT, podspec.REGULAR)
    asked = [_of(c, "requests")["memory"] for kind, c in podspec.every_container(pod) if kind in kinds]
    return max(0, of_pod - sum(asked)) // max(1, len(asked))


def oom_score_adj(pod: meta.Object, container: Container, *, node_memory: int) -> int:
    """Return how readily the kernel kills a container that runs out of memory (by QoS class and memory request)."""
    if pod["spec"].get("priority", 0) >= 2_000_000_000:
        return -997
    quality = qos_class(pod)
    if quality == GUARANTEED:
        return -997
    if quality == BEST_EFFORT:
        return 1000
    request = memory((container.get("resources") or {}).get("requests") or {}) + _share_of_rest(pod)
    share = 1000 - (1000 * request) // max(node_memory, 1)
    return 3 if share < 3 else 999 if share >= 1000 else share
