"""Leases."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import named, non_negative

Obj = dict[str, Any]
Errors = list[FieldError]

_STRATEGIES = ("OldestEmulationVersion",)


def _lease(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors: Errors = []
    seconds, strategy = spec.get("leaseDurationSeconds"), spec.get("strategy")
    if seconds is not None and seconds <= 0:
        errors.append(field.invalid("spec.leaseDurationSeconds", seconds, "must be greater than 0"))
    errors += non_negative(spec.get("leaseTransitions"), "spec.leaseTransitions")
    if strategy is not None:
        errors += _strategy(strategy, "spec.strategy.strategy")
    if spec.get("preferredHolder") and not strategy:
        errors.append(field.forbidden("spec.preferredHolder", "may only be specified if `strategy` is defined"))
    return errors


def _strategy(strategy: str, path: str) -> Errors:
    """Check the name of a strategy: Kubernetes' own, or one with a domain."""
    if "/" in strategy:
        return named(strategy, path, checks.qualified_name)
    return [] if strategy in _STRATEGIES else [field.not_supported(path, strategy, _STRATEGIES)]


RULES = {("coordination.k8s.io", "leases"): Rules(create=_lease, metadata_again=False)}
