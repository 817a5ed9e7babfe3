"""Which operations a webhook or policy is for: its rules, selectors and match policy."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.api import meta
from wherry.api.errors import NotFound
from wherry.api.resources import NAMESPACES, Resource
from wherry.api.selectors import labels
from wherry.api.selectors.labels import Selector
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.registry import Registry

Object = dict[str, Any]

_CONFIGURATIONS = "admissionregistration.k8s.io"
_EXEMPT = frozenset(
    {
        "validatingwebhookconfigurations",
        "mutatingwebhookconfigurations",
        "validatingadmissionpolicies",
        "validatingadmissionpolicybindings",
        "mutatingadmissionpolicies",
        "mutatingadmissionpolicybindings",
    }
)


def is_exempt(operation: Operation) -> bool:
    """Tell whether an operation is on an object that configures admission: nobody may lock himself out."""
    return operation.resource.group == _CONFIGURATIONS and operation.resource.plural in _EXEMPT


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of a webhook or policy; sets that contain ``*`` hold everything."""

    operations: frozenset[str]
    groups: frozenset[str]
    versions: frozenset[str]
    resources: tuple[tuple[str, str], ...]
    scope: str
    names: frozenset[str]

    @staticmethod
    def of(rule: Mapping[str, Any]) -> "Rule":
        """Compile a ``RuleWithOperations`` or ``NamedRuleWithOperations``."""
        resources = tuple((plural, sub) for plural, _, sub in (r.partition("/") for r in rule.get("resources") or ()))
        return Rule(
            frozenset(rule.get("operations") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("apiVersions") or ()),
            resources,
            rule.get("scope") or "*",
            frozenset(rule.get("resourceNames") or ()),
        )

    def matches(self, operation: Operation, resource: Resource) -> bool:
        """Tell whether the rule is for an operation, seen as one on `resource` (another version of its own)."""
        return self.may_match(operation) and _in(resource.group, self.groups) and _in(resource.version, self.versions)

    def may_match(self, operation: Operation) -> bool:
        """Tell whether the rule is for an operation in some version of its resource."""
        own = operation.resource
        return (
            _in(operation.operation, self.operations)
            and any(
                plural in ("*", own.plural) and sub in ("*", operation.subresource) for plural, sub in self.resources
            )
            and (self.scope == "*" or (self.scope == "Namespaced") is own.namespaced)
            and (not self.names or operation.name in self.names)
        )


def _in(value: str, values: frozenset[str]) -> bool:
    return value in values or "*" in values


@dataclass(frozen=True, slots=True)
class Criteria:
    """What a webhook or policy asks of an operation."""

    rules: tuple[Rule, ...] | None
    excluded: tuple[Rule, ...]
    namespaces: Selector
    objects: Selector
    equivalent: bool

    @staticmethod
    def of(found: Mapping[str, Any], rules: Iterable[Mapping[str, Any]] | None) -> "Criteria":
        """Compile a webhook, or the ``matchConstraints`` of a policy; `rules` are its rules, None: it asks for none."""
        return Criteria(
            None if rules is None else tuple(map(Rule.of, rules)),
            tuple(map(Rule.of, found.get("excludeResourceRules") or ())),
            labels.from_selector(found.get("namespaceSelector") or {}),
            labels.from_selector(found.get("objectSelector") or {}),
            found.get("matchPolicy", "Equivalent") == "Equivalent",
        )

    def match(self, registry: Registry, operation: Operation) -> Resource | None:
        """Return the resource as which the operation matches (in a version that a rule names), None when it does not.

        Where no rules are asked for everything matches (a binding); an empty list matches nothing. Raises NotFound when
        its namespace is missing.
        """
        if any(self._by_rules((rule,), registry, operation) is not None for rule in self.excluded):
            return None
        resource = operation.resource if self.rules is None else self._by_rules(self.rules, registry, operation)
        if resource is None or not self._selects(operation):
            return None
        if not self.namespaces.is_everything and not self._selects_namespace(registry, operation):
            return None
        return resource

    def _by_rules(self, rules: tuple[Rule, ...], registry: Registry, operation: Operation) -> Resource | None:
        own = operation.resource
        rules = tuple(rule for rule in rules if rule.may_match(operation))
        if any(rule.matches(operation, own) for rule in rules):
            return own
        if not self.equivalent or not rules:
            return None
        others = equivalents(registry, own)
        return next((other for rule in rules for other in others if rule.matches(operation, other)), None)

    def _selects(self, operation: Operation) -> bool:
        if self.objects.is_everything:
            return True
        return any(obj is not None and self.objects.matches(meta.labels(obj)) for obj in (operation.obj, operation.old))

    def _selects_namespace(self, registry: Registry, operation: Operation) -> bool:
        found = namespace_of(registry, operation)
        return found is None or self.namespaces.matches(meta.labels(found))


def equivalents(registry: Registry, resource: Resource) -> list[Resource]:
    """Return the other versions in which the objects of a resource are served."""
    prefix = registry.prefix(resource)
    return [
        other
        for other in registry.table
        if other.plural == resource.plural and other is not resource and registry.prefix(other) == prefix
    ]


def namespace_of(registry: Registry, operation: Operation) -> Object | None:
    """Return the namespace that an operation is in; a namespace is in itself, other cluster-scoped objects in none.

    Raises NotFound.
    """
    if operation.resource is NAMESPACES:
        if operation.obj is not None and not operation.subresource:
            return operation.obj
        return registry.get(NAMESPACES, None, operation.name) or operation.old
    if not operation.resource.namespaced:
        return None
    found = registry.get(NAMESPACES, None, operation.namespace)
    if found is None:
        raise NotFound.of("namespaces", operation.namespace)
    return found
