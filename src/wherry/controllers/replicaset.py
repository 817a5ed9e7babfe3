"""The ReplicaSet controller: see `wherry.controllers.replicas`."""

from wherry.api.resources import REPLICASETS
from wherry.controllers.replicas import ReplicaController


class ReplicaSetController(ReplicaController):
    name = "replicaset-controller"
    owners = REPLICASETS
    reports_terminating = True
