"""The authorizers of the server in their order: system:masters, Node, RBAC (``--authorization-mode=Node,RBAC``)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from wherry.apiserver.attributes import MASTERS_GROUP, Attributes, Decision, Reader, UserInfo
from wherry.apiserver.authz.node import NodeAuthorizer
from wherry.apiserver.authz.rbac import RBAC

_ALLOWED = Decision(True)


@dataclass(slots=True)
class UserRules:
    """The status of a SelfSubjectRulesReview."""

    resource: list[dict[str, Any]] = field(default_factory=list)
    non_resource: list[dict[str, Any]] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    incomplete: bool = False


class UnionAuthorizer:
    """Allows what one of its authorizers allows (`wherry.apiserver.attributes.Authorizer`)."""

    def __init__(self, reader: Reader) -> None:
        self.rbac = RBAC(reader)
        self.node = NodeAuthorizer(reader)

    def authorize(self, attributes: Attributes) -> Decision:
        """Decide; the reason of a refusal joins those of all authorizers, one a line."""
        if MASTERS_GROUP in attributes.user.groups:
            return _ALLOWED
        by_node = self.node.authorize(attributes)
        if by_node.allowed or by_node.denied:
            return by_node
        by_role = self.rbac.authorize(attributes)
        if by_role.allowed or not by_node.reason:
            return by_role
        return Decision(False, "\n".join(filter(None, (by_node.reason, by_role.reason))))

    def rules_for(self, user: UserInfo, namespace: str) -> UserRules:
        """Return what `user` may do in a namespace, as far as rules can tell."""
        found, errors = self.rbac.rules_of(user, namespace)
        result = UserRules(errors=errors)
        for rule in found:
            if rule.get("resources"):
                result.resource.append(_pick(rule, "verbs", "apiGroups", "resources", "resourceNames"))
            if rule.get("nonResourceURLs"):
                result.non_resource.append(_pick(rule, "verbs", "nonResourceURLs"))
        if self.node.concerns(user):
            result.incomplete = True
            result.errors.insert(0, "node authorizer does not support user rule resolution")
        return result


def _pick(rule: Mapping[str, Any], *members: str) -> dict[str, Any]:
    return {member: list(rule[member]) for member in members if rule.get(member)}
