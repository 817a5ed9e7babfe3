"""Puts the API server together: `ApiServer` owns the registry, the handlers and the listening socket."""

import logging
import ssl
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from wherry.api.resources import (
    CERTIFICATESIGNINGREQUESTS,
    EVENTS,
    RESOURCECLAIMS,
    RESOURCECLAIMTEMPLATES,
    SERVICES,
    TABLE,
)
from wherry.apiserver import legacy, reviewing
from wherry.apiserver.admission.chain import Chain
from wherry.apiserver.admission.checkmetrics import FAMILIES as CHECK_FAMILIES
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.metrics import FAMILIES as ADMISSION_FAMILIES
from wherry.apiserver.admission.order import standard
from wherry.apiserver.admission.plugin import Plugin
from wherry.apiserver.admission.webhooks.metrics import FAMILIES as WEBHOOK_FAMILIES
from wherry.apiserver.aggregation.aggregator import FAMILIES as AGGREGATOR_FAMILIES
from wherry.apiserver.aggregation.aggregator import Aggregator
from wherry.apiserver.api import Api
from wherry.apiserver.attributes import AUTHENTICATED_GROUP, MASTERS_GROUP, UserInfo
from wherry.apiserver.audit.log import FAMILIES as AUDIT_FAMILIES
from wherry.apiserver.audit.log import AuditLog
from wherry.apiserver.audit.policy import Policy
from wherry.apiserver.authn.bootstraptoken import BootstrapTokens
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.authn.legacytokens import LegacyTokenUse
from wherry.apiserver.authn.serviceaccount import ServiceAccountTokens
from wherry.apiserver.authn.token import TokenAuthenticator
from wherry.apiserver.authn.union import UnionAuthenticator
from wherry.apiserver.authz.escalation import EscalationCheck
from wherry.apiserver.authz.union import UnionAuthorizer
from wherry.apiserver.bootstrap import objects, rbac
from wherry.apiserver.bootstrap.keeper import Keeper
from wherry.apiserver.compaction import Compactor
from wherry.apiserver.connection import Server
from wherry.apiserver.decode import Schemas
from wherry.apiserver.discovery import Discovery
from wherry.apiserver.eventexpiry import EventExpiry
from wherry.apiserver.extensions.controller import Extensions
from wherry.apiserver.flowcontrol.control import FAMILIES as FLOW_FAMILIES
from wherry.apiserver.flowcontrol.dump import PATH as LEVELS_TABLE
from wherry.apiserver.flowcontrol.references import References
from wherry.apiserver.health import Health
from wherry.apiserver.http import Frontend
from wherry.apiserver.identity import Identity
from wherry.apiserver.inprocess import InProcessTransport
from wherry.apiserver.metrics import build_info, store_samples
from wherry.apiserver.nodeproxy import NodeProxy
from wherry.apiserver.openapi import OpenApi
from wherry.apiserver.paths import Paths
from wherry.apiserver.registry import Registry
from wherry.apiserver.relay import Near
from wherry.apiserver.reviews import ReviewContext
from wherry.apiserver.strategies import certificates, claims
from wherry.apiserver.strategies.hooks import Hooks
from wherry.apiserver.strategies.services import FAMILIES as SERVICE_FAMILIES
from wherry.apiserver.strategies.services import ServiceStorage
from wherry.apiserver.version import version_info
from wherry.client.client import Client
from wherry.store.protocol import Store
from wherry.util.certificates import load_chain
from wherry.util.tasks import Service

log = logging.getLogger(__name__)

_SHUTDOWN = 5.0
_KEEPALIVE = 75.0
"""Seconds that a connection may take for the head of its next request."""
_HEADER = 1 << 18
"""Bytes of a request line or header: selectors can be long."""

_SELF = UserInfo("system:apiserver", (MASTERS_GROUP, AUTHENTICATED_GROUP))


_AIOHTTP = logging.getLogger("aiohttp.server")


def _is_no_clients_fault(record: logging.LogRecord) -> bool:
    """Tell whether a record is of more than malformed HTTP: who sends that fills no log."""
    return not (record.exc_info and isinstance(record.exc_info[1], HttpProcessingError))


@dataclass(slots=True, kw_only=True)
class ServerOptions:
    """How to serve. Files are PEM; `client_ca` verifies client certificates, None asks for none. Without a
    certificate the server speaks plain HTTP (tests). `address` is what clients of the cluster are told."""

    host: str = "127.0.0.1"
    port: int = 6443
    address: str = "127.0.0.1"
    certificate: Path | None = None
    key: Path | None = None
    client_ca: Path | None = None
    kubelet_certificate: Path | None = None
    kubelet_key: Path | None = None
    kubelet_ca: Path | None = None
    near_kubelet: Near | None = None
    service_cidr: str = "10.96.0.0/16"
    node_ports: tuple[int, int] = (30000, 32767)
    kubernetes_version: str = "1.36"
    anonymous: bool = True
    anonymous_paths: frozenset[str] = frozenset()
    allow_privileged: bool = True
    legacy_apis: bool = False
    front_proxy_certificate: Path | None = None
    front_proxy_key: Path | None = None
    front_proxy_ca: Path | None = None
    audit_policy: Path | None = None
    audit_log: Path | None = None


class ApiServer:
    """The API server over a store. ``async with ApiServer(...) as server`` starts and stops it.

    Order of use: construct; add to `api.extensions`, `paths.providers`, `api.hooks`; enter.
    """

    def __init__(
        self,
        store: Store,
        options: ServerOptions,
        *,
        issuer: ServiceAccountIssuer,
        tokens: Sequence[TokenAuthenticator] = (),
        plugins: Callable[[AdmissionContext], list[Plugin]] = standard,
    ) -> None:
        self.options = options
        self.registry = registry = Registry(store)
        self.authenticator = UnionAuthenticator(
            [*tokens, ServiceAccountTokens(issuer, registry, used=self._token_used), BootstrapTokens(registry)],
            audiences=issuer.audiences,
            anonymous=options.anonymous,
            anonymous_paths=options.anonymous_paths,
        )
        self.authorizer = UnionAuthorizer(registry)
        self.issuer = issuer
        schemas = Schemas()
        context = AdmissionContext(registry, schemas, self.authorizer)
        chosen = plugins(context)
        escalation = EscalationCheck(self.authorizer.rbac, self.authorizer)
        self.api = Api(registry, schemas, Chain([*chosen, escalation]), Hooks())
        if options.legacy_apis:
            legacy.enable(self.api)
        reviewing.register(self.api, ReviewContext(registry, self.authenticator, self.authorizer, issuer))
        self.health = Health()
        self.discovery = Discovery(self.registry, server_address=lambda: f"{options.address}:{self.port}")
        self.paths = Paths(self.discovery, self.health, version_info(options.kubernetes_version))
        self._publish_keys()
        git_version = version_info(options.kubernetes_version)["gitVersion"]
        self.openapi = OpenApi(self.api.schemas.definitions, TABLE, git_version)
        self.paths.providers["/openapi/"] = self.openapi.provide
        itself = Client(self.transport(_SELF), field_manager="kube-apiserver")
        self.extensions = Extensions(self.api, self.openapi.documents, itself)
        self._token_use = LegacyTokenUse(itself)
        front = options.front_proxy_certificate, options.front_proxy_key
        self.aggregator = Aggregator(
            registry, self.discovery, self.openapi, itself, (front[0], front[1]) if front[0] and front[1] else None
        )
        self.frontend = Frontend(self.api, self.authenticator, self.authorizer, self.paths)
        self.frontend.aggregator = self.aggregator
        self.paths.tables[LEVELS_TABLE] = self.frontend.flow.table
        if options.audit_policy is not None and options.audit_log is not None:
            self.frontend.audit = AuditLog(Policy.load(options.audit_policy), options.audit_log)
        self.metrics = self.frontend.metrics
        self.metrics.add(partial(store_samples, registry))
        self.metrics.add(self.frontend.flow.samples, FLOW_FAMILIES)
        self.metrics.add(self.api.admission.timers.samples, ADMISSION_FAMILIES)
        self.metrics.add(context.checks.samples, CHECK_FAMILIES)
        self.metrics.add(context.webhooks.samples, WEBHOOK_FAMILIES)
        self.metrics.add(self.aggregator.samples, AGGREGATOR_FAMILIES)
        self.metrics.add(partial(build_info, version_info(options.kubernetes_version)))
        self.services = ServiceStorage(self.registry, options.service_cidr.split(","), options.node_ports)
        self.api.hooks.register(SERVICES, self.services.hook)
        self.metrics.add(self.services.samples, SERVICE_FAMILIES)
        self.api.hooks.register(CERTIFICATESIGNINGREQUESTS, certificates.HOOK)
        self.api.hooks.register(RESOURCECLAIMS, claims.claim_hook(registry, self.authorizer))
        self.api.hooks.register(RESOURCECLAIMTEMPLATES, claims.template_hook(registry, self.authorizer))
        self._background: Sequence[Service] = (
            Compactor(store),
            EventExpiry(store, registry.prefix(EVENTS), itself),
            References(registry, itself),
            Identity(registry, itself, lambda: f"{options.address}:{self.port}"),
        )
        self.proxy = NodeProxy(self.api, self.authorizer, self._kubelet_tls(), near=options.near_kubelet)
        self.frontend.relay = self.proxy
        self.port = options.port
        self.keeper: Keeper | None = None
        self._runner: web.ServerRunner | None = None

    async def __aenter__(self) -> "ApiServer":
        await self.registry.start()
        if self.frontend.audit is not None:
            await self.frontend.audit.start()
            self.metrics.add(self.frontend.audit.samples, AUDIT_FAMILIES)
        client = Client(self.transport(_SELF), field_manager="kube-apiserver")
        await self.services.load(client)
        await self._token_use.__aenter__()
        await self.extensions.__aenter__()
        server = Server(
            self.frontend,
            access_log=None,
            keepalive_timeout=_KEEPALIVE,
            max_line_size=_HEADER,
            max_field_size=_HEADER,
            auto_decompress=False,  # nobody sends compressed bodies: upstream does not read them either
        )
        _AIOHTTP.addFilter(_is_no_clients_fault)
        self._runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN)
        await self._runner.setup()
        site = web.TCPSite(
            self._runner,
            self.options.host,
            self.options.port,
            ssl_context=self._ssl(),
            backlog=1024,
            reuse_address=True,
        )
        await site.start()
        self.port = self._runner.addresses[0][1]
        self.keeper = Keeper(await self._bootstrap(client), partial(objects.version, self.registry))
        await self.keeper.__aenter__()
        await self.aggregator.__aenter__()
        for service in self._background:
            await service.__aenter__()
        self.health.started = True
        log.info("serving on %s:%d", self.options.host, self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.health.stopping = True
        self.frontend.end_streams()
        if self._runner is not None:
            await self._runner.cleanup()
        if self.keeper is not None:
            await self.keeper.__aexit__(kind, error, traceback)
        await self._token_use.__aexit__(kind, error, traceback)
        await self.extensions.__aexit__(kind, error, traceback)
        await self.api.admission.close()
        for service in reversed(self._background):
            await service.__aexit__(kind, error, traceback)
        await self.aggregator.__aexit__(kind, error, traceback)
        await self.proxy.close()
        if self.frontend.audit is not None:
            await self.frontend.audit.close()
        self.registry.stop()

    async def _bootstrap(self, client: Client) -> Callable[[], Awaitable[None]]:
        """Write what every cluster has; return what writes it again where it was deleted."""
        options = self.options
        facts = objects.Facts(
            service_cidr=options.service_cidr,
            address=options.address,
            port=self.port,
            client_ca=options.client_ca.read_text() if options.client_ca is not None else "",
            front_proxy_ca=options.front_proxy_ca.read_text() if options.front_proxy_ca is not None else "",
        )
        await objects.create(self.registry, client, facts)
        await rbac.reconcile(self.registry, client)
        return partial(objects.restore, self.registry, client, facts)

    def _token_used(self, namespace: str, name: str) -> None:
        self._token_use.note(namespace, name)

    def _publish_keys(self) -> None:
        jwks_uri = f"https://{self.options.address}:{self.options.port}/openid/v1/jwks"
        documents = self.paths.documents
        documents["/.well-known/openid-configuration"] = ("application/json", lambda: self.issuer.discovery(jwks_uri))
        documents["/openid/v1/jwks"] = ("application/jwk-set+json", self.issuer.jwks)

    def transport(self, user: UserInfo) -> InProcessTransport:
        """Return a client transport that calls the handlers as `user`, without a socket."""
        return InProcessTransport(self.api, self.authorizer, user, find_remote=lambda path: self.aggregator.find(path))

    def _kubelet_tls(self) -> ssl.SSLContext:
        options = self.options
        context = ssl.create_default_context(cafile=options.kubelet_ca)
        # A kubelet is known by its certificate's authority; its address is what its Node object says.
        context.check_hostname = False
        if options.kubelet_ca is None:
            context.verify_mode = ssl.CERT_NONE
        if options.kubelet_certificate is not None:
            load_chain(context, options.kubelet_certificate, options.kubelet_key)
        return context

    def _ssl(self) -> ssl.SSLContext | None:
        options = self.options
        if options.certificate is None:
            return None
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        load_chain(context, options.certificate, options.key)
        context.set_alpn_protocols(["http/1.1"])
        if options.client_ca is not None:
            context.load_verify_locations(options.client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
        return context
