from tests.unit.controllers.cluster import running
from wherry.api import meta
from wherry.api.resources import APISERVICES, CONFIGMAPS, NAMESPACES, PODS, SECRETS, SERVICEACCOUNTS
from wherry.client.transport import Call
from wherry.controllers.controller import Settings
from wherry.controllers.namespace import NamespaceController
from wherry.controllers.rootca import RootCAController
from wherry.controllers.serviceaccount import ServiceAccountController

NAMESPACE = {"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "ns"}}
CRD = {
    "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": {"name": "boats.x.io"},
    "spec": {"group": "x.io", "scope": "Namespaced", "names": {"plural": "boats", "kind": "Boat"},
             "versions": [{"name": "v1", "served": True, "storage": True}]},
    "status": {"conditions": [{"type": "Established", "status": "True"}]},
}  # fmt: skip


def thing(kind: str, name: str, **metadata: object) -> dict:
    return {"kind": kind, "apiVersion": "v1", "metadata": {"name": name, "namespace": "ns", **metadata}}


async def test_an_empty_namespace_goes_at_once() -> None:
    async with running(NamespaceController, objects=(NAMESPACE,)) as cluster:
        await cluster.client.delete(NAMESPACES, "ns")
        await cluster.settle(0.1)
        assert cluster.fake.get(NAMESPACES, "ns") is None


async def test_pods_go_first_then_the_rest() -> None:
    pod = {**thing("Pod", "p"), "spec": {"nodeName": "n"}}
    async with running(NamespaceController, objects=(NAMESPACE, CRD, pod, thing("Secret", "s"))) as cluster:
        await cluster.client.delete(NAMESPACES, "ns")
        await cluster.settle()
        assert meta.is_deleting(cluster.get(PODS, "p"))
        assert cluster.fake.get(SECRETS, "ns/s") is not None
        condition = meta.condition(cluster.get(NAMESPACES, "ns", None), "NamespaceContentRemaining")
        assert condition["message"] == "Some resources are remaining: pods. has 1 resource instances"
        cluster.fake.remove(PODS, "ns/p")
        await cluster.settle(0.1)
        assert cluster.fake.get(SECRETS, "ns/s") is None
        assert cluster.fake.get(NAMESPACES, "ns") is None


async def test_finalizers_hold_the_namespace_and_are_named() -> None:
    held = thing("ConfigMap", "c", finalizers=["example.com/hold"])
    async with running(NamespaceController, objects=(NAMESPACE, held)) as cluster:
        await cluster.client.delete(NAMESPACES, "ns")
        await cluster.settle()
        namespace = cluster.get(NAMESPACES, "ns", None)
        condition = meta.condition(namespace, "NamespaceFinalizersRemaining")
        assert condition["status"] == "True"
        assert condition["message"] == (
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        )
        cluster.fake.remove(CONFIGMAPS, "ns/c")
        await cluster.settle()
        assert cluster.fake.get(NAMESPACES, "ns") is None


APISERVICE = {
    "kind": "APIService", "apiVersion": "apiregistration.k8s.io/v1", "metadata": {"name": "v1.sea.io"},
    "spec": {"group": "sea.io", "version": "v1", "service": {"name": "s", "namespace": "other"}},
    "status": {"conditions": [{"type": "Available", "status": "True"}]},
}  # fmt: skip


async def test_what_an_aggregated_server_serves_is_deleted_too() -> None:
    boat = {"kind": "Boat", "apiVersion": "sea.io/v1", "metadata": {"name": "b", "namespace": "ns"}}
    boats = [boat]
    rows = [("boats", True, ["list", "delete"]), ("seas", False, ["list", "delete"]), ("logs", True, ["list"])]

    def answer(call: Call) -> dict | None:
        if call.verb == "discover":
            return {"resources": [{"name": n, "kind": n, "namespaced": local, "verbs": v} for n, local, v in rows]}
        if call.resource.group != "sea.io":
            return None
        assert call.resource.plural == "boats"
        if call.verb == "delete":
            boats.clear()
        return {"items": list(boats)}

    async with running(NamespaceController, objects=(NAMESPACE, APISERVICE)) as cluster:
        cluster.fake.react(answer)
        await cluster.client.delete(NAMESPACES, "ns")
        await cluster.settle(0.1)
        assert not boats and cluster.fake.get(NAMESPACES, "ns") is None


async def test_a_group_that_nobody_can_tell_of_holds_the_namespace_until_its_server_is_back() -> None:
    gone = {**APISERVICE, "status": {"conditions": [{"type": "Available", "status": "False"}]}}
    async with running(NamespaceController, objects=(NAMESPACE, gone, thing("Secret", "s"))) as cluster:
        await cluster.client.delete(NAMESPACES, "ns")
        await cluster.settle()
        assert cluster.fake.get(SECRETS, "ns/s") is None
        found = meta.condition(cluster.get(NAMESPACES, "ns", None), "NamespaceDeletionDiscoveryFailure")
        assert (found["status"], found["reason"], found["message"]) == (
            "True",
            "DiscoveryFailed",
            "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: "
            "sea.io/v1: stale GroupVersion discovery: sea.io/v1",
        )
        cluster.fake.remove(APISERVICES, "v1.sea.io")
        await cluster.settle(61)
        assert cluster.fake.get(NAMESPACES, "ns") is None


async def test_every_active_namespace_has_its_account_and_authority() -> None:
    kinds = (ServiceAccountController, RootCAController)
    async with running(*kinds, objects=(NAMESPACE,), settings=Settings(root_ca="PEM")) as cluster:
        assert cluster.get(SERVICEACCOUNTS, "default")
        cluster.fake.remove(SERVICEACCOUNTS, "ns/default")
        changed = cluster.get(CONFIGMAPS, "kube-root-ca.crt")
        assert changed["data"] == {"ca.crt": "PEM"}
        changed["data"] = {"ca.crt": "other", "more": "x"}
        cluster.fake.put(changed)
        await cluster.settle()
        assert cluster.get(SERVICEACCOUNTS, "default")
        assert cluster.get(CONFIGMAPS, "kube-root-ca.crt")["data"] == {"ca.crt": "PEM"}
