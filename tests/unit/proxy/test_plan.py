from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from wherry.api import meta
from wherry.proxy import ruleset as rs
from wherry.proxy.endpoints import NodeInfo, choose
from wherry.proxy.health import response
from wherry.proxy.plan import plan, plan_service
from wherry.proxy.ruleset import Ruleset

NODE = NodeInfo("a", zone="z1")
CIDR = "10.244.0.0/24"


def service(name: str = "web", **spec: Any) -> dict[str, Any]:
    port = {"name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080}
    return {
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"type": "ClusterIP", "clusterIP": "10.96.0.7", "ports": [port], **spec},
    }


def endpoint(
    address: str, node: str = "a", *, hints: dict[str, Any] | None = None, **conditions: bool
) -> dict[str, Any]:
    return {"addresses": [address], "nodeName": node, "conditions": conditions, **({"hints": hints} if hints else {})}


def slice_of(*endpoints: dict[str, Any], protocol: str = "TCP") -> dict[str, Any]:
    ports = [{"name": "http", "port": 8080, "protocol": protocol}]
    return {"addressType": "IPv4", "ports": ports, "endpoints": list(endpoints)}


def rules(subject: dict[str, Any], *slices: dict[str, Any]) -> Ruleset:
    return plan([subject], {meta.key_of(subject): slices}, NODE, pod_cidr=CIDR)


def chain(found: Ruleset, kind: str) -> tuple[str, ...]:
    (name,) = [name for name in found.chains if name.startswith(kind + "-")]
    return found.chains[name]


def test_a_cluster_ip_leads_over_its_service_chain_to_the_endpoint() -> None:
    found = rules(service(), slice_of(endpoint("10.244.0.2")))
    (verdict,) = found.elements[rs.SERVICE_IPS].values()
    assert list(found.elements[rs.SERVICE_IPS]) == ["10.96.0.7 . tcp . 80"]
    assert verdict.removeprefix("goto ") in found.chains
    assert chain(found, "endpoint")[-1] == "meta l4proto tcp dnat to 10.244.0.2:8080"


def test_headless_and_external_name_services_are_not_programmed() -> None:
    assert rules(service(clusterIP="None")) == Ruleset()
    assert rules(service(type="ExternalName", clusterIP="")) == Ruleset()


def test_a_service_without_endpoints_is_refused() -> None:
    found = rules(service(type="NodePort", ports=[{"name": "http", "port": 80, "nodePort": 30080}]))
    assert found.elements[rs.NO_ENDPOINT_SERVICES] == {"10.96.0.7 . tcp . 80": "goto reject-chain"}
    assert found.elements[rs.NO_ENDPOINT_NODEPORTS] == {"tcp . 30080": "goto reject-chain"}


def test_local_internal_traffic_is_dropped_where_only_other_nodes_have_endpoints() -> None:
    found = rules(service(internalTrafficPolicy="Local"), slice_of(endpoint("10.244.1.2", "b")))
    assert found.elements[rs.NO_ENDPOINT_SERVICES] == {"10.96.0.7 . tcp . 80": "drop"}
    assert rs.SERVICE_IPS not in found.elements


def test_local_external_traffic_keeps_the_clients_address_and_goes_to_local_endpoints_only() -> None:
    ports = [{"name": "http", "port": 80, "nodePort": 30080}]
    subject = service(type="NodePort", externalTrafficPolicy="Local", ports=ports)
    found = rules(subject, slice_of(endpoint("10.244.0.2"), endpoint("10.244.1.2", "b")))
    *_, last = chain(found, "external")
    assert last.startswith("goto local-")
    assert f"jump {rs.MASQUERADE}" not in chain(found, "external")
    (only,) = chain(found, "local")
    assert "10.244.0.2" in only


def test_load_balancer_source_ranges_drop_everybody_else() -> None:
    subject = service(type="LoadBalancer", loadBalancerSourceRanges=["192.0.2.0/24"])
    subject["status"] = {"loadBalancer": {"ingress": [{"ip": "198.51.100.9"}]}}
    found = rules(subject, slice_of(endpoint("10.244.0.2")))
    assert list(found.elements[rs.FIREWALL_IPS]) == ["198.51.100.9 . tcp . 80"]
    assert chain(found, "firewall") == ("ip saddr { 192.0.2.0/24 } return", "drop")


def test_affinity_records_the_client_at_the_chosen_endpoint() -> None:
    found = rules(service(sessionAffinity="ClientIP"), slice_of(endpoint("10.244.0.2")))
    (name,) = found.affinities
    assert f"update @{name} {{ ip saddr timeout 10800s }}" in chain(found, "endpoint")


def test_terminating_endpoints_serve_only_while_none_is_ready() -> None:
    leaving = endpoint("10.244.0.3", ready=False, serving=True, terminating=True)
    both = choose([slice_of(endpoint("10.244.0.2", ready=True), leaving)], "http", "TCP", node=NODE)
    alone = choose([slice_of(leaving, endpoint("10.244.0.4", ready=False))], "http", "TCP", node=NODE)
    assert [e.ip for e in both.cluster] == ["10.244.0.2"]
    assert [e.ip for e in alone.cluster] == ["10.244.0.3"]


def test_hints_are_followed_only_when_every_endpoint_has_one() -> None:
    here = endpoint("10.244.0.2", hints={"forZones": [{"name": "z1"}]})
    there = endpoint("10.244.1.2", hints={"forZones": [{"name": "z2"}]})
    bare = endpoint("10.244.1.3")
    assert [e.ip for e in choose([slice_of(here, there)], "http", "TCP", node=NODE).cluster] == ["10.244.0.2"]
    assert len(choose([slice_of(here, there, bare)], "http", "TCP", node=NODE).cluster) == 3


def test_udp_flows_lead_to_the_endpoints_of_their_policy() -> None:
    subject = service(ports=[{"name": "http", "protocol": "UDP", "port": 53}])
    found = plan_service(subject, [slice_of(endpoint("10.244.0.2"), protocol="UDP")], NODE, pod_cidr=CIDR)
    assert found.flows == {("10.96.0.7", 53): frozenset({("10.244.0.2", 8080)})}


def test_the_health_check_port_tells_whether_this_node_has_endpoints() -> None:
    subject = service(type="LoadBalancer", externalTrafficPolicy="Local", healthCheckNodePort=30999)
    slices = [slice_of(endpoint("10.244.0.2"), endpoint("10.244.0.3"), endpoint("10.244.1.2", "b"))]
    here = plan_service(subject, slices, NODE, pod_cidr=CIDR).health[30999]
    elsewhere = plan_service(subject, slices, NodeInfo("c"), pod_cidr=CIDR).health[30999]
    assert (here.local_endpoints, elsewhere.local_endpoints) == (2, 0)
    assert response(here).startswith(b"HTTP/1.1 200 OK\r\n")
    assert response(elsewhere).startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
    assert b'"localEndpoints":2' in response(here)


def test_of_two_claims_of_an_external_address_the_first_service_wins() -> None:
    first, second = service("a", externalIPs=["192.0.2.9"]), service("b", externalIPs=["192.0.2.9"])
    second["spec"]["clusterIP"] = "10.96.0.8"
    slices = {key: [slice_of(endpoint("10.244.0.2"))] for key in ("ns/a", "ns/b")}
    found = plan([second, first], slices, NODE, pod_cidr=CIDR)
    assert "ns/a" in found.elements[rs.SERVICE_IPS]["192.0.2.9 . tcp . 80"]


_name = st.sampled_from(["c1", "c2", "c3"])
_rulesets = st.builds(
    Ruleset,
    chains=st.dictionaries(_name, st.lists(st.sampled_from(["drop", "accept"]), max_size=2).map(tuple)),
    elements=st.dictionaries(
        st.sampled_from([rs.SERVICE_IPS, rs.FIREWALL_IPS]),
        st.dictionaries(st.sampled_from(["k1", "k2"]), st.sampled_from(["v1", "v2"])),
    ),
    affinities=st.sets(st.sampled_from(["s1", "s2"])),
)


@given(_rulesets, _rulesets)
def test_the_difference_leads_from_the_old_rules_to_the_new(old: Ruleset, new: Ruleset) -> None:
    result = _carried_out(old, rs.diff("t", old, new))
    assert result.chains == new.chains
    assert result.affinities == new.affinities
    assert {k: v for k, v in result.elements.items() if v} == {k: v for k, v in new.elements.items() if v}


@given(_rulesets)
def test_equal_rules_make_no_transaction(same: Ruleset) -> None:
    assert rs.diff("t", same, same) == ""


def _carried_out(start: Ruleset, script: str) -> Ruleset:
    """What a strict nftables would hold after `script`."""
    chains = {name: list(some) for name, some in start.chains.items()}
    elements = {name: dict(some) for name, some in start.elements.items()}
    sets = set(start.affinities)
    for line in script.splitlines():
        verb, kind, _, _, name, *rest = line.split(" ", 5)
        text = rest[0] if rest else ""
        match verb, kind:
            case "add", "chain":
                assert name not in chains
                chains[name] = []
            case "flush", "chain":
                chains[name].clear()
            case "delete", "chain":
                assert not chains.pop(name)
            case "add", "rule":
                chains[name].append(text)
            case "add", "set":
                sets.add(name)
            case "delete", "set":
                sets.remove(name)
            case "add", "element":
                for entry in text.strip("{} ").split(", "):
                    key, _, verdict = entry.partition(" : ")
                    assert elements.setdefault(name, {}).get(key) is None
                    elements[name][key] = verdict
            case "delete", "element":
                for entry in text.strip("{} ").split(", "):
                    key, _, verdict = entry.partition(" : ")
                    assert elements[name].pop(key) == verdict
            case _:
                raise AssertionError(line)
    return Ruleset({name: tuple(some) for name, some in chains.items()}, elements, sets)
