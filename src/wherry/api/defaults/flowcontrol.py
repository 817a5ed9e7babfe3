"""Defaults of ``flowcontrol.apiserver.k8s.io``."""

from typing import Any

Obj = dict[str, Any]

_PRECEDENCE = 1000
_NOMINAL_SHARES = 30
_QUEUES = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}


def default_flow_schema(obj: Obj) -> None:
    """A schema comes after the important ones."""
    spec = obj.setdefault("spec", {})
    if not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = _PRECEDENCE


def default_priority_level(obj: Obj) -> None:
    """Fill in how many requests a level serves and how it queues the others."""
    spec = obj.setdefault("spec", {})
    if spec.get("exempt") is None and spec.get("type") == "Exempt":
        spec["exempt"] = {}
    exempt, limited = spec.get("exempt"), spec.get("limited")
    if exempt is not None:
        _shares(exempt, 0)
    if limited is not None:
        _shares(limited, _NOMINAL_SHARES)
        queuing = (limited.get("limitResponse") or {}).get("queuing")
        if queuing is not None:
            for member, value in _QUEUES.items():
                if not queuing.get(member):
                    queuing[member] = value


def _shares(level: Obj, nominal: int) -> None:
    if level.get("nominalConcurrencyShares") is None:
        level["nominalConcurrencyShares"] = nominal
    if level.get("lendablePercent") is None:
        level["lendablePercent"] = 0


DEFAULTS = {
    ("flowcontrol.apiserver.k8s.io", "flowschemas"): default_flow_schema,
    ("flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations"): default_priority_level,
}
