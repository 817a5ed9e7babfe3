"""ResourceQuota: what a namespace may use. What is admitted is added to ``status.used`` before it is written."""

from collections.abc import Iterable, Mapping
from fractions import Fraction

from wherry.api import managedfields, meta, quantity, quota
from wherry.api.errors import Forbidden
from wherry.api.meta import Object
from wherry.api.quantity import Quantity
from wherry.api.quota import Usage
from wherry.api.resources import PERSISTENTVOLUMECLAIMS, PODS, RESOURCEQUOTAS, SERVICES, Resource, builtin
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.admission.stale import Stale
from wherry.store.protocol import Mismatch
from wherry.util import clock

_ZERO = Quantity(Fraction(0))
_MANAGER = "kube-apiserver"
_RESOURCECLAIMS = builtin("resource.k8s.io", "v1", "resourceclaims")
_CHARGED_ON_UPDATE = frozenset((r.group, r.plural) for r in (SERVICES, PERSISTENTVOLUMECLAIMS, _RESOURCECLAIMS))
_MUST_BE_SAID = frozenset({"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"})
"""Where a quota names one of these, every container must say how much it wants."""


class ResourceQuota(Plugin):
    """Source of the rules: apiserver ``plugin/resourcequota``.

    Concurrent requests never exceed a quota together: each adds its usage to the latest state of the quota, written or
    still being written, in the step in which it looks at it.
    """

    name = "ResourceQuota"
    operations = frozenset({CREATE, UPDATE})

    def __init__(self, context: AdmissionContext) -> None:
        self._registry = context.registry
        self._schema = context.schemas.of(RESOURCEQUOTAS)
        self._reset = managedfields.reset_fields(RESOURCEQUOTAS, "status")
        self._stale = Stale(context.registry, RESOURCEQUOTAS)
        self._limited: frozenset[str] = frozenset()

    def handles(self, operation: Operation) -> bool:
        if self._stale.value:
            self._stale.renew()
            self._limited = frozenset(meta.namespace(found) for found in self._registry.list(RESOURCEQUOTAS))
        return operation.namespace in self._limited and _is_charged(operation)

    async def validate(self, operation: Operation) -> None:
        names = [found["metadata"]["name"] for found in self._registry.list(RESOURCEQUOTAS, operation.namespace)]
        for name in names:
            while not await self._charge(operation, name):
                continue

    async def _charge(self, operation: Operation, name: str) -> bool:
        """Add what the operation uses to one quota; tell whether that is done. Raises Forbidden."""
        registry = self._registry
        record = registry.store.latest(registry.key(RESOURCEQUOTAS, operation.namespace, name))
        if record is None:
            return True
        found = registry.obj(record)
        used = _checked(operation, found)
        if used is None or operation.dry_run:
            return True
        new = self._with_used(found, used)
        try:
            await registry.write(
                RESOURCEQUOTAS, new, namespace=operation.namespace, name=name, expected=record.revision
            )
        except Mismatch:
            return False
        return True

    def _with_used(self, found: Object, used: Usage) -> Object:
        shown = {name: str(amount) for name, amount in used.items()}
        new = {**found, "metadata": dict(found["metadata"]), "status": {**found["status"], "used": shown}}
        entries = managedfields.track_update(
            found,
            new,
            manager=_MANAGER,
            operation_time=clock.timestamp(),
            api_version=RESOURCEQUOTAS.api_version,
            subresource="status",
            type_schema=self._schema,
            reset=self._reset,
        )
        if entries:
            new["metadata"]["managedFields"] = entries
        return new


def _is_charged(operation: Operation) -> bool:
    resource = operation.resource
    if operation.concerns(PODS, subresource="resize"):
        return operation.operation == UPDATE
    if operation.subresource or resource.plural == "events":
        return False
    if operation.operation == CREATE:
        return True
    if operation.operation != UPDATE:
        return False
    if resource is PODS:
        return _is_terminating(operation.obj) != _is_terminating(operation.old)
    return (resource.group, resource.plural) in _CHARGED_ON_UPDATE


def _is_terminating(pod: Object | None) -> bool:
    return pod is not None and pod["spec"].get("activeDeadlineSeconds") is not None


def _checked(operation: Operation, found: Object) -> Usage | None:
    """Return ``status.used`` of a quota with what the operation uses, None when that is nothing. Raises Forbidden."""
    resource, obj = operation.resource, operation.obj
    status = found.get("status") or {}
    hard = {name: quantity.parse(text) for name, text in (status.get("hard") or {}).items()}
    restricted = [name for name in hard if quota.may_use(resource, name)]
    if obj is None or not restricted or not quota.matches_scopes(found["spec"], resource, obj):
        return None
    name = found["metadata"]["name"]
    used = {item: quantity.parse(text) for item, text in (status.get("used") or {}).items()}
    if resource is PODS:
        missing = _missing(obj, _MUST_BE_SAID.intersection(restricted))
        if missing:
            raise _refusal(operation, f"failed quota: {name}: must specify {missing}")
    if not used.keys() >= set(restricted):
        raise _refusal(operation, f"status unknown for quota: {name}, resources: {','.join(sorted(restricted))}")
    requested = {item: amount for item, amount in _delta(operation, found, resource, obj).items() if item in hard}
    if not requested:
        return None
    total = quota.add(used, requested)
    exceeded = [item for item in requested if total[item] > hard[item]]
    if exceeded:
        raise _refusal(
            operation,
            f"exceeded quota: {name}, requested: {_shown(requested, exceeded)}, used: {_shown(used, exceeded)}, "
            f"limited: {_shown(hard, exceeded)}",
        )
    return total


def _delta(operation: Operation, found: Object, resource: Resource, obj: Object) -> Usage:
    """Return what the operation adds; an update out of the quota's scopes into them adds all of it."""
    usage, old = quota.usage(resource, obj), operation.old
    if old is not None and quota.matches_scopes(found["spec"], resource, old):
        before = quota.usage(resource, old)
        usage = {item: amount - before[item] if item in before else amount for item, amount in usage.items()}
    return {item: amount for item, amount in usage.items() if amount > _ZERO}


def _missing(pod: Object, required: Iterable[str]) -> str:
    """Return which of the required amounts which containers do not state: ``cpu for: a,b; memory for: a``."""
    spec = pod["spec"]
    if any((spec.get("resources") or {}).get(kind) for kind in ("requests", "limits")):
        return ""
    parts = []
    for item in sorted(required):
        kind, _, bare = item.rpartition(".")
        silent = {
            container["name"]
            for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ()))
            if bare not in ((container.get("resources") or {}).get(kind or "requests") or {})
        }
        if silent:
            parts.append(f"{item} for: {','.join(sorted(silent))}")
    return "; ".join(parts)


def _shown(amounts: Mapping[str, Quantity], names: Iterable[str]) -> str:
    return ",".join(f"{name}={amounts[name]}" for name in sorted(names))


def _refusal(operation: Operation, why: str) -> Forbidden:
    return forbidden(operation.resource, operation.name, why)
