"""Events of pods in Kubernetes' words: what ``kubectl describe pod`` shows."""

from wherry.api import meta
from wherry.client.events import NORMAL, WARNING, EventRecorder
from wherry.kubelet import podspec


class PodEvents:
    """Records events about one pod or its containers."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder

    def normal(self, pod: meta.Object, reason: str, message: str, *, container: str = "") -> None:
        """Record a normal event about a pod, or about its container of that name."""
        self._record(pod, NORMAL, reason, message, container)

    def warning(self, pod: meta.Object, reason: str, message: str, *, container: str = "") -> None:
        """Record a warning."""
        self._record(pod, WARNING, reason, message, container)

    def _record(self, pod: meta.Object, kind: str, reason: str, message: str, container: str) -> None:
        path = podspec.field_path(pod, container) if container else ""
        full = {"kind": "Pod", "apiVersion": "v1", **pod}
        self._recorder.event(full, kind, reason, message, field_path=path)
