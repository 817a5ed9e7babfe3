"""What a pod's spec says, answered once: containers by kind, restart rules, grace periods."""

from collections.abc import Iterator
from typing import Any

from wherry.api import meta

Container = dict[str, Any]

CONFIG_SOURCE, CONFIG_MIRROR = "kubernetes.io/config.source", "kubernetes.io/config.mirror"
CONFIG_HASH, CONFIG_SEEN = "kubernetes.io/config.hash", "kubernetes.io/config.seen"
"""Annotations of static pods and their mirrors."""

_SYSTEM_PRIORITY = 2_000_000_000

INIT, REGULAR, EPHEMERAL = "initContainers", "containers", "ephemeralContainers"


def containers(pod: meta.Object) -> list[Container]:
    """Return the regular containers."""
    return pod["spec"].get("containers") or []


def init_containers(pod: meta.Object) -> list[Container]:
    """Return the init containers, sidecars among them."""
    return pod["spec"].get("initContainers") or []


def ephemeral_containers(pod: meta.Object) -> list[Container]:
    return pod["spec"].get("ephemeralContainers") or []


def every_container(pod: meta.Object) -> Iterator[tuple[str, Container]]:
    """Iterate over (kind of list, container)."""
    for kind in (INIT, REGULAR, EPHEMERAL):
        for container in pod["spec"].get(kind) or ():
            yield kind, container


def find_container(pod: meta.Object, name: str) -> Container | None:
    """Return the container called `name` of any kind."""
    return next((c for _, c in every_container(pod) if c["name"] == name), None)


def is_sidecar(container: Container) -> bool:
    """Tell whether an init container is restartable, so that it runs beside the regular ones."""
    return container.get("restartPolicy") == "Always"


def field_path(pod: meta.Object, name: str) -> str:
    """Return the field path of a container for an event's involved object: ``spec.containers{web}``."""
    kind = next((kind for kind, c in every_container(pod) if c["name"] == name), REGULAR)
    return f"spec.{kind}{{{name}}}"


def restart_policy(pod: meta.Object, container: Container) -> str:
    """Return Always, OnFailure or Never for one container; its own policy overrides the pod's (not for ephemeral)."""
    return container.get("restartPolicy") or pod["spec"].get("restartPolicy") or "Always"


def restarts_after(pod: meta.Object, container: Container, exit_code: int) -> bool:
    """Tell whether a container that ended with `exit_code` is to run again (rules first, then policies)."""
    if exit_action(container, exit_code):
        return True
    policy = restart_policy(pod, container)
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def exit_action(container: Container, exit_code: int) -> str:
    """Return what the first rule for `exit_code` asks for: Restart, RestartAllContainers, or "" where none does."""
    for rule in container.get("restartPolicyRules") or ():
        if _rule_matches(rule.get("exitCodes") or {}, exit_code):
            return str(rule.get("action") or "")
    return ""


def _rule_matches(exit_codes: dict[str, Any], exit_code: int) -> bool:
    listed = exit_code in (exit_codes.get("values") or ())
    return listed if exit_codes.get("operator") == "In" else not listed


def init_restarts_after(pod: meta.Object, container: Container, exit_code: int) -> bool:
    """Tell whether an init container that failed with `exit_code` is tried again; only Never forbids it."""
    if container.get("restartPolicy") or container.get("restartPolicyRules"):
        return restarts_after(pod, container, exit_code)
    return (pod["spec"].get("restartPolicy") or "Always") != "Never"


def grace_period(pod: meta.Object) -> float:
    """Return the seconds that a pod's containers have to end."""
    deletion = pod["metadata"].get("deletionGracePeriodSeconds")
    if deletion is not None and meta.is_deleting(pod):
        return float(deletion)
    value = pod["spec"].get("terminationGracePeriodSeconds")
    return float(30 if value is None else value)


def volumes_show_address(pod: meta.Object) -> bool:
    """Tell whether a downward API volume shows the pod's address, so that the network must come first."""
    for volume in pod["spec"].get("volumes") or ():
        sources = [volume, *((volume.get("projected") or {}).get("sources") or ())]
        for source in sources:
            for item in (source.get("downwardAPI") or {}).get("items") or ():
                if ((item.get("fieldRef") or {}).get("fieldPath") or "").startswith("status.podIP"):
                    return True
    return False


def is_terminal(pod: meta.Object) -> bool:
    """Tell whether the API holds the pod's phase as final."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def host_network(pod: meta.Object) -> bool:
    return bool(pod["spec"].get("hostNetwork"))


def host_users(pod: meta.Object) -> bool:
    """Tell whether the pod's processes run as the host's users, which is so unless it says otherwise."""
    return pod["spec"].get("hostUsers") is not False


def volumes_are_sure(pod: meta.Object) -> bool:
    """Tell whether every volume needs nothing that may be missing: empty directories and the API's credentials."""
    return all(
        "emptyDir" in volume or volume["name"].startswith("kube-api-access-")
        for volume in pod["spec"].get("volumes") or ()
    )


def image_volumes(pod: meta.Object) -> frozenset[str]:
    """Return the names of the volumes that show an image, which nobody may write to."""
    return frozenset(v["name"] for v in pod["spec"].get("volumes") or () if v.get("image"))


def is_mirror(pod: meta.Object) -> bool:
    """Tell whether the pod is the API's picture of a static one."""
    return CONFIG_MIRROR in meta.annotations(pod)


def is_static(pod: meta.Object) -> bool:
    """Tell whether the pod comes from a manifest of this node: what the API holds always has a revision."""
    return "resourceVersion" not in pod["metadata"] and meta.annotations(pod).get(CONFIG_SOURCE) == "file"


def stands_for(found: meta.Object, pod: meta.Object) -> bool:
    """Tell whether `found` is what the API holds of `pod`: the pod itself, or the mirror of a static one."""
    return meta.uid(pod) in (meta.uid(found), meta.annotations(found).get(CONFIG_MIRROR))


def is_critical(pod: meta.Object) -> bool:
    """Tell whether a pod must stay whatever happens: a static one, or one of the system's priority classes."""
    return is_static(pod) or (pod["spec"].get("priority") or 0) >= _SYSTEM_PRIORITY
