"""The node process dies at random moments: nothing is lost, nothing starts twice, nothing is left behind."""

from tests.e2e.cluster import Cluster
from tests.e2e.node.kills import Siege


def test_pods_outlive_a_dozen_kills_of_the_node_process(cluster: Cluster) -> None:
    siege = Siege(cluster.name, cluster.kubeconfig)
    try:
        siege.rounds(12, seed=1)
    finally:
        siege.close()
