"""Routes, authentication and the answers that are no streams."""

import asyncio
import logging
import socket
import ssl
from pathlib import Path
from typing import Any

from aiohttp import web

from wherry.api import meta
from wherry.kubelet import configuration, labels, podspec
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.node_status import NodeStatus
from wherry.kubelet.pods import PodManager
from wherry.kubelet.probes import counts
from wherry.kubelet.server import cadvisor, execute, logs, portforward, stats
from wherry.kubelet.server.auth import Gate
from wherry.kubelet.server.logformat import LogOptions
from wherry.kubelet.server.streams import RemoteStreams, StreamOptions
from wherry.kubelet.services import NodeServices
from wherry.runtime.protocol import RUNNING, ContainerStatus, Session
from wherry.util import certificates, metrics

log = logging.getLogger(__name__)


class NodeServer:
    """Serves the node's API; `listening` is set once it does."""

    def __init__(self, config: KubeletConfig, *, pods: PodManager, services: NodeServices, status: NodeStatus) -> None:
        self.listening = asyncio.Event()
        self._config = config
        self._pods = pods
        self._services = services
        self._status = status

    async def run(self) -> None:
        """Serve until cancelled."""
        app = web.Application(middlewares=[Gate(self._services.client, self._config.node_name).middleware])
        app.add_routes(
            [
                web.get("/healthz", _healthz),
                web.get("/healthz/{check:ping|log|syncloop}", _healthz),
                web.get("/pods{slash:/?}", self._list_pods),
                web.get("/runningpods{slash:/?}", self._list_running),
                web.get("/configz", self._configz),
                web.get("/metrics", self._metrics),
                web.get("/metrics/cadvisor", self._cadvisor),
                web.get("/metrics/probes", self._probe_metrics),
                web.get("/metrics/resource", self._resource_metrics),
                web.get("/stats/summary", self._summary),
                web.get("/containerLogs/{namespace}/{pod}/{container}", self._logs),
                web.post("/run/{namespace}/{pod}/{container}", self._run_command),
                *(
                    web.route(method, path, handler)
                    for method in ("GET", "POST")
                    for path, handler in (
                        ("/exec/{namespace}/{pod}/{container}", self._exec),
                        ("/exec/{namespace}/{pod}/{uid}/{container}", self._exec),
                        ("/attach/{namespace}/{pod}/{container}", self._attach),
                        ("/attach/{namespace}/{pod}/{uid}/{container}", self._attach),
                        ("/portForward/{namespace}/{pod}", self._port_forward),
                        ("/portForward/{namespace}/{pod}/{uid}", self._port_forward),
                    )
                ),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await runner.setup()
        try:
            context = await asyncio.to_thread(_tls, self._config)
            await web.TCPSite(runner, self._config.listen, self._config.port, ssl_context=context).start()
            if self._config.socket is not None:
                await web.SockSite(runner, await asyncio.to_thread(_private_socket, self._config.socket)).start()
            self.listening.set()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    def _pod(self, request: web.Request) -> meta.Object:
        found = self._pods.find(
            request.match_info["namespace"], request.match_info["pod"], request.match_info.get("uid", "")
        )
        if found is None:
            raise web.HTTPNotFound(text=f'pod "{request.match_info["pod"]}" does not exist')
        return found

    def _running(self, request: web.Request) -> ContainerStatus:
        pod, name = self._pod(request), request.match_info["container"]
        status = self._services.cache.pod(meta.uid(pod)).latest(name)
        if status is None or status.state != RUNNING:
            raise web.HTTPInternalServerError(text=f'container not found ("{name}")')
        return status

    async def _list_pods(self, request: web.Request) -> web.Response:
        return _pod_list([self._with_status(pod) for pod in self._pods.pods()])

    def _with_status(self, pod: meta.Object) -> meta.Object:
        status = self._services.statuses.get(meta.uid(pod))
        return pod if status is None else {**pod, "status": status}

    async def _list_running(self, request: web.Request) -> web.Response:
        """Answer with what the runtime runs, whatever the API says."""
        items: list[meta.Object] = []
        for pod in self._pods.pods():
            running = self._services.cache.pod(meta.uid(pod)).running()
            metadata = {"name": meta.name(pod), "namespace": meta.namespace(pod), "uid": meta.uid(pod)}
            containers: list[dict[str, Any]] = [
                {"name": c.name, "image": c.labels.get(labels.IMAGE), "resources": {}} for c in running
            ]
            if running:
                items.append({"metadata": metadata, "spec": {"containers": containers}, "status": {}})
        return _pod_list(items)

    async def _configz(self, request: web.Request) -> web.Response:
        return web.json_response({"kubeletconfig": configuration.shown(self._config)})

    async def _logs(self, request: web.Request) -> web.StreamResponse:
        pod, name = self._pod(request), request.match_info["container"]
        if podspec.find_container(pod, name) is None:
            raise web.HTTPNotFound(text=f'container "{name}" not found in pod "{meta.name(pod)}"')
        options = LogOptions.parse(request.query)
        attempts = [a for a in self._services.cache.pod(meta.uid(pod)).attempts(name) if a.started_at or a.finished_at]
        status = container_status(self._with_status(pod), name)
        if options.previous:
            ended = last_terminated(status)
            attempts = [attempt for attempt in attempts if attempt.id == ended]
        if not attempts:
            raise web.HTTPBadRequest(text=_no_logs(pod, name, options, status))
        return await logs.serve(request, attempts[0], options, self._services.cache)

    async def _exec(self, request: web.Request) -> web.StreamResponse:
        words = request.query.getall("command", [])

        async def start(status: ContainerStatus, options: StreamOptions, streams: RemoteStreams) -> Session:
            size = await execute.first_size(streams, options)
            runtime = self._services.runtime
            return await runtime.exec(status.id, words, stdin=options.stdin, tty=options.tty, size=size)

        return await execute.serve(request, lambda: self._running(request), start)

    async def _attach(self, request: web.Request) -> web.StreamResponse:
        pod = self._pods.find(request.match_info["namespace"], request.match_info["pod"])
        container = podspec.find_container(pod or {"spec": {}}, request.match_info["container"]) or {}

        async def start(status: ContainerStatus, options: StreamOptions, streams: RemoteStreams) -> Session:
            return await self._services.runtime.attach(status.id)

        return await execute.serve(request, lambda: self._running(request), start, tty=bool(container.get("tty")))

    async def _run_command(self, request: web.Request) -> web.Response:
        status = self._running(request)
        words = request.query.getall("cmd", []) or request.query.getall("command", [])
        result = await self._services.runtime.exec_sync(status.id, words, None)
        return web.Response(body=result.stdout + result.stderr, status=200 if result.exit_code == 0 else 500)

    async def _port_forward(self, request: web.Request) -> web.StreamResponse:
        pod = self._pod(request)
        sandbox = self._services.cache.pod(meta.uid(pod)).sandbox()
        if sandbox is None or not sandbox.ready:
            raise web.HTTPInternalServerError(text=f"pod {meta.name(pod)} is not running")
        namespace = None if podspec.host_network(pod) else sandbox.network_namespace
        return await portforward.serve(request, namespace)

    async def _summary(self, request: web.Request) -> web.Response:
        return web.json_response(await stats.summary(self._pods.pods(), self._services))

    async def _metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=stats.kubelet_metrics(self._pods.pods(), self._services))

    async def _cadvisor(self, request: web.Request) -> web.Response:
        return web.Response(text=await cadvisor.text(self._pods.pods(), self._services))

    async def _probe_metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=metrics.text(self._services.probe_counts.samples(), counts.FAMILIES))

    async def _resource_metrics(self, request: web.Request) -> web.Response:
        return web.Response(text=await stats.resource_metrics(self._pods.pods(), self._services))


async def _healthz(request: web.Request) -> web.Response:
    return web.Response(text="ok")


def _shown(container: ContainerStatus) -> dict[str, Any]:
    return {"name": container.name, "image": container.labels.get(labels.IMAGE) or "", "resources": {}}


def _pod_list(items: list[meta.Object]) -> web.Response:
    return web.json_response({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items})


def _tls(config: KubeletConfig) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificates.load_chain(context, str(config.certificate), config.key)
    context.load_verify_locations(str(config.client_ca))
    context.verify_mode = ssl.CERT_OPTIONAL  # or a token: `Gate` sees to it
    return context


def _private_socket(path: Path) -> socket.socket:
    """Return a Unix socket at `path` that only this user (and root) may open once it listens."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    path.chmod(0o600)
    return listener


def container_status(pod: meta.Object, name: str) -> meta.Object:
    """Return the status of a pod's container of any kind, {} without one."""
    status = pod.get("status") or {}
    for key in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for found in status.get(key) or ():
            if found["name"] == name:
                return dict(found)
    return {}


def last_terminated(status: meta.Object) -> str:
    """Return the id of the container that ran before, as a container's status tells: '' for none.

    That is the newest one while its successor waits in a back-off, else the one before it.
    """
    terminated = (status.get("lastState") or {}).get("terminated") or {}
    return str(terminated.get("containerID") or "").rpartition("//")[2]


def _no_logs(pod: meta.Object, name: str, options: LogOptions, status: meta.Object) -> str:
    if options.previous:
        return f'previous terminated container "{name}" in pod "{meta.name(pod)}" not found'
    if reason := ((status.get("state") or {}).get("waiting") or {}).get("reason"):
        text = "trying and failing to pull image" if reason in _PULL_REASONS else reason
        return f'container "{name}" in pod "{meta.name(pod)}" is waiting to start: {text}'
    return f'container "{name}" in pod "{meta.name(pod)}" is not available'


_PULL_REASONS = ("ErrImagePull", "ImagePullBackOff")
