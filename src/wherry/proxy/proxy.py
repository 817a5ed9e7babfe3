"""Follows Services and EndpointSlices and keeps the kernel at their plan."""

import asyncio
import logging
from collections.abc import Sequence

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTSLICES, NODES, SERVICES
from wherry.client.informer import InformerFactory
from wherry.network.conntrack import Flow, delete_flows
from wherry.network.nft import Nft, NftError
from wherry.proxy import ruleset
from wherry.proxy.endpoints import SERVICE_NAME_LABEL, NodeInfo
from wherry.proxy.health import HealthServers
from wherry.proxy.plan import Flows, ServicePlan, plan_service
from wherry.util import clock
from wherry.util.backoff import Backoff
from wherry.util.tasks import Scope

log = logging.getLogger(__name__)

_UDP = 17
_DEBOUNCE = 0.003
_BY_SERVICE = "proxy/service"
_ZONE_LABEL = "topology.kubernetes.io/zone"
_NOT_OURS = frozenset({"service.kubernetes.io/service-proxy-name", "service.kubernetes.io/headless"})
"""Labels by which Services and slices say that they are no business of the default proxy."""


def table_name(cluster_name: str) -> str:
    """Return the name of the nftables table (family ip) of a cluster."""
    return f"wherry-{cluster_name}"


async def destroy(cluster_name: str) -> None:
    """Remove everything that a proxy of this cluster programmed."""
    nft, table = Nft(), table_name(cluster_name)
    await nft.run(f"add table ip {table}\ndelete table ip {table}")
    await nft.close()


class Proxy:
    """The service proxy of one node. `gateway` is the host's address in the pod network of `pod_cidr`."""

    def __init__(
        self, factory: InformerFactory, node_name: str, *, cluster_name: str, pod_cidr: str, gateway: str
    ) -> None:
        self._node = NodeInfo(node_name)
        self._table = table_name(cluster_name)
        self._pod_cidr, self._gateway = pod_cidr, gateway
        self._plans: dict[str, ServicePlan] = {}
        self._dirty: set[str] = set()
        self._everything = True
        self._wake = asyncio.Event()
        self._programmed = asyncio.Event()
        self._services = factory.informer(SERVICES)
        self._slices = factory.informer(ENDPOINTSLICES)
        self._nodes = factory.informer(NODES, field_selector=f"metadata.name={node_name}")
        self._slices.add_index(_BY_SERVICE, _service_of)
        self._services.add_handler(on_add=self._changed, on_update=self._updated, on_delete=self._changed)
        self._slices.add_handler(
            on_add=self._slice_changed, on_update=self._slice_updated, on_delete=self._slice_changed
        )
        self._nodes.add_handler(on_add=self._node_changed, on_update=lambda _, node: self._node_changed(node))

    async def wait_programmed(self) -> None:
        """Wait until the kernel holds the Services that there were at the start."""
        await self._programmed.wait()

    async def run(self) -> None:
        """Program the kernel until cancelled; the rules stay."""
        nft = Nft()
        try:
            for informer in (self._services, self._slices, self._nodes):
                await informer.wait_synced()
            async with Scope() as scope:
                await self._follow(nft, HealthServers(scope))
        finally:
            await asyncio.shield(nft.close())

    async def _follow(self, nft: Nft, health: HealthServers) -> None:
        retry = Backoff(0.05, 30.0)
        try:
            while True:
                self._wake.clear()
                try:
                    await self._sync(nft)
                    retry.reset()
                    self._programmed.set()
                    await health.serve({k: v for plan in self._plans.values() for k, v in plan.health.items()})
                except NftError as error:
                    # What the kernel holds is not what was thought: program all of it again.
                    log.warning("nftables refused a transaction: %s", str(error)[:2000])
                    self._everything = True
                    self._wake.set()
                    await clock.sleep(retry.next())
                await self._wake.wait()
                await clock.sleep(_DEBOUNCE)
        finally:
            await health.serve({})

    async def _sync(self, nft: Nft) -> None:
        if self._everything:
            # What changes while the kernel is programmed is not in what it is programmed with.
            self._everything, self._dirty = False, set()
            try:
                await self._program_all(nft)
            except BaseException:
                self._everything = True
                raise
            return
        keys, self._dirty = self._dirty, set()
        try:
            new = {key: self._plan(key) for key in sorted(keys)}
            old = {key: self._plans.get(key, ServicePlan()) for key in new}
            script = ruleset.diff(
                self._table,
                ruleset.union(plan.rules for plan in old.values()),
                ruleset.union(plan.rules for plan in new.values()),
            )
            if script:
                await nft.run(script)
        except BaseException:
            self._dirty |= keys
            raise
        for key, plan in new.items():
            if plan.rules.chains or plan.rules.elements:
                self._plans[key] = plan
            else:
                self._plans.pop(key, None)
        await self._forget_flows(_changed_flows(old, new))

    async def _program_all(self, nft: Nft) -> None:
        keys: list[str] = sorted(meta.key_of(service) for service in self._services.lister.list())
        plans = {key: self._plan(key) for key in keys}
        rules = ruleset.union(plan.rules for plan in plans.values())
        found = await nft.list_table("ip", self._table)
        present = [(kind, entry[kind]["name"]) for entry in found for kind in ("chain", "map", "set") if kind in entry]
        try:
            await nft.run(self._replacement(rules, present))
        except NftError as error:
            log.warning("making the table %s anew: %s", self._table, str(error)[:2000])
            anew = f"add table ip {self._table}\ndelete table ip {self._table}\n"
            await nft.run(anew + self._replacement(rules, []))
        flows = {key: endpoints for plan in plans.values() for key, endpoints in plan.flows.items()}
        self._plans = plans
        await self._forget_flows(flows)

    def _replacement(self, rules: ruleset.Ruleset, present: Sequence[tuple[str, str]]) -> str:
        return ruleset.replace(self._table, rules, pod_cidr=self._pod_cidr, gateway=self._gateway, present=present)

    def _plan(self, key: str) -> ServicePlan:
        service = self._services.lister.get(key)
        if service is None or not _NOT_OURS.isdisjoint(meta.labels(service)):
            return ServicePlan()
        found = self._slices.lister.by_index(_BY_SERVICE, key)
        slices = [entry for entry in found if _NOT_OURS.isdisjoint(meta.labels(entry))]
        return plan_service(service, slices, self._node, pod_cidr=self._pod_cidr)

    async def _forget_flows(self, flows: Flows) -> None:
        """Remove tracked UDP flows of these services that lead where no endpoint is: UDP clients never reconnect."""
        if not flows:
            return

        def is_stale(flow: Flow) -> bool:
            endpoints = flows.get(flow.destination)
            if endpoints is None:
                endpoints = flows.get(("", flow.destination[1])) if flow.answering != flow.destination else None
            return bool(endpoints is not None and flow.answering not in endpoints)

        try:
            await asyncio.get_running_loop().run_in_executor(None, delete_flows, _UDP, is_stale)
        except OSError as error:
            log.warning("cannot read tracked connections: %s", error)

    # Handlers.

    def _changed(self, service: Object) -> None:
        self._dirty.add(meta.key_of(service))
        self._wake.set()

    def _updated(self, _: Object, service: Object) -> None:
        self._changed(service)

    def _slice_changed(self, piece: Object) -> None:
        for key in _service_of(piece):
            self._dirty.add(key)
            self._wake.set()

    def _slice_updated(self, old: Object, new: Object) -> None:
        self._slice_changed(old)
        self._slice_changed(new)

    def _node_changed(self, node: Object) -> None:
        info = NodeInfo(self._node.name, meta.labels(node).get(_ZONE_LABEL, ""))
        if info != self._node:
            self._node = info
            self._everything = True
            self._wake.set()


def _service_of(piece: Object) -> list[str]:
    name = meta.labels(piece).get(SERVICE_NAME_LABEL)
    return [meta.make_key(meta.namespace(piece), name)] if name else []


def _changed_flows(old: dict[str, ServicePlan], new: dict[str, ServicePlan]) -> Flows:
    before = {flow: endpoints for plan in old.values() for flow, endpoints in plan.flows.items()}
    after = {flow: endpoints for plan in new.values() for flow, endpoints in plan.flows.items()}
    # A service that is gone leaves no endpoint; one that grew from some to more made nothing stale.
    changed = {flow: after.get(flow, frozenset()) for flow in before if before[flow] - after.get(flow, frozenset())}
    changed |= {flow: endpoints for flow, endpoints in after.items() if endpoints and not before.get(flow)}
    return changed
