"""Whether a pod may be on a node: selectors, affinity, taints (kubernetes ``component-helpers/scheduling``)."""

from collections.abc import Iterable

from wherry.api import meta
from wherry.api.meta import Object


def tolerates(toleration: Object, taint: Object) -> bool:
    """Tell whether a toleration is for a taint."""
    if toleration.get("effect") not in (None, "", taint.get("effect")):
        return False
    if toleration.get("key") not in (None, "", taint["key"]):
        return False
    operator = toleration.get("operator") or "Equal"
    if operator == "Exists":
        return True
    if operator in ("Lt", "Gt"):
        return _compare(taint.get("value", ""), operator, toleration.get("value", ""))
    return (toleration.get("value") or "") == (taint.get("value") or "")


def untolerated(taints: Iterable[Object], tolerations: Iterable[Object], *, effects: tuple[str, ...]) -> list[Object]:
    """Return the taints of these effects that no toleration is for."""
    tolerations = list(tolerations)
    return [
        taint
        for taint in taints
        if taint.get("effect") in effects and not any(tolerates(toleration, taint) for toleration in tolerations)
    ]


def selects_node(spec: Object, node: Object) -> bool:
    """Tell whether a pod's ``nodeSelector`` and required node affinity allow a node."""
    labels = meta.labels(node)
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    if required is None:
        return True
    return any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or ())


def _term_matches(term: Object, node: Object) -> bool:
    expressions, fields = term.get("matchExpressions") or (), term.get("matchFields") or ()
    if not expressions and not fields:
        return False
    return all(_meets(meta.labels(node), entry) for entry in expressions) and all(
        _meets({"metadata.name": meta.name(node)}, entry) for entry in fields
    )


def _meets(labels: dict[str, str], requirement: Object) -> bool:
    value, operator = labels.get(requirement["key"]), requirement["operator"]
    values: list[str] = requirement.get("values") or []
    if operator == "In":
        return value in values
    if operator == "NotIn":
        return value not in values
    if operator in ("Exists", "DoesNotExist"):
        return (value is not None) == (operator == "Exists")
    return value is not None and len(values) == 1 and _compare(value, operator, values[0])


def _compare(left: str, operator: str, right: str) -> bool:
    try:
        return int(left) > int(right) if operator == "Gt" else int(left) < int(right)
    except ValueError:
        return False
