"""The resource metrics API (``metrics.k8s.io``): what ``kubectl top`` shows and horizontal autoscalers read.

It stands where upstream's metrics-server does: a server behind the APIService ``v1beta1.metrics.k8s.io``, to which the
API server passes requests on once it has authorized them. Usage is the difference of two readings of the kernel's
counters; nothing is read while nobody asks, so the first to ask waits for a second reading.
"""

import asyncio
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import APISERVICES, CLUSTERROLES, ENDPOINTSLICES, SERVICES, Resource
from wherry.api.selectors import labels
from wherry.client.client import Client
from wherry.util import certificates, clock

NAME, NAMESPACE, PORT = "metrics-server", "kube-system", 4443
GROUP, VERSION = "metrics.k8s.io", "v1beta1"
_PATH = f"/apis/{GROUP}/{VERSION}"
_OLDEST, _LEAST = 60.0, 1.0
"""A reading is compared with one of up to `_OLDEST` seconds ago, but at least `_LEAST` seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What a node or container has used: CPU in nanoseconds since its start, memory (working set) in bytes."""

    cpu: int
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The counters of this node, and those of each pod's running containers by name and container id."""

    node: Counters
    pods: Sequence[tuple[Object, Mapping[tuple[str, str], Counters]]]
    at: float = field(default_factory=clock.monotonic)


class MetricsServer:
    """Serves the metrics of one node; `read` takes a reading, `node` returns the Node object."""

    def __init__(
        self, read: Callable[[], Awaitable[Reading]], node: Callable[[], Object | None], *, address: str
    ) -> None:
        self._read = read
        self._node = node
        self._address = address
        self._last: Reading | None = None
        self._lock = asyncio.Lock()

    async def run(self, *, certificate: Path, key: Path, client_ca: Path) -> None:
        """Serve until cancelled; only clients with a certificate of `client_ca`, the API server's, are answered."""
        app = web.Application()
        app.router.add_get(_PATH, _resources)
        app.router.add_get(f"{_PATH}/nodes", self._list_nodes)
        app.router.add_get(f"{_PATH}/nodes/{{name}}", self._get_node)
        app.router.add_get(f"{_PATH}/pods", self._list_pods)
        app.router.add_get(f"{_PATH}/namespaces/{{namespace}}/pods", self._list_pods)
        app.router.add_get(f"{_PATH}/namespaces/{{namespace}}/pods/{{name}}", self._get_pod)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.verify_mode = ssl.CERT_REQUIRED
        await asyncio.to_thread(certificates.load_chain, context, certificate, key)
        await asyncio.to_thread(context.load_verify_locations, client_ca)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._address, PORT, ssl_context=context).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _readings(self) -> tuple[Reading, Reading]:
        async with self._lock:
            before = self._last
            if before is None or clock.monotonic() - before.at > _OLDEST:
                before = await self._read()
            if (left := before.at + _LEAST - clock.monotonic()) > 0:
                await clock.sleep(left)
            now = await self._read()
            self._last = now
            return before, now

    async def _list_nodes(self, request: web.Request) -> web.Response:
        found = [o for o in await self._nodes() if _selected(request, o)]
        return web.json_response(_list("NodeMetricsList", found))

    async def _get_node(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        return _one("nodes", name, [o for o in await self._nodes() if meta.name(o) == name])

    async def _list_pods(self, request: web.Request) -> web.Response:
        found = [o for o in await self._pods(request.match_info.get("namespace", "")) if _selected(request, o)]
        return web.json_response(_list("PodMetricsList", found))

    async def _get_pod(self, request: web.Request) -> web.Response:
        namespace, name = request.match_info["namespace"], request.match_info["name"]
        return _one("pods", name, [o for o in await self._pods(namespace) if meta.name(o) == name])

    async def _nodes(self) -> list[Object]:
        before, now = await self._readings()
        node = self._node()
        if node is None:
            return []
        return [{**_head("NodeMetrics", node, before, now), "usage": _usage(before.node, now.node, now.at - before.at)}]

    async def _pods(self, namespace: str) -> list[Object]:
        before, now = await self._readings()
        old = {key: counters for _, containers in before.pods for key, counters in containers.items()}
        found = []
        for pod, containers in now.pods:
            if namespace and meta.namespace(pod) != namespace:
                continue
            shown = [
                {"name": key[0], "usage": _usage(old[key], counters, now.at - before.at)}
                for key, counters in containers.items()
                if key in old
            ]
            # Half of a pod would mislead an autoscaler: one whose containers have just started waits for its turn.
            if shown and len(shown) == len(containers):
                found.append({**_head("PodMetrics", pod, before, now), "containers": shown})
        return found


def _head(kind: str, obj: Object, before: Reading, now: Reading) -> Object:
    metadata = {"name": meta.name(obj), "namespace": meta.namespace(obj), "labels": meta.labels(obj)}
    at = clock.timestamp()
    return {
        "kind": kind,
        "apiVersion": f"{GROUP}/{VERSION}",
        "metadata": {k: v for k, v in metadata.items() if v} | {"creationTimestamp": at},
        "timestamp": at,
        "window": f"{now.at - before.at:.3f}s",
    }


def _usage(before: Counters, now: Counters, seconds: float) -> dict[str, str]:
    cpu = max(0, round((now.cpu - before.cpu) / max(seconds, 0.001)))
    return {"cpu": f"{cpu}n", "memory": f"{now.memory // 1024}Ki"}


def _selected(request: web.Request, obj: Object) -> bool:
    selector = request.query.get("labelSelector")
    if selector and not labels.parse(selector).matches(meta.labels(obj)):
        return False
    fields = {"metadata.name": meta.name(obj), "metadata.namespace": meta.namespace(obj)}
    for term in filter(None, request.query.get("fieldSelector", "").split(",")):
        name, _, value = term.replace("==", "=").partition("=")
        if fields.get(name.rstrip("!")) != value and not name.endswith("!"):
            return False
    return True


def _list(kind: str, items: list[Object]) -> Object:
    return {"kind": kind, "apiVersion": f"{GROUP}/{VERSION}", "metadata": {}, "items": items}


def _one(plural: str, name: str, found: list[Object]) -> web.Response:
    if not found:
        return web.json_response(errors.NotFound.of(plural, name, GROUP).to_status(), status=404)
    return web.json_response(found[0])


async def _resources(request: web.Request) -> web.Response:
    def entry(plural: str, kind: str, *, namespaced: bool) -> Object:
        names = {"name": plural, "singularName": "", "namespaced": namespaced, "kind": kind}
        return names | {"verbs": ["get", "list"]}

    kinds = [entry("nodes", "NodeMetrics", namespaced=False), entry("pods", "PodMetrics", namespaced=True)]
    found = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{GROUP}/{VERSION}", "resources": kinds}
    return web.json_response(found)


def objects(address: str, node_name: str) -> list[tuple[Resource, Object]]:
    """Return what makes the API server find a `MetricsServer` at `address`, and the right to read it."""
    own = {"name": NAME, "namespace": NAMESPACE, "labels": {"k8s-app": NAME}}
    port = {"name": "https", "port": 443, "targetPort": PORT, "protocol": "TCP"}
    slice_labels = {"kubernetes.io/service-name": NAME, "endpointslice.kubernetes.io/managed-by": "metrics.wherry"}
    reader = f"system:aggregated-{NAME.removesuffix('-server')}-reader"
    return [
        (SERVICES, {"apiVersion": "v1", "kind": "Service", "metadata": own, "spec": {"ports": [port]}}),
        (
            ENDPOINTSLICES,
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {"name": f"{NAME}-{node_name}", "namespace": NAMESPACE, "labels": slice_labels},
                "addressType": "IPv6" if ":" in address else "IPv4",
                "ports": [{"name": "https", "port": PORT, "protocol": "TCP"}],
                "endpoints": [{"addresses": [address], "conditions": {"ready": True}, "nodeName": node_name}],
            },
        ),
        (
            APISERVICES,
            {
                "apiVersion": "apiregistration.k8s.io/v1",
                "kind": "APIService",
                "metadata": {"name": f"{VERSION}.{GROUP}", "labels": {"k8s-app": NAME}},
                "spec": {
                    "group": GROUP,
                    "version": VERSION,
                    "groupPriorityMinimum": 100,
                    "versionPriority": 100,
                    "insecureSkipTLSVerify": True,
                    "service": {"name": NAME, "namespace": NAMESPACE, "port": 443},
                },
            },
        ),
        (
            CLUSTERROLES,
            {
                "apiVersion": "rbac.authorization.k8s.io/v1",
                "kind": "ClusterRole",
                "metadata": {
                    "name": reader,
                    "labels": {
                        f"rbac.authorization.k8s.io/aggregate-to-{role}": "true" for role in ("view", "edit", "admin")
                    },
                },
                "rules": [{"apiGroups": [GROUP], "resources": ["pods", "nodes"], "verbs": ["get", "list", "watch"]}],
            },
        ),
    ]


async def publish(client: Client, *, address: str, node_name: str) -> None:
    """Make the objects of `objects` where they are missing; somebody's own metrics server stays in place."""
    for resource, obj in objects(address, node_name):
        try:
            await client.create(resource, obj, meta.namespace(obj))
        except errors.AlreadyExists:
            continue
