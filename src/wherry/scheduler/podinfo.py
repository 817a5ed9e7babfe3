"""A pod as the scheduler sees it: parsed once, and shared by all pods that are alike."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson

from wherry.api import meta
from wherry.api.meta import Object
from wherry.scheduler.resources import counted_spec, pod_requests
from wherry.scheduler.selectors import LabelSelector, NodeSelectorTerm, label_selector

_SHAPES = 4096
_DECIDING = ("nodeSelector", "tolerations", "overhead", "resources")
_CONTAINER_DECIDING = ("image", "resources", "ports", "restartPolicy")


class Port(NamedTuple):
    """A host port that a pod takes."""

    ip: str
    protocol: str
    number: int


class Toleration(NamedTuple):
    key: str
    operator: str
    value: str
    effect: str

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        """Tell whether a taint is tolerated; an empty key or effect stands for every one."""
        if (self.effect and self.effect != effect) or (self.key and self.key != key):
            return False
        if self.operator == "Exists":
            return True
        return self.operator in ("", "Equal") and self.value == value


@dataclass(frozen=True, slots=True)
class AffinityTerm:
    """A ``PodAffinityTerm``. `namespaces` and `namespace_selector` both empty (None): the pod's own."""

    selector: LabelSelector
    topology_key: str
    namespaces: frozenset[str]
    namespace_selector: LabelSelector | None
    weight: int = 0

    @classmethod
    def of(cls, term: dict[str, Any], weight: int = 0) -> "AffinityTerm":
        chosen = term.get("namespaceSelector")
        return cls(
            label_selector(term.get("labelSelector")),
            term["topologyKey"],
            frozenset(term.get("namespaces") or ()),
            None if chosen is None else label_selector(chosen),
            weight,
        )


@dataclass(slots=True, eq=False)
class PodShape:
    """All of a pod's spec that decides where it may run. Equal specs share one shape; compare by identity.

    `core` is the signature of what a node is asked without regard to other pods and volumes.
    """

    core: bytes
    requests: tuple[tuple[str, int], ...]
    counted_cpu: int
    counted_memory: int
    node_selector: dict[str, str]
    required_nodes: list[NodeSelectorTerm] | None
    preferred_nodes: list[tuple[int, NodeSelectorTerm]]
    tolerations: list[Toleration]
    ports: tuple[Port, ...]
    images: tuple[str, ...]
    containers: int
    affinity: list[AffinityTerm]
    anti_affinity: list[AffinityTerm]
    preferred_affinity: list[AffinityTerm]
    preferred_anti_affinity: list[AffinityTerm]
    spread: list[dict[str, Any]]
    volumes: list[dict[str, Any]]

    @property
    def has_affinity(self) -> bool:
        """Whether it has any term about other pods."""
        return bool(self.affinity or self.anti_affinity or self.preferred_affinity or self.preferred_anti_affinity)

    def tolerates(self, key: str, value: str, effect: str) -> bool:
        """Tell whether any toleration takes the taint."""
        return any(toleration.tolerates(key, value, effect) for toleration in self.tolerations)


@dataclass(slots=True, eq=False)
class PodInfo:
    """One pod; `pod` is the cached object and never changed. Compared by identity."""

    pod: Object
    shape: PodShape
    key: str = field(init=False)
    uid: str = field(init=False)
    namespace: str = field(init=False)
    labels: dict[str, str] = field(init=False)
    priority: int = field(init=False)

    def __post_init__(self) -> None:
        self.key = meta.key_of(self.pod)
        self.uid = meta.uid(self.pod)
        self.namespace = meta.namespace(self.pod)
        self.labels = meta.labels(self.pod)
        self.priority = self.pod["spec"].get("priority") or 0

    @property
    def deleting(self) -> bool:
        """Whether its deletion has been requested."""
        return meta.is_deleting(self.pod)


_shapes: OrderedDict[bytes, PodShape] = OrderedDict()


def pod_info(pod: Object) -> PodInfo:
    """Return the parsed pod."""
    return PodInfo(pod, shape_of(counted_spec(pod)))


def shape_of(spec: Mapping[str, Any]) -> PodShape:
    """Return the shape of a pod's spec."""
    affinity = spec.get("affinity") or {}
    parts: list[Any] = [spec.get(name) for name in _DECIDING]
    parts.append(affinity.get("nodeAffinity"))
    parts += [
        [[container.get(name) for name in _CONTAINER_DECIDING] for container in spec.get(group) or ()]
        for group in ("containers", "initContainers")
    ]
    core = orjson.dumps(parts)
    volumes = _deciding_volumes(spec.get("volumes"))
    others = (
        affinity.get("podAffinity"),
        affinity.get("podAntiAffinity"),
        spec.get("topologySpreadConstraints"),
        volumes,
    )
    signature = core + orjson.dumps(others)
    shape = _shapes.get(signature)
    if shape is None:
        shape = _shapes[signature] = _parse(spec, volumes, core)
        if len(_shapes) > _SHAPES:
            _shapes.popitem(last=False)
    return shape


# The token volume of each pod has a random name and decides nothing.
_VOLUME_SOURCES = (
    "persistentVolumeClaim",
    "ephemeral",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "iscsi",
    "rbd",
    "csi",
)


def _deciding_volumes(volumes: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    return [volume for volume in volumes or () if any(source in volume for source in _VOLUME_SOURCES)]


def _parse(spec: Mapping[str, Any], volumes: list[dict[str, Any]], core: bytes) -> PodShape:
    asked, cpu, memory = pod_requests(spec)
    affinity = spec.get("affinity") or {}
    node, pod, anti = (affinity.get(part) or {} for part in ("nodeAffinity", "podAffinity", "podAntiAffinity"))
    required = node.get("requiredDuringSchedulingIgnoredDuringExecution")
    containers = spec.get("containers") or ()
    return PodShape(
        core=core,
        requests=tuple((name, value) for name, value in asked.items() if value),
        counted_cpu=cpu,
        counted_memory=memory,
        node_selector=spec.get("nodeSelector") or {},
        required_nodes=None if required is None else [NodeSelectorTerm(t) for t in required["nodeSelectorTerms"]],
        preferred_nodes=[
            (entry["weight"], NodeSelectorTerm(entry["preference"]))
            for entry in node.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
        ],
        tolerations=[
            Toleration(t.get("key") or "", t.get("operator") or "", t.get("value") or "", t.get("effect") or "")
            for t in spec.get("tolerations") or ()
        ],
        ports=tuple(
            Port(port.get("hostIP") or "0.0.0.0", port.get("protocol") or "TCP", port["hostPort"])
            for container in (*containers, *_sidecars(spec))
            for port in container.get("ports") or ()
            if port.get("hostPort")
        ),
        images=tuple(_normalized(container.get("image") or "") for container in (*containers, *_init(spec))),
        containers=len(containers) + len(_init(spec)),
        affinity=_required_terms(pod),
        anti_affinity=_required_terms(anti),
        preferred_affinity=_preferred_terms(pod),
        preferred_anti_affinity=_preferred_terms(anti),
        spread=spec.get("topologySpreadConstraints") or [],
        volumes=volumes,
    )


def _init(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return spec.get("initContainers") or []


def _sidecars(spec: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [container for container in _init(spec) if container.get("restartPolicy") == "Always"]


def _required_terms(part: dict[str, Any]) -> list[AffinityTerm]:
    return [AffinityTerm.of(term) for term in part.get("requiredDuringSchedulingIgnoredDuringExecution") or ()]


def _preferred_terms(part: dict[str, Any]) -> list[AffinityTerm]:
    entries = part.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
    return [AffinityTerm.of(entry["podAffinityTerm"], entry["weight"]) for entry in entries]


def _normalized(image: str) -> str:
    """Add the default tag, as the names that nodes report have one."""
    last = image.rsplit("/", 1)[-1]
    return image if ":" in last or "@" in last else f"{image}:latest"
