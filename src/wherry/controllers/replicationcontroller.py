"""The ReplicationController controller: see `wherry.controllers.replicas`. Its selector is a plain map of labels."""

from wherry.api.meta import Object
from wherry.api.resources import REPLICATIONCONTROLLERS
from wherry.api.selectors import labels
from wherry.controllers.replicas import ReplicaController


class ReplicationControllerController(ReplicaController):
    name = "replication-controller"
    owners = REPLICATIONCONTROLLERS

    def selector(self, owner: Object) -> labels.Selector:
        """Return the owner's selector; an empty one selects nothing."""
        return labels.from_set(owner["spec"]["selector"]) if owner["spec"].get("selector") else labels.NOTHING
