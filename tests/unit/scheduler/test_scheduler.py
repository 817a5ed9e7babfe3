from typing import Any

import pytest

from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.api import errors
from wherry.api.resources import NODES, PODS
from wherry.scheduler.plugins.volumebinding import VolumeBinding
from wherry.scheduler.podinfo import PodInfo


def test_a_pod_is_bound_to_a_node_with_room_and_told_so() -> None:
    async def check(world: World) -> None:
        world.create(node("small", cpu="1"), node("large", cpu="8"), pod("p", cpu="2"))
        await world.settle()
        assert world.node_of("p") == "large"
        assert world.events("Scheduled") == ["Successfully assigned ns/p to large"]

    simulate(check)


def test_a_pod_that_no_node_can_take_says_why_in_kubernetes_words() -> None:
    async def check(world: World) -> None:
        world.create(
            node("a", cpu="1"),
            node("b", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            node("c", taints=[{"key": "k", "value": "v", "effect": "NoSchedule"}]),
            pod("p", cpu="2"),
        )
        await world.settle()
        message = world.condition("p")["message"]
        assert message.startswith("0/3 nodes are available: 1 Insufficient cpu, 2 node(s) had untolerated taint(s).")
        assert world.condition("p")["reason"] == "Unschedulable"
        assert world.events("FailedScheduling") == [message]

    simulate(check)


def test_without_nodes_the_pod_waits_for_the_first() -> None:
    async def check(world: World) -> None:
        world.create(pod("p"))
        await world.settle()
        assert world.condition("p")["message"] == "no nodes available to schedule pods"
        world.create(node("a"))
        await world.settle()
        assert world.node_of("p") == "a"

    simulate(check)


def test_a_refused_pod_is_tried_again_when_room_is_freed_and_not_before() -> None:
    async def check(world: World) -> None:
        world.create(node("a", cpu="1"), pod("first", cpu="1"))
        await world.settle()
        world.create(pod("second", cpu="1"))
        await world.settle(20)
        assert world.node_of("second") is None
        assert len(world.events("FailedScheduling")) == 1
        world.api.remove(PODS, "ns/first")
        await world.settle()
        assert world.node_of("second") == "a"

    simulate(check)


def test_higher_priority_goes_first() -> None:
    async def check(world: World) -> None:
        world.create(pod("low", cpu="1", priority=1), pod("high", cpu="1", priority=10))
        await world.settle()
        world.create(node("a", cpu="1"))
        await world.settle(5)
        assert (world.node_of("high"), world.node_of("low")) == ("a", None)

    simulate(check)


def test_gated_pods_wait_silently_until_the_gates_are_gone() -> None:
    async def check(world: World) -> None:
        gated = pod("p", schedulingGates=[{"name": "wait"}])
        world.create(node("a"), gated)
        await world.settle(400)
        assert world.node_of("p") is None
        assert world.events("FailedScheduling") == []
        current: dict[str, Any] = world.api.get(PODS, "ns/p") or {}
        world.create({**current, "spec": {**current["spec"], "schedulingGates": []}})
        await world.settle()
        assert world.node_of("p") == "a"

    simulate(check)


def test_a_failed_binding_gives_the_room_back_and_backs_off() -> None:
    async def check(world: World) -> None:
        world.api.fail("create", PODS, errors.InternalError("the disk is on fire"))
        world.create(node("a", cpu="1"), pod("p", cpu="1"))
        await world.settle()
        assert world.node_of("p") is None
        assert world.events("FailedScheduling") == ["binding rejected: the disk is on fire"]
        await world.settle(1)
        assert world.node_of("p") == "a"

    simulate(check)


def test_a_plugin_that_fails_puts_its_pod_back_and_stops_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = VolumeBinding.reserve

    def failing(self: VolumeBinding, state: Any, info: PodInfo, node_name: str) -> Any:
        if info.key == "ns/odd":
            raise KeyError("claimRef")
        return reserve(self, state, info, node_name)

    async def check(world: World) -> None:
        monkeypatch.setattr(VolumeBinding, "reserve", failing)
        world.create(node("a", cpu="1"), pod("odd", cpu="1"))
        await world.settle()
        world.create(pod("p", cpu="1"))
        await world.settle()
        assert (world.node_of("odd"), world.node_of("p")) == (None, "a")
        assert "'claimRef'" in world.events("FailedScheduling")

    simulate(check)


def test_pods_of_other_schedulers_are_left_alone() -> None:
    async def check(world: World) -> None:
        world.create(node("a"), pod("p", schedulerName="mine"))
        await world.settle()
        assert world.node_of("p") is None

    simulate(check)


def test_host_ports_keep_pods_apart_unless_address_or_protocol_differ() -> None:
    def with_port(name: str, **port: Any) -> dict[str, Any]:
        made = pod(name)
        made["spec"]["containers"][0]["ports"] = [{"containerPort": 80, "hostPort": 8080, **port}]
        return made

    async def check(world: World) -> None:
        world.create(node("a"), with_port("one", hostIP="127.0.0.1"))
        await world.settle()
        world.create(
            with_port("udp", hostIP="127.0.0.1", protocol="UDP"),
            with_port("other", hostIP="192.0.2.1"),
            with_port("any"),
        )
        await world.settle()
        assert (world.node_of("udp"), world.node_of("other"), world.node_of("any")) == ("a", "a", None)
        assert "1 node(s) didn't have free ports for the requested pod ports." in world.condition("any")["message"]

    simulate(check)


def test_a_daemon_pod_goes_to_the_node_that_its_affinity_names() -> None:
    def for_node(name: str) -> dict[str, Any]:
        fields = [{"key": "metadata.name", "operator": "In", "values": [name]}]
        required = {"nodeSelectorTerms": [{"matchFields": fields}]}
        affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
        return pod(f"for-{name}", affinity=affinity)

    async def check(world: World) -> None:
        world.create(node("a"), node("b"), node("c"), for_node("b"), for_node("gone"))
        await world.settle()
        assert world.node_of("for-b") == "b"
        assert world.condition("for-gone")["message"].startswith(
            "0/3 nodes are available: 3 node(s) didn't satisfy plugin(s) [NodeAffinity]."
        )

    simulate(check)


def test_a_removed_node_takes_no_pods_and_its_return_counts_those_that_stayed() -> None:
    async def check(world: World) -> None:
        world.create(node("a", cpu="2"), pod("first", cpu="2"))
        await world.settle()
        world.api.remove(NODES, "a")
        world.create(pod("second", cpu="1"))
        await world.settle()
        assert world.node_of("second") is None
        world.create(node("a", cpu="2"))
        await world.settle(5)
        assert world.node_of("second") is None

    simulate(check)


def test_equal_pods_spread_evenly_over_equal_nodes() -> None:
    async def check(world: World) -> None:
        world.create(*(node(f"n{number}") for number in range(10)))
        world.create(*(pod(f"p{number}", cpu="100m") for number in range(50)))
        await world.settle(2)
        counts = [len(info.pods) for info in world.scheduler.cache.nodes.values()]
        assert counts == [5] * 10

    simulate(check)
