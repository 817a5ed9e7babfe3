"""The ReplicationController controller: see `wherry.controllers.replicas`. Its selector is a plain map of labels."""

from collections.abc import Callable

from wherry.api.meta import Object
from wherry.api.resources import REPLICATIONCONTROLLERS
from wherry.client.selection import label_selector
from wherry.controllers.replicas import ReplicaController


class ReplicationControllerController(ReplicaController):
    name = "replication-controller"
    owners = REPLICATIONCONTROLLERS

    def selector(self, owner: Object) -> Callable[[dict[str, str]], bool]:
        """Return the predicate of the owner's selector."""
        return label_selector({"matchLabels": owner["spec"].get("selector") or {}})
