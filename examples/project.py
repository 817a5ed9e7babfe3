"""What the examples' `run` scripts share: a cluster, its images, kubectl, waiting, and the report at the end."""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

EXAMPLES = Path(__file__).resolve().parent
WHERRY = [os.environ.get("WHERRY_PYTHON") or str(EXAMPLES.parent / ".venv/bin/python"), "-m", "wherry"]
DEBIAN = "wherry.local/debian:12"
"""The base of every image here; `Project.debian` makes it of Debian's packages."""

Obj = dict[str, Any]
T = TypeVar("T")


class Failed(Exception):
    """Something does not hold; the message says what."""


def sh(*command: str, stdin: str | None = None, check: bool = True) -> str:
    """Run a command and return its standard output. Raises Failed when it fails and `check` holds."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    if check and done.returncode != 0:
        raise Failed(f"{' '.join(command)} failed ({done.returncode}):\n{done.stdout}{done.stderr}")
    return done.stdout


def until(what: str, condition: Callable[[], T], timeout: float = 90) -> T:
    """Wait for `condition()` to be true and return its value. Raises Failed after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    last: object = ""
    while True:
        try:
            if value := condition():
                return value
            last = ""
        except (subprocess.SubprocessError, OSError, ValueError, LookupError, Failed) as error:
            last = error
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not within {timeout} s\n{last}")
        time.sleep(0.2)


def expect(what: str, holds: object, shown: object = "") -> None:
    """Raise Failed with what was `shown` unless `holds`."""
    if not holds:
        raise Failed(f"{what}: does not hold\n{shown}")


def fetch(url: str, **headers: str) -> str:
    """Return the body of a page. Raises OSError."""
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=5) as answer:
        return str(answer.read().decode())


class Load:
    """Requests made with `ask`, one after the other, from a thread, until stopped."""

    def __init__(self, ask: Callable[[], object]) -> None:
        self.count = 0
        self.failures: list[str] = []
        self._ask = ask
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work)

    def _work(self) -> None:
        while not self._end.is_set():
            try:
                self._ask()
            except (OSError, ValueError) as error:
                self.failures.append(f"{time.strftime('%X')} {error}")
            self.count += 1
            self._end.wait(0.01)

    def __enter__(self) -> "Load":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


class Project:
    """An example on a cluster. A subclass lists its `steps`, and what else than the cluster they leave."""

    legacy_apis = False
    """Whether its manifests name API versions that Kubernetes serves no longer."""
    host_paths: tuple[Path, ...] = ()
    """Folders of this machine that the manifests mount: absent before, removed after."""

    def __init__(self, title: str, cluster: str) -> None:
        self.title = title
        self.name = cluster
        self.context = "wherry" if cluster == "wherry" else f"wherry-{cluster}"
        self.here = EXAMPLES / title

    def steps(self) -> Iterable[Callable[[], None]]:
        """Return the steps in their order; each is reported under its function's name."""
        raise NotImplementedError

    # -- the cluster

    def start(self) -> None:
        """Start the cluster, or use the one of that name that runs."""
        self.wherry("up", *(["--legacy-apis"] if self.legacy_apis else []))

    def wherry(self, *arguments: str) -> str:
        """Run a `wherry` command for the cluster."""
        return sh(*WHERRY, *arguments, "--name", self.name)

    def kubectl(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl and return what it prints."""
        return sh("kubectl", "--context", self.context, *arguments, stdin=stdin, check=check)

    def refused(self, *arguments: str) -> str:
        """Run a kubectl command that the server must refuse, and return its complaint."""
        done = subprocess.run(
            ["kubectl", "--context", self.context, *arguments], capture_output=True, text=True, check=False
        )
        expect(f"kubectl {' '.join(arguments)} is refused", done.returncode != 0, done.stdout)
        return done.stderr

    def apply(self, *files: str) -> None:
        """Apply files of the example, in their order."""
        for file in files:
            self.kubectl("apply", "-f", str(self.here / file))

    # -- images

    def debian(self) -> None:
        """Make the base image of Debian's packages, unless the cluster has it."""
        if DEBIAN.rpartition(":")[0] in sh(*WHERRY, "image", "ls", "--name", self.name):
            return
        with tempfile.TemporaryDirectory() as folder:
            sh("mmdebstrap", "--quiet", "--variant=minbase", "bookworm", f"{folder}/rootfs.tar", *_mirror())
            shutil.copy(EXAMPLES / "bases/debian/Dockerfile", folder)
            self.image(folder, DEBIAN)

    def images(self, tags: dict[str, str]) -> None:
        """Build the images of several folders that do not build on each other, two at a time."""
        self.debian()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(self.image, tags.keys(), tags.values()))

    def image(self, folder: str | Path, tag: str, **arguments: str) -> None:
        """Build an image of a folder of the example; `arguments` are build arguments."""
        given = [part for name, value in arguments.items() for part in ("--build-arg", f"{name}={value}")]
        sh(*WHERRY, "image", "build", "--name", self.name, "-t", tag, *given, str(self.here / folder))

    # -- objects

    def get(self, *arguments: str) -> Obj:
        """Return what `kubectl get ... -o json` prints."""
        found: Obj = json.loads(self.kubectl("get", *arguments, "-o", "json"))
        return found

    def pods(self, selector: str, *arguments: str) -> list[Obj]:
        """Return the pods that a label selector finds, without those that are being deleted."""
        found = self.get("pods", "-l", selector, *arguments)["items"]
        return [pod for pod in found if not pod["metadata"].get("deletionTimestamp")]

    def names(self, selector: str, *arguments: str) -> list[str]:
        """Return the names of `pods`."""
        return [pod["metadata"]["name"] for pod in self.pods(selector, *arguments)]

    def ready(self, selector: str, count: int, *arguments: str, timeout: float = 90) -> list[str]:
        """Wait until exactly `count` pods are there with every container ready; return their names."""

        def all_ready() -> list[Obj]:
            pods = self.pods(selector, *arguments)
            statuses = [c for p in pods for c in p["status"].get("containerStatuses", [])]
            return pods if len(pods) == count and statuses and all(c["ready"] for c in statuses) else []

        found = until(f"{count} ready pods of {selector}", all_ready, timeout)
        return [pod["metadata"]["name"] for pod in found]

    def restarts(self, pod: str, *arguments: str) -> int:
        """Return how often a pod's containers were restarted."""
        return sum(c["restartCount"] for c in self.get("pod", pod, *arguments)["status"]["containerStatuses"])

    def address(self) -> str:
        """Return the node's address."""
        addresses = self.get("nodes")["items"][0]["status"]["addresses"]
        return next(str(each["address"]) for each in addresses if each["type"] == "InternalIP")

    def node_url(self, service: str, *arguments: str, port: int = 0) -> str:
        """Return the URL of a Service's node port: of its first port, or of port number `port`."""
        ports = self.get("service", service, *arguments)["spec"]["ports"]
        chosen = next(each for each in ports if port in (0, each["port"]))
        return f"http://{self.address()}:{chosen['nodePort']}/"

    def clean(self) -> None:
        """Delete what the example made in the namespace `default`, and see it go."""
        workloads = "deployments,daemonsets,statefulsets,replicasets,replicationcontrollers,cronjobs,jobs,pods"
        kinds = f"{workloads},services,ingresses,persistentvolumeclaims,configmaps,secrets"
        made = [
            name
            for name in self.kubectl("get", kinds, "-o", "name").split()
            if name not in ("service/kubernetes", "configmap/kube-root-ca.crt")
        ]
        self.kubectl("delete", "--ignore-not-found", *made)
        until("the pods and volumes are gone", lambda: not self.kubectl("get", "pods,pv", "-o", "name"), 60)


def _mirror() -> list[str]:
    """The machine's own Debian mirror, so that its settings hold; Ubuntu machines name Debian's."""
    named = os.environ.get("DEBIAN_MIRROR")
    if named:
        return [named]
    return [] if "ID=debian" in Path("/etc/os-release").read_text() else ["http://deb.debian.org/debian"]


def main(title: str, example: type[Project], description: str | None) -> None:
    """Run an example from the command line: its steps with their times, then `TITLE: ok`."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default=title, metavar="CLUSTER", help=f"the cluster (default: {title})")
    parser.add_argument("--keep", action="store_true", help="leave the cluster and the folders")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit(f"{title}: needs root: call it with sudo")
    for path in example.host_paths:
        if path.exists():
            sys.exit(f"{title}: {path} exists; the manifests mount it, so move it away first")
    project = example(title, options.name)
    times = []
    try:
        for step in project.steps():
            began = time.monotonic()
            step()
            times.append(f"{step.__name__} {time.monotonic() - began:.1f} s")
            print(times[-1], flush=True)
    except Failed as error:
        sys.exit(f"{title}: {error}")
    finally:
        if not options.keep:
            with contextlib.suppress(Failed):
                project.wherry("delete")
            for path in example.host_paths:
                shutil.rmtree(path, ignore_errors=True)
    print(f"{title}: ok ({', '.join(times)})")
