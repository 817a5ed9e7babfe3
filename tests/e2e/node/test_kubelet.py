"""What a node does beside the pods of the API server: static pods, users of their own, metrics for who may see them."""

import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.world import World, eventually, is_ready

_MANIFEST = """
apiVersion: v1
kind: Pod
metadata: {{name: pinned, namespace: {namespace}}}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{{name: c, image: "{image}", command: [sleep, {seconds}]}}]
"""


@pytest.fixture
def manifest(world: World) -> Iterator[Path]:
    """The file of a static pod, gone at the end."""
    path = Path(f"/var/lib/wherry/{world.cluster.name}/manifests/pinned.yaml")
    yield path
    path.unlink(missing_ok=True)
    world.api.gone(f"{world.core}/pods/pinned-node-a")


def _write(path: Path, world: World, seconds: str) -> None:
    path.write_text(_MANIFEST.format(namespace=world.ns, image=IMAGE, seconds=seconds))


def test_static_pod_outlives_its_mirror_and_follows_its_file(world: World, manifest: Path) -> None:
    _write(manifest, world, "'1000'")
    path = f"{world.core}/pods/pinned-node-a"
    first = world.api.wait(path, is_ready)
    marks = first["metadata"]["annotations"]
    assert marks["kubernetes.io/config.mirror"] == marks["kubernetes.io/config.hash"]
    world.api.delete(path)
    again = world.api.wait(path, lambda p: is_ready(p) and p["metadata"]["uid"] != first["metadata"]["uid"])
    assert _container(again) == _container(first), "the container was restarted"
    _write(manifest, world, "'2000'")
    changed = world.api.wait(path, lambda p: is_ready(p) and p["spec"]["containers"][0]["command"][1] == "2000")
    assert _container(changed) != _container(first)


def _container(pod: Any) -> str:
    found: str = pod["status"]["containerStatuses"][0]["containerID"]
    return found


def test_pod_with_users_of_its_own_is_root_of_its_files_and_nobody_on_the_host(world: World) -> None:
    command = "id -u; cat /proc/self/uid_map; stat -c %u /bin/busybox /v; touch /v/f; sleep 1d"
    mounts = [{"name": "v", "mountPath": "/v"}]
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", command], "volumeMounts": mounts}
    spec = {"hostUsers": False, "containers": [container], "volumes": [{"name": "v", "emptyDir": {}}]}
    pod = world.api.create(
        f"{world.core}/pods", {"metadata": {"name": "users"}, "spec": {**spec, "terminationGracePeriodSeconds": 0}}
    )
    world.ready("users")
    user, mapping, *owners = eventually(lambda: _lines(world.log("users"), 4), "its words")
    inside, outside, length = map(int, mapping.split())
    assert (user, inside, length, owners) == ("0", 0, 65536, ["0", "0"])
    assert outside >= 65536
    directory = Path(f"/var/lib/wherry/{world.cluster.name}/pods/{pod['metadata']['uid']}/volumes")
    made = eventually(lambda: list(directory.glob("*/v/f")), "the file on the host")
    assert made[0].stat().st_uid == 0, "volumes keep the ids that the pod sees"
    assert _owner_of(world, "users") == outside


def _lines(text: str, number: int) -> list[str]:
    lines = text.splitlines()
    return lines if len(lines) >= number else []


def _owner_of(world: World, name: str) -> int:
    """Return the host's user of a pod's process."""
    pid = world.exec(name, "grep ^NSpid: /proc/self/status").split()[1:]
    assert len(pid) == 1, "the pod sees processes of the host"
    group = f"pod{world.api.get(f'{world.core}/pods/{name}')['metadata']['uid']}"
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            if group in (entry / "cgroup").read_text():
                return entry.stat().st_uid
        except (FileNotFoundError, ProcessLookupError):
            continue
    raise AssertionError("no process is in the pod's cgroup")


def test_a_scraper_may_read_metrics_and_nothing_else(world: World) -> None:
    world.pod("measured", "sleep 1d")
    world.ready("measured")
    api, name = world.api, f"scraper-{world.ns}"
    rbac = "/apis/rbac.authorization.k8s.io/v1"
    rules = [{"apiGroups": [""], "resources": ["nodes/metrics"], "verbs": ["get"]}]
    api.create(f"{world.core}/serviceaccounts", {"metadata": {"name": "scraper"}})
    api.create(f"{rbac}/clusterroles", {"metadata": {"name": name}, "rules": rules})
    subject = {"kind": "ServiceAccount", "name": "scraper", "namespace": world.ns}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name}
    binding = {"metadata": {"name": name}, "roleRef": role, "subjects": [subject]}
    api.create(f"{rbac}/clusterrolebindings", binding)
    try:
        asked = api.create(f"{world.core}/serviceaccounts/scraper/token", {"spec": {}})
        code, page = _scrape(world, "metrics/cadvisor", asked["status"]["token"])
        assert code == 200, page
        wanted = f'namespace="{world.ns}",pod="measured"'
        lines = [line for line in page.splitlines() if wanted in line]
        for metric in ("container_cpu_usage_seconds_total{", "container_memory_working_set_bytes{"):
            assert any(line.startswith(metric) and 'image="wherry.local/box:1"' in line for line in lines), metric
        assert any(line.startswith("container_network_receive_bytes_total{") for line in lines)
        assert _scrape(world, "pods", asked["status"]["token"])[0] == 403
        assert _scrape(world, "metrics", "")[0] == 401
    finally:
        api.delete(f"{rbac}/clusterrolebindings/{name}")
        api.delete(f"{rbac}/clusterroles/{name}")


def _scrape(world: World, path: str, token: str) -> tuple[int, str]:
    node = world.api.get("/api/v1/nodes/node-a")["status"]
    address = next(entry["address"] for entry in node["addresses"] if entry["type"] == "InternalIP")
    port = node["daemonEndpoints"]["kubeletEndpoint"]["Port"]
    request = urllib.request.Request(f"https://{address}:{port}/{path}")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    context = ssl.create_default_context(cafile=f"/var/lib/wherry/{world.cluster.name}/pki/ca.crt")
    try:
        with urllib.request.urlopen(request, context=context, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
