"""The arithmetic of a Deployment: fenceposts, proportions, revisions, hashes (kubernetes ``deployment/util``)."""

import math
from collections.abc import Iterable, Sequence

import orjson

from wherry.api import meta
from wherry.api.meta import Object

REVISION = "deployment.kubernetes.io/revision"
REVISION_HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED_REPLICAS = "deployment.kubernetes.io/desired-replicas"
MAX_REPLICAS = "deployment.kubernetes.io/max-replicas"
TEMPLATE_HASH = "pod-template-hash"

_NOT_COPIED = {
    "kubectl.kubernetes.io/last-applied-configuration", REVISION, REVISION_HISTORY, DESIRED_REPLICAS, MAX_REPLICAS,
    "deprecated.deployment.rollback.to",
}  # fmt: skip
_HISTORY_CHARACTERS = 2000
_SAFE = "bcdfghjklmnpqrstvwxz2456789"


def replicas_of(obj: Object) -> int:
    """Return ``spec.replicas``, 1 where it is not set."""
    found = obj["spec"].get("replicas")
    return 1 if found is None else found


def status_of(obj: Object, field: str) -> int:
    """Return a count of the status, 0 where it is not set."""
    return (obj.get("status") or {}).get(field) or 0


def scaled_value(value: int | str | None, total: int, *, round_up: bool) -> int:
    """Return an int-or-percent of `total`."""
    if isinstance(value, str):
        share = int(value.rstrip("%")) * total / 100
        return math.ceil(share) if round_up else math.floor(share)
    return value or 0


def fenceposts(deployment: Object) -> tuple[int, int]:
    """Return (max surge, max unavailable) in pods; (0, 0) when it does not roll."""
    spec = deployment["spec"]
    strategy = spec.get("strategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return 0, 0
    rolling, total = strategy.get("rollingUpdate") or {}, replicas_of(deployment)
    surge = scaled_value(rolling.get("maxSurge", "25%"), total, round_up=True)
    unavailable = scaled_value(rolling.get("maxUnavailable", "25%"), total, round_up=False)
    if surge == 0 and unavailable == 0:
        # Both round to nothing: without one pod less the rollout could not go on.
        unavailable = 1
    return surge, min(unavailable, total)


def bare_template(template: Object) -> Object:
    """Return a pod template without the template hash, to compare with others."""
    md = dict(template.get("metadata") or {})
    labels = {name: value for name, value in (md.pop("labels", None) or {}).items() if name != TEMPLATE_HASH}
    md = {name: value for name, value in md.items() if value}
    return {"metadata": {**md, **({"labels": labels} if labels else {})}, "spec": template.get("spec")}


def template_hash(template: Object, collisions: int | None = None) -> str:
    """Return the pod template hash: 32-bit FNV-1a of the canonical template, in letters that spell no word."""
    data = orjson.dumps(bare_template(template), option=orjson.OPT_SORT_KEYS)
    if collisions is not None:
        data += collisions.to_bytes(8, "little", signed=True)
    return safe_encode(str(fnv32a(data)))


def fnv32a(data: bytes) -> int:
    """Return the 32-bit FNV-1a hash."""
    value = 2166136261
    for byte in data:
        value = ((value ^ byte) * 16777619) & 0xFFFFFFFF
    return value


def safe_encode(text: str) -> str:
    """Spell `text` with the letters and digits that Kubernetes uses for generated names."""
    return "".join(_SAFE[ord(char) % len(_SAFE)] for char in text)


def revision_of(obj: Object) -> int:
    """Return the rollout revision in the annotations, 0 when there is none."""
    text = meta.annotations(obj).get(REVISION, "")
    return int(text) if text.isdigit() else 0


def by_creation(replica_sets: Iterable[Object]) -> list[Object]:
    """Sort by creation time, then name."""
    return sorted(replica_sets, key=lambda rs: (rs["metadata"].get("creationTimestamp", ""), meta.name(rs)))


def find_new(deployment: Object, replica_sets: Iterable[Object]) -> Object | None:
    """Return the oldest ReplicaSet that has the deployment's template."""
    wanted = bare_template(deployment["spec"]["template"])
    for rs in by_creation(replica_sets):
        if bare_template(rs["spec"]["template"]) == wanted:
            return rs
    return None


def copied_annotations(deployment: Object) -> dict[str, str]:
    """Return the annotations of a deployment that its ReplicaSets carry."""
    return {name: value for name, value in meta.annotations(deployment).items() if name not in _NOT_COPIED}


def annotations_at_revision(deployment: Object, annotations: dict[str, str], revision: int) -> dict[str, str]:
    """Return the annotations of a ReplicaSet that becomes `revision`; the one it leaves joins its history."""
    result = {**annotations, **copied_annotations(deployment)}
    before = result.get(REVISION, "")
    if (int(before) if before.isdigit() else 0) >= revision:
        return result
    result[REVISION] = str(revision)
    if before:
        history = [*filter(None, result.get(REVISION_HISTORY, "").split(",")), before]
        while len(",".join(history)) > _HISTORY_CHARACTERS and len(history) > 1:
            history.pop(0)
        result[REVISION_HISTORY] = ",".join(history)
    return result


def size_annotations(deployment: Object) -> dict[str, str]:
    """Return the annotations that tell a ReplicaSet the size that its deployment has."""
    desired = replicas_of(deployment)
    return {DESIRED_REPLICAS: str(desired), MAX_REPLICAS: str(desired + fenceposts(deployment)[0])}


def proportional_sizes(deployment: Object, active: Sequence[Object]) -> dict[str, int]:
    """Return the sizes (by name) of several active ReplicaSets after the deployment's size has changed in mid-rollout.

    The change is spread in proportion to their sizes, the remainder goes to the biggest (when growing the newest of
    the biggest, when shrinking the oldest).
    """
    desired = replicas_of(deployment)
    allowed = desired + fenceposts(deployment)[0] if desired > 0 else 0
    to_add = allowed - sum(replicas_of(rs) for rs in active)
    newest_first = to_add > 0
    ordered = sorted(by_creation(active), key=lambda rs: rs["metadata"].get("creationTimestamp", ""))
    if newest_first:
        ordered.reverse()
    ordered.sort(key=replicas_of, reverse=True)
    sizes, added = {}, 0
    for rs in ordered:
        share = _proportion(deployment, rs, to_add, added=added)
        sizes[meta.name(rs)] = replicas_of(rs) + share
        added += share
    if ordered and to_add:
        first = meta.name(ordered[0])
        sizes[first] = max(0, sizes[first] + to_add - added)
    return sizes


def _proportion(deployment: Object, rs: Object, to_add: int, *, added: int) -> int:
    if replicas_of(rs) == 0 or to_add in (0, added):
        return 0
    share, left = _fraction(deployment, rs), to_add - added
    return min(share, left) if to_add > 0 else max(share, left)


def _fraction(deployment: Object, rs: Object) -> int:
    desired, size = replicas_of(deployment), replicas_of(rs)
    if desired == 0:
        return -size
    before = meta.annotations(rs).get(MAX_REPLICAS, "")
    maximum_before = int(before) if before.isdigit() and int(before) else status_of(deployment, "replicas")
    if maximum_before == 0:
        return 0
    scaled = size * (desired + fenceposts(deployment)[0]) / maximum_before
    return math.floor(scaled + 0.5) - size
