"""What plugins about volumes share: a pod's claims, and which volumes a node can use."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from wherry.api import meta
from wherry.api.meta import Object
from wherry.scheduler.nodeinfo import NodeInfo
from wherry.scheduler.podinfo import PodInfo
from wherry.scheduler.resources import amount
from wherry.scheduler.selectors import NodeSelectorTerm, label_selector

BIND_COMPLETED = "pv.kubernetes.io/bind-completed"
BOUND_BY_CONTROLLER = "pv.kubernetes.io/bound-by-controller"
SELECTED_NODE = "volume.kubernetes.io/selected-node"
_LEGACY_CLASS = "volume.beta.kubernetes.io/storage-class"
_NO_PROVISIONER = "kubernetes.io/no-provisioner"


class ClaimRef(NamedTuple):
    """A claim that a pod uses; `ephemeral`: the pod must own it."""

    key: str
    ephemeral: bool


def claims_of(info: PodInfo) -> Iterator[ClaimRef]:
    """Yield the claims of a pod, its generic ephemeral volumes' included."""
    for volume in info.shape.volumes:
        if claim := volume.get("persistentVolumeClaim"):
            yield ClaimRef(f"{info.namespace}/{claim['claimName']}", False)
        elif "ephemeral" in volume:
            yield ClaimRef(f"{info.key}-{volume['name']}", True)


def is_bound(claim: Object) -> bool:
    """Tell whether a claim's binding is complete."""
    return bool(claim["spec"].get("volumeName")) and BIND_COMPLETED in meta.annotations(claim)


def class_of(obj: Object) -> str:
    """Return the storage class of a claim or volume, empty when it has none."""
    legacy = meta.annotations(obj).get(_LEGACY_CLASS)
    return legacy if legacy is not None else obj["spec"].get("storageClassName") or ""


def volume_takes_node(volume: Object, node: NodeInfo) -> bool:
    """Tell whether a persistent volume can be used on a node."""
    required = (volume["spec"].get("nodeAffinity") or {}).get("required")
    if not required:
        return True
    return any(NodeSelectorTerm(t).matches(node.name, node.labels) for t in required.get("nodeSelectorTerms") or ())


def class_provisions(storage_class: Object, node: NodeInfo) -> bool:
    """Tell whether a class makes volumes for a node (``allowedTopologies``)."""
    if storage_class.get("provisioner") in (None, "", _NO_PROVISIONER):
        return False
    topologies = storage_class.get("allowedTopologies")
    return not topologies or any(
        all(node.labels.get(e["key"]) in e["values"] for e in topology.get("matchLabelExpressions") or ())
        for topology in topologies
    )


def find_volume(claim: Object, volumes: Sequence[Object], node: NodeInfo, *, taken: dict[str, str]) -> Object | None:
    """Return the volume for a claim on a node: one that was bound to it beforehand, or the smallest that suffices.

    `taken` are claims' keys by the names of volumes that were just chosen.
    """
    key = meta.key_of(claim)
    fitting = []
    for volume in volumes:
        name, ref = meta.name(volume), volume["spec"].get("claimRef")
        if taken.get(name, key) != key or not volume_takes_node(volume, node) or meta.is_deleting(volume):
            continue
        if ref is not None:
            same = ref.get("namespace") == meta.namespace(claim) and ref.get("name") == meta.name(claim)
            if same and ref.get("uid") in (None, "", meta.uid(claim)) and _holds(volume, claim):
                return volume
        elif _suits(volume, claim):
            fitting.append(volume)
    return min(fitting, key=lambda volume: (_size(volume), meta.name(volume)), default=None)


def _holds(volume: Object, claim: Object) -> bool:
    spec, wanted = volume["spec"], claim["spec"]
    if spec.get("volumeMode", "Filesystem") != wanted.get("volumeMode", "Filesystem"):
        return False
    if (spec.get("volumeAttributesClassName") or "") != (wanted.get("volumeAttributesClassName") or ""):
        return False
    asked = ((wanted.get("resources") or {}).get("requests") or {}).get("storage", "0")
    enough = _size(volume) >= amount("storage", str(asked))
    return enough and set(wanted.get("accessModes") or ()) <= set(spec.get("accessModes") or ())


def _suits(volume: Object, claim: Object) -> bool:
    if (volume.get("status") or {}).get("phase") != "Available" or class_of(volume) != class_of(claim):
        return False
    selector = claim["spec"].get("selector")
    if selector is not None and not label_selector(selector).matches(meta.labels(volume)):
        return False
    return _holds(volume, claim)


def _size(volume: Object) -> int:
    capacity: dict[str, Any] = volume["spec"].get("capacity") or {}
    return amount("storage", str(capacity.get("storage", "0")))
