"""One cluster for all end-to-end tests of a session, with an image made of busybox, and kubectl for it."""

import http.client
import json
import os
import shutil
import socket
import ssl
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.leaks import CLUSTER
from wherry.util import clock

BUSYBOX = Path("/bin/busybox")
IMAGE = "wherry.local/box:1"
OTHER_IMAGE = "wherry.local/box:2"
"""Two names of one image: busybox, which sleeps until it is told to end, unless a pod says otherwise."""

Done = subprocess.CompletedProcess[str]
_PROGRAMS = ("kubectl", "crun", "conmon", "nft", "buildah")
DOCKERFILE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
RUN mkdir -p /tmp /etc /www && echo hello >/www/index.html && echo 'root:x:0:0::/:/bin/sh' >/etc/passwd
CMD ["sh", "-c", "trap exit TERM; sleep 1d & wait"]
"""


@dataclass(frozen=True)
class Cluster:
    """A running cluster and the kubeconfig of its administrator."""

    name: str
    kubeconfig: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of programs that shall see this cluster."""
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "KUBE_EDITOR": "false"}

    def run(
        self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl and return what it did, also when it failed."""
        environment = self.environment | dict(env or {})
        command = ["kubectl", *args]
        return subprocess.run(
            command, input=stdin, env=environment, capture_output=True, text=True, timeout=60, check=False
        )

    def kubectl(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
        """Run kubectl and return its standard output; the test fails when kubectl does."""
        done = self.run(*args, stdin=stdin, env=env)
        assert done.returncode == 0, f"kubectl {' '.join(args)}\n{done.stdout}{done.stderr}"
        return done.stdout

    def stranger(self) -> str:
        """Return the path of a kubeconfig that knows the cluster and no user."""
        shown = json.loads(self.kubectl("config", "view", "--raw", "-o", "json"))
        for context in shown["contexts"]:
            context["context"].pop("user")
        path = self.kubeconfig.with_name("stranger")
        path.write_text(json.dumps(shown | {"users": []}))
        return str(path)

    def request(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> tuple[int, Any]:
        """Send one request as the administrator, without kubectl; return the status and the decoded answer."""
        config = yaml.safe_load(self.kubeconfig.read_text())
        server = urlsplit(config["clusters"][0]["cluster"]["server"])
        connection = http.client.HTTPSConnection(server.hostname or "", server.port, context=self._tls(config))
        data, headers = (json.dumps(body), {"Content-Type": "application/json"}) if body else (None, {})
        connection.request(method, path, data, headers)
        with connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())

    def _tls(self, config: Any) -> ssl.SSLContext:
        user, cluster = config["users"][0]["user"], config["clusters"][0]["cluster"]
        context = ssl.create_default_context(cadata=b64decode(cluster["certificate-authority-data"]).decode())
        pair = self.kubeconfig.with_name("pair.pem")
        if not pair.exists():
            pair.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        context.load_cert_chain(pair)
        return context

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start kubectl without waiting for it; its output is a pipe."""
        return subprocess.Popen(
            ["kubectl", *args],
            env=self.environment | dict(env or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def get(self, *args: str) -> Any:
        """Return the object or list that ``kubectl get`` shows."""
        return json.loads(self.kubectl("get", *args, "-o", "json"))


@dataclass(frozen=True)
class Namespace:
    """A namespace of one test."""

    cluster: Cluster
    name: str

    def run(
        self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run kubectl in this namespace and return what it did, also when it failed."""
        return self.cluster.run("-n", self.name, *args, stdin=stdin, env=env)

    def kubectl(self, *args: str, stdin: str = "", env: Mapping[str, str] | None = None) -> str:
        """Run kubectl in this namespace and return its standard output."""
        return self.cluster.kubectl("-n", self.name, *args, stdin=stdin, env=env)

    def start(self, *args: str, env: Mapping[str, str] | None = None) -> subprocess.Popen[str]:
        """Start kubectl in this namespace without waiting for it."""
        return self.cluster.start("-n", self.name, *args, env=env)

    def get(self, *args: str) -> Any:
        """Return the object or list that ``kubectl get`` shows."""
        return self.cluster.get("-n", self.name, *args)

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Create or change objects as ``kubectl apply`` does."""
        self.kubectl("apply", "-f", "-", stdin="\n".join(map(json.dumps, objects)))

    def ready_pod(self, name: str, *command: str) -> None:
        """Run a pod of the image and wait until it is ready."""
        self.kubectl("run", name, f"--image={IMAGE}", *(["--command", "--", *command] if command else []))
        self.kubectl("wait", f"pod/{name}", "--for=condition=Ready", "--timeout=30s")


def free_port() -> int:
    """Return a TCP port of this machine that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wherry(kubeconfig: Path, *args: str) -> None:
    """Run ``wherry`` with a kubeconfig; the test fails when it does."""
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    command = [sys.executable, "-m", "wherry", *args]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"wherry {' '.join(args)}\n{done.stdout}{done.stderr}"


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster of this test session: up before the first test that wants it, removed after the last."""
    if os.geteuid() != 0:
        pytest.skip("needs root: real containers, mounts and nftables")
    missing = [program for program in _PROGRAMS if shutil.which(program) is None]
    if missing or not BUSYBOX.exists():
        pytest.skip(f"needs {', '.join(missing) or 'busybox-static'}: call script/test, which installs it")
    directory = tmp_path_factory.mktemp("cluster")
    kubeconfig = directory / "kubeconfig"
    ports = (f"--api-port={free_port()}", f"--kubelet-port={free_port()}")
    try:
        wherry(kubeconfig, "up", "--name", CLUSTER, "--node-name=node-a", *ports)
        context = directory / "image"
        context.mkdir()
        shutil.copy(BUSYBOX, context / "busybox")
        (context / "Dockerfile").write_text(DOCKERFILE)
        for tag in (IMAGE, OTHER_IMAGE):
            wherry(kubeconfig, "image", "build", "--name", CLUSTER, "-t", tag, str(context))
        yield Cluster(CLUSTER, kubeconfig)
    finally:
        wherry(kubeconfig, "delete", "--name", CLUSTER)


@pytest.fixture
def namespace(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Namespace]:
    """A namespace of the test's own; its removal is begun at the end of the test, and not awaited."""
    name = f"t{abs(hash(request.node.nodeid)) % 10**8}-{int(clock.monotonic() * 1000) % 10**6}"
    path = "/api/v1/namespaces"
    status, answer = cluster.request("POST", path, {"metadata": {"name": name}})
    assert status == 201, answer
    while cluster.request("GET", f"{path}/{name}/serviceaccounts/default")[0] != 200:
        clock.block(0.005)
    yield Namespace(cluster, name)
    cluster.request("DELETE", f"{path}/{name}")


@pytest.fixture
def served(namespace: Namespace) -> Namespace:
    """A namespace with the ready pod `web`, which answers on port 8080 and logs `began`."""
    command = ["sh", "-c", "echo began; httpd -p 8080 -h /www; trap exit TERM; sleep 1d & wait"]
    container = {"name": "box", "image": IMAGE, "command": command}
    metadata = {"name": "web", "labels": {"app": "web"}}
    namespace.apply({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}})
    namespace.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=30s")
    return namespace
