"""The pod failure policy of Jobs: the first rule that matches a failed pod decides what its failure means."""

from typing import NamedTuple

from wherry.api import meta
from wherry.api.meta import Object


class Match(NamedTuple):
    """`action` is FailJob, Ignore, Count or FailIndex; `message` says which rule matched and why."""

    action: str
    message: str


def match(policy: Object | None, pod: Object) -> Match | None:
    """Return what the policy says of a failed pod, None when no rule matches."""
    for number, rule in enumerate((policy or {}).get("rules") or ()):
        if rule.get("onExitCodes"):
            why = _exit_code(rule["onExitCodes"], pod)
        else:
            why = _condition(rule.get("onPodConditions") or (), pod)
        if why:
            return Match(rule["action"], f"{why} matching {rule['action']} rule at index {number}")
    return None


def _exit_code(requirement: Object, pod: Object) -> str:
    status = pod.get("status") or {}
    for entry in [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]:
        code = ((entry.get("state") or {}).get("terminated") or {}).get("exitCode", 0)
        if code == 0 or requirement.get("containerName") not in (None, entry["name"]):
            continue
        if (code in requirement["values"]) == (requirement["operator"] == "In"):
            return f"Container {entry['name']} for pod {meta.key_of(pod)} failed with exit code {code}"
    return ""


def _condition(patterns: tuple[Object, ...] | list[Object], pod: Object) -> str:
    for pattern in patterns:
        found = meta.condition(pod, pattern["type"])
        if found is not None and found.get("status") == pattern.get("status", "True"):
            return f"Pod {meta.key_of(pod)} has condition {pattern['type']}"
    return ""
