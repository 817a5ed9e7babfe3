"""The plugin PodSecurity."""

from collections.abc import Iterator, Sequence

from wherry.api import meta
from wherry.api.errors import Invalid
from wherry.api.resources import (
    CRONJOBS,
    DAEMONSETS,
    DEPLOYMENTS,
    JOBS,
    NAMESPACES,
    PODS,
    REPLICASETS,
    REPLICATIONCONTROLLERS,
    STATEFULSETS,
    builtin,
)
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.admission.podsecurity import policy
from wherry.apiserver.admission.podsecurity.checks import Object
from wherry.apiserver.admission.podsecurity.evaluate import details, evaluate, reasons
from wherry.apiserver.admission.podsecurity.policy import LEVELS, PRIVILEGED, LevelVersion, Policy
from wherry.apiserver.attributes import Reader
from wherry.util import clock

_PODTEMPLATES = builtin("", "v1", "podtemplates")
_WORKLOADS = {
    _PODTEMPLATES: ("template",),
    **dict.fromkeys(
        (REPLICATIONCONTROLLERS, REPLICASETS, DEPLOYMENTS, DAEMONSETS, STATEFULSETS, JOBS), ("spec", "template")
    ),
    CRONJOBS: ("spec", "jobTemplate", "spec", "template"),
}
"""Where the pod template of a workload is."""

_TEMPLATES = {(resource.group, resource.plural): path for resource, path in _WORKLOADS.items()}
_IGNORED = frozenset({"exec", "attach", "binding", "eviction", "log", "portforward", "proxy", "status"})
_MAX_PODS, _TIME_LIMIT = 3000, 1.0
_SECCOMP_PREFIX = "container.seccomp.security.alpha.kubernetes.io/"
_AUDIT = "pod-security.kubernetes.io/"


class PodSecurity(Plugin):
    """Source of the rules: ``k8s.io/pod-security-admission``, without defaults or exemptions: pods are refused,
    workloads that would make such pods only warned about."""

    name = "PodSecurity"
    resources = (PODS, NAMESPACES, *_WORKLOADS)
    operations = frozenset({CREATE, UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        resource = operation.resource
        if resource.plural == "namespaces":
            return not operation.subresource
        if operation.subresource and (resource.plural != "pods" or operation.subresource in _IGNORED):
            return False
        if not self._policy(operation.namespace).allows_all:
            return True
        if resource.plural == "pods":
            operation.annotations[f"{_AUDIT}enforce-policy"] = "privileged:latest"
        return False

    def validate(self, operation: Operation) -> None:
        obj, old = operation.obj, operation.old
        if obj is None:
            return
        if operation.concerns(NAMESPACES):
            self._validate_namespace(operation, obj, old)
            return
        path = _TEMPLATES.get((operation.resource.group, operation.resource.plural))
        if path is None:
            if old is None or _is_significant(obj, old):
                self._evaluate(operation, obj["metadata"], obj["spec"], enforce=True)
            return
        template = obj
        for member in path:
            template = template.get(member) or {}
        if template:
            self._evaluate(operation, template.get("metadata") or {}, template.get("spec") or {}, enforce=False)

    def _policy(self, namespace: str) -> Policy:
        found = self._reader.get(NAMESPACES, None, namespace)
        return policy.of(meta.labels(found)) if found is not None else policy.PERMISSIVE

    def _evaluate(self, operation: Operation, metadata: Object, spec: Object, *, enforce: bool) -> None:
        wanted = self._policy(operation.namespace)
        notes = operation.annotations
        if wanted.errors:
            notes[_AUDIT + "error"] = f"Failed to parse policy: {', '.join(str(error) for error in wanted.errors)}"
        audited = evaluate(wanted.audit, metadata, spec)
        if audited:
            notes[_AUDIT + "audit-violations"] = _would_violate(wanted.audit, details(audited))
        if enforce:
            notes[_AUDIT + "enforce-policy"] = str(wanted.enforce)
            found = evaluate(wanted.enforce, metadata, spec)
            if found:
                why = f'violates PodSecurity "{wanted.enforce}": {details(found)}'
                raise forbidden(operation.resource, operation.name, why)
            if wanted.warn == wanted.enforce:
                return
        warned = evaluate(wanted.warn, metadata, spec)
        if warned:
            operation.warnings.append(_would_violate(wanted.warn, details(warned)))

    def _validate_namespace(self, operation: Operation, obj: Object, old: Object | None) -> None:
        new = policy.of(meta.labels(obj))
        before = policy.of(meta.labels(old)) if old is not None else None
        if new.errors and (before is None or new.errors != before.errors):
            raise Invalid.of("Namespace", meta.name(obj), list(new.errors))
        if before is None or not _is_stricter(new.enforce, before.enforce):
            return
        operation.warnings.extend(self._warn_of_pods(meta.name(obj), new.enforce))

    def _warn_of_pods(self, namespace: str, wanted: LevelVersion) -> Iterator[str]:
        pods = list(_one_of_each_controller_first(self._reader.list(PODS, namespace)))
        counts: dict[str, list[str]] = {}
        checked, deadline = 0, clock.monotonic() + _TIME_LIMIT
        for pod in pods[:_MAX_PODS]:
            found = evaluate(wanted, pod["metadata"], pod["spec"])
            if found:
                counts.setdefault(reasons(found), []).append(meta.name(pod))
            checked += 1
            if clock.monotonic() > deadline:
                break
        if checked < len(pods):
            yield (
                f"new PodSecurity enforce level only checked against the first {checked} of {len(pods)} existing pods"
            )
        if counts:
            yield f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{wanted}"'
        yield from sorted(f"{_and_others(names)}: {why}" for why, names in counts.items())


def _would_violate(wanted: LevelVersion, why: str) -> str:
    return f'would violate PodSecurity "{wanted}": {why}'


def _and_others(names: list[str]) -> str:
    others = len(names) - 1
    if not others:
        return names[0]
    return f"{min(names)} (and {others} other pod{'s' if others > 1 else ''})"


def _is_stricter(new: LevelVersion, old: LevelVersion) -> bool:
    if new == old or new.level == PRIVILEGED:
        return False
    return new.minor != old.minor or LEVELS.index(new.level) > LEVELS.index(old.level)


def _one_of_each_controller_first(pods: Sequence[Object]) -> Iterator[Object]:
    seen, others = set(), []
    for pod in pods:
        owner = meta.controller_of(pod)
        if owner is not None:
            if owner.get("uid") in seen:
                others.append(pod)
                continue
            seen.add(owner.get("uid"))
        yield pod
    yield from others


def _is_significant(pod: Object, old: Object) -> bool:
    """Tell whether an update changes anything that a check looks at: containers and their images can be changed."""
    new_spec, old_spec = pod["spec"], old["spec"]
    notes, old_notes = meta.annotations(pod), meta.annotations(old)

    def changed(container: Object, before: Object) -> bool:
        key = _SECCOMP_PREFIX + container["name"]
        return container.get("image") != before.get("image") or notes.get(key) != old_notes.get(key)

    for field in ("containers", "initContainers"):
        now, then = new_spec.get(field) or [], old_spec.get(field) or []
        if len(now) != len(then) or any(map(changed, now, then)):
            return True
    known = {container["name"]: container for container in old_spec.get("ephemeralContainers") or ()}
    return any(
        container["name"] not in known or changed(container, known[container["name"]])
        for container in new_spec.get("ephemeralContainers") or ()
    )
