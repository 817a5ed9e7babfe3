"""Who goes first when the node is short of something, and in what words."""

from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

from wherry.kubelet.admission import admit
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.configuration import API_VERSION, KIND, ConfigurationError, apply, shown
from wherry.kubelet.eviction import Usage, low_message, rank
from wherry.kubelet.machine import Disk, Machine
from wherry.kubelet.pressure import Pressures, Shortage
from wherry.util import clock, virtualtime


def pod(name: str, priority: int = 0, **annotations: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {"priority": priority, "containers": []}}


def test_pods_above_their_requests_go_first_then_by_priority_then_by_excess() -> None:
    within = (pod("within", -5), [Usage("c", 10, 20)])
    important = (pod("important", 100), [Usage("c", 900, 1)])
    little = (pod("little"), [Usage("c", 30, 20)])
    much = (pod("much"), [Usage("c", 90, 20)])
    critical = (pod("critical", 2_000_000_000), [Usage("c", 9000, 0)])
    order = [p["metadata"]["name"] for p, _ in rank([within, important, critical, little, much])]
    assert order == ["much", "little", "important", "within"]


def test_the_message_names_the_threshold_and_the_containers_above_their_request() -> None:
    text = low_message(Shortage("memory", "102400Ki", "51200Ki"), [Usage("a", 4096, 1024), Usage("b", 1, 2)])
    assert text == (
        "The node was low on resource: memory. Threshold quantity: 102400Ki, available: 51200Ki. "
        "Container a was using 4Ki, request is 1Ki, has larger consumption of memory. "
    )


class _Machine(Machine):
    def __init__(self) -> None:
        self.free = 1 << 30

    @cached_property
    def memory(self) -> int:
        return 4 << 30

    def available_memory(self) -> int:
        return self.free

    def disk(self, path: Path) -> Disk:
        return Disk(100 << 30, 50 << 30, 1000, 900)

    def processes(self) -> tuple[int, int]:
        return 100, 32768


def test_a_condition_outlives_its_shortage_for_the_transition_period() -> None:
    async def main() -> None:
        machine = _Machine()
        pressures = Pressures(_config(evictionHard={"memory.available": "25%"}), machine)
        machine.free = 900 << 20
        pressures.measure()
        assert pressures.shortages == [Shortage("memory", "1Gi", "900Mi")]
        machine.free = 2 << 30
        pressures.measure()
        assert pressures.shortages == []
        assert pressures.conditions() == {"MemoryPressure": True, "DiskPressure": False, "PIDPressure": False}
        await clock.sleep(300)
        pressures.measure()
        assert not any(pressures.conditions().values())

    virtualtime.run(main())


def test_a_soft_threshold_counts_after_its_grace_period_and_gives_pods_time() -> None:
    async def main() -> None:
        machine = _Machine()
        config = _config(
            evictionHard={},
            evictionSoft={"memory.available": "2Gi"},
            evictionSoftGracePeriod={"memory.available": "1m30s"},
            evictionMaxPodGracePeriod=20,
        )
        pressures = Pressures(config, machine)
        pressures.measure()
        assert not pressures.shortages
        await clock.sleep(90)
        pressures.measure()
        assert [s.grace for s in pressures.shortages] == [20.0]

    virtualtime.run(main())


def test_a_shortage_lasts_until_the_minimum_is_reclaimed() -> None:
    machine = _Machine()
    config = _config(evictionHard={"memory.available": "1Gi"}, evictionMinimumReclaim={"memory.available": "512Mi"})
    pressures = Pressures(config, machine)
    short = []
    for free in (1 << 30, (1 << 30) - 1, 1400 << 20, 1536 << 20, 1400 << 20):
        machine.free = free
        pressures.measure()
        short.append(bool(pressures.shortages))
    assert short == [False, True, True, False, False]


def test_a_node_under_pressure_starts_what_is_critical_and_for_memory_what_asked_for_some() -> None:
    memory, disk = {"MemoryPressure": True}, {"MemoryPressure": True, "DiskPressure": True}
    asking = pod("asking")
    asking["spec"]["containers"] = [{"name": "c", "resources": {"requests": {"memory": "1Mi"}}}]

    def admitted(found: dict[str, Any], pressure: dict[str, bool]) -> str:
        failure = admit(found, [], node=None, allocatable={}, pressure=pressure)
        return failure.message if failure else ""

    assert admitted(pod("besteffort"), memory) == "Pod was rejected: The node had condition: [MemoryPressure]. "
    assert admitted(asking, memory) == ""
    assert admitted(asking, disk) == "Pod was rejected: The node had condition: [MemoryPressure DiskPressure]. "
    assert admitted(pod("critical", 2_000_000_000), disk) == ""


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("evictionHard", {"memory.free": "1Gi"}),
        ("imageMinimumGCAge", "soon"),
        ("featureGates", {"Some": True}),
        ("evictionSoft", {"memory.available": "1Gi"}),
        ("imageGCHighThresholdPercent", 70),
        ("evictionMinimumReclaim", {"memory.free": "1Gi"}),
        ("podPidsLimit", 0),
    ],
)
def test_settings_that_cannot_be_followed_are_refused(field: str, value: Any) -> None:
    with pytest.raises(ConfigurationError):
        _config(**{field: value})


def test_configz_shows_what_was_set() -> None:
    config = _config(evictionHard={"memory.available": "1Gi"}, imageMinimumGCAge="1m0s", staticPodPath="/pods")
    found = shown(config)
    assert found["evictionHard"] == {"memory.available": "1Gi"}
    assert (found["imageMinimumGCAge"], found["staticPodPath"]) == ("1m0s", "/pods")


def _config(**fields: Any) -> KubeletConfig:
    base = KubeletConfig(node_name="n", root=Path("/r"), run=Path("/run/r"))
    return apply({"apiVersion": API_VERSION, "kind": KIND, **fields}, base)
