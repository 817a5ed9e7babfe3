"""Pods that serve and pods that ask, of busybox: what the tests of services, names and volumes are made of."""

import contextlib
import json
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.e2e.cluster import IMAGE, Cluster, Namespace
from tests.e2e.conformance.api import Api, Object
from tests.e2e.conformance.programs import asking, python_pod
from wherry.util import clock


@dataclass(frozen=True)
class World:
    """One namespace of the cluster."""

    api: Api
    cluster: Cluster
    ns: str

    @property
    def core(self) -> str:
        return f"/api/v1/namespaces/{self.ns}"

    def apis(self, group_version: str) -> str:
        return f"/apis/{group_version}/namespaces/{self.ns}"

    def kubectl(self, *args: str, stdin: str = "") -> str:
        return Namespace(self.cluster, self.ns).kubectl(*args, stdin=stdin)

    def pod(self, name: str, command: str = "", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
        """Create a pod of one container that runs a shell command (default: sleeps)."""
        container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", command or "sleep 1d"]}
        container |= spec.pop("container", {})
        body = {
            "metadata": {"name": name, "labels": labels or {}},
            "spec": {"containers": [container], "terminationGracePeriodSeconds": 0} | spec,
        }
        made: Object = self.api.create(f"{self.core}/pods", body)
        return made

    def python(self, name: str, source: str = "", *, labels: dict[str, str] | None = None, **spec: Any) -> Object:
        """Create a pod that runs a Python program (default: sleeps)."""
        body = python_pod(source, **spec) if source else python_pod(**spec)
        meta = {"name": name, "labels": labels or {}}
        made: Object = self.api.create(f"{self.core}/pods", {"metadata": meta, "spec": body})
        return made

    def ask(self, name: str, *addresses: str) -> list[str]:
        """Ask addresses from within a pod (see `programs.asking`)."""
        return self.kubectl("exec", name, "--", *asking(*addresses)).splitlines()

    def ready(self, name: str, seconds: float = 30) -> Object:
        """Wait until a pod is ready and return it."""
        made: Object = self.api.wait(f"{self.core}/pods/{name}", is_ready, what=f"pod {name} ready", seconds=seconds)
        return made

    def ended(self, name: str, seconds: float = 30) -> Object:
        """Wait until a pod has come to its end and return it."""

        def over(pod: Object) -> bool:
            return pod["status"].get("phase") in ("Succeeded", "Failed")

        made: Object = self.api.wait(f"{self.core}/pods/{name}", over, what=f"pod {name} ended", seconds=seconds)
        return made

    def log(self, name: str, **params: str) -> str:
        return self.api.raw("GET", f"{self.core}/pods/{name}/log", headers=None, **params).body.decode()

    def exec(self, name: str, command: str) -> str:
        """Run a shell command in a pod and return what it wrote."""
        return self.kubectl("exec", name, "--", "sh", "-c", command)

    def try_exec(self, name: str, command: str) -> str:
        """Run a shell command in a pod and return what it wrote, also when it failed."""
        return Namespace(self.cluster, self.ns).run("exec", name, "--", "sh", "-c", command).stdout

    def service(self, name: str, **spec: Any) -> Object:
        made: Object = self.api.create(f"{self.core}/services", {"metadata": {"name": name}, "spec": spec})
        return made


def is_ready(pod: Object | None) -> bool:
    """Tell whether a pod's condition Ready is true."""
    conditions = (pod or {}).get("status", {}).get("conditions", [])
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def eventually(check: Callable[[], Any], what: str, seconds: float = 20) -> Any:
    """Try until `check` returns something true; return it."""
    end = clock.monotonic() + seconds
    while True:
        found = check()
        if found:
            return found
        assert clock.monotonic() < end, f"{what} after {seconds} s"
        clock.block(0.1)


def fetch(url: str, timeout: float = 2) -> str:
    """Return what a web server of this machine says; empty when it does not answer."""
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=timeout) as answer:
        return str(answer.read().decode())
    return ""


def dump(obj: Any) -> str:
    return json.dumps(obj)[:1500]
