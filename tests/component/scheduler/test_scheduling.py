"""The scheduler before the real API server, with the rights of its default role and no more."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from wherry.api import meta
from wherry.api.resources import (
    DEVICECLASSES,
    EVENTS,
    NAMESPACES,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PERSISTENTVOLUMES,
    PODS,
    PRIORITYCLASSES,
    RESOURCECLAIMS,
    RESOURCESLICES,
    SERVICEACCOUNTS,
    STORAGECLASSES,
)
from wherry.apiserver.attributes import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.client.client import MERGE_PATCH, Client
from wherry.client.events import EventRecorder
from wherry.client.informer import InformerFactory
from wherry.client.transport import WatchEvent
from wherry.scheduler.profile import SchedulerConfig
from wherry.scheduler.scheduler import Scheduler
from wherry.store.memory import MemoryStore
from wherry.util.tasks import Scope

Object = dict[str, Any]
ADMIN = UserInfo("admin", (MASTERS_GROUP, AUTHENTICATED_GROUP))
SCHEDULER = UserInfo("system:kube-scheduler", (AUTHENTICATED_GROUP,))
KEY = SigningKey.of(ec.generate_private_key(ec.SECP256R1()))


@asynccontextmanager
async def scheduling(config: SchedulerConfig | None = None) -> AsyncIterator[Client]:
    """Run the API with a scheduler, and be its administrator."""
    async with ApiServer(MemoryStore(), ServerOptions(port=0), issuer=ServiceAccountIssuer([KEY])) as server:
        client, admin = Client(server.transport(SCHEDULER)), Client(server.transport(ADMIN))
        await admin.create(NAMESPACES, {"metadata": {"name": "ns"}})
        await admin.create(SERVICEACCOUNTS, {"metadata": {"name": "default", "namespace": "ns"}})
        async with InformerFactory(client) as factory, Scope() as scope:
            recorder = EventRecorder(client, "default-scheduler")
            scope.spawn(recorder.run())
            scope.spawn(Scheduler(client, factory, recorder, config=config).run())
            yield admin


async def node(admin: Client, name: str, cpu: str) -> None:
    await admin.create(NODES, {"metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}}})
    status = {"allocatable": {"cpu": cpu, "memory": "1Gi", "pods": "10"}, "capacity": {"cpu": cpu}}
    await admin.patch(NODES, name, {"status": status}, content_type=MERGE_PATCH, subresource="status")


async def pod(admin: Client, name: str, cpu: str, **spec: Any) -> None:
    container = {"name": "c", "image": "app", "resources": {"requests": {"cpu": cpu}}}
    tolerations = [{"operator": "Exists"}]  # there is no controller that would take the NotReady taint away
    wanted = {"containers": [container], "tolerations": tolerations, "terminationGracePeriodSeconds": 0, **spec}
    await admin.create(PODS, {"metadata": {"name": name, "namespace": "ns"}, "spec": wanted})


async def until(admin: Client, name: str, condition: Callable[[Object], Any]) -> Object:
    """Return the pod as soon as it meets `condition`."""
    return await first(admin.watch(PODS, "ns", fieldSelector=f"metadata.name={name}"), condition)


async def first(events: AsyncIterator[WatchEvent], condition: Callable[[Object], Any]) -> Object:
    """Return the first object of a watch that meets `condition`."""
    async with asyncio.timeout(10), aclosing(events) as open_events:  # type: ignore[type-var]
        async for event in open_events:
            if condition(event.object):
                return event.object
    raise AssertionError("the watch ended")


async def test_a_pod_is_bound_and_has_an_event() -> None:
    async with scheduling() as admin:
        await node(admin, "a", "1")
        await pod(admin, "p", "500m")
        bound = await until(admin, "p", lambda found: found["spec"].get("nodeName"))
        assert bound["spec"]["nodeName"] == "a"
        assert meta.is_true(bound, "PodScheduled")
        event = await first(admin.watch(EVENTS, "ns"), lambda found: found["reason"] == "Scheduled")
        assert event["message"] == "Successfully assigned ns/p to a"


async def test_a_higher_priority_evicts_a_lower_one_and_takes_its_place() -> None:
    async with scheduling() as admin:
        await admin.create(PRIORITYCLASSES, {"metadata": {"name": "high"}, "value": 1000})
        await node(admin, "a", "1")
        await pod(admin, "low", "1")
        await until(admin, "low", lambda found: found["spec"].get("nodeName"))
        await pod(admin, "high", "1", priorityClassName="high")
        bound = await until(admin, "high", lambda found: found["spec"].get("nodeName"))
        assert meta.is_true(bound, "PodScheduled")
        assert [meta.name(left) for left in (await admin.list(PODS, "ns"))["items"]] == ["high"]


async def test_an_unschedulable_pod_has_the_condition_that_names_the_reasons() -> None:
    async with scheduling() as admin:
        await node(admin, "a", "1")
        await pod(admin, "p", "2")
        refused = await until(admin, "p", lambda found: meta.condition(found, "PodScheduled"))
        condition = meta.condition(refused, "PodScheduled") or {}
        assert (condition["status"], condition["reason"], condition["observedGeneration"]) == (
            "False",
            "Unschedulable",
            1,
        )
        assert condition["message"] == (
            "0/1 nodes are available: 1 Insufficient cpu. preemption: 0/1 nodes are available: "
            "1 Preemption is not helpful for scheduling."
        )


async def test_the_first_consumer_of_a_claim_gets_a_volume_bound_for_its_node() -> None:
    async with scheduling() as admin:
        late = {
            "metadata": {"name": "late"},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": "WaitForFirstConsumer",
        }
        await admin.create(STORAGECLASSES, late)
        terms = [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "In", "values": ["b"]}]}]
        volume = {
            "metadata": {"name": "pv"},
            "spec": {
                "capacity": {"storage": "1Gi"},
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "late",
                "local": {"path": "/data"},
                "nodeAffinity": {"required": {"nodeSelectorTerms": terms}},
            },
        }
        await admin.create(PERSISTENTVOLUMES, volume)
        available = {"status": {"phase": "Available"}}
        await admin.patch(PERSISTENTVOLUMES, "pv", available, content_type=MERGE_PATCH, subresource="status")
        claim = {
            "metadata": {"name": "data", "namespace": "ns"},
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "late",
                "resources": {"requests": {"storage": "1Gi"}},
            },
        }
        await admin.create(PERSISTENTVOLUMECLAIMS, claim)
        await node(admin, "a", "1")
        await node(admin, "b", "1")
        await pod(admin, "p", "1m", volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}])
        taken = await first(admin.watch(PERSISTENTVOLUMES), lambda found: found["spec"].get("claimRef"))
        assert (taken["spec"]["claimRef"]["namespace"], taken["spec"]["claimRef"]["name"]) == ("ns", "data")
        # The volume controller's part.
        patch = {"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}}, "spec": {"volumeName": "pv"}}
        await admin.patch(PERSISTENTVOLUMECLAIMS, "data", patch, "ns")
        bound = await until(admin, "p", lambda found: found["spec"].get("nodeName"))
        assert bound["spec"]["nodeName"] == "b"


async def test_a_claim_gets_a_device_before_its_pod_is_bound() -> None:
    async with scheduling() as admin:
        await node(admin, "a", "1")
        await admin.create(DEVICECLASSES, {"metadata": {"name": "gpu"}, "spec": {}})
        pool = {"name": "a", "generation": 1, "resourceSliceCount": 1}
        gpu = {"name": "g0", "attributes": {"model": {"string": "x"}, "driver": {"version": "1.2.3"}}}
        spec = {"driver": "gpu.example.com", "pool": pool, "nodeName": "a", "devices": [gpu]}
        await admin.create(RESOURCESLICES, {"metadata": {"name": "a"}, "spec": spec})
        text = 'device.attributes["gpu.example.com"].driver.isGreaterThan(semver("1.0.0"))'
        exactly = {"deviceClassName": "gpu", "selectors": [{"cel": {"expression": text}}]}
        wanted = {"devices": {"requests": [{"name": "r", "exactly": exactly}]}}
        await admin.create(RESOURCECLAIMS, {"metadata": {"name": "c", "namespace": "ns"}, "spec": wanted})
        await pod(admin, "p", "100m", resourceClaims=[{"name": "c", "resourceClaimName": "c"}])
        bound = await until(admin, "p", lambda found: found["spec"].get("nodeName"))
        found = (await admin.get(RESOURCECLAIMS, "c", "ns"))["status"]
        assert found["allocation"]["devices"]["results"][0]["device"] == "g0"
        assert found["reservedFor"] == [{"resource": "pods", "name": "p", "uid": meta.uid(bound)}]
