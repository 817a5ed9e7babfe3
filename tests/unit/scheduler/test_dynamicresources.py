from typing import Any

import pytest

from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.api import meta
from wherry.api.resources import RESOURCECLAIMS
from wherry.scheduler.devicepools import Holdings, inventory_of
from wherry.scheduler.devices import Late, allocate
from wherry.util import clock

GROUP = "resource.k8s.io/v1"
DRIVER = "gpu.example.com"
Object = dict[str, Any]


def device(name: str, **attributes: Any) -> Object:
    kinds = {str: "string", bool: "bool", int: "int"}
    held = {key: {kinds[type(value)]: value} for key, value in attributes.items()}
    return {"name": name, "attributes": held, "capacity": {"memory": {"value": "8Gi"}}}


def slice_of(node_name: str, *devices: Object, generation: int = 1) -> Object:
    pool = {"name": node_name, "generation": generation, "resourceSliceCount": 1}
    spec = {"driver": DRIVER, "pool": pool, "nodeName": node_name, "devices": list(devices)}
    md = {"name": f"{node_name}-{generation}"}
    return {"kind": "ResourceSlice", "apiVersion": GROUP, "metadata": md, "spec": spec}


def device_class(expression: str = f'device.driver == "{DRIVER}"') -> Object:
    spec = {"selectors": [{"cel": {"expression": expression}}]}
    return {"kind": "DeviceClass", "apiVersion": GROUP, "metadata": {"name": "gpu"}, "spec": spec}


def claim(name: str, *requests: Object, **devices: Any) -> Object:
    spec = {"devices": {"requests": list(requests) or [ask("r")], **devices}}
    md = {"name": name, "namespace": "ns"}
    return {"kind": "ResourceClaim", "apiVersion": GROUP, "metadata": md, "spec": spec}


def ask(name: str, *selectors: str, **more: Any) -> Object:
    cel = [{"cel": {"expression": text}} for text in selectors]
    return {"name": name, "exactly": {"deviceClassName": "gpu", "selectors": cel, **more}}


def using(name: str, *claims: str, **spec: Any) -> Object:
    return pod(name, resourceClaims=[{"name": c, "resourceClaimName": c} for c in claims], **spec)


def allocation(world: World, name: str) -> Object:
    found: Object = (world.api.get(RESOURCECLAIMS, f"ns/{name}") or {}).get("status") or {}
    return found


def devices_of(world: World, name: str) -> list[str]:
    results = allocation(world, name).get("allocation", {}).get("devices", {}).get("results", ())
    return [result["device"] for result in results]


def test_a_claim_is_allocated_and_reserved_where_its_device_is() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), node("b"), device_class(), slice_of("b", device("g0")), claim("c"), using("p", "c"))
        await world.settle()
        assert world.node_of("p") == "b"
        status = allocation(world, "c")
        result = {"request": "r", "driver": DRIVER, "pool": "b", "device": "g0"}
        assert status["allocation"]["devices"]["results"] == [result]
        term = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["b"]}]}
        assert status["allocation"]["nodeSelector"] == {"nodeSelectorTerms": [term]}
        assert [user["name"] for user in status["reservedFor"]] == ["p"]
        found = world.api.get(RESOURCECLAIMS, "ns/c") or {}
        assert found["metadata"]["finalizers"] == ["resource.kubernetes.io/delete-protection"]

    simulate(test)


def test_a_device_is_given_once_and_again_when_it_is_free() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", device("g0")), claim("c"), claim("d"))
        world.create(using("p", "c"))
        await world.settle()
        world.create(using("q", "d"))
        await world.settle()
        assert world.condition("q")["message"] == (
            "0/1 nodes are available: 1 cannot allocate all claims. still not schedulable, "
            "preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
        )
        free = meta.copy(world.api.get(RESOURCECLAIMS, "ns/c") or {})
        free["status"] = {}
        world.api.put(free)
        await world.settle(15)
        assert (world.node_of("q"), devices_of(world, "d")) == ("a", ["g0"])

    simulate(test)


def test_selectors_see_attributes_and_capacity() -> None:
    large = f"device.capacity['{DRIVER}'].memory.compareTo(quantity('4Gi')) > 0"
    fast = f"device.attributes['{DRIVER}'].speed >= 10 && !('x' in device.attributes['other.example.com'])"

    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", device("g0", speed=5), device("g1", speed=12)))
        world.create(claim("c", ask("r", large, fast)), using("p", "c"))
        await world.settle()
        assert devices_of(world, "c") == ["g1"]

    simulate(test)


def test_count_all_and_alternatives() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", *(device(f"g{n}", even=n % 2 == 0) for n in range(5))))
        even = f"device.attributes['{DRIVER}'].even"
        many = {"name": "many", "deviceClassName": "gpu", "count": 9}
        few = {"name": "few", "deviceClassName": "gpu", "count": 1}
        world.create(
            claim("all", ask("r", even, allocationMode="All")),
            claim("two", {"name": "r", "firstAvailable": [many, few]}, ask("s")),
        )
        world.create(using("p", "all", "two"))
        await world.settle()
        assert devices_of(world, "all") == ["g0", "g2", "g4"]
        results = allocation(world, "two")["allocation"]["devices"]["results"]
        assert [(r["request"], r["device"]) for r in results] == [("r/few", "g1"), ("s", "g3")]

    simulate(test)


def test_devices_that_must_match_are_found_by_going_back() -> None:
    async def test(world: World) -> None:
        boards = (device("g0", board=1), device("g1", board=2), device("g2", board=2))
        world.create(node("a"), device_class(), slice_of("a", *boards))
        world.create(
            claim("c", ask("r", count=2), constraints=[{"matchAttribute": f"{DRIVER}/board"}]), using("p", "c")
        )
        await world.settle()
        assert devices_of(world, "c") == ["g1", "g2"]

    simulate(test)


def test_admin_access_takes_nothing_from_others() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", device("g0")), claim("c"), using("p", "c"))
        await world.settle()
        world.create(claim("watch", ask("r", adminAccess=True)), using("admin", "watch"))
        await world.settle()
        assert devices_of(world, "watch") == ["g0"]

    simulate(test)


def test_a_claim_that_nobody_uses_is_deallocated_when_its_node_cannot_take_the_pod() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), node("b"), device_class(), slice_of("a", device("g0")), slice_of("b", device("g1")))
        held = claim("c")
        field = {"key": "metadata.name", "operator": "In", "values": ["a"]}
        result = {"request": "r", "driver": DRIVER, "pool": "a", "device": "g0"}
        selector = {"nodeSelectorTerms": [{"matchFields": [field]}]}
        held["status"] = {"allocation": {"devices": {"results": [result]}, "nodeSelector": selector}}
        world.create(held, using("p", "c", nodeSelector={"kubernetes.io/hostname": "b"}))
        await world.settle(15)
        assert (world.node_of("p"), devices_of(world, "c")) == ("b", ["g1"])

    simulate(test)


def test_a_pod_waits_for_its_claim_and_for_its_class() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), slice_of("a", device("g0")), using("p", "c"))
        await world.settle()
        assert world.node_of("p") is None
        world.create(claim("c"))
        await world.settle()
        message = world.condition("p")["message"]
        assert message.startswith("0/1 nodes are available: request r: device class gpu does not exist.")
        world.create(device_class())
        await world.settle(15)
        assert world.node_of("p") == "a"

    simulate(test)


def results_of(world: World, name: str) -> list[Object]:
    return allocation(world, name).get("allocation", {}).get("devices", {}).get("results", [])


def shared_device(name: str, **memory: Any) -> Object:
    return {"name": name, "allowMultipleAllocations": True, "capacity": {"memory": {"value": "8Gi", **memory}}}


def wanting(name: str, memory: str, **more: Any) -> Object:
    return claim(name, ask("r", capacity={"requests": {"memory": memory}}, **more))


def test_claims_share_a_device_as_far_as_its_capacity_goes() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", shared_device("g0")))
        world.create(wanting("c", "3Gi"), wanting("d", "4Gi"), wanting("e", "2Gi"), wanting("f", "1Gi"))
        for name in "cdef":
            world.create(using(name, name))
            await world.settle()
        assert [world.node_of(name) for name in "cdef"] == ["a", "a", None, "a"]
        found = [results_of(world, name)[0] for name in "cdf"]
        assert [result["consumedCapacity"] for result in found] == [{"memory": f"{n}Gi"} for n in (3, 4, 1)]
        assert len({result["shareID"] for result in found}) == 3

    simulate(test)


def test_a_request_is_rounded_up_to_what_the_policy_lets_be_consumed() -> None:
    steps = {"default": "1Gi", "validRange": {"min": "1Gi", "max": "6Gi", "step": "2Gi"}}
    values = {"default": "2Gi", "validValues": ["2Gi", "4Gi"]}
    cases = [
        (steps, "512Mi", "1Gi"),
        (steps, "2Gi", "3Gi"),
        (steps, "5Gi", "5Gi"),
        (steps, "5632Mi", None),
        (values, "3Gi", "4Gi"),
        (values, "5Gi", None),
        (values, "", "2Gi"),
    ]

    async def test(world: World) -> None:
        world.create(node("a"), device_class())
        for number, (policy, asked, given) in enumerate(cases):
            name = f"c{number}"
            found = slice_of("a", {**shared_device(name, requestPolicy=policy), "attributes": {"n": {"int": number}}})
            found["metadata"]["name"], found["spec"]["pool"]["name"] = name, name
            chosen = f'device.attributes["{DRIVER}"].n == {number}'
            wanted = {"capacity": {"requests": {"memory": asked}}} if asked else {}
            world.create(found, claim(name, ask("r", f'"n" in device.attributes["{DRIVER}"] && {chosen}', **wanted)))
            world.create(using(name, name))
            await world.settle()
            results = results_of(world, name)
            assert (results[0]["consumedCapacity"]["memory"] if results else None) == given, (policy, asked)

    simulate(test)


def test_one_request_may_have_several_shares_of_a_device_and_constraints_can_forbid_it() -> None:
    async def test(world: World) -> None:
        shared = {**shared_device("g0"), "attributes": {"id": {"string": "g0"}}}
        world.create(node("a"), device_class(), slice_of("a", shared))
        distinct = [{"distinctAttribute": f"{DRIVER}/id"}]
        world.create(wanting("c", "2Gi", count=2))
        world.create(claim("d", ask("r", capacity={"requests": {"memory": "1Gi"}}, count=2), constraints=distinct))
        world.create(using("p", "c"), using("q", "d"))
        await world.settle()
        assert devices_of(world, "c") == ["g0", "g0"] and world.node_of("p") == "a"
        assert world.node_of("q") is None

    simulate(test)


def partition(name: str, memory: str) -> Object:
    counters = [{"counterSet": "gpu", "counters": {"memory": {"value": memory}}}]
    return {"name": name, "consumesCounters": counters}


def counting(node_name: str, memory: str, *devices: Object) -> list[Object]:
    """Counters have a slice of their own in the pool."""
    sets = slice_of(node_name)
    sets["metadata"]["name"] += "-counters"
    del sets["spec"]["devices"]
    sets["spec"]["sharedCounters"] = [{"name": "gpu", "counters": {"memory": {"value": memory}}}]
    both = [sets, slice_of(node_name, *devices)]
    for found in both:
        found["spec"]["pool"]["resourceSliceCount"] = 2
    return both


def test_partitions_are_given_as_long_as_their_counters_last() -> None:
    async def test(world: World) -> None:
        parts = [partition("half-0", "20Gi"), partition("half-1", "20Gi"), partition("whole", "40Gi")]
        world.create(node("a"), device_class(), *counting("a", "40Gi", *parts))
        whole = f'device.driver == "{DRIVER}"'
        world.create(claim("c"), claim("d"), claim("e", ask("r", whole)))
        for name in "cd":
            world.create(using(name, name))
            await world.settle()
        assert [devices_of(world, name) for name in "cd"] == [["half-0"], ["half-1"]]
        world.create(using("e", "e"))
        await world.settle()
        assert world.node_of("e") is None

    simulate(test)


def test_a_device_that_takes_more_of_a_counter_than_there_is_is_passed_over() -> None:
    async def test(world: World) -> None:
        parts = [partition("a-whole", "40Gi"), partition("half-0", "20Gi"), partition("half-1", "20Gi")]
        world.create(node("a"), device_class(), *counting("a", "40Gi", *parts), claim("c", ask("r", count=2)))
        world.create(using("p", "c"))
        await world.settle()
        assert devices_of(world, "c") == ["half-0", "half-1"]

    simulate(test)


def attached(name: str) -> Object:
    return {"name": name, "bindingConditions": ["ready"], "bindingFailureConditions": ["broken"], "bindsToNode": True}


def report(world: World, name: str, condition: str) -> None:
    found = meta.copy(world.api.get(RESOURCECLAIMS, f"ns/{name}") or {})
    result = found["status"]["allocation"]["devices"]["results"][0]
    device = {member: result[member] for member in ("driver", "pool", "device")}
    found["status"]["devices"] = [{**device, "conditions": [{"type": condition, "status": "True"}]}]
    world.api.put(found)


def test_a_pod_is_bound_when_its_driver_has_made_the_device_ready() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", attached("g0")), claim("c"), using("p", "c"))
        await world.settle(60)
        assert devices_of(world, "c") == ["g0"] and world.node_of("p") is None
        assert results_of(world, "c")[0]["bindingConditions"] == ["ready"]
        assert allocation(world, "c")["allocation"]["allocationTimestamp"]
        report(world, "c", "ready")
        await world.settle(1)
        assert world.node_of("p") == "a"

    simulate(test)


def test_a_device_that_cannot_be_made_ready_is_given_back() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", attached("g0"), device("g1")), claim("c"))
        world.create(using("p", "c"))
        await world.settle(5)
        assert devices_of(world, "c") == ["g0"]
        report(world, "c", "broken")
        world.api.put(slice_of("a", device("g1"), generation=2))
        await world.settle(30)
        assert devices_of(world, "c") == ["g1"] and world.node_of("p") == "a"

    simulate(test)


def test_a_device_that_is_not_ready_in_time_is_given_back() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), device_class(), slice_of("a", attached("g0")), claim("c"), using("p", "c"))
        await world.settle(100)
        before = allocation(world, "c")["allocation"]["allocationTimestamp"]
        await world.settle(700)
        assert allocation(world, "c")["allocation"]["allocationTimestamp"] > before
        assert world.node_of("p") is None

    simulate(test)


def test_a_search_ends_at_its_deadline() -> None:
    inventory = inventory_of([slice_of("a", device("g0"))], "a", {})

    def search(deadline: float) -> list[Object] | None:
        gpu = device_class()
        return allocate([claim("c")], inventory, Holdings(), class_of=lambda name: gpu, deadline=deadline)

    assert search(clock.monotonic() + 60)
    with pytest.raises(Late):
        search(clock.monotonic() - 1)
