"""Services of every type carry traffic to their pods, and follow what changes."""

import socket
from collections.abc import Iterator
from functools import partial

import pytest

from tests.e2e.conformance.api import Refused
from tests.e2e.conformance.programs import NETEXEC
from tests.e2e.conformance.world import World, eventually, fetch

pytestmark = pytest.mark.e2e
_HTTP = {"name": "http", "port": 80, "targetPort": 8080, "protocol": "TCP"}
_BACKENDS = ("web-0", "web-1", "web-2")


@pytest.fixture(scope="module")
def web(town: World) -> Iterator[World]:
    """A namespace with three servers and a client."""
    for name in _BACKENDS:
        ports = [{"containerPort": 8080}]
        town.python(name, NETEXEC, labels={"app": "web"}, container={"ports": ports})
    town.python("client")
    for name in (*_BACKENDS, "client"):
        town.ready(name)
    yield town


def _answers(web: World, address: str, times: int = 1) -> list[str]:
    return web.ask("client", *[f"http://{address}/"] * times)


def _reached(web: World, address: str) -> None:
    eventually(lambda: set(_answers(web, address)) <= set(_BACKENDS), f"{address} answers")


def _node_address(web: World) -> str:
    node = web.api.get("/api/v1/nodes")["items"][0]
    return str(next(a["address"] for a in node["status"]["addresses"] if a["type"] == "InternalIP"))


def test_clusterip_by_name_and_address(web: World) -> None:
    service = web.service("plain", selector={"app": "web"}, ports=[_HTTP])
    for address in (service["spec"]["clusterIP"], "plain", f"plain.{web.ns}.svc.cluster.local"):
        _reached(web, address)
    assert len(set(_answers(web, "plain", 30))) > 1


@pytest.mark.parametrize("type_", ["ClusterIP", "NodePort"])
def test_session_affinity_on_and_off(web: World, type_: str) -> None:
    name = f"affine-{type_.lower()}"
    path = f"{web.core}/services/{name}"
    made = web.service(name, selector={"app": "web"}, ports=[_HTTP], type=type_, sessionAffinity="ClientIP")
    assert made["spec"]["sessionAffinityConfig"] == {"clientIP": {"timeoutSeconds": 10800}}
    address = name if type_ == "ClusterIP" else f"{_node_address(web)}:{made['spec']['ports'][0]['nodePort']}"
    _reached(web, address)

    def sticks() -> bool:
        return len(set(_answers(web, address, 15))) == 1

    eventually(sticks, "affinity")
    web.api.patch(path, {"spec": {"sessionAffinity": "None", "sessionAffinityConfig": None}})
    eventually(lambda: len(set(_answers(web, address, 15))) > 1, "no affinity")
    web.api.patch(path, {"spec": {"sessionAffinity": "ClientIP"}})
    eventually(sticks, "affinity again")


def test_nodeport_from_a_pod_and_from_the_node(web: World) -> None:
    made = web.service("noded", selector={"app": "web"}, ports=[_HTTP], type="NodePort")
    port = made["spec"]["ports"][0]["nodePort"]
    assert 30000 <= port <= 32767
    node = _node_address(web)
    _reached(web, f"{node}:{port}")
    _reached(web, "noded")
    eventually(lambda: fetch(f"http://{node}:{port}/").strip() in _BACKENDS, "node port from the node")
    eventually(lambda: fetch(f"http://{made['spec']['clusterIP']}/").strip() in _BACKENDS, "address from the node")


@pytest.mark.parametrize("type_", ["ClusterIP", "NodePort"])
def test_type_changes_to_externalname_and_back(web: World, type_: str) -> None:
    path = f"{web.core}/services/changing-{type_.lower()}"
    name = path.rsplit("/", 1)[1]
    web.service(name, selector={"app": "web"}, ports=[_HTTP], type=type_)
    _reached(web, name)
    web.service(f"{name}-target", selector={"app": "web"}, ports=[{"port": 8080}])
    target = f"{name}-target.{web.ns}.svc.cluster.local"
    found = web.api.get(path)
    found["spec"] |= {"type": "ExternalName", "externalName": target}
    for field in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "ports"):
        if field != "ports" or type_ == "NodePort":
            found["spec"].pop(field, None)
    changed = web.api.update(path, found)
    assert "clusterIP" not in changed["spec"] and "nodePort" not in str(changed["spec"])
    eventually(lambda: web.ask("client", f"name://{name}")[0].startswith(target), "CNAME")
    changed["spec"] |= {"type": type_, "ports": [_HTTP], "selector": {"app": "web"}}
    del changed["spec"]["externalName"]
    back = web.api.update(path, changed)
    assert back["spec"]["clusterIP"].startswith("10.")
    _reached(web, name)
    if type_ == "NodePort":
        _reached(web, f"{_node_address(web)}:{back['spec']['ports'][0]['nodePort']}")


def _udp(address: str, port: int) -> str:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.settimeout(1)
        try:
            probe.sendto(b"x", (address, port))
            return probe.recv(100).decode().strip()
        except OSError:
            return ""


def test_one_port_with_two_protocols(web: World) -> None:
    tcp = {"name": "tcp", "port": 80, "targetPort": 8080, "protocol": "TCP"}
    udp = {"name": "udp", "port": 80, "targetPort": 8081, "protocol": "UDP"}
    made = web.service("both", selector={"app": "web"}, ports=[tcp, udp])
    address = made["spec"]["clusterIP"]
    path = f"{web.core}/services/both"

    def works(protocol: str) -> bool:
        return (fetch(f"http://{address}/", 1) if protocol == "TCP" else _udp(address, 80)).strip() in _BACKENDS

    eventually(lambda: works("TCP") and works("UDP"), "both protocols")
    for kept, dropped in ((tcp, "UDP"), (udp, "TCP")):
        found = web.api.get(path)
        found["spec"]["ports"] = [kept]
        web.api.update(path, found)
        eventually(partial(works, str(kept["protocol"])), "the protocol that is left")
        eventually(partial(lambda gone: not works(gone), dropped), "the protocol that is gone")


def _ends(web: World, name: str) -> dict[str, set[int]]:
    found = web.api.wait(f"{web.core}/endpoints/{name}", bool)
    ends: dict[str, set[int]] = {}
    for subset in found.get("subsets", []):
        for address in subset.get("addresses", []):
            ends.setdefault(address["targetRef"]["name"], set()).update(p["port"] for p in subset["ports"])
    return ends


def _slice_ends(web: World, name: str) -> dict[str, set[int]]:
    found = web.api.get(
        f"{web.apis('discovery.k8s.io/v1')}/endpointslices", labelSelector=f"kubernetes.io/service-name={name}"
    )
    ends: dict[str, set[int]] = {}
    for piece in found["items"]:
        for endpoint in piece["endpoints"] or []:
            ends.setdefault(endpoint["targetRef"]["name"], set()).update(p["port"] for p in piece["ports"] or [])
    return ends


def test_endpoints_follow_the_pods(world: World) -> None:
    ports = [{"name": "a", "port": 80, "targetPort": "pa"}, {"name": "b", "port": 81, "targetPort": "pb"}]
    world.service("multi", selector={"app": "multi"}, ports=ports)

    def becomes(wanted: dict[str, set[int]]) -> None:
        eventually(lambda: _ends(world, "multi") == wanted, f"endpoints {wanted}")
        eventually(lambda: _slice_ends(world, "multi") == wanted, f"slices {wanted}")

    def serve(name: str, port_name: str, port: int) -> None:
        ports = [{"name": port_name, "containerPort": port}]
        world.python(name, NETEXEC, labels={"app": "multi"}, container={"ports": ports})

    eventually(lambda: world.api.get(f"{world.core}/endpoints")["items"], "an empty Endpoints")
    becomes({})
    serve("one", "pa", 8080)
    becomes({"one": {8080}})
    serve("two", "pb", 8081)
    becomes({"one": {8080}, "two": {8081}})
    world.api.delete(f"{world.core}/pods/one")
    becomes({"two": {8081}})
    world.api.delete(f"{world.core}/pods/two")
    becomes({})
    world.api.delete(f"{world.core}/services/multi")
    world.api.gone(f"{world.core}/endpoints/multi")
    slices = f"{world.apis('discovery.k8s.io/v1')}/endpointslices"
    world.api.wait(slices, lambda found: not found["items"], what="slices gone")


def test_slices_made_by_hand_carry_traffic(web: World) -> None:
    """A Service without a selector: two slices, one with two ports of one pod, one with another pod."""
    made = web.service("hand", ports=[{"name": "a", "port": 80}, {"name": "b", "port": 81}])
    addresses = {name: web.api.get(f"{web.core}/pods/{name}")["status"]["podIP"] for name in _BACKENDS}
    for number, port in enumerate(("a", "b")):
        web.api.create(
            f"{web.apis('discovery.k8s.io/v1')}/endpointslices",
            {
                "metadata": {"name": f"hand-{port}", "labels": {"kubernetes.io/service-name": "hand"}},
                "addressType": "IPv4",
                "endpoints": [{"addresses": [addresses[_BACKENDS[number]]]}],
                "ports": [{"name": port, "port": 8080, "protocol": "TCP"}],
            },
        )
    ip = made["spec"]["clusterIP"]
    for backend, port in zip(_BACKENDS, (":80", ":81"), strict=False):
        url = f"http://{ip}{port}/"
        eventually(partial(lambda url, wanted: fetch(url) == wanted, url, backend), url)


def test_custom_endpoints_are_mirrored(web: World) -> None:
    web.service("mirrored", ports=[{"name": "http", "port": 80, "targetPort": 8080}])
    path = f"{web.core}/endpoints"
    slices = f"{web.apis('discovery.k8s.io/v1')}/endpointslices"
    ip = web.api.get(f"{web.core}/pods/web-0")["status"]["podIP"]
    ends = {
        "metadata": {"name": "mirrored"},
        "subsets": [{"addresses": [{"ip": ip}], "ports": [{"name": "http", "port": 8080}]}],
    }
    made = web.api.create(path, ends)

    def mirrors() -> list[dict[str, object]]:
        selector = "kubernetes.io/service-name=mirrored"
        found: list[dict[str, object]] = web.api.get(slices, labelSelector=selector)["items"]
        return found

    def shows(addresses: list[str], port: int) -> bool:
        found = mirrors()
        return len(found) == 1 and (
            [e["addresses"] for e in found[0]["endpoints"]] == [[a] for a in addresses]  # type: ignore[attr-defined]
            and found[0]["ports"][0]["port"] == port  # type: ignore[index]
        )

    eventually(lambda: shows([ip], 8080), "mirrored")
    assert mirrors()[0]["metadata"]["labels"]["endpointslice.kubernetes.io/managed-by"] == (  # type: ignore[index]
        "endpointslicemirroring-controller.k8s.io"
    )
    made["subsets"][0]["addresses"][0]["ip"] = "10.2.3.4"
    made["subsets"][0]["ports"][0]["port"] = 9090
    web.api.update(f"{path}/mirrored", made)
    eventually(lambda: shows(["10.2.3.4"], 9090), "update mirrored")
    web.api.delete(f"{path}/mirrored")
    eventually(lambda: not mirrors(), "mirror deleted")


def test_the_master_service(web: World) -> None:
    service = web.api.get("/api/v1/namespaces/default/services/kubernetes")
    assert [(p["name"], p["port"]) for p in service["spec"]["ports"]] == [("https", 443)]
    assert any(
        s["metadata"]["name"] == "kubernetes" and s["metadata"]["namespace"] == "default"
        for s in web.api.get("/api/v1/services")["items"]
    )
    ends = web.api.get("/api/v1/namespaces/default/endpoints/kubernetes")["subsets"]
    piece = web.api.get("/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes")
    assert [a["ip"] for a in ends[0]["addresses"]] == piece["endpoints"][0]["addresses"]
    assert piece["addressType"] == "IPv4" and piece["endpoints"][0]["conditions"]["ready"]


def test_host_ports_by_address_and_protocol(world: World) -> None:
    node = _node_address(world)
    base: dict[str, object] = {"containerPort": 8080, "hostPort": 54323}
    cases: dict[str, dict[str, object]] = {
        "pod1": {"hostIP": "127.0.0.1", "protocol": "TCP"},
        "pod2": {"hostIP": node, "protocol": "TCP"},
        "pod3": {"hostIP": node, "protocol": "UDP", "containerPort": 8081},
    }
    for name, port in cases.items():
        world.python(name, NETEXEC, container={"ports": [base | port]})
    for name in cases:
        world.ready(name)
    eventually(lambda: fetch("http://127.0.0.1:54323/").strip() == "pod1", "host port on 127.0.0.1")
    eventually(lambda: fetch(f"http://{node}:54323/").strip() == "pod2", "host port on the node's address")
    eventually(lambda: _udp(node, 54323) == "pod3", "host port for UDP")


def test_pods_reach_pods_and_the_node_reaches_pods(web: World) -> None:
    for name in _BACKENDS:
        ip = web.api.get(f"{web.core}/pods/{name}")["status"]["podIP"]
        assert web.ask("client", f"http://{ip}:8080/", f"udp://{ip}:8081") == [name, name]
        assert fetch(f"http://{ip}:8080/").strip() == name
        assert _udp(ip, 8081) == name


def test_deleting_a_collection_of_services(world: World) -> None:
    for number in range(4):
        labels = {"set": "yes" if number else "no"}
        body = {"metadata": {"name": f"s{number}", "labels": labels}, "spec": {"ports": [{"port": 80}]}}
        world.api.create(f"{world.core}/services", body)
    world.api.call("DELETE", f"{world.core}/services", labelSelector="set=yes")
    assert [s["metadata"]["name"] for s in world.api.get(f"{world.core}/services")["items"]] == ["s0"]


_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS")
_TARGETS = (
    "pods/web-0:8080",
    "pods/http:web-0:8080",
    "services/proxied",
    "services/proxied:http",
    "services/proxied:80",
    "services/http:proxied:http",
)


def test_proxy_to_pods_and_services(web: World) -> None:
    """Any verb reaches the pod, with the path, the query, the body and the way back."""
    web.service("proxied", selector={"app": "web"}, ports=[_HTTP])
    eventually(lambda: _ends(web, "proxied"), "endpoints")
    for target in _TARGETS:
        root = f"{web.core}/{target}/proxy"
        for method in _METHODS:
            answer = web.api.raw(method, f"{root}/echo/a%20b?q=1", b"body" if method in ("POST", "PUT") else None)
            assert answer.code == 200, (target, method, answer)
            if method == "HEAD":
                continue
            told = answer.object
            assert (told["method"], told["path"], told["query"]) == (method, "/echo/a%20b", "q=1")
            assert told["body"] == ("body" if method in ("POST", "PUT") else "")
            seen = told["headers"]
            assert (seen["X-Forwarded-Uri"], seen["Host"]) == (f"{root}/echo/a%20b", web.api.server.netloc)
            assert not {"Authorization", "Accept-Encoding", "User-Agent"} & set(seen)
        for method in ("GET", "HEAD"):
            answer = web.api.raw(method, root)
            assert (answer.code, answer.headers.get("location")) == (301, f"{root}/"), (target, method, answer)
        assert f'<a href="{root}/rewriteme">' in web.api.raw("GET", f"{root}/page").body.decode()
        answer = web.api.raw("GET", f"{root}/redirect")
        assert (answer.code, answer.headers["location"]) == (302, f"{root}/elsewhere")


def test_a_pod_in_the_nodes_network_reaches_pods(web: World) -> None:
    web.python("host", hostNetwork=True)
    web.ready("host")
    ip = web.api.get(f"{web.core}/pods/web-0")["status"]["podIP"]
    assert web.ask("host", f"http://{ip}:8080/", f"udp://{ip}:8081") == ["web-0", "web-0"]


def test_proxy_says_what_it_cannot_reach(web: World) -> None:
    with pytest.raises(Refused) as nowhere:
        web.api.get(f"{web.core}/pods/none:80/proxy/")
    assert nowhere.value.code == 404
    web.service("empty", selector={"app": "nothing"}, ports=[_HTTP])
    with pytest.raises(Refused) as empty:
        web.api.get(f"{web.core}/services/empty/proxy/")
    assert (empty.value.code, empty.value.reason) == (503, "ServiceUnavailable")
