"""Where objects keep what their ``scale`` subresource shows."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class ScalePaths(NamedTuple):
    """Where an object keeps its scale; the selector is a label selector, or text for a custom resource."""

    spec: tuple[str, ...] = ("spec", "replicas")
    status: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")

    @staticmethod
    def of(scale: Mapping[str, Any]) -> "ScalePaths":
        """Return the paths that a definition gives (``subresources.scale``)."""
        return ScalePaths(
            _members(scale["specReplicasPath"]),
            _members(scale["statusReplicasPath"]),
            _members(scale.get("labelSelectorPath") or ""),
        )


def _members(path: str) -> tuple[str, ...]:
    return tuple(part for part in path.split(".") if part)
