"""RBAC: the answers of Roles and ClusterRoles through their bindings (Kubernetes docs: Using RBAC Authorization).

The bindings are indexed by subject when one of the four resources has changed, and what a user may do with a resource
is worked out once: a repeated question is one dict lookup.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Resource
from wherry.apiserver.attributes import Attributes, Decision, Reader, UserInfo
from wherry.apiserver.authz import rules
from wherry.apiserver.authz.rules import Rule

RESOURCES = (CLUSTERROLES, CLUSTERROLEBINDINGS, ROLES, ROLEBINDINGS)

_MAX_ANSWERS = 50_000
_NO_OPINION = Decision(False)


@dataclass(frozen=True, slots=True)
class _Grant:
    """One subject of one binding. `rules` is None when the role does not exist; `text` describes the binding."""

    text: str
    rules: Sequence[Rule] | None
    error: str


@dataclass(slots=True)
class _Answer:
    """What a user may do with a resource: `decision` for any name, unless `by_name` knows better."""

    decision: Decision
    by_name: dict[str, Decision] = field(default_factory=dict)


_Index = dict[str, list[_Grant]]


class RBAC:
    """The RBAC authorizer (`wherry.apiserver.attributes.Authorizer`)."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._versions: tuple[int, ...] = ()
        self._cluster: _Index = {}
        self._namespaces: dict[str, _Index] = {}
        self._answers: dict[tuple[Any, ...], _Answer] = {}

    def authorize(self, attributes: Attributes) -> Decision:
        """Allow what a rule allows; otherwise have no opinion, with the roles that were missing as the reason."""
        self._refresh()
        a = attributes
        key = (a.user.name, a.user.groups, a.verb, a.group, a.resource, a.subresource, a.namespace, a.path)
        answer = self._answers.get(key)
        if answer is None:
            if len(self._answers) >= _MAX_ANSWERS:
                self._answers.clear()
            answer = self._answers[key] = self._resolve(a)
        return answer.by_name.get(a.name, answer.decision) if answer.by_name else answer.decision

    def rules_of(self, user: UserInfo, namespace: str) -> tuple[list[Rule], list[str]]:
        """Return the rules of a user in a namespace (empty: only cluster-wide ones), and the errors of finding them."""
        self._refresh()
        found: list[Rule] = []
        errors: list[str] = []
        for grant in self._grants(user, namespace):
            if grant.rules is None:
                errors.append(grant.error)
            else:
                found.extend(grant.rules)
        return found, errors

    def role_rules(self, ref: Mapping[str, Any], namespace: str) -> Sequence[Rule] | None:
        """Return the rules of the role that a ``roleRef`` names, None when there is none."""
        found = self._reader.get(*_role(ref, namespace), ref.get("name") or "")
        return None if found is None else found.get("rules") or ()

    def _resolve(self, a: Attributes) -> _Answer:
        errors: list[str] = []
        by_name: dict[str, Decision] = {}
        for grant in self._grants(a.user, a.namespace if a.resource else ""):
            if grant.rules is None:
                errors.append(grant.error)
                continue
            for rule in grant.rules:
                if not a.resource:
                    if rules.matches_path(rule, a.verb, a.path):
                        return _Answer(_allowed(grant))
                elif rules.matches_resource(rule, a.verb, a.group, a.resource, a.subresource):
                    if not rules.names(rule):
                        return _Answer(_allowed(grant), by_name)
                    for name in rules.names(rule):
                        by_name.setdefault(name, _allowed(grant))
        if not errors:
            return _Answer(_NO_OPINION, by_name)
        return _Answer(Decision(False, f"RBAC: {aggregate(errors)}"), by_name)

    def _grants(self, user: UserInfo, namespace: str) -> Iterator[_Grant]:
        subjects = (f"User:{user.name}", *(f"Group:{group}" for group in user.groups))
        for index in (self._cluster, self._namespaces.get(namespace) if namespace else None):
            if index:
                for subject in subjects:
                    yield from index.get(subject, ())

    def _refresh(self) -> None:
        version = self._reader.version
        versions = (version(CLUSTERROLES), version(CLUSTERROLEBINDINGS), version(ROLES), version(ROLEBINDINGS))
        if versions == self._versions:
            return
        self._answers.clear()
        self._cluster, self._namespaces = {}, {}
        for binding in self._reader.list(CLUSTERROLEBINDINGS):
            self._add(self._cluster, binding, "")
        for binding in self._reader.list(ROLEBINDINGS):
            namespace = binding["metadata"]["namespace"]
            self._add(self._namespaces.setdefault(namespace, {}), binding, namespace)
        self._versions = versions

    def _add(self, index: _Index, binding: Mapping[str, Any], namespace: str) -> None:
        ref = binding["roleRef"]
        kind = "RoleBinding" if namespace else "ClusterRoleBinding"
        name = binding["metadata"]["name"] + (f"/{namespace}" if namespace else "")
        found = self.role_rules(ref, namespace)
        resource = _role(ref, namespace)[0]
        error = f'{resource.kind.lower()}.{resource.group} "{ref.get("name")}" not found'
        for subject in binding.get("subjects") or ():
            shown = subject["name"]
            if subject["kind"] == "ServiceAccount":
                of = subject.get("namespace") or namespace
                key = f"User:system:serviceaccount:{of}:{subject['name']}"
                shown = f"{shown}/{of}"
            else:
                key = f"{subject['kind']}:{subject['name']}"
            text = f'{kind} "{name}" of {ref["kind"]} "{ref["name"]}" to {subject["kind"]} "{shown}"'
            index.setdefault(key, []).append(_Grant(text, found, error))


def aggregate(errors: Sequence[str]) -> str:
    """Word several errors as one: each once, in brackets when there are more."""
    unique = list(dict.fromkeys(errors))
    return unique[0] if len(unique) == 1 else "[" + ", ".join(unique) + "]"


def _allowed(grant: _Grant) -> Decision:
    return Decision(True, f"RBAC: allowed by {grant.text}")


def _role(ref: Mapping[str, Any], namespace: str) -> tuple[Resource, str | None]:
    return (ROLES, namespace) if ref.get("kind") == "Role" else (CLUSTERROLES, None)
