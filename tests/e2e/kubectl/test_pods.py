"""What reaches into pods: run, exec, attach, logs, cp, port-forward, proxy, debug."""

import json
import re
import subprocess
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE, Namespace

pytestmark = pytest.mark.e2e

TALK = "i=0; while [ $i -lt 3 ]; do echo line $i; i=$((i+1)); done; trap exit TERM; sleep 1d & wait"
COUNT = "trap exit TERM; i=0; while :; do echo tick $i; i=$((i+1)); sleep 0.1; done"


def pod(name: str, *containers: dict[str, Any], **spec: Any) -> dict[str, Any]:
    found = [{"name": f"c{i}", "image": IMAGE} | container for i, container in enumerate(containers or ({},))]
    metadata = {"name": name, "labels": {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": found} | spec}


def start(namespace: Namespace, *pods: dict[str, Any]) -> None:
    namespace.apply(*pods)
    names = [f"pod/{p['metadata']['name']}" for p in pods]
    namespace.kubectl("wait", *names, "--for=condition=Ready", "--timeout=30s")


def shell(text: str) -> dict[str, Any]:
    return {"command": ["sh", "-c", text]}


def test_running_a_pod(namespace: Namespace) -> None:
    namespace.kubectl("run", "a", f"--image={IMAGE}", "--labels=x=y", "--env=A=1", "--port=80", "--expose")
    assert namespace.get("service", "a")["spec"]["selector"] == {"x": "y"}
    once = ("-i", "--rm", "-q", "--restart=Never", f"--image={IMAGE}", "--", "sh", "-c")
    shown = namespace.kubectl("run", "once", *once, "read x; echo got $x", stdin="it\n")
    assert shown == "got it\n"
    failed = namespace.run("run", "bad", *once, "exit 7")
    assert failed.returncode == 7
    container = {"name": "o", "image": IMAGE, "env": [{"name": "B", "value": "2"}]}
    override = "--overrides=" + json.dumps({"spec": {"containers": [container]}})
    assert "name: B" in namespace.kubectl("run", "o", f"--image={IMAGE}", override, "--dry-run=server", "-o", "yaml")


def test_executing(namespace: Namespace) -> None:
    start(namespace, pod("a", {}, {}))
    assert namespace.kubectl("exec", "a", "-c", "c1", "--", "echo", "hi") == "hi\n"
    assert "Defaulted container" in namespace.run("exec", "a", "--", "true").stderr
    assert namespace.kubectl("exec", "-i", "pod/a", "-c", "c0", "--", "cat", stdin="text\n") == "text\n"
    done = namespace.run("exec", "a", "-c", "c0", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (done.returncode, done.stdout) == (3, "out\n")
    assert done.stderr == "err\ncommand terminated with exit code 3\n"
    big = namespace.kubectl("exec", "a", "-c", "c0", "--", "sh", "-c", "yes | head -c 3000000")
    assert len(big) == 3_000_000
    text = "x" * 2_000_000
    assert namespace.kubectl("exec", "-i", "a", "-c", "c0", "--", "wc", "-c", stdin=text).strip() == str(len(text))
    missing = namespace.run("exec", "a", "-c", "c0", "--", "/none")
    assert missing.returncode != 0 and "no such file" in missing.stderr.lower()
    assert "container none is not valid for pod a" in namespace.run("exec", "a", "-c", "none", "--", "true").stderr


def test_the_older_protocol_of_streams(served: Namespace) -> None:
    env = {"KUBECTL_REMOTE_COMMAND_WEBSOCKETS": "false", "KUBECTL_PORT_FORWARD_WEBSOCKETS": "false"}
    assert served.kubectl("exec", "-i", "web", "--", "cat", stdin="text\n", env=env) == "text\n"
    failed = served.run("exec", "web", "--", "sh", "-c", "echo out; echo err >&2; exit 3", env=env)
    assert (failed.returncode, failed.stdout) == (3, "out\n")
    assert failed.stderr == "err\ncommand terminated with exit code 3\n"
    with background(served, "port-forward", "pod/web", ":8080", env=env) as local:
        assert [fetch(local, "/index.html") for _ in range(3)] == ["hello\n"] * 3


def test_a_terminal_for_exec(namespace: Namespace) -> None:
    start(namespace, pod("a"))
    command = f"kubectl -n {namespace.name} exec -it a -- sh -c 'stty size; tty'"
    arguments = ["script", "-qec", f"stty rows 31 cols 97; {command}", "/dev/null"]
    env = namespace.cluster.environment
    done = subprocess.run(arguments, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30)
    assert "/dev/pts/" in done.stdout and "31 97" in done.stdout


def test_attaching(namespace: Namespace) -> None:
    start(namespace, pod("a", shell("read x; echo got $x; sleep 1") | {"stdin": True, "stdinOnce": True}))
    assert "got it" in namespace.kubectl("attach", "-i", "-q", "a", stdin="it\n")
    start(namespace, pod("b", shell(COUNT)))
    attached = namespace.start("attach", "b", "-q")
    assert attached.stdout is not None
    assert re.match(r"tick \d+", attached.stdout.readline())
    attached.kill()
    attached.communicate()


def test_logs(namespace: Namespace) -> None:
    start(namespace, pod("a", shell(TALK), shell("echo other; " + TALK)))
    assert namespace.kubectl("logs", "a", "-c", "c0") == "line 0\nline 1\nline 2\n"
    assert namespace.kubectl("logs", "a", "-c", "c0", "--tail=1") == "line 2\n"
    assert namespace.kubectl("logs", "a", "-c", "c0", "--limit-bytes=4") == "line"
    stamped = namespace.kubectl("logs", "a", "-c", "c0", "--timestamps", "--tail=1")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z line 2\n", stamped)
    stamp = stamped.split()[0]
    assert namespace.kubectl("logs", "a", "-c", "c0", f"--since-time={stamp}").endswith("line 2\n")
    assert namespace.kubectl("logs", "a", "-c", "c0", "--since=1h").count("line") == 3
    assert namespace.kubectl("logs", "a", "--all-containers").count("line") == 6
    assert "[pod/a/c1] other" in namespace.kubectl("logs", "-l", "app=a", "--all-containers", "--prefix")
    assert "container none is not valid for pod a" in namespace.run("logs", "a", "-c", "none").stderr


def test_following_a_log_until_its_container_ends(namespace: Namespace) -> None:
    start(namespace, pod("a", shell(COUNT)))
    follow = namespace.start("logs", "-f", "a")
    assert follow.stdout is not None
    assert [follow.stdout.readline() for _ in range(3)] == ["tick 0\n", "tick 1\n", "tick 2\n"]
    namespace.kubectl("delete", "pod", "a", "--grace-period=1")
    follow.communicate(timeout=20)
    assert follow.returncode == 0


def test_shippers_find_the_log_of_a_container_while_its_pod_is_there(served: Namespace) -> None:
    [link] = Path("/var/log/containers").glob(f"web_{served.name}_box-*.log")
    assert link.read_text().endswith("stdout F began\n")
    served.kubectl("delete", "pod", "web", "--grace-period=1")
    assert not link.is_symlink()


def test_the_log_of_the_previous_container_and_of_an_init_container(namespace: Namespace) -> None:
    crash = (
        "if [ -e /x/seen ]; then echo second; trap exit TERM; sleep 1d & wait; fi; touch /x/seen; echo first; exit 1"
    )
    mounts = [{"name": "x", "mountPath": "/x"}]
    init = [{"name": "init", "image": IMAGE, "command": ["echo", "began"]}]
    volumes = [{"name": "x", "emptyDir": {}}]
    namespace.apply(pod("a", shell(crash) | {"volumeMounts": mounts}, volumes=volumes, initContainers=init))
    namespace.kubectl("wait", "pod/a", "--for=jsonpath={.status.containerStatuses[0].restartCount}=1", "--timeout=30s")
    namespace.kubectl("wait", "pod/a", "--for=condition=Ready", "--timeout=30s")
    assert namespace.kubectl("logs", "a", "--previous") == "first\n"
    assert namespace.kubectl("logs", "a") == "second\n"
    assert namespace.kubectl("logs", "a", "-c", "init") == "began\n"
    assert "Restart Count:  1" in namespace.kubectl("describe", "pod", "a")


def test_the_log_of_a_container_that_waits_to_be_restarted_is_the_previous_one(namespace: Namespace) -> None:
    namespace.apply(pod("a", shell("echo first; exit 1")))
    waiting = "{.status.containerStatuses[0].state.waiting.reason}"
    namespace.kubectl("wait", "pod/a", f"--for=jsonpath={waiting}=CrashLoopBackOff", "--timeout=30s")
    assert namespace.kubectl("logs", "a", "--previous") == namespace.kubectl("logs", "a") == "first\n"


def test_logs_of_a_deployment_and_a_job(namespace: Namespace) -> None:
    namespace.kubectl("create", "job", "j", f"--image={IMAGE}", "--", "echo", "done")
    namespace.kubectl("wait", "job/j", "--for=condition=Complete", "--timeout=30s")
    assert namespace.kubectl("logs", "job/j") == "done\n"
    namespace.kubectl("create", "deployment", "d", f"--image={IMAGE}", "--replicas=2", "--", "sh", "-c", TALK)
    namespace.kubectl("rollout", "status", "deploy/d", "--timeout=30s")
    assert namespace.kubectl("logs", "deploy/d", "--all-pods").count("line 2") == 2


def test_copying_to_and_from_a_pod(namespace: Namespace, tmp_path: Path) -> None:
    start(namespace, pod("a"))
    (tmp_path / "there" / "deep").mkdir(parents=True)
    (tmp_path / "there" / "deep" / "file").write_text("content")
    (tmp_path / "there" / "large").write_bytes(bytes(range(256)) * 20_000)
    namespace.kubectl("exec", "a", "--", "mkdir", "/data")
    namespace.kubectl("cp", str(tmp_path / "there"), f"{namespace.name}/a:/data")
    assert namespace.kubectl("exec", "a", "--", "cat", "/data/there/deep/file") == "content"
    namespace.kubectl("cp", "a:/data/there", str(tmp_path / "back"), "-c", "c0", "--retries=2")
    assert (tmp_path / "back" / "large").read_bytes() == (tmp_path / "there" / "large").read_bytes()
    assert (tmp_path / "back" / "deep" / "file").read_text() == "content"


@contextmanager
def background(namespace: Namespace, *args: str, env: Mapping[str, str] | None = None) -> Iterator[int]:
    """Run kubectl and give the port that it says it listens on."""
    process = namespace.start(*args, env=env)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:(\d+)", line)
        assert found, line
        yield int(found[1])
    finally:
        process.kill()
        process.communicate()


def fetch(port: int, path: str = "/") -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as response:
        text: str = response.read().decode()
        return text


def test_port_forward_to_pod_deployment_and_service(namespace: Namespace) -> None:
    namespace.kubectl(
        "create", "deployment", "web", f"--image={IMAGE}", "--port=8080", "--", "httpd", "-fp8080", "-h/www"
    )
    namespace.kubectl("rollout", "status", "deploy/web", "--timeout=30s")
    namespace.kubectl("expose", "deployment", "web", "--port=80", "--target-port=8080")
    name = namespace.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
    for target, port in ((f"pod/{name}", 8080), ("deployment/web", 8080), ("service/web", 80)):
        with background(namespace, "port-forward", target, f":{port}") as local:
            assert [fetch(local, "/index.html") for _ in range(3)] == ["hello\n"] * 3
    with background(namespace, "port-forward", f"pod/{name}", ":9999") as local, pytest.raises(OSError):
        fetch(local)
    with background(namespace, "proxy", "--port=0") as local:
        base = f"/api/v1/namespaces/{namespace.name}"
        assert fetch(local, f"{base}/services/web:80/proxy/index.html") == "hello\n"
        assert fetch(local, f"{base}/pods/{name}:8080/proxy/index.html") == "hello\n"
        assert '"kind":"PodList"' in fetch(local, f"{base}/pods").replace(" ", "")
    namespace.kubectl("delete", "deployment", "web", "--wait=false")
    namespace.kubectl("delete", "pod", name, "--grace-period=0", "--force")


def test_debugging_with_an_ephemeral_container(namespace: Namespace) -> None:
    start(namespace, pod("a"))
    shown = namespace.kubectl(
        "debug", "-i", "-q", "pod/a", f"--image={IMAGE}", "--target=c0", "-c", "dbg", "--", "sh", "-c", "ps; echo deep"
    )
    assert "sleep 1d" in shown and "deep" in shown
    assert "Ephemeral Containers:" in namespace.kubectl("describe", "pod", "a")
    assert "deep" in namespace.kubectl("logs", "a", "-c", "dbg")


def test_debugging_a_copy_and_a_node(namespace: Namespace) -> None:
    start(namespace, pod("a"))
    namespace.kubectl(
        "debug", "a", f"--image={IMAGE}", "--copy-to=b", "--share-processes", "-c", "dbg", "--", "sleep", "9"
    )
    namespace.kubectl("wait", "pod/b", "--for=condition=Ready", "--timeout=30s")
    assert "sleep 1d" in namespace.kubectl("exec", "b", "-c", "dbg", "--", "ps")
    shown = namespace.kubectl("debug", "-i", "-q", "node/node-a", f"--image={IMAGE}", "--", "ls", "/host/etc/hostname")
    assert "/host/etc/hostname" in shown
    namespace.kubectl("delete", "pods", "--all", "--grace-period=0", "--force")
