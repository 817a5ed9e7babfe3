from typing import Any

from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.api import meta
from wherry.api.resources import RESOURCECLAIMS

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
