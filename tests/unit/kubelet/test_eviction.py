"""Who goes first when the node is short of something, and in what words."""

from typing import Any

from wherry.kubelet.eviction import Usage, low_message, rank
from wherry.kubelet.node_status import Shortage


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
        "Container a was using 4Ki, request is 1024, has larger consumption of memory. "
    )
