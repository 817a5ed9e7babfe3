"""Usage of pods: ``/stats/summary``, ``/metrics/resource`` and ``/metrics``."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import Any

from wherry.api import meta
from wherry.kubelet.services import NodeServices
from wherry.runtime.protocol import ContainerStatus, Stats
from wherry.util import clock, metrics, processmetrics

_FAMILIES = {
    "kubelet_running_pods": metrics.Family(metrics.GAUGE, "Number of pods that have a running pod sandbox."),
    "kubelet_running_containers": metrics.Family(metrics.GAUGE, "Number of containers by their state."),
    "kubelet_node_name": metrics.Family(metrics.GAUGE, "The node's name. The count is always 1."),
    **processmetrics.FAMILIES,
}


async def usage(
    pods: Sequence[meta.Object], services: NodeServices
) -> list[tuple[meta.Object, ContainerStatus, Stats]]:
    running = [(pod, c) for pod in pods for c in services.cache.pod(meta.uid(pod)).running()]
    found = await asyncio.gather(*(services.runtime.stats(c.id) for _, c in running))
    return [(pod, c, stats) for (pod, c), stats in zip(running, found, strict=True) if stats is not None]


async def summary(pods: Sequence[meta.Object], services: NodeServices) -> dict[str, Any]:
    """Return the Summary object (k8s.io/kubelet stats/v1alpha1)."""
    now = clock.timestamp()
    by_pod: dict[str, list[tuple[ContainerStatus, Stats]]] = {}
    for pod, container, stats in await usage(pods, services):
        by_pod.setdefault(meta.uid(pod), []).append((container, stats))
    shown = []
    for pod in pods:
        own = by_pod.get(meta.uid(pod), [])
        shown.append(
            {
                "podRef": {"name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)},
                "startTime": (pod.get("status") or {}).get("startTime"),
                "containers": [{"name": c.name, "startTime": _time(c), **_numbers(s, now)} for c, s in own],
                **_numbers(_sum([s for _, s in own]), now),
            }
        )
    total = await asyncio.to_thread(services.machine.usage)
    return {"node": {"nodeName": services.config.node_name, **_numbers(total, now)}, "pods": shown}


def _time(container: ContainerStatus) -> str:
    return clock.timestamp(datetime.fromtimestamp(container.started_at, UTC))


def _sum(found: Sequence[Stats]) -> Stats:
    return Stats(
        sum(s.cpu_usage for s in found),
        sum(s.memory_usage for s in found),
        sum(s.memory_working_set for s in found),
        sum(s.pids for s in found),
    )


def _numbers(stats: Stats, now: str) -> dict[str, Any]:
    return {
        "cpu": {"time": now, "usageCoreNanoSeconds": stats.cpu_usage},
        "memory": {"time": now, "usageBytes": stats.memory_usage, "workingSetBytes": stats.memory_working_set},
    }


async def resource_metrics(pods: Sequence[meta.Object], services: NodeServices) -> str:
    """Return CPU and memory in the text format of Prometheus, as metrics-server reads them."""
    stamp = int(clock.seconds() * 1000)
    found = await usage(pods, services)
    lines = [
        "# TYPE container_cpu_usage_seconds_total counter",
        *(f"container_cpu_usage_seconds_total{_labels(p, c)} {s.cpu_usage / 1e9} {stamp}" for p, c, s in found),
        "# TYPE container_memory_working_set_bytes gauge",
        *(f"container_memory_working_set_bytes{_labels(p, c)} {s.memory_working_set} {stamp}" for p, c, s in found),
        "# TYPE container_start_time_seconds gauge",
        *(f"container_start_time_seconds{_labels(p, c)} {c.started_at} {stamp}" for p, c, _ in found),
    ]
    total = await asyncio.to_thread(services.machine.usage)
    for pod in pods:
        own = _sum([s for p, _, s in found if p is pod])
        mark = f'{{namespace="{meta.namespace(pod)}",pod="{meta.name(pod)}"}}'
        lines += [
            f"pod_cpu_usage_seconds_total{mark} {own.cpu_usage / 1e9} {stamp}",
            f"pod_memory_working_set_bytes{mark} {own.memory_working_set} {stamp}",
        ]
    lines += [
        f"node_cpu_usage_seconds_total {total.cpu_usage / 1e9} {stamp}",
        f"node_memory_working_set_bytes {total.memory_working_set} {stamp}",
        "resource_scrape_error 0",
    ]
    return "\n".join(lines) + "\n"


def _labels(pod: meta.Object, container: ContainerStatus) -> str:
    return f'{{container="{container.name}",namespace="{meta.namespace(pod)}",pod="{meta.name(pod)}"}}'


def kubelet_metrics(pods: Sequence[meta.Object], services: NodeServices) -> str:
    """Return the kubelet's own figures, and those of its process, in the text format of Prometheus. Blocks shortly."""
    return metrics.text(chain(_own(pods, services), processmetrics.samples()), _FAMILIES)


def _own(pods: Sequence[meta.Object], services: NodeServices) -> Iterator[metrics.Sample]:
    cache = services.cache
    yield metrics.Sample("kubelet_running_pods", {}, sum(1 for pod in pods if cache.pod(meta.uid(pod)).running()))
    states = Counter(container.state for uid in cache.uids() for container in cache.pod(uid).containers.values())
    for state, count in sorted(states.items()):
        yield metrics.Sample("kubelet_running_containers", {"container_state": state}, count)
    yield metrics.Sample("kubelet_node_name", {"node": services.config.node_name}, 1)
