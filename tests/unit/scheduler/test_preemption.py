from typing import Any

from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.api.resources import PODDISRUPTIONBUDGETS, PODS


def _deleting(world: World) -> set[str]:
    return {p["metadata"]["name"] for p in world.api.list(PODS) if p["metadata"].get("deletionTimestamp")}


def _budget(name: str, app: str, allowed: int) -> dict[str, Any]:
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"selector": {"matchLabels": {"app": app}}},
        "status": {"disruptionsAllowed": allowed},
    }


def test_a_pod_of_higher_priority_gets_the_room_of_a_lower_one() -> None:
    async def check(world: World) -> None:
        world.create(node("a", cpu="1"), pod("low", cpu="1", priority=1))
        await world.settle()
        world.create(pod("high", cpu="1", priority=10))
        await world.settle()
        assert _deleting(world) == {"low"}
        victim, preemptor = world.api.get(PODS, "ns/low"), world.api.get(PODS, "ns/high")
        assert victim is not None and preemptor is not None
        (condition,) = [c for c in victim["status"]["conditions"] if c["type"] == "DisruptionTarget"]
        assert (condition["reason"], condition["message"]) == (
            "PreemptionByScheduler",
            "default-scheduler: preempting to accommodate a higher priority pod",
        )
        assert preemptor["status"]["nominatedNodeName"] == "a"
        assert world.events("Preempted") == [f"Preempted by pod {preemptor['metadata']['uid']} on node a"]
        assert world.condition("high")["message"] == "0/1 nodes are available: 1 Insufficient cpu."
        # Others do not take the room meanwhile.
        world.create(pod("sneaky", cpu="1", priority=5))
        await world.settle()
        world.api.remove(PODS, "ns/low")
        await world.settle()
        assert (world.node_of("high"), world.node_of("sneaky")) == ("a", None)

    simulate(check)


def test_room_that_comes_bit_by_bit_stays_the_preemptors() -> None:
    async def check(world: World) -> None:
        world.create(node("a", cpu="2"), pod("low-0", cpu="1", priority=1), pod("low-1", cpu="1", priority=1))
        await world.settle()
        world.create(pod("high", cpu="2", priority=10))
        await world.settle()
        assert _deleting(world) == {"low-0", "low-1"}
        world.api.remove(PODS, "ns/low-0")
        world.create(pod("sneaky", cpu="1", priority=1))
        await world.settle()
        assert world.node_of("sneaky") is None
        high = world.api.get(PODS, "ns/high")
        assert high is not None and high["status"]["nominatedNodeName"] == "a"
        world.api.remove(PODS, "ns/low-1")
        await world.settle()
        assert (world.node_of("high"), world.node_of("sneaky")) == ("a", None)
        assert len(world.events("Preempted")) == 2

    simulate(check)


def test_where_preemption_does_not_help_the_message_says_so() -> None:
    async def check(world: World) -> None:
        taints = [{"key": "k", "value": "v", "effect": "NoSchedule"}]
        world.create(node("a", cpu="2"), node("b", taints=taints), pod("peer", cpu="2", priority=5))
        await world.settle()
        world.create(pod("p", cpu="1", priority=5))
        await world.settle()
        assert world.condition("p")["message"] == (
            "0/2 nodes are available: 1 Insufficient cpu, 1 node(s) had untolerated taint(s). preemption: "
            "0/2 nodes are available: 1 No preemption victims found for incoming pod, "
            "1 Preemption is not helpful for scheduling."
        )

    simulate(check)


def test_a_pod_that_never_preempts_waits() -> None:
    async def check(world: World) -> None:
        world.create(node("a", cpu="1"), pod("low", cpu="1", priority=1))
        await world.settle()
        world.create(pod("high", cpu="1", priority=10, preemptionPolicy="Never"))
        await world.settle()
        assert _deleting(world) == set()
        assert world.condition("high")["message"] == (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: not eligible due to preemptionPolicy=Never."
        )

    simulate(check)


def test_only_as_many_leave_as_must_and_the_least_important_first() -> None:
    async def check(world: World) -> None:
        world.create(node("a", cpu="3"))
        world.create(*(pod(f"low{n}", cpu="1", priority=n) for n in (1, 2, 3)))
        await world.settle()
        world.create(pod("high", cpu="1", priority=10))
        await world.settle()
        assert _deleting(world) == {"low1"}

    simulate(check)


def test_the_node_where_no_budget_is_violated_is_preferred() -> None:
    async def check(world: World) -> None:
        world.api.put(_budget("guard", "guarded", 0), PODDISRUPTIONBUDGETS)
        world.create(node("a", cpu="1"), node("b", cpu="1"))
        world.create(pod("guarded", cpu="1", priority=1, labels={"app": "guarded"}), pod("free", cpu="1", priority=2))
        await world.settle()
        world.create(pod("high", cpu="1", priority=10))
        await world.settle()
        assert _deleting(world) == {"free"}

    simulate(check)
