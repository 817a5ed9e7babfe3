"""The ServiceAccount controller: a ServiceAccount ``default`` in every active namespace.

Watches namespaces and the ServiceAccounts of that name. Writes ServiceAccounts. Guarantees that the account comes back
when it is deleted, as long as the namespace is active.
"""

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import NAMESPACES, SERVICEACCOUNTS
from wherry.controllers.controller import Controller, is_namespace_terminating


def plan(namespace: Object | None, account: Object | None) -> Object | None:
    """Return the ServiceAccount to create, None when there is nothing to do."""
    if namespace is None or account is not None or meta.is_deleting(namespace):
        return None
    return {
        "kind": "ServiceAccount",
        "apiVersion": "v1",
        "metadata": {"name": "default", "namespace": meta.name(namespace)},
    }


class ServiceAccountController(Controller):
    name = "service-account-controller"

    def register(self) -> None:
        self._namespaces = self.watch(NAMESPACES)
        self._accounts = self.watch(
            SERVICEACCOUNTS, lambda account: (meta.namespace(account),), field_selector="metadata.name=default"
        )

    async def reconcile(self, key: str) -> float | None:
        account = plan(self._namespaces.lister.get(key), self._accounts.lister.get(f"{key}/default"))
        if account is not None:
            try:
                self.wrote(key, SERVICEACCOUNTS, await self.client.create(SERVICEACCOUNTS, account))
            except (errors.AlreadyExists, errors.NotFound):
                return None
            except errors.StatusError as error:
                if not is_namespace_terminating(error):
                    raise
        return None
