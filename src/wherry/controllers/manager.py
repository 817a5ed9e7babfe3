"""All controllers over one set of informers."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence

from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.informer import InformerFactory, SharedInformer
from wherry.controllers.bootstrap import BootstrapSignerController, TokenCleanerController
from wherry.controllers.clusterrole import ClusterRoleAggregationController
from wherry.controllers.controller import Context, Controller, Settings
from wherry.controllers.cronjob import CronJobController
from wherry.controllers.csrapproving import CSRApprovingController
from wherry.controllers.csrcleaner import CSRCleanerController
from wherry.controllers.csrsigning import CSRSigningController
from wherry.controllers.daemonset import DaemonSetController
from wherry.controllers.dependents import Dependents
from wherry.controllers.deployment import DeploymentController
from wherry.controllers.disruption import DisruptionController
from wherry.controllers.endpoints import EndpointsController
from wherry.controllers.endpointslice import EndpointSliceController
from wherry.controllers.endpointslicemirroring import EndpointSliceMirroringController
from wherry.controllers.ephemeralvolume import EphemeralVolumeController
from wherry.controllers.garbagecollector import GarbageCollector
from wherry.controllers.hpa import HorizontalPodAutoscalerController
from wherry.controllers.job import JobController
from wherry.controllers.legacytokencleaner import LegacyTokenCleaner
from wherry.controllers.namespace import NamespaceController
from wherry.controllers.nodeipam import NodeIpamController
from wherry.controllers.nodelifecycle import NodeLifecycleController
from wherry.controllers.persistentvolume import PersistentVolumeController
from wherry.controllers.podgc import PodGCController
from wherry.controllers.replicaset import ReplicaSetController
from wherry.controllers.replicationcontroller import ReplicationControllerController
from wherry.controllers.resourceclaim import ResourceClaimController
from wherry.controllers.resourcequota import ResourceQuotaController
from wherry.controllers.rootca import RootCAController
from wherry.controllers.serviceaccount import ServiceAccountController
from wherry.controllers.serviceaccounttoken import ServiceAccountTokenController
from wherry.controllers.servicecidr import ServiceCIDRController
from wherry.controllers.statefulset import StatefulSetController
from wherry.controllers.tainteviction import TaintEvictionController
from wherry.controllers.ttlafterfinished import TTLAfterFinishedController
from wherry.controllers.validatingadmissionpolicy import ValidatingAdmissionPolicyStatusController
from wherry.controllers.volumeprotection import (
    ClaimProtectionController,
    VolumeAttributesClassProtectionController,
    VolumeProtectionController,
)
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

CONTROLLERS: tuple[type[Controller], ...] = (
    DeploymentController,
    ReplicaSetController,
    ReplicationControllerController,
    StatefulSetController,
    DaemonSetController,
    JobController,
    CronJobController,
    TTLAfterFinishedController,
    ValidatingAdmissionPolicyStatusController,
    EndpointsController,
    EndpointSliceController,
    EndpointSliceMirroringController,
    ServiceCIDRController,
    NamespaceController,
    ServiceAccountController,
    RootCAController,
    ClusterRoleAggregationController,
    NodeLifecycleController,
    NodeIpamController,
    TaintEvictionController,
    PodGCController,
    DisruptionController,
    EphemeralVolumeController,
    ResourceClaimController,
    ResourceQuotaController,
    PersistentVolumeController,
    ClaimProtectionController,
    VolumeProtectionController,
    VolumeAttributesClassProtectionController,
    HorizontalPodAutoscalerController,
    ServiceAccountTokenController,
    LegacyTokenCleaner,
    CSRApprovingController,
    CSRSigningController,
    CSRCleanerController,
    TokenCleanerController,
    BootstrapSignerController,
    # Last: it reads whole objects through the informers of the others, and metadata alone of the rest.
    GarbageCollector,
)


class Manager:
    """Builds every controller and runs it.

    `client` feeds the informers; `client_for(name)` gives the client that a controller writes with (the service account
    of that name in kube-system), by default `client` itself. ``async with Scope() as scope: manager.run(scope)``.
    """

    def __init__(
        self,
        client: Client,
        *,
        settings: Settings | None = None,
        client_for: Callable[[str], Client] | None = None,
        controllers: Sequence[type[Controller]] = CONTROLLERS,
    ) -> None:
        self.informers = InformerFactory(client)
        self._recorders: list[EventRecorder] = []
        self.controllers: list[Controller] = []
        dependents: dict[SharedInformer, Dependents] = {}
        for kind in controllers:
            writer = client if client_for is None or kind.account is None else client_for(kind.account or kind.name)
            recorder = EventRecorder(writer, kind.component or kind.name)
            self._recorders.append(recorder)
            context = Context(writer, self.informers, recorder, settings or Settings(), dependents)
            self.controllers.append(kind(context))

    def run(self, scope: Scope) -> None:
        """Start informers and controllers in `scope`; they end with it."""
        self.informers.run(scope)
        for recorder in self._recorders:
            scope.spawn(recorder.run(), name="events", guard=True)
        for controller in self.controllers:
            scope.spawn(controller.run(), name=controller.name)

    async def flush_events(self) -> None:
        """Wait until all events recorded so far are written; `run` must have been called."""
        for recorder in self._recorders:
            await recorder.flush()

    def samples(self) -> Iterator[tuple[str, Mapping[str, str], float]]:
        """Yield the metrics of work queues and controllers as (name, labels, value)."""
        for controller in self.controllers:
            yield from controller.queue.samples()
            yield from controller.meter.samples()
