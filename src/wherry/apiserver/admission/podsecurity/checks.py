"""What a check is, and what the checks share: walking containers, wording."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

BASELINE, RESTRICTED = "baseline", "restricted"


@dataclass(frozen=True, slots=True)
class Violation:
    """Why a pod is not allowed."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Rule = Callable[[Object, Object], Violation | None]
"""Looks at a pod's metadata and spec."""


@dataclass(frozen=True, slots=True)
class Version:
    """A check as it is from a minor version of Kubernetes on; it makes the checks named in `overrides` unnecessary."""

    minor: int
    rule: Rule
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    """A check of a level; `versions` ascend."""

    id: str
    level: str
    versions: tuple[Version, ...]

    def at(self, minor: int) -> Version | None:
        """Return the check as it was in a minor version, None when it did not exist."""
        return next((version for version in reversed(self.versions) if version.minor <= minor), None)


def containers(spec: Object) -> Iterator[Object]:
    """Yield all containers of a pod: init, regular, ephemeral."""
    for field in ("initContainers", "containers", "ephemeralContainers"):
        yield from spec.get(field) or ()


def security(holder: Object) -> Object:
    """Return the security context of a pod's spec or a container."""
    return holder.get("securityContext") or {}


def is_windows(spec: Object) -> bool:
    """Tell whether a pod says that it is for Windows."""
    return (spec.get("os") or {}).get("name") == "windows"


def has_own_users(spec: Object) -> bool:
    """Tell whether a pod runs in a user namespace."""
    return spec.get("hostUsers") is False


def quoted(items: Iterable[str]) -> str:
    """Return the items in quotes, with commas between."""
    return ", ".join(f'"{item}"' for item in items)


def plural(count: int, one: str, many: str = "") -> str:
    """Return the word for a count."""
    return one if count == 1 else many or f"{one}s"


def named(names: list[str], what: str = "container") -> str:
    """Return ``container "a"`` or ``containers "a", "b"``."""
    return f"{plural(len(names), what)} {quoted(names)}"


def setters(pod: bool, names: list[str]) -> str:
    """Return who set a wrong value: ``pod and container "a"``."""
    return " and ".join([*(["pod"] if pod else []), *([named(names)] if names else [])])
