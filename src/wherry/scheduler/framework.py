"""What a plugin is: the extension points of Kubernetes' scheduling framework.

A plugin implements the points that it needs by overriding methods of `Plugin`; the others cost nothing, because a
profile only calls what is overridden. All but ``pre_bind`` and ``bind`` are synchronous and must not block.
"""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from wherry.api.meta import Object
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.preemption import Candidate

if TYPE_CHECKING:
    from wherry.scheduler.cache import Cache

MAX_SCORE = 100


class Code(Enum):
    """Why it did not succeed. UNRESOLVABLE: removing other pods would not help either."""

    UNSCHEDULABLE = "Unschedulable"
    UNRESOLVABLE = "UnschedulableAndUnresolvable"
    SKIP = "Skip"
    ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Status:
    """The answer of a plugin that is not success (success is None). `reasons` are Kubernetes' words."""

    code: Code
    reasons: tuple[str, ...] = ()
    plugin: str = ""

    @property
    def message(self) -> str:
        """The reasons in one line."""
        return ", ".join(self.reasons)


SKIP = Status(Code.SKIP)
"""From ``pre_filter`` or ``pre_score``: this plugin has nothing to say about this pod."""


@dataclass(slots=True)
class CycleState:
    """What plugins remember during one pod's cycle, by plugin name; `skipped` are those without a say."""

    data: dict[Any, Any] = field(default_factory=dict)
    skip_filter: set[str] = field(default_factory=set)
    skip_score: set[str] = field(default_factory=set)

    def clone(self) -> "CycleState":
        """Return a copy for a trial; what has ``clone`` is cloned."""
        data = {name: value.clone() if hasattr(value, "clone") else value for name, value in self.data.items()}
        return CycleState(data, set(self.skip_filter), set(self.skip_score))


Hint = Callable[[PodInfo, Object | None, Object | None], bool]
"""Tells whether a change (old, new; None: was added, was deleted) may let the pod be scheduled."""


@dataclass(frozen=True, slots=True)
class PreFilterResult:
    """The only nodes that can pass."""

    node_names: frozenset[str]


@dataclass(frozen=True, slots=True)
class Nomination:
    """The result of a ``post_filter``: the node that room is made on, and the pods that must leave it.

    An empty name takes back an earlier nomination; `message` says why. `candidates` are all that it was chosen among.
    """

    node_name: str
    victims: Sequence[PodInfo] = ()
    message: str = ""
    candidates: Sequence[Candidate] = ()


@dataclass(frozen=True, slots=True)
class Remedy:
    """The result of a ``post_filter`` that helps by a write: `work` does it, `message` says what is done."""

    message: str
    work: Callable[[], Coroutine[Any, Any, None]]


class Handle(Protocol):
    """What a plugin may ask of the framework that runs it."""

    def fits(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        """Return why a node cannot take the pod, counting pods that room is being made for."""
        ...

    def add_pod(self, state: CycleState, info: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        """Add a pod to a cloned node, with the state of all plugins."""
        ...

    def remove_pod(self, state: CycleState, info: PodInfo, removed: PodInfo, node: NodeInfo) -> None:
        """Remove a pod from a cloned node, with the state of all plugins."""
        ...


class Plugin:
    """Base of all plugins. `per_node` promises that its filter and score depend on the pod's shape and the one node."""

    name: ClassVar[str] = ""
    per_node: ClassVar[bool] = False

    def __init__(self, cache: "Cache", arguments: dict[str, Any] | None = None) -> None:
        self.cache = cache
        self.arguments = arguments or {}

    def status(self, code: Code, *reasons: str) -> Status:
        """Return a status of this plugin."""
        return Status(code, reasons, self.name)

    def hints(self) -> dict[str, Hint | None]:
        """Return, by kind of change (``Node``, ``AssignedPod``, ``PersistentVolume`` …), who decides on requeueing.

        None as the decider: always. A pod that this plugin refused is tried again only after one of these changes.
        """
        return {}

    def sort_key(self, info: PodInfo, since: float) -> Any:
        """Return what orders the pods that are ready (QueueSort); the smallest goes first."""

    def pre_enqueue(self, info: PodInfo) -> Status | None:
        """Keep a pod out of the queue until it changes."""

    def pre_filter(self, state: CycleState, info: PodInfo) -> Status | PreFilterResult | None:
        """Prepare filtering, refuse the pod on all nodes, name the only possible ones, or SKIP."""

    def filter(self, state: CycleState, info: PodInfo, node: NodeInfo) -> Status | None:
        """Refuse a node."""

    def add_pod(self, state: CycleState, info: PodInfo, added: PodInfo, node: NodeInfo) -> None:
        """Change the state of ``pre_filter`` as if `added` ran on `node`."""

    def remove_pod(self, state: CycleState, info: PodInfo, removed: PodInfo, node: NodeInfo) -> None:
        """Change the state of ``pre_filter`` as if `removed` did not run on `node`."""

    def post_filter(
        self, state: CycleState, info: PodInfo, statuses: dict[str, Status], handle: Handle
    ) -> Nomination | Remedy | Status | None:
        """Make room for a pod that no node can take. A Status leaves an earlier nomination as it is."""

    def pre_score(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> Status | None:
        """Prepare scoring of the nodes that can take the pod, or SKIP. Without nodes: only say which of both."""

    def score(self, state: CycleState, info: PodInfo, node: NodeInfo) -> int:
        """Return how good a node is, 0 to 100 unless ``normalize`` brings it there."""
        return 0

    def scores(self, state: CycleState, info: PodInfo, nodes: Sequence[NodeInfo]) -> dict[str, int]:
        """Return `score` of many nodes by name; a plugin that can do it faster together overrides it."""
        return {node.name: self.score(state, info, node) for node in nodes}

    def normalize(self, state: CycleState, info: PodInfo, scores: dict[str, int]) -> None:
        """Bring scores by node to 0 … 100, in place."""

    def reserve(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        """Take what the pod will need on the node."""

    def unreserve(self, state: CycleState, info: PodInfo, node_name: str) -> None:
        """Give it back; also called for plugins whose ``reserve`` was not reached."""

    def permit(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        """Refuse the binding at last."""

    async def pre_bind(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        """Do what must be done before the pod is bound; may take long."""

    async def bind(self, state: CycleState, info: PodInfo, node_name: str) -> Status | None:
        """Bind the pod; SKIP leaves it to the next plugin."""

    def post_bind(self, state: CycleState, info: PodInfo, node_name: str) -> None:
        """Hear that the pod was bound."""


def overrides(kind: type[Plugin], point: str) -> bool:
    """Tell whether a kind of plugin implements a method of an extension point."""
    return getattr(kind, point) is not getattr(Plugin, point)


def normalize_by_maximum(scores: dict[str, int], *, reverse: bool = False) -> None:
    """Stretch scores so that the highest is 100; `reverse`: so that the highest becomes the worst."""
    highest = max(scores.values(), default=0)
    for name, score in scores.items():
        stretched = score * MAX_SCORE // highest if highest else 0
        scores[name] = MAX_SCORE - stretched if reverse else stretched


def first_failure(statuses: Iterable[Status | None]) -> Status | None:
    """Return the first status that is not success."""
    return next((status for status in statuses if status is not None), None)
