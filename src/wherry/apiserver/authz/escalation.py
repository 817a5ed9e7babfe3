"""Nobody grants what they do not hold (Kubernetes docs: Privilege escalation prevention and bootstrapping).

A write of a role needs its permissions already, or the verb ``escalate`` on it; a write of a binding needs the
permissions of the role, or the verb ``bind`` on that. An aggregation rule needs everything.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from wherry.api.errors import NotFound
from wherry.api.resources import CLUSTERROLEBINDINGS, CLUSTERROLES, ROLEBINDINGS, ROLES, Resource
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import MASTERS_GROUP, Attributes, Authorizer, UserInfo
from wherry.apiserver.authz import rules
from wherry.apiserver.authz.messages import refused
from wherry.apiserver.authz.rbac import RBAC
from wherry.apiserver.authz.rules import FULL_AUTHORITY, Rule

Object = dict[str, Any]


class EscalationCheck(Plugin):
    """The last step of the mutating phase, before RBAC objects are validated: refuses writes that would escalate."""

    name = "RBACEscalationCheck"
    resources = (ROLES, CLUSTERROLES, ROLEBINDINGS, CLUSTERROLEBINDINGS)
    operations = frozenset({CREATE, UPDATE})

    def __init__(self, rbac: RBAC, authorizer: Authorizer) -> None:
        self._rbac = rbac
        self._authorizer = authorizer

    def handles(self, operation: Operation) -> bool:
        return not operation.subresource

    async def admit(self, operation: Operation) -> None:
        if operation.obj is None:
            return
        check = validate_role if operation.concerns(ROLES, CLUSTERROLES) else validate_binding
        check(operation.resource, operation.obj, operation.old, operation.user, self._rbac, self._authorizer)


def validate_role(
    resource: Resource, obj: Object, old: Object | None, user: UserInfo, rbac: RBAC, authorizer: Authorizer
) -> None:
    """Raise Forbidden when writing the Role or ClusterRole `obj` grants what `user` does not hold."""
    if _unrestricted(user) or (old is not None and _only_metadata_for_collection(obj, old)):
        return
    name, namespace = obj["metadata"].get("name") or "", obj["metadata"].get("namespace") or ""
    asked = Attributes(user, "escalate", resource.group, "*", resource.plural, namespace=namespace, name=name)
    if authorizer.authorize(asked).allowed:
        return
    _confirm(resource, name, obj.get("rules") or (), user, namespace, rbac)
    if obj.get("aggregationRule") or (old or {}).get("aggregationRule"):
        owned, _ = rbac.rules_of(user, "")
        if rules.missing(owned, FULL_AUTHORITY):
            why = "must have cluster-admin privileges to use an aggregationRule"
            raise refused(resource.plural, name, why, group=resource.group)


def validate_binding(
    resource: Resource, obj: Object, old: Object | None, user: UserInfo, rbac: RBAC, authorizer: Authorizer
) -> None:
    """Raise Forbidden when the binding `obj` grants what `user` does not hold, NotFound when its role is missing."""
    if _unrestricted(user) or (old is not None and _only_metadata_for_collection(obj, old)):
        return
    ref = obj.get("roleRef") or {}
    if ref.get("kind") not in ("Role", "ClusterRole") or not ref.get("name"):
        return  # validation, which comes next, says what is wrong with it
    name, namespace = obj["metadata"].get("name") or "", obj["metadata"].get("namespace") or ""
    plural = ROLES.plural if ref["kind"] == "Role" else CLUSTERROLES.plural
    asked = Attributes(user, "bind", resource.group, "*", plural, namespace=namespace, name=ref["name"])
    if authorizer.authorize(asked).allowed:
        return
    granted = rbac.role_rules(ref, namespace)
    if granted is None:
        raise NotFound.of(resource.plural, ref["name"], resource.group)
    _confirm(resource, name, granted, user, namespace, rbac)


def _unrestricted(user: UserInfo) -> bool:
    return MASTERS_GROUP in user.groups


def _confirm(
    resource: Resource, name: str, granted: Sequence[Rule], user: UserInfo, namespace: str, rbac: RBAC
) -> None:
    owned, errors = rbac.rules_of(user, namespace)
    lacking = rules.missing(owned, granted)
    if not lacking:
        return
    why = (
        f'user "{user.name}" (groups={rules.quoted(user.groups)}) is attempting to grant RBAC permissions '
        "not currently held:\n" + "\n".join(rules.describe(lacking))
    )
    if errors:
        why += f"; resolution errors: [{' '.join(errors)}]"
    raise refused(resource.plural, name, why, group=resource.group)


def _only_metadata_for_collection(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Tell whether nothing but finalizers and owner references changes: the garbage collector may always do that."""
    loose = ("finalizers", "ownerReferences", "managedFields", "resourceVersion")
    before = {k: v for k, v in old["metadata"].items() if k not in loose}
    after = {k: v for k, v in new["metadata"].items() if k not in loose}
    same = all(new.get(k) == old.get(k) for k in new.keys() | old.keys() if k not in ("metadata", "kind", "apiVersion"))
    return same and before == after
