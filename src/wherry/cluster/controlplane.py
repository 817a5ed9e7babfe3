"""The control plane in one process: API server, controllers and scheduler over one store.

The controllers and the scheduler reach the API server in process, each as the user that Kubernetes gives it, so its
rights are those of the default roles.
"""

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from types import TracebackType
from typing import Self

from wherry.api import meta
from wherry.api.resources import NODES
from wherry.apiserver.attributes import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey, groups, username
from wherry.apiserver.authn.token import TokenAuthenticator
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.client.client import Client
from wherry.client.events import EventRecorder
from wherry.client.informer import InformerFactory
from wherry.cluster.credentials import Credentials
from wherry.controllers.controller import Settings
from wherry.controllers.manager import Manager
from wherry.controllers.metrics import FAMILIES as CONTROLLER_FAMILIES
from wherry.kubelet.fake import LABEL, FakeConfig
from wherry.scheduler.metrics import FAMILIES as SCHEDULER_FAMILIES
from wherry.scheduler.profile import SchedulerConfig
from wherry.scheduler.scheduler import Scheduler
from wherry.store.protocol import Store
from wherry.util.tasks import Scope

_MANAGER = UserInfo("system:kube-controller-manager", (AUTHENTICATED_GROUP,))
_ADMIN = UserInfo("kubernetes-admin", (MASTERS_GROUP, AUTHENTICATED_GROUP))
_NODES_GROUP = "system:nodes"
_SCHEDULER = UserInfo("system:kube-scheduler", (AUTHENTICATED_GROUP,))


class ControlPlane:
    """``async with ControlPlane(...)`` serves, reconciles and schedules until the block ends."""

    def __init__(
        self,
        store: Store,
        options: ServerOptions,
        credentials: Credentials,
        *,
        tokens: Sequence[TokenAuthenticator] = (),
        fake: FakeConfig | None = None,
        scheduling: SchedulerConfig | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Take what the plane is made of; with `fake` it keeps fake nodes too, by `scheduling` it schedules.

        `settings` are those of the controllers but for authority and tokens.
        """
        key = SigningKey.from_pem(credentials.service_account_key.read_bytes())
        self._issuer = ServiceAccountIssuer([key])
        self._server = ApiServer(store, options, issuer=self._issuer, tokens=tokens)
        self._credentials = credentials
        self._scheduling = scheduling
        self._settings = settings or Settings()
        self._fake = fake
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._server)
            scope = await stack.enter_async_context(Scope())
            manager = self._run_controllers(scope)
            self._run_scheduler(scope, manager.informers)
            if self._fake is not None:
                scope.spawn(self._run_fake_nodes(manager.informers, self._fake), name="fake nodes")
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    @property
    def admin(self) -> Client:
        """A client in process with all rights."""
        return self._client(_ADMIN)

    @property
    def metrics(self) -> Metrics:
        """What ``/metrics`` shows."""
        return self._server.metrics

    def _run_controllers(self, scope: Scope) -> Manager:
        authority = self._credentials.authority
        settings = replace(
            self._settings,
            root_ca=authority.certificate.read_text(),
            signing_cert=authority.certificate.read_text(),
            signing_key=authority.key.read_text(),
            mint_token=self._issuer.mint_legacy,
        )
        manager = Manager(self._client(_MANAGER), settings=settings, client_for=self._controller_client)
        manager.run(scope)
        self.metrics.add(manager.samples, CONTROLLER_FAMILIES)
        return manager

    def _run_scheduler(self, scope: Scope, informers: InformerFactory) -> None:
        """Run the scheduler; it sees what the controllers see, so that one copy of each object is kept and told of."""
        client = self._client(_SCHEDULER)
        recorder = EventRecorder(client, "default-scheduler", quiet=lambda: scheduler.is_quiet())
        scheduler = Scheduler(client, informers, recorder, config=self._scheduling)
        self.metrics.add(scheduler.samples, SCHEDULER_FAMILIES)
        scope.spawn(recorder.run(), name="scheduler events", guard=True)
        scope.spawn(scheduler.run(), name="scheduler")

    async def _run_fake_nodes(self, informers: InformerFactory, config: FakeConfig) -> None:
        """Keep the fake nodes, or remove those of an earlier start where there shall be none."""
        known = informers.informer(NODES)
        await known.wait_synced()
        if not config.count and not any(meta.labels(node).get(LABEL) == "true" for node in known.lister.list()):
            return
        # Only clusters that have fake nodes pay for importing a kubelet here.
        from wherry.kubelet.fake.nodes import FakeNodes

        nodes = FakeNodes(config, informers, client_for=self._node_client, admin=self.admin)
        self.metrics.add(nodes.samples)
        await nodes.run()

    def _node_client(self, name: str) -> Client:
        user = UserInfo(f"system:node:{name}", (_NODES_GROUP, AUTHENTICATED_GROUP))
        return Client(self._server.transport(user), field_manager="kubelet")

    def _controller_client(self, name: str) -> Client:
        user = UserInfo(username("kube-system", name), (*groups("kube-system"), AUTHENTICATED_GROUP))
        return self._client(user)

    def _client(self, user: UserInfo) -> Client:
        return Client(self._server.transport(user), field_manager=user.name.rpartition(":")[2])
