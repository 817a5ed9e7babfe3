"""A control plane with fake nodes in a process of its own, and the workload that it is tried with."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import aiohttp

Object = dict[str, Any]

TOKEN = "scale"
PER_NAMESPACE = 10
"""Deployments in one namespace."""

_JSON = "application/json"
_MERGE = "application/merge-patch+json"
_VANISHED = "wherry.local/fake-vanished"


class Plane:
    """``async with Plane(folder, nodes=20) as plane`` starts the server; it may be killed and started again within."""

    def __init__(self, folder: Path, *, nodes: int, delay: float = 0.0, port: int | None = None) -> None:
        self.nodes = nodes
        self._folder = folder
        self._delay = delay
        self._port = port or _free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._spent = 0.0
        self._url = f"https://127.0.0.1:{self._port}"

    async def __aenter__(self) -> Self:
        tls = ssl.create_default_context()
        tls.check_hostname, tls.verify_mode = False, ssl.CERT_NONE
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Bearer {TOKEN}"},
            connector=aiohttp.TCPConnector(ssl=tls, limit=16),
            timeout=aiohttp.ClientTimeout(total=60),
        )
        self.start()
        await self.wait("the API server", lambda: self._answers(), patience=60)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.kill(signal.SIGTERM)
        await self._session.close()

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start the server process over what an earlier one left."""
        arguments = ["--data-dir", str(self._folder), "--port", str(self._port), "--token", TOKEN]
        arguments += ["--fake-nodes", str(self.nodes), "--fake-delay", str(self._delay)]
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "wherry.cluster.server", *arguments], stdout=log, stderr=log
            )

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send the server process a signal and wait until it is gone."""
        if self._process is not None:
            self._spent += _cpu(self._process.pid)
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def cpu(self) -> float:
        """Return the seconds of processor time that the server has used so far, all its processes together."""
        return self._spent + (_cpu(self._process.pid) if self._process is not None else 0.0)

    def memory(self) -> float:
        """Return the server's proportional set size in MiB."""
        text = Path(f"/proc/{self.pid}/smaps_rollup").read_text()
        return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:")) / 1024

    async def call(self, method: str, path: str, body: Object | None = None, *, kind: str = _JSON) -> Object:
        """Make one request, again while the server is away or overloaded; what exists already is as good as made."""
        data = None if body is None else json.dumps(body)
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                async with self._session.request(
                    method, self._url + path, data=data, headers={"Content-Type": kind}
                ) as answer:
                    said = await answer.json(content_type=None)
                    if answer.status < 300 or answer.status == 409:
                        return said
                    if answer.status < 500 and answer.status not in (403, 429):
                        raise RuntimeError(f"{method} {path}: {answer.status} {said.get('message')}")
            await asyncio.sleep(0.2)

    async def items(self, path: str) -> list[Object]:
        """Return all objects of a list."""
        return (await self.call("GET", path))["items"]

    async def wait(self, what: str, true: Callable[[], Any], *, patience: float, period: float = 0.5) -> None:
        """Wait until an asynchronous condition holds. Raises TimeoutError with the last answer that was not True."""
        deadline = time.monotonic() + patience
        while (answer := await true()) is not True:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: {answer} after {patience:.0f} s")
            await asyncio.sleep(period)

    async def _answers(self) -> bool:
        with contextlib.suppress(aiohttp.ClientError):
            async with self._session.get(f"{self._url}/readyz") as answer:
                return answer.status == 200
        return False

    async def nodes_ready(self) -> Any:
        """Tell whether all fake nodes take pods: True, or how many do."""
        nodes = await self.items("/api/v1/nodes")
        ready = sum(_is_true(n, "Ready") and not n["spec"].get("taints") for n in nodes)
        return ready == self.nodes or f"{ready} of {self.nodes} nodes ready"

    async def vanish(self, numbers: range, *, gone: bool = True) -> None:
        """Take fake nodes away, or bring them back."""
        body = {"metadata": {"annotations": {_VANISHED: "true" if gone else None}}}
        for number in numbers:
            await self.call("PATCH", f"/api/v1/nodes/fake-{number}", body, kind=_MERGE)


class Workload:
    """`count` Deployments of `size` pods, ten to a namespace, each with a Service and a disruption budget, and a quota
    for each namespace."""

    def __init__(self, plane: Plane, *, count: int, size: int, grace: int = 1, toleration: int = 1) -> None:
        self.plane = plane
        self.count = count
        self.size = size
        self._grace = grace
        self._toleration = toleration

    @property
    def pods(self) -> int:
        return self.count * self.size

    def namespaces(self) -> list[str]:
        return [f"scale-{number}" for number in range(-(-self.count // PER_NAMESPACE))]

    async def create(self) -> None:
        """Make all objects, sixteen at a time."""
        for namespace in self.namespaces():
            await self.plane.call("POST", "/api/v1/namespaces", _object("v1", "Namespace", namespace))
            quota = _object("v1", "ResourceQuota", "pods", spec={"hard": {"pods": "100000", "requests.cpu": "100k"}})
            await self.plane.call("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
        await asyncio.gather(*[self._create_one(number) for number in range(self.count)])

    async def _create_one(self, number: int) -> None:
        namespace, name = f"scale-{number // PER_NAMESPACE}", f"app-{number}"
        labels = {"app": name}
        core, selector = f"/api/v1/namespaces/{namespace}", {"matchLabels": labels}
        service = _object("v1", "Service", name, spec={"selector": labels, "ports": [{"port": 80}]})
        budget = _object("policy/v1", "PodDisruptionBudget", name, spec={"maxUnavailable": "50%", "selector": selector})
        spec = {"replicas": self.size, "selector": selector, "template": self._template(labels)}
        deployment = _object("apps/v1", "Deployment", name, spec=spec)
        await self.plane.call("POST", f"{core}/services", service)
        await self.plane.call("POST", f"/apis/policy/v1/namespaces/{namespace}/poddisruptionbudgets", budget)
        await self.plane.call("POST", f"/apis/apps/v1/namespaces/{namespace}/deployments", deployment)

    def _template(self, labels: dict[str, str]) -> Object:
        away = [
            {"key": f"node.kubernetes.io/{what}", "operator": "Exists", "effect": "NoExecute",
             "tolerationSeconds": self._toleration}
            for what in ("not-ready", "unreachable")
        ]  # fmt: skip
        container = {
            "name": "web",
            "image": "example.com/web:1",
            "ports": [{"containerPort": 80}],
            "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
        }
        return {
            "metadata": {"labels": labels},
            "spec": {
                "terminationGracePeriodSeconds": self._grace,
                "nodeSelector": {"wherry.local/fake": "true"},
                "tolerations": away,
                "containers": [container],
            },
        }

    async def patch(self, number: int, spec: Object) -> None:
        """Change the spec of one Deployment."""
        path = f"/apis/apps/v1/namespaces/scale-{number // PER_NAMESPACE}/deployments/app-{number}"
        await self.plane.call("PATCH", path, {"spec": spec}, kind=_MERGE)

    async def roll(self, image: str) -> None:
        """Start a rolling update of every Deployment."""
        template = {"metadata": {"annotations": {"image": image}}}
        await asyncio.gather(*[self.patch(number, {"template": template}) for number in range(self.count)])

    async def complete(self) -> Any:
        """Tell whether every Deployment has all its pods, new and Ready: True, or how many have."""
        found = [d for d in await self.plane.items("/apis/apps/v1/deployments") if _is_complete(d)]
        return len(found) == self.count or f"{len(found)} of {self.count} Deployments complete"

    async def settled(self) -> Any:
        """Tell whether there are exactly the wanted pods, all Ready: True, or the difference."""
        pods = await self.list_pods()
        ready = sum(_is_true(pod, "Ready") and "deletionTimestamp" not in pod["metadata"] for pod in pods)
        return ready == len(pods) == self.pods or f"{len(pods)} pods, {ready} of {self.pods} ready"

    async def list_pods(self) -> list[Object]:
        """Return the pods of all Deployments."""
        lists = [await self.plane.items(f"/api/v1/namespaces/{name}/pods") for name in self.namespaces()]
        return [pod for pods in lists for pod in pods]


@contextlib.asynccontextmanager
async def running(plane: Plane) -> AsyncIterator[Plane]:
    """Run a plane whose nodes are all ready."""
    async with plane:
        await plane.wait("nodes", plane.nodes_ready, patience=120)
        yield plane


def _is_complete(deployment: Object) -> bool:
    status, wanted = deployment.get("status") or {}, deployment["spec"]["replicas"]
    counts = [status.get(f) or 0 for f in ("replicas", "updatedReplicas", "readyReplicas", "availableReplicas")]
    return status.get("observedGeneration") == deployment["metadata"]["generation"] and counts == [wanted] * 4


def _is_true(obj: Object, kind: str) -> bool:
    return any(c["type"] == kind and c["status"] == "True" for c in obj.get("status", {}).get("conditions") or ())


def _object(version: str, kind: str, name: str, **fields: Any) -> Object:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **fields}


def _cpu(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
