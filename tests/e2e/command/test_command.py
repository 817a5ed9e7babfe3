"""The ``wherry`` command as a person uses it: clusters come up, resume, live side by side, and leave nothing."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.e2e

ONE, TWO = "e2e-one", "e2e-two"


class Shell:
    """Runs commands with a kubeconfig of their own."""

    def __init__(self, kubeconfig: Path) -> None:
        self.kubeconfig = kubeconfig
        self.env = {**os.environ, "KUBECONFIG": str(kubeconfig)}

    def run(self, *command: str, code: int = 0) -> str:
        done = subprocess.run(command, capture_output=True, text=True, env=self.env, timeout=120, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def wherry(self, *arguments: str, code: int = 0) -> str:
        return self.run(sys.executable, "-m", "wherry", *arguments, code=code)

    def kubectl(self, name: str, *arguments: str, code: int = 0) -> str:
        return self.run("kubectl", "--context", f"wherry-{name}", *arguments, code=code)

    def get(self, name: str, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.kubectl(name, "get", *arguments, "-o", "json"))
        return found


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shell]:
    made = Shell(tmp_path_factory.mktemp("kube") / "config")
    made.kubeconfig.write_text(
        "apiVersion: v1\nkind: Config\ncontexts: [{name: mine, context: {cluster: a, user: b}}]\n"
    )
    yield made
    for name in (ONE, TWO):
        if Path("/var/lib/wherry", name).exists():
            made.wherry("delete", "--name", name)


def pid(name: str, process: str) -> int:
    return int(Path("/run/wherry", name, f"{process}.pid").read_text())


def test_up_makes_a_ready_node_and_a_context_beside_the_others(shell: Shell) -> None:
    said = shell.wherry("up", "--name", ONE, "--api-port", "16501", "--kubelet-port", "16502")
    assert "is ready after" in said
    node = shell.get(ONE, "node", ONE)
    ready = {c["type"]: c["status"] for c in node["status"]["conditions"]}
    assert ready["Ready"] == "True"
    assert "default" in shell.kubectl(ONE, "get", "serviceaccounts")
    assert "mine" in shell.run("kubectl", "config", "get-contexts", "-o", "name")
    assert stat.S_IMODE(shell.kubeconfig.stat().st_mode) == 0o600


def test_up_on_a_running_cluster_says_so(shell: Shell) -> None:
    assert "is running" in shell.wherry("up", "--name", ONE)


def test_status_tells_processes_addresses_and_logs(shell: Shell) -> None:
    said = shell.wherry("status", "--name", ONE)
    for part in (
        "server process running",
        "node process",
        "MiB",
        "https://127.0.0.1:16501",
        "1 of 1 Ready",
        "/var/log",
    ):
        assert part in said


def test_the_printed_kubeconfig_works(shell: Shell, tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(shell.wherry("kubeconfig", "--name", ONE))
    assert "default" in shell.run("kubectl", "--kubeconfig", str(path), "get", "namespaces")


def test_objects_outlive_down_and_up(shell: Shell) -> None:
    shell.kubectl(ONE, "create", "configmap", "kept", "--from-literal=a=1")
    uid = shell.get(ONE, "configmap", "kept")["metadata"]["uid"]
    assert "stopped" in shell.wherry("down", "--name", ONE)
    shell.wherry("status", "--name", ONE, code=3)
    shell.wherry("up", "--name", ONE)
    assert shell.get(ONE, "configmap", "kept")["metadata"]["uid"] == uid


def test_the_number_of_fake_nodes_follows_each_up(shell: Shell) -> None:
    for number in (2, 1, 0):
        shell.wherry("down", "--name", ONE)
        shell.wherry("up", "--name", ONE, "--fake-nodes", str(number))
        assert len(shell.get(ONE, "nodes")["items"]) == 1 + number


def test_every_acknowledged_write_outlives_a_killed_server(shell: Shell) -> None:
    for number in range(5):
        shell.kubectl(ONE, "create", "configmap", f"before-{number}")
    os.kill(pid(ONE, "server"), signal.SIGKILL)
    shell.wherry("up", "--name", ONE)
    names = {c["metadata"]["name"] for c in shell.get(ONE, "configmaps")["items"]}
    assert {f"before-{number}" for number in range(5)} <= names


def test_two_clusters_live_side_by_side(shell: Shell) -> None:
    shell.wherry("up", "--name", TWO)
    shell.kubectl(TWO, "create", "namespace", "only-here")
    assert "only-here" not in shell.kubectl(ONE, "get", "namespaces")
    addresses = {shell.get(name, "service", "kubernetes")["spec"]["clusterIP"] for name in (ONE, TWO)}
    assert len(addresses) == 2
    shell.wherry("delete", "--name", TWO)
    assert "default" in shell.kubectl(ONE, "get", "namespaces")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("up", "--name", "Not_A_Name"), "cluster name"),
        (("up", "--name", "fresh", "--kubernetes-version", "1.2"), "not supported"),
        (("up", "--name", ONE, "--api-port", "16503"), "settled at its first start"),
        (("status", "--name", "absent"), "wherry up --name absent"),
        (("delete", "--name", "absent"), "there is no cluster"),
        (("image", "ls", "--name", "absent"), "is not running"),
    ],
)
def test_a_mistake_is_one_sentence(shell: Shell, arguments: tuple[str, ...], said: str) -> None:
    answer = shell.wherry(*arguments, code=1)
    assert said in answer
    assert len(answer.strip().splitlines()) == 1


def test_a_port_in_use_is_named_with_the_remedy(shell: Shell) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("0.0.0.0", 16504))
        taken.listen()
        answer = shell.wherry("up", "--name", "fresh", "--api-port", "16504", code=1)
    assert "port 16504" in answer
    assert "--api-port" in answer
    assert not Path("/var/lib/wherry/fresh").exists()


def test_delete_leaves_nothing(shell: Shell) -> None:
    shell.wherry("delete", "--name", ONE)
    time.sleep(0.1)
    for path in (f"/var/lib/wherry/{ONE}", f"/run/wherry/{ONE}", f"/var/log/wherry/{ONE}"):
        assert not Path(path).exists()
    assert ONE not in Path("/proc/self/mountinfo").read_text()
    assert ONE not in shell.run("nft", "list", "tables")
    assert f"wherry-{ONE}" not in shell.run("kubectl", "config", "get-contexts", "-o", "name")
