"""From Services to pods and back, for the controllers of endpoints."""

import ipaddress
from collections.abc import Iterable, Sequence
from functools import lru_cache

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import PODS, SERVICES
from wherry.client.informer import SharedInformer
from wherry.controllers import pods as podutil
from wherry.controllers.controller import TOGETHER, Controller

PODS_BY_LABEL = "label"
SERVICES_BY_SELECTOR = "selector"
LAST_CHANGE = "endpoints.kubernetes.io/last-change-trigger-time"
HEADLESS = "service.kubernetes.io/headless"


def label_term(namespace: str, label: tuple[str, str]) -> str:
    """Return a label of a namespace's pods as the index `PODS_BY_LABEL` has it."""
    return f"{namespace}/{label[0]}={label[1]}"


@lru_cache(maxsize=4096)
def _terms(namespace: str, labels: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    return tuple(label_term(namespace, label) for label in labels)


def pod_terms(pod: Object) -> Sequence[str]:
    """Return all labels of a pod as the index `PODS_BY_LABEL` has them."""
    metadata = pod["metadata"]
    labels = metadata.get("labels")
    return _terms(metadata["namespace"], tuple(labels.items())) if labels else ()


def _service_terms(service: Object) -> Iterable[str]:
    # One term of the selector is enough to find the service: a selected pod carries all of them.
    selector = service["spec"].get("selector") or {}
    return [label_term(meta.namespace(service), min(selector.items()))] if selector else ()


class ServiceController(Controller):
    """Base of the controllers whose key is a Service and that follow the pods it selects."""

    def register(self) -> None:
        self._services = self.watch(SERVICES)
        self._services.add_index(SERVICES_BY_SELECTOR, _service_terms)
        self._pods = self.watch(PODS, self._selecting, changed=_matters, moved=relabelled, delay=TOGETHER)
        self._pods.add_index(PODS_BY_LABEL, pod_terms)

    def _selecting(self, pod: Object) -> Iterable[str]:
        labels = meta.labels(pod).items()
        for term in pod_terms(pod):
            for service in self._services.lister.by_index(SERVICES_BY_SELECTOR, term):
                if service["spec"]["selector"].items() <= labels:
                    yield meta.key_of(service)

    def selected(self, service: Object) -> list[Object]:
        """Return the pods that the service selects, by name."""
        return selected_pods(self._pods, service)


def selected_pods(pods: SharedInformer, service: Object) -> list[Object]:
    """Return the pods that a service with a selector selects, by name; costs no more than the pods of one label."""
    wanted = service["spec"]["selector"].items()
    groups = [pods.lister.by_index(PODS_BY_LABEL, label_term(meta.namespace(service), term)) for term in wanted]
    found = min(groups, key=len, default=[])
    return sorted((pod for pod in found if wanted <= meta.labels(pod).items()), key=meta.name)


def relabelled(old: Object, new: Object) -> bool:
    """Tell whether an update of a pod may have changed who selects it."""
    return meta.labels(old) != meta.labels(new)


def _matters(old: Object, new: Object) -> bool:
    """Tell whether an update of a pod can change endpoints; those without an address are in none."""
    before, after = old.get("status") or {}, new.get("status") or {}
    if not (after.get("podIP") or after.get("podIPs") or before.get("podIP") or before.get("podIPs")):
        return False
    return (
        podutil.is_ready(old) != podutil.is_ready(new)
        or any(before.get(name) != after.get(name) for name in ("podIP", "podIPs"))
        or meta.is_deleting(old) != meta.is_deleting(new)
        or relabelled(old, new)
        or podutil.is_finished(old) != podutil.is_finished(new)
        or any(old["spec"].get(name) != new["spec"].get(name) for name in ("nodeName", "hostname", "subdomain"))
    )


def pod_ips(pod: Object) -> list[str]:
    """Return the pod's addresses."""
    status = pod.get("status") or {}
    several = [entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip")]
    return several or ([status["podIP"]] if status.get("podIP") else [])


@lru_cache(maxsize=16384)
def family_of(address: str) -> str:
    """Return IPv4 or IPv6. Raises ValueError for what is no address."""
    return f"IPv{ipaddress.ip_address(address).version}"


def target_port(port: Object, pod: Object) -> int | None:
    """Return the number of a service port's target on a pod, None when the pod has no port of that name."""
    target = port.get("targetPort", port["port"])
    if isinstance(target, int):
        return target or port["port"]
    for container in _port_containers(pod):
        for candidate in container.get("ports") or ():
            same = candidate.get("protocol", "TCP") == port.get("protocol", "TCP")
            if candidate.get("name") == target and same:
                return candidate["containerPort"]
    return None


def _port_containers(pod: Object) -> Iterable[Object]:
    yield from pod["spec"].get("containers") or ()
    for container in pod["spec"].get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            yield container


def hostname_in(pod: Object, service: Object) -> str:
    """Return the host name that the pod has under the service's domain, empty when it has none there."""
    spec = pod["spec"]
    return spec.get("hostname", "") if spec.get("subdomain") == meta.name(service) else ""


def is_headless(service: Object) -> bool:
    """Tell whether the service has no cluster address."""
    return service["spec"].get("clusterIP") in ("None", "", None)


def pod_reference(pod: Object) -> Object:
    """Return the ``targetRef`` of a pod's endpoint."""
    return {"kind": "Pod", "namespace": meta.namespace(pod), "name": meta.name(pod), "uid": meta.uid(pod)}


def ready_time(pod: Object) -> str:
    """Return when the pod's readiness last changed (RFC 3339), empty when it never did."""
    found = meta.condition(pod, "Ready")
    return (found or {}).get("lastTransitionTime") or ""
