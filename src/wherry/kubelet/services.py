"""What the workers of all pods share."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from wherry.api import meta
from wherry.client.cache import Lister
from wherry.client.client import Client
from wherry.images.protocol import ImageStore
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.events import PodEvents
from wherry.kubelet.hooks import HookRunner
from wherry.kubelet.machine import Machine
from wherry.kubelet.objects import ObjectCache
from wherry.kubelet.probes.check import Checker
from wherry.kubelet.probes.counts import ProbeCounts
from wherry.kubelet.pulling import ImagePuller
from wherry.kubelet.resources import Requests
from wherry.kubelet.runtime_cache import RuntimeCache
from wherry.kubelet.status_manager import StatusManager
from wherry.kubelet.tokens import TokenManager
from wherry.kubelet.userns import HostIds
from wherry.kubelet.volumes.manager import VolumeManager
from wherry.network.protocol import Network
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.protocol import Runtime


@dataclass(slots=True, kw_only=True)
class NodeServices:
    """One node's parts, as a worker needs them. `services` lists the cluster's Services; `allocatable` is the node's;
    `hostname` its own; `node_memory` its bytes. `cgroups` is None where nothing is to be limited (tests).
    `starts` limits how many containers are made at once; `starting` holds the pods that something is made for just now.
    `node` returns the Node (None while it is not known), `others` its other pods that have not ended, `pressure` its
    pressure conditions."""

    config: KubeletConfig
    client: Client
    runtime: Runtime
    images: ImageStore
    network: Network
    cgroups: Cgroups | None
    cache: RuntimeCache
    volumes: VolumeManager
    objects: ObjectCache
    tokens: TokenManager
    puller: ImagePuller
    hooks: HookRunner
    checker: Checker
    events: PodEvents
    statuses: StatusManager
    services: Lister
    host_ids: HostIds
    probe_counts: ProbeCounts = field(default_factory=ProbeCounts)
    machine: Machine = field(default_factory=Machine)
    hostname: str = ""
    node_memory: int = 0
    allocatable: Mapping[str, str] = field(default_factory=dict)
    requests: Requests = field(default_factory=Requests)
    starting: set[str] = field(default_factory=set)
    node: Callable[[], meta.Object | None] = lambda: None
    pressure: Callable[[], Mapping[str, bool]] = dict
    others: Callable[[meta.Object], list[meta.Object]] = lambda pod: []
    starts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(8))
