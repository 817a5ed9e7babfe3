"""The policy of a namespace, from its labels."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from wherry.api.field import FieldError, invalid

PREFIX = "pod-security.kubernetes.io/"
PRIVILEGED = "privileged"
LEVELS = (PRIVILEGED, "baseline", "restricted")
"""From the most lenient to the strictest."""

LATEST = 1 << 30
"""Stands for the minor version ``latest``."""

_VERSION = re.compile(r"v1\.(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class LevelVersion:
    """A level as of a minor version of Kubernetes."""

    level: str = PRIVILEGED
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a namespace enforces, notes in the audit log, and warns about; `errors` are of labels nobody understands."""

    enforce: LevelVersion
    audit: LevelVersion
    warn: LevelVersion
    errors: tuple[FieldError, ...] = ()

    @property
    def allows_all(self) -> bool:
        return not self.errors and all(m.level == PRIVILEGED for m in (self.enforce, self.audit, self.warn))


PERMISSIVE = Policy(LevelVersion(), LevelVersion(), LevelVersion())


def of(labels: Mapping[str, str] | None) -> Policy:
    """Return the policy of a namespace with `labels`.

    A wrong level counts as restricted where it is enforced and as privileged elsewhere, a wrong version as latest.
    Who gives no level to warn about is warned of what is enforced, since workloads are not refused.
    """
    found = [(key, value) for key, value in (labels or {}).items() if key.startswith(PREFIX)]
    return _of(tuple(found)) if found else PERMISSIVE


@lru_cache(maxsize=256)
def _of(labels: tuple[tuple[str, str], ...]) -> Policy:
    given = dict(labels)
    errors: list[FieldError] = []
    enforce, audit, warn = (_mode(given, mode, errors) for mode in ("enforce", "audit", "warn"))
    if PREFIX + "warn" not in given and given.get(PREFIX + "enforce") in LEVELS[1:]:
        warn = LevelVersion(enforce.level, warn.minor if f"{PREFIX}warn-version" in given else enforce.minor)
    return Policy(enforce, audit, warn, tuple(errors))


def _mode(labels: Mapping[str, str], mode: str, errors: list[FieldError]) -> LevelVersion:
    level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
    chosen, minor = PRIVILEGED, LATEST
    if level is not None:
        chosen = level
        if level not in LEVELS:
            chosen = LEVELS[-1] if mode == "enforce" else PRIVILEGED
            errors.append(invalid(f"metadata.labels[{PREFIX}{mode}]", level, f"must be one of {', '.join(LEVELS)}"))
    if version is not None and version != "latest":
        match = _VERSION.fullmatch(version)
        if match is not None:
            minor = int(match[1])
        else:
            path = f"metadata.labels[{PREFIX}{mode}-version]"
            errors.append(invalid(path, version, 'must be "latest" or "v1.x"'))
    return LevelVersion(chosen, minor)
