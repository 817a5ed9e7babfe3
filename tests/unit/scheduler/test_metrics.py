from tests.unit.scheduler.world import World, node, pod, simulate
from wherry.scheduler.metrics import FAMILIES
from wherry.util import metrics


def test_what_was_scheduled_and_what_was_refused_is_counted() -> None:
    async def test(world: World) -> None:
        world.create(node("a"), pod("p", cpu="1"), pod("q", cpu="100"))
        await world.settle()
        shown = metrics.text(world.scheduler.samples(), FAMILIES).splitlines()
        assert 'scheduler_cache_size{type="nodes"} 1' in shown
        assert "scheduler_pod_scheduling_attempts_count 1" in shown
        assert 'scheduler_pod_scheduling_sli_duration_seconds_count{attempts="1"} 1' in shown
        assert 'scheduler_unschedulable_pods{plugin="NodeResourcesFit",profile="default-scheduler"} 1' in shown
        assert "scheduler_preemption_attempts_total 1" in shown

    simulate(test)
