"""Which names of a definition are accepted, and the conditions that follow (apiextensions ``controller/status``)."""

from collections.abc import Iterable
from typing import Any

from wherry.api import meta
from wherry.api.meta import Object

FINALIZER = "customresourcecleanup.apiextensions.k8s.io"
"""Holds a definition until its objects are deleted."""

ACCEPTED, ESTABLISHED, TERMINATING = "NamesAccepted", "Established", "Terminating"
APPROVAL = "KubernetesAPIApprovalPolicy"
APPROVAL_ANNOTATION = "api-approved.kubernetes.io"
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"


def is_protected(group: str) -> bool:
    """Tell whether a group belongs to the Kubernetes project, whose APIs need an approval."""
    return group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))


def new_status(definition: Object, others: Iterable[Object], *, now: str) -> Object:
    """Return the status of a definition beside `others` (of any group), whose accepted names are taken."""
    group = definition["spec"]["group"]
    taken = [other["status"]["acceptedNames"] for other in others if _has_names(other, group)]
    accepted, problem = _accept(definition, taken)
    status = dict(definition.get("status") or {})
    conditions = list(status.get("conditions") or ())
    if problem is None:
        names = ("True", "NoConflicts", "no conflicts found")
        conditions = _set(conditions, ACCEPTED, *names, now=now)
        conditions = _set(conditions, ESTABLISHED, "True", "InitialNamesAccepted", _INITIAL, now=now)
    else:
        conditions = _set(conditions, ACCEPTED, "False", *problem, now=now)
        if not meta.is_true(definition, ESTABLISHED):
            refused = "not all names are accepted"
            conditions = _set(conditions, ESTABLISHED, "False", "NotAccepted", refused, now=now)
    if is_protected(group):
        conditions = _set(conditions, APPROVAL, *approval(definition), now=now)
    return {**status, "acceptedNames": accepted, "conditions": conditions}


_INITIAL = "the initial names have been accepted"


def _has_names(definition: Object, group: str) -> bool:
    return bool(definition["spec"]["group"] == group and (definition.get("status") or {}).get("acceptedNames"))


def _accept(definition: Object, taken: list[Object]) -> tuple[Object, tuple[str, str] | None]:
    """Return the accepted names, and reason and message of the last conflict."""
    wanted = definition["spec"]["names"]
    before = (definition.get("status") or {}).get("acceptedNames") or {}
    resources = {n for t in taken for n in (t.get("plural"), t.get("singular"), *(t.get("shortNames") or ())) if n}
    kinds = {n for t in taken for n in (t.get("kind"), t.get("listKind")) if n}
    accepted = dict(before)
    problem: tuple[str, str] | None = None
    for member, used in (
        ("plural", resources),
        ("singular", resources),
        ("shortNames", resources),
        ("kind", kinds),
        ("listKind", kinds),
    ):
        known = before.get("shortNames") or () if member == "shortNames" else (before.get(member),)
        asked = wanted.get("shortNames") or () if member == "shortNames" else (wanted.get(member) or "",)
        conflicts = [f'"{name}" is already in use' for name in asked if name not in known and name in used]
        if conflicts:
            message = conflicts[0] if len(conflicts) == 1 else f"[{', '.join(conflicts)}]"
            problem = (f"{member[0].upper()}{member[1:]}Conflict", message)
        elif wanted.get(member):
            accepted[member] = wanted[member]
        else:
            accepted.pop(member, None)
    accepted.pop("categories", None)
    if wanted.get("categories"):
        accepted["categories"] = wanted["categories"]
    return {"plural": "", "kind": "", **accepted}, problem


def approval(definition: Object) -> tuple[str, str, str]:
    """Return status, reason and message of the condition that a protected group's definition has."""
    value = meta.annotations(definition).get(APPROVAL_ANNOTATION, "")
    need = f'protected groups must have approval annotation "{APPROVAL_ANNOTATION}"'
    if not value:
        return "False", "MissingAnnotation", f"{need}, {_SEE}"
    if value.startswith("unapproved"):
        return "False", "UnapprovedAnnotation", f'not approved: "{value}"'
    if not is_address(value):
        return "False", "InvalidAnnotation", f'{need} with either a URL or a reason starting with "unapproved", {_SEE}'
    return "True", "ApprovedAnnotation", f"approved in {value}"


def is_address(text: str) -> bool:
    """Tell whether an approval names the page that tells of it."""
    scheme, colon, rest = text.partition("://")
    return bool(colon and scheme and rest.split("/")[0])


def _set(
    conditions: list[Object], kind: str, status: str, reason: str, message: str, *, now: str
) -> list[dict[str, Any]]:
    new = {"type": kind, "status": status, "reason": reason, "message": message}
    before = next((entry for entry in conditions if entry["type"] == kind), None)
    if before is not None and all(before.get(name) == value for name, value in new.items()):
        return conditions
    return meta.with_condition(conditions, new, now=now)


def terminating(definition: Object, status: str, reason: str, message: str, *, now: str) -> Object:
    """Return the status of a definition with its condition of deletion."""
    found = dict(definition.get("status") or {})
    return {
        **found,
        "conditions": _set(list(found.get("conditions") or ()), TERMINATING, status, reason, message, now=now),
    }
