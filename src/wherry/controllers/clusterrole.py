"""The ClusterRole aggregation controller.

Watches ClusterRoles. Writes the rules of those with an ``aggregationRule``: the rules of all roles that it selects, by
name, each rule once. Guarantees that nothing else about a role changes.
"""

from collections.abc import Iterable

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CLUSTERROLES
from wherry.api.selectors import labels
from wherry.controllers.controller import Controller

_AGGREGATING = "aggregating"


def plan(role: Object, roles: Iterable[Object]) -> list[Object]:
    """Return the rules that an aggregating role must have."""
    selectors = [labels.from_selector(found) for found in role["aggregationRule"].get("clusterRoleSelectors") or ()]
    rules: list[Object] = []
    for other in sorted(roles, key=meta.name):
        if meta.name(other) == meta.name(role) or not any(s.matches(meta.labels(other)) for s in selectors):
            continue
        rules += [rule for rule in other.get("rules") or () if rule not in rules]
    return rules


class ClusterRoleAggregationController(Controller):
    name = "clusterrole-aggregation-controller"

    def register(self) -> None:
        self._roles = self.informer(CLUSTERROLES)
        self._roles.add_index(_AGGREGATING, lambda role: ("",) if role.get("aggregationRule") else ())
        self.watch(CLUSTERROLES, self._aggregating)

    def _aggregating(self, role: Object) -> Iterable[str]:
        return [meta.name(found) for found in self._roles.lister.by_index(_AGGREGATING, "")]

    async def reconcile(self, key: str) -> float | None:
        role = self._roles.lister.get(key)
        if role is None or not role.get("aggregationRule"):
            return None
        rules = plan(role, self._roles.lister.list())
        if rules == (role.get("rules") or []):
            return None
        patch = {"metadata": {"resourceVersion": role["metadata"]["resourceVersion"]}, "rules": rules}
        try:
            self.wrote(key, CLUSTERROLES, await self.client.patch(CLUSTERROLES, key, patch))
        except errors.NotFound:
            return None
        return None
