"""What an admission plugin is (apiserver ``admission.Interface``)."""

import logging
from collections.abc import Awaitable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from wherry.api import names
from wherry.api.resources import Resource
from wherry.apiserver.attributes import UserInfo

log = logging.getLogger(__name__)

CREATE, UPDATE, DELETE, CONNECT = "CREATE", "UPDATE", "DELETE", "CONNECT"


@dataclass(slots=True)
class Operation:
    """One object on its way in. `obj` is None for DELETE, `old` for CREATE; a mutating plugin changes `obj` in place,
    but for what is below the first level of a pod's spec, of which it makes new parts: pods share theirs.

    `warnings` are sent to the client as ``Warning`` headers; `verb` and `params` are the request's, `options` the
    members of what a deletion (DeleteOptions) or a connection (PodExecOptions and so on) asks for;
    `annotations` go to the audit event, those that tell of the object (`detailed`) only where that tells of it, too. A
    plugin that changes `obj` after others looked at it asks for another `round` with `again`; `memory` keeps what a
    plugin must know in the second round, by its name.
    """

    operation: str
    resource: Resource
    subresource: str
    namespace: str
    name: str
    user: UserInfo
    obj: dict[str, Any] | None = None
    old: dict[str, Any] | None = None
    dry_run: bool = False
    verb: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    has_details: bool = False
    memory: dict[str, Any] = field(default_factory=dict)
    round: int = 0
    again: bool = False
    options: Mapping[str, Any] | None = None

    def annotate(self, key: str, value: object, *, detailed: bool = False) -> None:
        """Note something for the audit event: once under a key, which is a domain and a name."""
        domain, slash, name = key.partition("/")
        good = (
            slash and "/" not in name and not names.is_dns1123_subdomain(domain) and not names.is_qualified_name(name)
        )
        if not good or (detailed and not self.has_details):
            return
        if key in self.annotations and self.annotations[key] != value:
            log.warning("the audit annotation %s is given twice; the first one stays", key)
            return
        self.annotations[key] = str(value)

    def concerns(self, *resources: Resource, subresource: str = "") -> bool:
        """Tell whether this is about one of `resources` (any version of them) and the given subresource."""
        if self.subresource != subresource:
            return False
        own = self.resource
        for other in resources:  # noqa: SIM110 - a generator costs three times as much here
            if other is own or (other.plural == own.plural and other.group == own.group):
                return True
        return False


class Plugin:
    """A plugin overrides what it takes part in. Both raise StatusError (mostly Forbidden) to refuse, and return what is
    left to be awaited where they have to wait.

    It is asked about its `operations` on its `resources` (any version of them; none: all) and those of their
    subresources for which `handles` says so.
    """

    name = ""
    resources: ClassVar[tuple[Resource, ...]] = ()
    operations: ClassVar[frozenset[str]] = frozenset({CREATE, UPDATE, DELETE, CONNECT})

    def admit(self, operation: Operation) -> Awaitable[None] | None:
        """Change ``operation.obj`` in place (mutating phase)."""
        return None

    def validate(self, operation: Operation) -> Awaitable[None] | None:
        """Refuse what may not be (validating phase)."""
        return None

    def handles(self, operation: Operation) -> bool:
        """Tell quickly whether the plugin has anything to do with this operation."""
        return True

    async def close(self) -> None:
        """Release what the plugin holds, when the server ends."""
