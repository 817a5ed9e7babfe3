"""Fake nodes: nodes without machines, for trying out the control plane at a size that this machine has not.

To the API they are nodes like any other: each has its own identity (``system:node:fake-7``, so the Node authorizer and
NodeRestriction hold), keeps its lease and status alive, reports the pods that are bound to it with the kubelet's own
functions and takes part in their deletion. They run nothing. All of them live in the server process and reach the API
server in process: one informer, two work queues, no socket, so that what is measured is the control plane. What they
know of a pod is in its status, so they go on after a restart. Only ``wherry.cluster`` calls this.
"""

from dataclasses import dataclass

LABEL = "wherry.local/fake"
"""The label of fake nodes, with the value ``true``; for a nodeSelector."""

VANISHED = "wherry.local/fake-vanished"
"""Annotation of a node: ``true`` makes it fall silent as if its machine were gone; without it the node is back."""

RUN_SECONDS = "wherry.local/fake-run-seconds"
"""Annotation of a pod: its containers end after so many seconds; without it only those that are not restarted do."""

EXIT_CODE = "wherry.local/fake-exit-code"
"""Annotation of a pod: the exit code with which its containers end, 0 without it."""

STOP_SECONDS = "wherry.local/fake-stop-seconds"
"""Annotation of a pod: how long its containers take to stop, at most the grace period; 0 without it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FakeConfig:
    """`count` nodes ``fake-0`` …; their pods are Ready `delay` seconds after they were bound.

    `address` and `port` are those of the real kubelet of this machine, which says of fake pods that it has none.
    """

    count: int
    delay: float = 0.0
    address: str = "127.0.0.1"
    port: int = 10250
    kubernetes_version: str = "v1.36.2"
    lease_duration: int = 40
    lease_period: float = 10.0
    status_period: float = 300.0
