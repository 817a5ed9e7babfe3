"""The CSINode of a node."""

from wherry.api import meta
from wherry.api.errors import ServiceUnavailable
from wherry.api.resources import CSINODES
from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.client.transport import Call
from wherry.kubelet import csinode
from wherry.util import virtualtime

NODE = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1", "uid": "u1"}}
DRIVER = {"name": "d", "nodeID": "n1", "topologyKeys": None}


def test_a_node_gets_a_csinode_that_it_owns_however_often_the_server_fails() -> None:
    api = FakeTransport(NODE)
    failures = [ServiceUnavailable("not yet")] * 2

    def fail(call: Call) -> None:
        if failures:
            raise failures.pop()

    api.react(fail)
    virtualtime.run(csinode.initialize(Client(api), "n1"))
    found = api.get(CSINODES, "n1")
    assert found is not None and found["spec"] == {"drivers": []}
    assert found["metadata"]["ownerReferences"] == [{"apiVersion": "v1", "kind": "Node", "name": "n1", "uid": "u1"}]
    assert "kubernetes.io/cinder" in meta.annotations(found)["storage.alpha.kubernetes.io/migrated-plugins"]


def test_a_csinode_that_is_there_keeps_its_drivers_and_is_not_written_twice() -> None:
    api = FakeTransport(NODE)
    api.put({"metadata": {"name": "n1"}, "spec": {"drivers": [DRIVER]}}, CSINODES)
    for _ in range(2):
        virtualtime.run(csinode.initialize(Client(api), "n1"))
    found = api.get(CSINODES, "n1")
    assert found is not None and found["spec"] == {"drivers": [DRIVER]} and meta.annotations(found)
    assert [call.verb for call in api.calls] == ["get", "update", "get"]
