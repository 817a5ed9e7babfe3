"""What the node costs: memory and processor time of 110 pods, what commands leave, the rate of logs, loading images.

usage: bench/node.py CLUSTER KUBECONFIG IMAGE [ROW ...]       (rows: pods exec logs load; all of them without any)

The cluster runs and has no pods; IMAGE has a shell. Needs root, curl and kubectl. See bench/README.md.
"""

# ruff: noqa: ASYNC110, ASYNC221, ASYNC240 (a script has its process to itself)

import asyncio
import base64
import contextlib
import hashlib
import io
import json
import os
import resource
import ssl
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path

import aiohttp
import presets
import yaml

PODS, EXECS, LOG_BYTES, LINES, IMAGE_BYTES, IDLE = 110, 1000, 1 << 30, (120, 1000), 200_000_000, 60.0
PREFIX = 45  # bytes of a log's line before its text
TICK = os.sysconf("SC_CLK_TCK")
NAMESPACE = "bench-node"


def cpu(pid):
    """Return the seconds of processor time that a process has used."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICK


def pss(pid):
    """Return a process's proportional share of memory in bytes."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def state(pid):
    """Return what a leak would show in."""
    threads = len(os.listdir(f"/proc/{pid}/task"))
    return {"fds": len(os.listdir(f"/proc/{pid}/fd")), "threads": threads, "MB": round(pss(pid) / 1e6, 1)}


class Bench:
    def __init__(self, cluster, kubeconfig, image):
        self.cluster, self.kubeconfig, self.image = cluster, kubeconfig, image
        config = yaml.safe_load(Path(kubeconfig).read_text())
        context = next(c for c in config["contexts"] if c["name"] == config["current-context"])["context"]
        user = next(u["user"] for u in config["users"] if u["name"] == context["user"])
        found = next(c["cluster"] for c in config["clusters"] if c["name"] == context["cluster"])
        self.url = found["server"]
        self.pair = Path(tempfile.mkdtemp(), "pair.pem")
        self.pair.write_bytes(
            base64.b64decode(user["client-certificate-data"]) + base64.b64decode(user["client-key-data"])
        )
        self.authority = self.pair.with_name("ca.pem")
        self.authority.write_bytes(base64.b64decode(found["certificate-authority-data"]))
        self.tls = ssl.create_default_context(cafile=str(self.authority))
        self.tls.load_cert_chain(self.pair)

    def pids(self):
        run = Path("/run/wherry", self.cluster)
        return {name: int((run / f"{name}.pid").read_text()) for name in ("server", "node")}

    def conmons(self):
        """Return the conmon processes of the cluster."""
        said = subprocess.run(["pgrep", "-f", f"^conmon .*/wherry/{self.cluster}/"], capture_output=True, text=True)
        return [int(pid) for pid in said.stdout.split()]

    @contextlib.asynccontextmanager
    async def session(self):
        async with aiohttp.ClientSession(self.url, connector=aiohttp.TCPConnector(ssl=self.tls)) as http:
            self.http = http
            await self.call("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
            account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
            while (await self.call("GET", account))["kind"] == "Status":
                await asyncio.sleep(0.1)
            try:
                yield
            finally:
                await self.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}")

    async def call(self, method, path, body=None):
        async with self.http.request(method, path, json=body) as answer:
            return await answer.json()

    async def pod(self, name, script):
        container = {"name": "c", "image": self.image, "command": ["sh", "-c", script]}
        spec = {"containers": [container], "restartPolicy": "Never", "terminationGracePeriodSeconds": 0}
        await self.call("POST", f"/api/v1/namespaces/{NAMESPACE}/pods", {"metadata": {"name": name}, "spec": spec})

    async def wait(self, phase, count):
        while True:
            pods = (await self.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"]
            if sum(pod.get("status", {}).get("phase") == phase for pod in pods) >= count:
                return pods
            await asyncio.sleep(0.2)

    async def clear(self):
        await self.call("DELETE", f"/api/v1/namespaces/{NAMESPACE}/pods?gracePeriodSeconds=0")
        while (await self.call("GET", f"/api/v1/namespaces/{NAMESPACE}/pods"))["items"]:
            await asyncio.sleep(0.2)

    # -- the rows

    async def pods(self):
        """Measure 110 pods that do nothing."""
        pids = self.pids()
        before = {name: pss(pid) for name, pid in pids.items()}
        for number in range(PODS):
            await self.pod(f"idle-{number}", "sleep 1d")
        await self.wait("Running", PODS)
        await asyncio.sleep(20)
        conmons = self.conmons()
        grown = {name: pss(pid) - before[name] for name, pid in pids.items()} | {"conmon": sum(map(pss, conmons))}
        share = ", ".join(f"{name} {grown[name] / PODS / 1e6:.2f}" for name in grown)
        yield f"memory per pod, of {PODS}", f"{sum(grown.values()) / PODS / 1e6:.2f} MB ({share})"
        watched = [*pids.items(), *(("conmon", pid) for pid in conmons)]
        used = [cpu(pid) for _, pid in watched]
        await asyncio.sleep(IDLE)
        spent = {}
        for (name, pid), then in zip(watched, used, strict=True):
            spent[name] = spent.get(name, 0) + cpu(pid) - then
        share = ", ".join(f"{name} {100 * seconds / IDLE:.1f}" for name, seconds in spent.items())
        yield f"idle with {PODS} pods", f"{100 * sum(spent.values()) / IDLE:.1f} % of a core ({share})"
        await self.clear()

    async def exec(self):
        """Run many commands in one container, one after the other."""
        await self.pod("exec", "sleep 1d")
        await self.wait("Running", 1)
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/exec/exec?command=echo&command=hi&stdout=true&stderr=true"

        async def command():
            async with self.http.ws_connect(path, protocols=["v5.channel.k8s.io"]) as ws:
                said = [message.data async for message in ws]
            assert b"\x01hi\n" in said, said

        for _ in range(100):
            await command()
        pids = self.pids()
        before = {name: state(pid) for name, pid in pids.items()}
        began, used = time.monotonic(), sum(map(cpu, pids.values()))
        for _ in range(EXECS):
            await command()
        took, used = time.monotonic() - began, sum(map(cpu, pids.values())) - used
        await asyncio.sleep(2)
        yield f"{EXECS} commands", f"{took / EXECS * 1e3:.1f} ms each, {used / EXECS * 1e3:.1f} ms of processor time"
        for name, pid in pids.items():
            yield f"what they leave, {name}", f"{before[name]} before, {state(pid)} after"
        await self.clear()

    async def logs(self):
        """Read a log of one gigabyte, in short lines and in long ones, and see what kubectl alone can take."""
        await self.pod("log", "echo 1")
        pod = (await self.wait("Succeeded", 1))[0]
        file = next(Path("/var/log/pods").glob(f"{NAMESPACE}_log_{pod['metadata']['uid']}/c/0.log"))
        path = f"/api/v1/namespaces/{NAMESPACE}/pods/log/log"
        pki = Path("/var/lib/wherry", self.cluster, "pki")
        for line in LINES:
            write_log(file, line)
            curl = ["curl", "-s", "--cacert", self.authority, "--cert", self.pair, self.url + path]
            yield f"lines of {line}, curl", read(curl, self.pids())
            kubectl = ["kubectl", "-n", NAMESPACE, "logs", "log", "--kubeconfig"]
            yield f"lines of {line}, kubectl", read([*kubectl, self.kubeconfig], self.pids())
            size = file.stat().st_size * line // (line + PREFIX)
            yield f"lines of {line}, kubectl >/dev/null", read([*kubectl, self.kubeconfig], self.pids(), size)
            with presets.serving(pki / "kubelet-serving.crt", pki / "kubelet-serving.key", line, LOG_BYTES) as config:
                kubeconfig = self.pair.with_name("presets.json")
                kubeconfig.write_text(json.dumps(config))
                alone = ["kubectl", "logs", "log", "--kubeconfig", kubeconfig]
                yield f"lines of {line}, kubectl at most", read(alone, {})
                yield f"lines of {line}, the same >/dev/null", read(alone, {}, LOG_BYTES)
        await self.clear()

    async def load(self):
        """Load an image of 200 MB, then once more."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "image.tar")
            write_image(path)
            for again in ("", ", again"):
                pids = self.pids()
                used, began = cpu(pids["node"]), time.monotonic()
                command = [sys.executable, "-m", "wherry", "image", "load", "--name", self.cluster, str(path)]
                subprocess.run(command, check=True, capture_output=True)
                took, used = time.monotonic() - began, cpu(pids["node"]) - used
                yield f"load of {IMAGE_BYTES // 1_000_000} MB{again}", f"{took:.2f} s, {used:.2f} s of processor time"
        subprocess.run([*command[:4], "rm", *command[5:7], "bench.local/big:1"], check=True, capture_output=True)


def write_log(file, line):
    """Write a log of `LOG_BYTES` for its readers, in whole lines of `line` bytes for them."""
    stamp = "2026-01-02T03:04:05.{:09d}+00:00 stdout F " + "x" * (line - 1) + "\n"
    block = "".join(stamp.format(n) for n in range((1 << 20) // line)).encode()
    with file.open("wb") as log:
        while log.tell() < LOG_BYTES * (line + PREFIX) / line:
            log.write(block)


def read(command, pids, size=0):
    """Run a command that reads a log; say how fast that went and what it took of the client and of `pids`.

    Its output comes here by a pipe, as to any program behind it; with `size` (its bytes) it goes nowhere.
    """
    held, used = {name: pss(pid) for name, pid in pids.items()}, {name: cpu(pid) for name, pid in pids.items()}
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with subprocess.Popen(command, stdout=subprocess.DEVNULL if size else subprocess.PIPE, bufsize=0) as reading:
        got = size
        while not size and (data := os.read(reading.stdout.fileno(), 1 << 20)):
            got += len(data)
    took, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    grown = ", ".join(f"{name} {(pss(pid) - held[name]) / 1e6:.1f}" for name, pid in pids.items())
    spent = {name: cpu(pid) - used[name] for name, pid in pids.items()}
    spent["client"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    share = ", ".join(f"{name} {seconds / got * 1e9:.1f}" for name, seconds in spent.items())
    more = f"; MB of memory more: {grown}" if grown else ""
    return f"{got / took / 1e6:.0f} MB/s (seconds of processor per GB: {share}{more})"


def write_image(path):
    """Write a docker-archive whose four layers hold files that do not compress."""
    layers = []
    for number in range(4):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for part in range(50):
                data = os.urandom(IMAGE_BYTES // 200)
                member = tarfile.TarInfo(f"data/{number}/{part}")
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        layers.append(buffer.getvalue())
    ids = [f"sha256:{hashlib.sha256(layer).hexdigest()}" for layer in layers]
    config = {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": ids}}
    names = [f"{number}.tar" for number in range(len(layers))]
    manifest = [{"Config": "config.json", "RepoTags": ["bench.local/big:1"], "Layers": names}]
    parts = {"config.json": json.dumps(config).encode(), "manifest.json": json.dumps(manifest).encode()}
    with tarfile.open(path, "w") as tar:
        for name, data in (*parts.items(), *zip(names, layers, strict=True)):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


async def main():
    cluster, kubeconfig, image, *rows = sys.argv[1:]
    bench = Bench(cluster, kubeconfig, image)
    async with bench.session():
        for row in rows or ("pods", "exec", "logs", "load"):
            async for what, figure in getattr(bench, row)():
                print(f"{what:<36} {figure}", flush=True)


asyncio.run(main())
