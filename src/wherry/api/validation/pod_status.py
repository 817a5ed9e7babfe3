"""The status of pods: containers that ended stay ended, and what else a kubelet must not say."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.shared import immutable, named

Obj = dict[str, Any]
Errors = list[FieldError]


def update_status(pod: Obj, old: Obj) -> Errors:
    """Check the status of a pod, after its annotations."""
    errors: Errors = []
    status, was = pod.get("status") or {}, old.get("status") or {}
    for i, condition in enumerate(status.get("conditions") or ()):
        kind = condition.get("type", "")
        if kind not in ("PodScheduled", "Ready", "Initialized"):
            # The path is upstream's.
            errors += named(kind, f"metadata.conditions[{i}].Type", checks.qualified_name)
    nominated = status.get("nominatedNodeName")
    if nominated and nominated != was.get("nominatedNodeName"):
        errors += named(nominated, "status.nominatedNodeName", checks.subdomain)
    errors += immutable(status.get("qosClass", ""), was.get("qosClass", ""), "status.qosClass")
    policy = old["spec"].get("restartPolicy")
    for member in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        errors += _transitions(status.get(member) or [], was.get(member) or [], f"status.{member}", policy, old["spec"])
    errors += _claim_statuses(status.get("resourceClaimStatuses") or [], pod["spec"].get("resourceClaims") or [])
    errors += _ips(status.get("podIPs") or [], was.get("podIPs") or [], "status.podIPs")
    hosts = status.get("hostIPs") or []
    if hosts and hosts[0].get("ip", "") != status.get("hostIP", ""):
        errors.append(field.invalid("status.hostIPs[0].ip", hosts[0].get("ip", ""), "must be equal to `hostIP`"))
    errors += _ips(hosts, was.get("hostIPs") or [], "status.hostIPs")
    return errors + _container_statuses(pod)


def _claim_statuses(found: list[Obj], claims: list[Obj]) -> Errors:
    errors: Errors = []
    known, seen = {c.get("name", "") for c in claims}, set[str]()
    for i, status in enumerate(found):
        at, name = f"status.resourceClaimStatuses[{i}].name", status.get("name", "")
        if name not in known:
            errors.append(field.invalid(at, name, "must match the name of an entry in `spec.resourceClaims`"))
        if name in seen:
            errors.append(field.duplicate(at, name))
        seen.add(name)
        if status.get("resourceClaimName") is not None:
            errors += named(status["resourceClaimName"], at, checks.subdomain)
    return errors


def _restarts_all(container: Obj) -> bool:
    return any(rule.get("action") == "RestartAllContainers" for rule in container.get("restartPolicyRules") or ())


def _runs_again(container: Obj, ended: Obj) -> bool:
    """Tell whether a container's own policy or rules, which go before the pod's, start it again after an end."""
    code = ended.get("exitCode") or 0
    for rule in container.get("restartPolicyRules") or ():
        codes = rule.get("exitCodes") or {}
        if (code in (codes.get("values") or ())) == (codes.get("operator") == "In"):
            return True
    own = container.get("restartPolicy")
    return own == "Always" or (own == "OnFailure" and code != 0)


def _transitions(new: list[Obj], old: list[Obj], path: str, policy: str | None, spec: Obj) -> Errors:
    """A container that has ended for good stays ended."""
    containers = {c.get("name"): c for kind in ("initContainers", "containers") for c in spec.get(kind) or ()}
    lasting = path == "status.ephemeralContainerStatuses"
    if not lasting and any(_restarts_all(container) for container in containers.values()):
        return []
    if path == "status.containerStatuses" and policy == "Always":
        return []
    errors: Errors = []
    for i, before in enumerate(old):
        ended = (before.get("state") or {}).get("terminated")
        if ended is None or (not lasting and _runs_again(containers.get(before.get("name")) or {}, ended)):
            continue
        if not lasting and ended.get("exitCode") and policy != "Never":
            continue
        if path == "status.initContainerStatuses" and policy == "Always":
            continue
        for after in new:
            if after.get("name") == before.get("name") and (after.get("state") or {}).get("terminated") is None:
                detail = "may not be transitioned to non-terminated state"
                errors.append(field.forbidden(f"{path}[{i}].state", detail))
    return errors


def _ips(found: list[Obj], old: list[Obj], path: str) -> Errors:
    errors: Errors = []
    known = {entry.get("ip") for entry in old}
    for i, entry in enumerate(found):
        if entry.get("ip") not in known:
            errors += named(entry.get("ip", ""), f"{path}[{i}]", checks.ip)
    families = sorted(":" in entry.get("ip", "") for entry in found)
    if len(found) > 1 and families != [False, True]:
        errors.append(field.invalid(path, found, "may specify no more than one IP for each IP family"))
    return errors


def _container_statuses(pod: Obj) -> Errors:
    """Check whom containers run as and the health of their devices."""
    status, spec, errors = pod.get("status") or {}, pod["spec"], list[FieldError]()
    lists = {kind: (status.get(f"{kind}Statuses") or [], f"status.{kind}Statuses") for kind in _KINDS}
    is_windows = (spec.get("os") or {}).get("name") == "windows"
    for found, path in lists.values():
        for i, entry in enumerate(found):
            if (user := (entry.get("user") or {}).get("linux")) is not None:
                errors += _status_user(user, f"{path}[{i}].user.linux", is_windows=is_windows)
    for kind, (found, path) in lists.items():
        containers = {c.get("name"): c for c in spec.get(f"{kind}s") or ()}
        for i, entry in enumerate(found):
            at = f"{path}[{i}].allocatedResourcesStatus"
            given = entry.get("allocatedResourcesStatus")
            if kind != "ephemeralContainer":
                errors += _device_health(given or [], containers.get(entry.get("name")), at)
            elif given is not None:
                errors.append(field.forbidden(at, "must not be specified in container status"))
    return errors


_KINDS = ("container", "initContainer", "ephemeralContainer")


def _status_user(user: Obj, path: str, *, is_windows: bool) -> Errors:
    if is_windows:
        return [field.forbidden(path, "cannot be set for a windows pod")]
    ids = [(f"{path}.{member}", user.get(member, 0)) for member in ("uid", "gid")]
    ids += [(f"{path}.supplementalGroups[{g}]", group) for g, group in enumerate(user.get("supplementalGroups") or ())]
    return [field.invalid(at, value, detail) for at, value in ids for detail in checks.user_id(value)]


def _device_health(found: list[Obj], container: Obj | None, path: str) -> Errors:
    errors: Errors = []
    wanted = (container or {}).get("resources") or {}
    claims = {"/".join(filter(None, (c["name"], c.get("request")))) for c in wanted.get("claims") or ()}
    for j, entry in enumerate(found):
        name, seen = entry.get("name", ""), set[str]()
        if name.startswith("claim:"):
            is_wanted = name.removeprefix("claim:") in claims
            detail = "must match one of the container's resource claims in a format 'claim:<claimName>/<request>' or "
            detail += "'claim:<claimName>' if request is empty"
        else:
            is_wanted = name in (wanted.get("requests") or ())
            detail = "must match one of the container's resource requests"
        if container is not None and not is_wanted:
            errors.append(field.invalid(f"{path}[{j}].name", name, detail))
        for k, device in enumerate(entry.get("resources") or ()):
            at, own = f"{path}[{j}].resources[{k}]", device.get("resourceID", "")
            if device.get("health", "") not in _HEALTH:
                errors.append(field.not_supported(f"{at}.health", device.get("health", ""), _HEALTH))
            if own in seen:
                errors.append(field.duplicate(f"{at}.resourceID", own))
            seen.add(own)
    return errors


_HEALTH = ("Healthy", "Unhealthy", "Unknown")
