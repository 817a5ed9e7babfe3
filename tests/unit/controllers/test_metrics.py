from tests.unit.controllers.cluster import Cluster, running, template
from wherry.controllers.job import JobController
from wherry.controllers.metrics import FAMILIES
from wherry.controllers.nodelifecycle import NodeLifecycleController
from wherry.util import metrics


def shown(cluster: Cluster) -> list[str]:
    return metrics.text(cluster.manager.samples(), FAMILIES).splitlines()


async def test_syncs_and_ends_of_jobs_are_counted() -> None:
    pod = template()
    pod["spec"]["restartPolicy"] = "Never"
    md = {"name": "j", "namespace": "ns", "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
    spec = {"completions": 1, "parallelism": 1, "completionMode": "NonIndexed", "backoffLimit": 6, "template": pod}
    spec |= {"selector": {"matchLabels": {"app": "web"}}}
    job = {"kind": "Job", "apiVersion": "batch/v1", "metadata": md, "spec": spec}
    async with running(JobController, objects=(job,)) as cluster:
        created = (
            'job_controller_job_syncs_total{action="pods_created",completion_mode="NonIndexed",result="success"} 1'
        )
        assert created in shown(cluster)
        cluster.set_phase(cluster.pods()[0], "Succeeded", ready=False)
        await cluster.settle()
        ended = "job_controller_jobs_finished_total{"
        assert [line for line in shown(cluster) if line.startswith(ended)] == [
            ended + 'completion_mode="NonIndexed",reason="CompletionsReached",result="succeeded"} 1'
        ]
        duration = "# TYPE job_controller_job_sync_duration_seconds histogram"
        assert duration in shown(cluster)


async def test_the_health_of_zones_is_shown() -> None:
    nodes = tuple(
        {
            "kind": "Node",
            "apiVersion": "v1",
            "metadata": {"name": name, "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }
        for name, ready in (("a", "True"), ("b", "False"))
    )
    async with running(NodeLifecycleController, objects=nodes) as cluster:
        assert 'node_collector_zone_health{zone=":"} 50' in shown(cluster)
        assert 'node_collector_unhealthy_nodes_in_zone{zone=":"} 1' in shown(cluster)
