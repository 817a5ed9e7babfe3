"""Where objects keep what their ``scale`` subresource shows."""

from typing import NamedTuple


class ScalePaths(NamedTuple):
    """Where an object keeps its scale; the selector is a label selector, or text for a custom resource."""

    spec: tuple[str, ...] = ("spec", "replicas")
    status: tuple[str, ...] = ("status", "replicas")
    selector: tuple[str, ...] = ("spec", "selector")
