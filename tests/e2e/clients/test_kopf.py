"""An operator under kopf: handlers, finalizer, status, timer, daemon, events and its own admission webhooks."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Namespace

pytest.importorskip("kopf", reason="needs the dependency group clients")
pytestmark = pytest.mark.e2e

OPERATOR = Path(__file__).with_name("operator_boats.py")


@pytest.fixture
def operator(boats: Cluster, namespace: Namespace, tmp_path: Path) -> Iterator[Namespace]:
    """A namespace for which the operator runs."""
    log = tmp_path / "log"
    command = [sys.executable, "-m", "kopf", "run", "--namespace", namespace.name, "--standalone", str(OPERATOR)]
    key, certificate = str(tmp_path / "key"), str(tmp_path / "crt")
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=boats", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate]
    subprocess.run([*make, *names], check=True, capture_output=True)
    environment = boats.environment | {"BOATS_CERTIFICATE": certificate, "BOATS_KEY": key}
    with log.open("w") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
        try:
            for kind in ("mutating", "validating"):
                reference = f"{kind}webhookconfiguration/boats.example.com"
                ready = "--for=jsonpath={.webhooks[0].clientConfig.url}"
                namespace.kubectl("wait", reference, "--for=create", "--timeout=30s")
                namespace.kubectl("wait", reference, ready, "--timeout=30s")
            yield namespace
        except BaseException:
            print(log.read_text())
            raise
        finally:
            namespace.run("delete", "boats", "--all", "--timeout=20s")
            process.terminate()
            process.wait(timeout=20)
            kinds = "mutatingwebhookconfiguration,validatingwebhookconfiguration"
            namespace.run("delete", kinds, "boats.example.com", "--ignore-not-found")


def boat(name: str, **spec: object) -> str:
    return json.dumps({"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": name}, "spec": spec})


def test_the_operator_does_its_work(operator: Namespace) -> None:
    made = operator.run("create", "-f", "-", stdin=boat("a", oars=2))
    assert made.returncode == 0, made.stderr
    assert "Warning: boats are wet" in made.stderr
    for path, value in (("afloat", "true"), ("launch.oars", "2"), ("rounds", "3")):
        operator.kubectl("wait", "boat/a", f"--for=jsonpath={{.status.{path}}}={value}", "--timeout=20s")
    found = operator.get("boat", "a")
    assert found["spec"] == {"oars": 2, "colour": "brown"}
    assert found["metadata"]["finalizers"] == ["example.com/harbour"]
    operator.kubectl("patch", "boat", "a", "--type=merge", "-p", '{"spec":{"colour":"red"}}')
    operator.kubectl("wait", "boat/a", "--for=jsonpath={.status.painted}=brown to red", "--timeout=20s")
    refused = operator.run("patch", "boat", "a", "--type=merge", "-p", '{"spec":{"colour":"pink"}}')
    assert "denied the request: not pink" in refused.stderr
    [owner] = operator.get("configmap", "a-crew")["metadata"]["ownerReferences"]
    assert owner["uid"] == found["metadata"]["uid"]
    operator.kubectl("delete", "boat", "a", "--timeout=20s")
    reasons = operator.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()
    assert {"Launched", "Watched", "Sunk"} <= set(reasons)
    operator.kubectl("wait", "configmap/a-crew", "--for=delete", "--timeout=20s")
