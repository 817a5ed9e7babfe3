"""What happens in the month: scheduled work, rollouts, scalings, drains, lost nodes, namespaces that come and go."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.component.month.invariants import Guard, check_settled
from tests.component.month.world import World
from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    NODES,
    PODDISRUPTIONBUDGETS,
    PODS,
    RESOURCEQUOTAS,
    SERVICES,
    STATEFULSETS,
    Resource,
)
from wherry.client.client import MERGE_PATCH
from wherry.util import clock

HOUR = 3600.0
_ZONES = 4
_WEBS = ("web", "api", "worker", "cache")


def _template(app: str, *, cpu: str = "100m", **more: Any) -> Object:
    container = {"name": "c", "image": "app:1", "resources": {"requests": {"cpu": cpu}}}
    return {"metadata": {"labels": {"app": app}}, "spec": {"containers": [container], **more}}


def _batch(app: str, *, seconds: int, fails: int = 0, cpu: str = "200m") -> Object:
    made = _template(app, cpu=cpu, restartPolicy="Never")
    made["metadata"]["annotations"] = {"sim/seconds": str(seconds), "sim/fails": str(fails)}
    return made


class Month:
    """Drives one world; every day begins and ends settled."""

    def __init__(self, world: World, guard: Guard, *, nodes: int = 100) -> None:
        self.world = world
        self._nodes = nodes
        self.guard = guard
        self._admin = world.admin
        self._rng = world.rng
        self._made = 0
        self._version = 1

    async def prepare(self) -> None:
        """Make the nodes and everything that lasts."""
        for _ in range(self._nodes):
            await self._add_node()
        for name in ("shop", "batch"):
            await self._create(NAMESPACES, {"metadata": {"name": name}})
        await clock.sleep(10)
        hard = {"pods": "12", "requests.cpu": "2500m"}
        await self._create(RESOURCEQUOTAS, _named("batch", "small", {"hard": hard}))
        await self._prepare_shop()
        await self._prepare_batch()
        await clock.sleep(HOUR)

    async def _prepare_shop(self) -> None:
        rolling = {"web": ("25%", "25%"), "api": (1, 0), "worker": (0, 2)}
        for name, replicas in zip(_WEBS, (20, 6, 12, 4), strict=True):
            strategy: Object = {"type": "Recreate"}
            if name in rolling:
                surge, unavailable = rolling[name]
                budget = {"maxSurge": surge, "maxUnavailable": unavailable}
                strategy = {"type": "RollingUpdate", "rollingUpdate": budget}
            selector = {"matchLabels": {"app": name}}
            spec = {"replicas": replicas, "selector": selector, "template": _template(name), "strategy": strategy}
            await self._create(DEPLOYMENTS, _named("shop", name, {**spec, "revisionHistoryLimit": 3}))
            port = {"port": 80, "targetPort": 8080}
            await self._create(SERVICES, _named("shop", name, {"selector": {"app": name}, "ports": [port]}))
        budget = {"minAvailable": 15, "selector": {"matchLabels": {"app": "web"}}}
        await self._create(PODDISRUPTIONBUDGETS, _named("shop", "web", budget))
        for name, policy in (("db", "OrderedReady"), ("queue", "Parallel")):
            spec = {"replicas": 4, "serviceName": name, "podManagementPolicy": policy, "revisionHistoryLimit": 2}
            spec |= {"selector": {"matchLabels": {"app": name}}, "template": _template(name)}
            await self._create(STATEFULSETS, _named("shop", name, spec))
            budget = {"maxUnavailable": 1, "selector": {"matchLabels": {"app": name}}}
            await self._create(PODDISRUPTIONBUDGETS, _named("shop", name, budget))
        spec = {"selector": {"matchLabels": {"app": "agent"}}, "template": _template("agent", cpu="10m")}
        rolled = {"rollingUpdate": {"maxUnavailable": "20%"}}
        await self._create(DAEMONSETS, _named("shop", "agent", {**spec, "updateStrategy": rolled}))

    async def _prepare_batch(self) -> None:
        def cron(name: str, schedule: str, policy: str, job: Object) -> Awaitable[Object]:
            spec = {"schedule": schedule, "concurrencyPolicy": policy, "jobTemplate": {"spec": job}}
            return self._create(CRONJOBS, _named("batch", name, spec))

        await cron("often", "0 */2 * * *", "Forbid", {"template": _batch("often", seconds=300)})
        wide = {"completions": 3, "parallelism": 2, "template": _batch("wide", seconds=600, fails=10)}
        await cron("wide", "30 */6 * * *", "Allow", {**wide, "backoffLimit": 4})
        indexed = {"completions": 5, "parallelism": 5, "completionMode": "Indexed", "backoffLimitPerIndex": 1}
        await cron(
            "indexed", "15 3 * * *", "Replace", {**indexed, "template": _batch("indexed", seconds=900, fails=10)}
        )
        swept = {"ttlSecondsAfterFinished": 3600, "template": _batch("swept", seconds=60)}
        await cron("swept", "45 2 * * 1", "Allow", swept)

    async def day(self, number: int) -> None:
        """Live through one day: something at 8, 11 and 14 o'clock, all quiet and looked at before midnight."""
        acts: list[Callable[[], Awaitable[None]]] = [self._roll_out, self._scale, self._drain, self._lose, self._burst]
        acts.append(self._visit)
        midnight = clock.monotonic() // (24 * HOUR) * 24 * HOUR
        for at, act in zip((8, 11, 14), self._rng.sample(acts, 3), strict=True):
            await clock.sleep(midnight + at * HOUR - clock.monotonic())
            await act()
        if number % 10 == 5:
            await self._change_template(DAEMONSETS, "agent")
        await clock.sleep(midnight + 23.8 * HOUR - clock.monotonic())
        self.guard.check()
        check_settled(self.world)
        await clock.sleep(midnight + 24 * HOUR - clock.monotonic())

    # What may happen.

    async def _roll_out(self) -> None:
        """Change templates, one of them again before the first change is through."""
        chosen = self._rng.sample([*((DEPLOYMENTS, name) for name in _WEBS), (STATEFULSETS, "db")], 2)
        for resource, name in chosen:
            await self._change_template(resource, name)
        await clock.sleep(self._rng.uniform(1, 20))
        await self._change_template(*chosen[0])

    async def _change_template(self, resource: Resource, name: str) -> None:
        self._version += 1
        image = {"name": "c", "image": f"app:{self._version}", "resources": {"requests": {"cpu": "100m"}}}
        if name == "agent":
            image["resources"] = {"requests": {"cpu": "10m"}}
        patch = {"spec": {"template": {"spec": {"containers": [image]}}}}
        await self._admin.patch(resource, name, patch, "shop", content_type=MERGE_PATCH)

    async def _scale(self) -> None:
        for resource, name, least in ((DEPLOYMENTS, "web", 16), (DEPLOYMENTS, "worker", 4), (STATEFULSETS, "queue", 1)):
            self.guard.disturb()
            replicas = least + self._rng.randrange(10)
            await self._admin.patch(
                resource, name, {"spec": {"replicas": replicas}}, "shop", content_type=MERGE_PATCH, subresource="scale"
            )
            await clock.sleep(self._rng.uniform(0, 30))

    async def _drain(self) -> None:
        """Cordon a node, evict what a budget protects too, and take the node back into service."""
        node = self._busiest()
        await self._admin.patch(NODES, node, {"spec": {"unschedulable": True}})
        for key in self.world.nodes.running_on(node):
            namespace, name = meta.split_key(key)
            pod = self.world.objects["pods"][key]
            if (meta.controller_of(pod) or {}).get("kind") != "DaemonSet":
                await self._evict(namespace, name)
        self.guard.disturb()
        await self._admin.patch(NODES, node, {"spec": {"unschedulable": None}})

    async def _evict(self, namespace: str, name: str) -> None:
        body = {"kind": "Eviction", "apiVersion": "policy/v1", "metadata": {"name": name, "namespace": namespace}}
        for _ in range(100):
            self.guard.disturb()
            try:
                await self._admin.create(PODS, body, namespace, name=name, subresource="eviction")
            except errors.NotFound:
                return
            except errors.TooManyRequests:
                await clock.sleep(10)
                continue
            self.guard.check_budgets(namespace)
            return
        raise AssertionError(f"{namespace}/{name} could not be evicted for so long")

    async def _lose(self) -> None:
        """Cut off two nodes; one comes back after it was given up, the other is replaced."""
        first = self._busiest()
        self.world.nodes.lose(first)
        second = self._rng.choice(self.world.nodes.alive())
        self.world.nodes.lose(second)
        self.guard.trouble += 1
        lost_for = 7.5 * HOUR
        self._later(lost_for, self._recover(first, second))

    def _later(self, delay: float, act: Awaitable[None]) -> None:
        async def wait() -> None:
            await clock.sleep(delay)
            await act

        self.world.spawn(wait())

    async def _recover(self, first: str, second: str) -> None:
        await self.world.nodes.find(first)
        await self.world.nodes.remove(second)
        await self._add_node()
        self.guard.trouble -= 1
        self.guard.disturb()

    async def _burst(self) -> None:
        """Ask for more than the quota has, so that the rest waits for room."""
        self._made += 1
        name = f"burst-{self._made}"
        spec = {"completions": 20, "parallelism": 20, "template": _batch(name, seconds=200)}
        await self._create(JOBS, _named("batch", name, {**spec, "ttlSecondsAfterFinished": 600}))

    async def _visit(self) -> None:
        """Make a namespace with something of everything, and delete it while that is starting or running."""
        self._made += 1
        name = f"visit-{self._made}"
        await self._create(NAMESPACES, {"metadata": {"name": name}})
        await clock.sleep(5)
        selector = {"matchLabels": {"app": "v"}}
        await self._create(
            DEPLOYMENTS, _named(name, "v", {"replicas": 5, "selector": selector, "template": _template("v")})
        )
        await self._create(JOBS, _named(name, "j", {"completions": 2, "template": _batch("j", seconds=60)}))
        sets = {
            "replicas": 2,
            "serviceName": "s",
            "selector": {"matchLabels": {"app": "s"}},
            "template": _template("s"),
        }
        await self._create(STATEFULSETS, _named(name, "s", sets))
        await clock.sleep(self._rng.uniform(0, 120))
        await self._admin.delete(NAMESPACES, name)

    # Helpers.

    def _busiest(self) -> str:
        alive = self.world.nodes.alive()
        return max(alive, key=lambda name: (len(self.world.nodes.running_on(name)), name))

    async def _add_node(self) -> None:
        self._made += 1
        await self.world.nodes.add(f"node-{self._made}", f"zone-{self._made % _ZONES}")

    async def _create(self, resource: Resource, obj: Object) -> Object:
        return await self._admin.create(resource, obj)


def _named(namespace: str, name: str, spec: Object) -> Object:
    return {"metadata": {"name": name, "namespace": namespace}, "spec": spec}
