"""Inter-pod affinity and topology spread."""

from typing import Any

from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.api.resources import PODS, SERVICES


def _affinity(kind: str, app: str, key: str = "kubernetes.io/hostname", **term: Any) -> dict[str, Any]:
    required = [{"labelSelector": {"matchLabels": {"app": app}}, "topologyKey": key, **term}]
    return {kind: {"requiredDuringSchedulingIgnoredDuringExecution": required}}


def _zones() -> list[dict[str, Any]]:
    return [node(f"{zone}{n}", labels={"zone": zone}) for zone in "xy" for n in (1, 2)]


def test_required_anti_affinity_keeps_pods_of_a_group_apart_in_both_directions() -> None:
    async def check(world: World) -> None:
        apart = _affinity("podAntiAffinity", "a")
        world.create(node("n1"), node("n2"))
        world.create(*(pod(f"p{n}", labels={"app": "a"}, affinity=apart) for n in (1, 2, 3)))
        await world.settle()
        assert sorted(str(world.node_of(f"p{n}")) for n in (1, 2, 3)) == ["None", "n1", "n2"]
        # One without terms of its own is kept away by those that are there.
        world.create(pod("plain", labels={"app": "a"}))
        await world.settle()
        assert "2 node(s) didn't satisfy existing pods anti-affinity rules." in world.condition("plain")["message"]
        world.api.remove(PODS, "ns/p1")
        world.api.remove(PODS, "ns/p2")
        await world.settle(2)
        assert world.node_of("p3") is not None

    simulate(check)


def test_required_affinity_follows_its_company_and_the_first_needs_none() -> None:
    async def check(world: World) -> None:
        together = _affinity("podAffinity", "a", "zone")
        world.create(*_zones())
        world.create(*(pod(f"p{n}", labels={"app": "a"}, affinity=together) for n in range(6)))
        await world.settle()
        assert len({str(world.node_of(f"p{n}"))[0] for n in range(6)}) == 1
        world.create(pod("other", labels={"app": "b"}, affinity=_affinity("podAffinity", "nobody", "zone")))
        await world.settle()
        assert "4 node(s) didn't match pod affinity rules." in world.condition("other")["message"]

    simulate(check)


def test_a_term_without_namespaces_means_the_pods_own() -> None:
    async def check(world: World) -> None:
        world.create(node("n1"))
        stranger = pod("stranger", labels={"app": "a"})
        stranger["metadata"]["namespace"] = "elsewhere"
        world.create(stranger)
        await world.settle()
        own = _affinity("podAntiAffinity", "a")
        everywhere = _affinity("podAntiAffinity", "a", namespaceSelector={})
        world.create(pod("own", affinity=own), pod("everywhere", affinity=everywhere))
        await world.settle()
        assert (world.node_of("own"), world.node_of("everywhere")) == ("n1", None)

    simulate(check)


def test_preferred_affinity_decides_between_equal_nodes() -> None:
    async def check(world: World) -> None:
        world.create(*_zones(), pod("first", labels={"app": "a"}, nodeSelector={"zone": "y"}))
        await world.settle()
        term = {"labelSelector": {"matchLabels": {"app": "a"}}, "topologyKey": "zone"}
        preferred = [{"weight": 100, "podAffinityTerm": term}]
        for name, kind, zone in (("near", "podAffinity", "y"), ("far", "podAntiAffinity", "x")):
            world.create(pod(name, affinity={kind: {"preferredDuringSchedulingIgnoredDuringExecution": preferred}}))
            await world.settle()
            assert str(world.node_of(name))[0] == zone

    simulate(check)


def test_spread_as_a_condition_keeps_the_skew() -> None:
    async def check(world: World) -> None:
        selector = {"matchLabels": {"app": "a"}}
        spread = [
            {"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule", "labelSelector": selector}
        ]
        world.create(*_zones(), node("bare"))
        world.create(*(pod(f"p{n}", labels={"app": "a"}, topologySpreadConstraints=spread) for n in range(8)))
        await world.settle()
        zones = [str(world.node_of(f"p{n}"))[0] for n in range(8)]
        assert (zones.count("x"), zones.count("y")) == (4, 4)
        taken = {**spread[0], "minDomains": 3}
        world.create(pod("third", labels={"app": "a"}, topologySpreadConstraints=[taken]))
        await world.settle()
        assert world.condition("third")["message"].startswith(
            "0/5 nodes are available: 1 node(s) didn't match pod topology spread constraints (missing required label), "
            "4 node(s) didn't match pod topology spread constraints."
        )

    simulate(check)


def test_pods_of_a_service_spread_by_default() -> None:
    async def check(world: World) -> None:
        service = {"metadata": {"name": "s", "namespace": "ns"}, "spec": {"selector": {"app": "a"}}}
        world.api.put(service, SERVICES)
        # The large node would get all of them by its room alone.
        world.create(node("large", cpu="64", memory="64Gi"), node("small", cpu="8"))
        world.create(*(pod(f"p{n}", cpu="100m", labels={"app": "a"}) for n in range(8)))
        await world.settle()
        assert {world.node_of(f"p{n}") for n in range(8)} == {"large", "small"}

    simulate(check)
