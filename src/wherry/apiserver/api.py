"""What the handlers of one server share."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from wherry.api.resources import PODS, Resource
from wherry.apiserver.admission.chain import Chain
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.decode import Schemas
from wherry.apiserver.drafts import Drafts
from wherry.apiserver.registry import Registry
from wherry.apiserver.request import Request
from wherry.apiserver.scales import ScalePaths
from wherry.apiserver.strategies.hooks import Hooks

Object = dict[str, Any]


@dataclass(slots=True)
class Api:
    """The parts that the handlers work with. `extensions` holds handlers of whole resources (reviews) and of
    subresources that are not stored (``pods/log``, ``serviceaccounts/token``), by ``(group, plural, subresource)``."""

    registry: Registry
    schemas: Schemas
    admission: Chain
    hooks: Hooks
    scales: dict[Resource, ScalePaths] = field(default_factory=dict)
    extensions: dict[tuple[str, str, str], Callable[..., Any]] = field(default_factory=dict)
    drafts: Drafts = field(init=False)

    def __post_init__(self) -> None:
        self.drafts = Drafts(self.schemas.of(PODS))

    def schema(self, resource: Resource) -> Any:
        """Return the type schema of a resource."""
        return self.schemas.of(resource)


def operation(
    request: Request, kind: str, *, obj: Object | None = None, old: Object | None = None, dry_run: bool = False
) -> Operation:
    """Return what admission is told about a request."""
    return Operation(
        kind,
        request.resource,
        request.subresource,
        request.namespace,
        request.name,
        request.user,
        obj=obj,
        old=old,
        dry_run=dry_run,
        verb=request.verb,
        params=request.params,
        warnings=request.warnings,
        annotations=request.annotations,
        has_details=request.wants_details,
    )
