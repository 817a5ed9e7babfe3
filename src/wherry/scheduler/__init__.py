"""What kube-scheduler does: filter and score plugins, a priority queue, preemption."""
