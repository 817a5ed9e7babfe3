"""Defaults of a pod's spec, in a Pod and in every template of one (core ``v1/defaults.go``)."""

import re
from functools import lru_cache
from typing import Any

from wherry.api.quantity import round_up_milli

Obj = dict[str, Any]

# A repository (with its registry), then a tag, then a digest, as distribution's reference grammar has them.
_REFERENCE = re.compile(
    r"(?:[A-Za-z0-9\[][A-Za-z0-9.\-:\[\]]*/)?"
    r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.\-]{0,127}))?"
    r"(?:@(?P<digest>[A-Za-z][A-Za-z0-9]*(?:[-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,}))?\Z"
)

_MODE = 420
_SOURCE_MODES = ("secret", "configMap", "downwardAPI", "projected")


def round_amounts(amounts: dict[str, str] | None) -> None:
    """Round the quantities of a resource list up to thousandths in place: what is finer ends in n, u or a fraction."""
    if not amounts:
        return
    for name, amount in amounts.items():
        if amount[-1:] in ("n", "u") or "." in amount:
            amounts[name] = round_up_milli(amount)


def default_requirements(found: Obj) -> None:
    """Fill in the requests and limits of a container, a pod or a claim in place."""
    if found:
        round_amounts(found.get("limits"))
        round_amounts(found.get("requests"))


@lru_cache(2048)
def pull_policy(image: str) -> str:
    """Return the pull policy for an image: ``Always`` for the tag latest, named or implied."""
    found = _REFERENCE.match(image)
    if found is None:
        return "IfNotPresent"
    tag = found["tag"] or ("" if found["digest"] else "latest")
    return "Always" if tag == "latest" else "IfNotPresent"


def default_template(template: Obj) -> None:
    """Fill in a pod template in place."""
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def default_pod_spec(spec: Obj) -> None:
    """Fill in the spec of a pod in place."""
    for volume in spec.get("volumes") or ():
        default_volume(volume)
    for members in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(members) or ():
            _container(container)
    if not spec.get("restartPolicy"):
        spec["restartPolicy"] = "Always"
    if spec.get("terminationGracePeriodSeconds") is None:
        spec["terminationGracePeriodSeconds"] = 30
    if not spec.get("dnsPolicy"):
        spec["dnsPolicy"] = "ClusterFirst"
    if spec.get("securityContext") is None:
        spec["securityContext"] = {}
    if not spec.get("schedulerName"):
        spec["schedulerName"] = "default-scheduler"
    round_amounts(spec.get("overhead"))
    account = spec.get("serviceAccountName") or spec.get("serviceAccount")
    if account:
        spec["serviceAccountName"] = spec["serviceAccount"] = account


def _container(container: Obj) -> None:
    if not container.get("imagePullPolicy"):
        container["imagePullPolicy"] = pull_policy(container.get("image") or "")
    if not container.get("terminationMessagePath"):
        container["terminationMessagePath"] = "/dev/termination-log"
    if not container.get("terminationMessagePolicy"):
        container["terminationMessagePolicy"] = "File"
    resources = container.get("resources")
    if resources is None:
        container["resources"] = {}
    elif resources:
        default_requirements(resources)
    for port in container.get("ports") or ():
        if not port.get("protocol"):
            port["protocol"] = "TCP"
    for env in container.get("env") or ():
        source = env.get("valueFrom")
        if source:
            _field_ref(source)
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(probe) is not None:
            _probe(container[probe])
    lifecycle = container.get("lifecycle")
    if lifecycle:
        for handler in ("postStart", "preStop"):
            if lifecycle.get(handler):
                _http_get(lifecycle[handler])


def _field_ref(source: Obj) -> None:
    ref = source.get("fieldRef")
    if ref is not None and not ref.get("apiVersion"):
        ref["apiVersion"] = "v1"
    resource = source.get("resourceFieldRef")
    if resource is not None and resource.get("divisor") is None:
        resource["divisor"] = "0"


def _http_get(handler: Obj) -> None:
    action = handler.get("httpGet")
    if action is not None:
        if not action.get("path"):
            action["path"] = "/"
        if not action.get("scheme"):
            action["scheme"] = "HTTP"


def _probe(probe: Obj) -> None:
    _http_get(probe)
    grpc = probe.get("grpc")
    if grpc is not None and grpc.get("service") is None:
        grpc["service"] = ""
    if not probe.get("timeoutSeconds"):
        probe["timeoutSeconds"] = 1
    if not probe.get("periodSeconds"):
        probe["periodSeconds"] = 10
    if not probe.get("successThreshold"):
        probe["successThreshold"] = 1
    if not probe.get("failureThreshold"):
        probe["failureThreshold"] = 3


def default_volume(volume: Obj) -> None:
    """Fill in one volume in place: a volume without a source is an emptyDir."""
    source = next((k for k, v in volume.items() if k != "name" and v is not None), None)
    if source is None:
        volume["emptyDir"] = {}
        return
    value = volume[source]
    if source in _SOURCE_MODES:
        if value.get("defaultMode") is None:
            value["defaultMode"] = _MODE
        _fill_items(value)
        for projection in value.get("sources") or ():
            _projection(projection)
    elif source == "image":
        if not value.get("pullPolicy"):
            value["pullPolicy"] = pull_policy(value.get("reference") or "")
    elif source == "ephemeral":
        template = value.get("volumeClaimTemplate")
        if template is not None:
            template.setdefault("metadata", {})
            default_claim_spec(template.setdefault("spec", {}))
    else:
        default_volume_source(source, value)


def _fill_items(source: Obj) -> None:
    for item in source.get("items") or ():
        _field_ref(item)


def _projection(projection: Obj) -> None:
    token = projection.get("serviceAccountToken")
    if token is not None and token.get("expirationSeconds") is None:
        token["expirationSeconds"] = 3600
    downward = projection.get("downwardAPI")
    if downward is not None:
        _fill_items(downward)


# Per source: the members that a zero value of is replaced.
_SOURCE_DEFAULTS: dict[str, Obj] = {
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"pool": "rbd", "user": "admin", "keyring": "/etc/ceph/keyring"},
    "azureDisk": {"cachingMode": "ReadWrite", "kind": "Shared", "fsType": "ext4", "readOnly": False},
    "scaleIO": {"storageMode": "ThinProvisioned", "fsType": "xfs"},
}


def default_volume_source(source: str, value: Obj) -> None:
    """Fill in one source of a volume, of a pod or of a PersistentVolume, in place."""
    for member, default in _SOURCE_DEFAULTS.get(source, {}).items():
        if not value.get(member) and not (source == "azureDisk" and value.get(member) is not None):
            value[member] = default


def default_claim_spec(spec: Obj) -> None:
    """Fill in the spec of a PersistentVolumeClaim in place."""
    default_requirements(spec.setdefault("resources", {}))
    if not spec.get("volumeMode"):
        spec["volumeMode"] = "Filesystem"
