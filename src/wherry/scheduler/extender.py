"""HTTP extenders: servers that have a say about nodes, about the pods that must leave, and that may bind.

They are asked by POST in JSON whose members have the names of Go's fields, as ``k8s.io/kube-scheduler/extender/v1``
has them; answers are read in any case, as Go reads them.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import orjson

from wherry.api.meta import Object
from wherry.client.http import tls_context
from wherry.scheduler.cache import Cache
from wherry.scheduler.failure import Diagnosis
from wherry.scheduler.framework import MAX_SCORE, Code, Status
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.preemption import Candidate

log = logging.getLogger(__name__)

NAME = "Extender"
"""What stands for all extenders among the plugins that refused a pod."""

_SCALE = MAX_SCORE // 10  # an extender scores up to ten


class ExtenderError(OSError):
    """An extender cannot be reached, fails, or answers what cannot be."""


@dataclass(frozen=True, slots=True)
class ExtenderConfig:
    """One of ``extenders``; an empty verb is one that it does not know. `timeout` is in seconds.

    It is asked about pods with one of its `managed` resources, about all where there is none. `tls` holds the arguments
    of `client.http.tls_context` and ``server_name``; None: no TLS.
    """

    url: str
    filter: str = ""
    prioritize: str = ""
    preempt: str = ""
    bind: str = ""
    weight: int = 0
    timeout: float = 5.0
    knows_nodes: bool = False
    managed: frozenset[str] = frozenset()
    ignorable: bool = False
    tls: Mapping[str, Any] | None = field(default=None, hash=False)


class HTTPExtender:
    """One extender. Every call raises ExtenderError."""

    def __init__(self, config: ExtenderConfig) -> None:
        self.config = config
        self._session: aiohttp.ClientSession | None = None
        tls = dict(config.tls or {})
        self._server_name: str | None = tls.pop("server_name", None) or None
        self._ssl = tls_context(**tls) if config.tls is not None else None

    def is_interested(self, info: PodInfo) -> bool:
        """Tell whether it is asked about a pod."""
        managed = self.config.managed
        if not managed:
            return True
        spec = info.pod["spec"]
        for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
            resources = container.get("resources") or {}
            if managed & {*(resources.get("requests") or ()), *(resources.get("limits") or ())}:
                return True
        return False

    async def filter(self, info: PodInfo, nodes: Sequence[NodeInfo]) -> tuple[list[NodeInfo], Object, Object]:
        """Return the nodes that are left, and by name why others are not, for now and for good."""
        answer = _members(await self._send(self.config.filter, self._question(info, nodes)))
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))
        names: list[str] = []
        if self.config.knows_nodes and answer.get("nodenames") is not None:
            names = answer["nodenames"]
        elif answer.get("nodes") is not None:
            names = [node["metadata"]["name"] for node in _members(answer["nodes"]).get("items") or ()]
        given = {node.name: node for node in nodes}
        for name in names:
            if name not in given:
                claim = f'claims a filtered node "{name}" which is not found in the input node list'
                raise ExtenderError(f'extender "{self.config.url}" {claim}')
        left = [given[name] for name in dict.fromkeys(names)]
        return left, answer.get("failednodes") or {}, answer.get("failedandunresolvablenodes") or {}

    async def prioritize(self, info: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
        """Return what it adds to the scores of nodes."""
        answer = await self._send(self.config.prioritize, self._question(info, nodes))
        scores = [_members(entry) for entry in answer or ()]
        return {entry["host"]: int(entry.get("score") or 0) * self.config.weight * _SCALE for entry in scores}

    async def preempt(self, info: PodInfo, candidates: Sequence[Candidate], cache: Cache) -> list[Candidate]:
        """Return the candidates that it leaves, with the pods that it wants to leave each."""
        victims = {
            found.node_name: {
                "Pods": [{"UID": pod.uid} if self.config.knows_nodes else pod.pod for pod in found.victims],
                "NumPDBViolations": found.violations,
            }
            for found in candidates
        }
        question: Object = {"Pod": info.pod, "NodeNameToVictims": None, "NodeNameToMetaVictims": None}
        question["NodeNameToMetaVictims" if self.config.knows_nodes else "NodeNameToVictims"] = victims
        answer = _members(await self._send(self.config.preempt, question))
        left = []
        for name, entry in (answer.get("nodenametometavictims") or {}).items():
            node, chosen = cache.nodes.get(name), _members(entry)
            if node is None:
                raise ExtenderError(f'nodeinfo not found for node name "{name}"')
            by_uid = {pod.uid: pod for pod in node.pods.values()}
            pods = []
            for uid in (_members(pod)["uid"] for pod in chosen.get("pods") or ()):
                if uid not in by_uid:
                    claim = f"claims to preempt pod (UID: {uid}) on node: {name}, but the pod is not found on that node"
                    raise ExtenderError(f"extender: {self.config.url} {claim}")
                pods.append(by_uid[uid])
            left.append(Candidate(name, pods, int(chosen.get("numpdbviolations") or 0)))
        return left

    async def bind(self, info: PodInfo, node_name: str) -> None:
        """Have it bind a pod."""
        question = {
            "PodName": info.pod["metadata"]["name"],
            "PodNamespace": info.namespace,
            "PodUID": info.uid,
            "Node": node_name,
        }
        answer = _members(await self._send(self.config.bind, question))
        if answer.get("error"):
            raise ExtenderError(str(answer["error"]))

    async def close(self) -> None:
        """Close its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    def _question(self, info: PodInfo, nodes: Sequence[NodeInfo]) -> Object:
        question: Object = {"Pod": info.pod, "Nodes": None, "NodeNames": None}
        if self.config.knows_nodes:
            question["NodeNames"] = [node.name for node in nodes]
        else:
            question["Nodes"] = {"metadata": {}, "items": [node.node for node in nodes]}
        return question

    async def _send(self, verb: str, question: Object) -> Any:
        url = f"{self.config.url.rstrip('/')}/{verb}"
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(ssl=self._ssl or True),
                timeout=aiohttp.ClientTimeout(total=self.config.timeout),
                headers={"Content-Type": "application/json"},
            )
        try:
            async with self._session.post(
                url, data=orjson.dumps(question), server_hostname=self._server_name
            ) as response:
                body = await response.read()
                if response.status != 200:
                    raise ExtenderError(f"failed {verb} with extender at URL {url}, code {response.status}")
            return orjson.loads(body)
        except TimeoutError:
            raise ExtenderError(f'Post "{url}": context deadline exceeded') from None
        except (aiohttp.ClientError, orjson.JSONDecodeError) as error:
            raise ExtenderError(f'Post "{url}": {error}') from None


class Extenders:
    """All extenders in the order in which they are asked: those whose failure may be ignored come last."""

    def __init__(self, configs: Sequence[ExtenderConfig]) -> None:
        made = [HTTPExtender(config) for config in configs]
        self._all = sorted(made, key=lambda extender: extender.config.ignorable)

    def concern(self, info: PodInfo) -> bool:
        """Tell whether any of them is asked about a pod."""
        return any(extender.is_interested(info) for extender in self._all)

    async def filter(self, info: PodInfo, nodes: list[NodeInfo], diagnosis: Diagnosis) -> list[NodeInfo]:
        """Return the nodes that all leave, and note why the others are not among them. Raises ExtenderError."""
        for extender in self._asked(info, "filter"):
            if not nodes:
                break
            try:
                left, failed, unresolvable = await self._sane(extender, extender.filter(info, nodes))
            except ExtenderError as error:
                self._forgive(extender, error)
                continue
            if len(left) != len(nodes):
                diagnosis.plugins.add(NAME)
            for reasons, code in ((failed, Code.UNSCHEDULABLE), (unresolvable, Code.UNRESOLVABLE)):
                statuses = {name: Status(code, (str(reason),), NAME) for name, reason in reasons.items()}
                diagnosis.statuses.update(statuses)
            nodes = left
        return nodes

    async def scores(self, info: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
        """Return what they add to the score of each node; one that fails adds nothing."""
        totals = dict.fromkeys((node.name for node in nodes), 0)
        asked = self._asked(info, "prioritize")
        calls = [self._sane(extender, extender.prioritize(info, nodes)) for extender in asked]
        for extender, scores in zip(asked, await asyncio.gather(*calls, return_exceptions=True), strict=True):
            if isinstance(scores, ExtenderError):
                log.warning("the scores of extender %s are left out: %s", extender.config.url, scores)
                continue
            if isinstance(scores, BaseException):
                raise scores
            for name, score in scores.items():
                if name in totals:
                    totals[name] += score
        return totals

    async def preempt(self, info: PodInfo, candidates: Sequence[Candidate], cache: Cache) -> Sequence[Candidate]:
        """Return the candidates for preemption that all leave. Raises ExtenderError."""
        for extender in self._asked(info, "preempt"):
            if not candidates:
                break
            try:
                left = await self._sane(extender, extender.preempt(info, candidates, cache))
                empty = next((found for found in left if not found.victims), None)
                if empty is not None and not extender.config.ignorable:
                    raise ExtenderError(f"expected at least one victim pod on node {empty.node_name}")
            except ExtenderError as error:
                self._forgive(extender, error)
                continue
            candidates = [found for found in left if found.victims]
        return candidates

    async def bind(self, info: PodInfo, node_name: str) -> bool:
        """Have one of them bind a pod and tell whether any did. Raises ExtenderError."""
        for extender in self._asked(info, "bind"):
            try:
                await self._sane(extender, extender.bind(info, node_name))
            except ExtenderError as error:
                self._forgive(extender, error)
                continue
            return True
        return False

    async def close(self) -> None:
        """Close all connections."""
        for extender in self._all:
            await extender.close()

    def _asked(self, info: PodInfo, verb: str) -> list[HTTPExtender]:
        return [found for found in self._all if getattr(found.config, verb) and found.is_interested(info)]

    async def _sane(self, extender: HTTPExtender, call: Any) -> Any:
        """Await a call; an answer of another form than agreed is a failure of the extender."""
        try:
            return await call
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ExtenderError(f"extender {extender.config.url} gave an unexpected answer: {error!r}") from None

    def _forgive(self, extender: HTTPExtender, error: ExtenderError) -> None:
        if not extender.config.ignorable:
            raise error
        log.warning("extender %s is ignored: %s", extender.config.url, error)


def _members(found: Any) -> Object:
    """Return an object's members by their names in lower case; null is an empty object."""
    return {name.lower(): value for name, value in (found or {}).items()}
