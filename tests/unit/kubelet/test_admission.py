import pytest

from wherry.api.meta import Object
from wherry.kubelet.admission import admit

ROOM = {"cpu": "2", "memory": "1Gi", "pods": "10"}


def make_pod(name: str = "p", *, port: int = 0, address: str = "", **spec: object) -> Object:
    container: Object = {"name": "c", "image": "i"}
    if port:
        container["ports"] = [{"containerPort": 80, "hostPort": port, "hostIP": address}]
    return {"metadata": {"name": name, "namespace": "ns"}, "spec": {"containers": [container], **spec}}


def make_node(*taints: Object, **labels: str) -> Object:
    return {"metadata": {"name": "n", "labels": labels}, "spec": {"taints": list(taints)}}


def reason(pod: Object, *others: Object, node: Object | None = None) -> str:
    failure = admit(pod, others, node=node or make_node(), allocatable=ROOM)
    return failure.reason if failure else ""


def test_selectors_and_required_affinity_look_at_the_labels_of_the_node() -> None:
    expression = {"key": "disk", "operator": "In", "values": ["ssd"]}
    required = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    affinity = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": required}}
    for spec in ({"nodeSelector": {"disk": "ssd"}}, {"affinity": affinity}):
        assert reason(make_pod(**spec)) == "NodeAffinity"
        assert reason(make_pod(**spec), node=make_node(disk="ssd")) == ""


@pytest.mark.parametrize(("mine", "its", "wanted"), [("", "", "NodePorts"), ("192.0.2.1", "", "NodePorts"),
                                                     ("192.0.2.1", "192.0.2.2", "")])  # fmt: skip
def test_a_port_of_the_host_is_for_one_pod(mine: str, its: str, wanted: str) -> None:
    pod, other = make_pod(port=80, address=mine), make_pod("other", port=80, address=its)
    assert reason(pod, other) == wanted
    assert reason(pod, make_pod("other", port=81)) == ""


def test_only_no_execute_taints_count() -> None:
    taint = {"key": "k", "effect": "NoExecute"}
    assert reason(make_pod(), node=make_node({**taint, "effect": "NoSchedule"})) == ""
    assert reason(make_pod(), node=make_node(taint)) == "TaintToleration"
    assert reason(make_pod(tolerations=[{"operator": "Exists"}]), node=make_node(taint)) == ""
