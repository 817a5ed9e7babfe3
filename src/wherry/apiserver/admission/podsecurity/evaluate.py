"""Runs the checks of a level and version over a pod."""

from functools import lru_cache

from wherry.apiserver.admission.podsecurity import host, privileges, profiles, users, volumes
from wherry.apiserver.admission.podsecurity.checks import BASELINE, Object, Rule, Violation
from wherry.apiserver.admission.podsecurity.policy import PRIVILEGED, LevelVersion

_CHECKS = sorted(
    (*host.CHECKS, *privileges.CHECKS, *profiles.CHECKS, *users.CHECKS, *volumes.CHECKS),
    key=lambda check: (check.level != BASELINE, check.id),
)


@lru_cache(maxsize=128)
def _rules(wanted: LevelVersion) -> tuple[Rule, ...]:
    if wanted.level == PRIVILEGED:
        return ()
    chosen = [
        (check.id, version)
        for check in _CHECKS
        if check.level == BASELINE or wanted.level != BASELINE
        if (version := check.at(wanted.minor)) is not None
    ]
    overridden = {name for _, version in chosen for name in version.overrides}
    return tuple(version.rule for name, version in chosen if name not in overridden)


def evaluate(wanted: LevelVersion, meta: Object, spec: Object) -> list[Violation]:
    """Return what a pod violates: baseline first, then restricted, each by the checks' names."""
    return [found for rule in _rules(wanted) if (found := rule(meta, spec)) is not None]


def details(violations: list[Violation]) -> str:
    """Return the violations with their details as one text."""
    return ", ".join(str(violation) for violation in violations)


def reasons(violations: list[Violation]) -> str:
    """Return the reasons of the violations as one text."""
    return ", ".join(violation.reason for violation in violations)
