"""What controllers count beside their work queues, under kube-controller-manager's names and labels."""

from wherry.util.metrics import COUNTER, GAUGE, HISTOGRAM, Family

_SYNC = tuple(0.004 * 2**power for power in range(15))
_SKEW = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0)

BOUNDS = {
    "job_controller_job_sync_duration_seconds": _SYNC,
    "cronjob_controller_job_creation_skew_duration_seconds": _SKEW,
}
"""The upper bounds of the histograms among `FAMILIES`."""

FAMILIES = {
    "cronjob_controller_job_creation_skew_duration_seconds": Family(
        HISTOGRAM, "Seconds between the time that a Job was scheduled for and its creation."
    ),
    "endpoint_slice_controller_changes": Family(COUNTER, "EndpointSlice changes by operation."),
    "endpoint_slice_controller_syncs": Family(COUNTER, "EndpointSlice syncs by result."),
    "job_controller_job_sync_duration_seconds": Family(HISTOGRAM, "Seconds of a sync of a Job by its result."),
    "job_controller_job_syncs_total": Family(COUNTER, "Syncs of Jobs by completion mode, result and action."),
    "job_controller_jobs_finished_total": Family(COUNTER, "Finished Jobs by completion mode, result and reason."),
    "node_collector_evictions_total": Family(COUNTER, "Nodes whose pods were told to leave, by zone."),
    "node_collector_unhealthy_nodes_in_zone": Family(GAUGE, "Nodes that are not ready, by zone."),
    "node_collector_zone_health": Family(GAUGE, "Percentage of ready nodes by zone."),
    "node_collector_zone_size": Family(GAUGE, "Registered nodes by zone."),
    "taint_eviction_controller_pod_deletions_total": Family(COUNTER, "Pods deleted for taints of their nodes."),
}
