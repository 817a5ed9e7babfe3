"""The webhooks of all configurations, compiled once per change of a configuration."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.api import meta
from wherry.api.resources import Resource
from wherry.apiserver.admission.checkmetrics import WEBHOOK
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.expressions import Expression, ExpressionError, Values, conditions, meets
from wherry.apiserver.admission.forms import Form, form_of
from wherry.apiserver.admission.matching import Criteria, is_exempt
from wherry.apiserver.admission.metrics import ADMIT, VALIDATE
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.admission.stale import Stale

Object = dict[str, Any]

_DEFAULT_TIMEOUT = 10


@dataclass(frozen=True, slots=True, eq=False)
class Hook:
    """One webhook of a configuration. `uid` tells it apart from all others."""

    configuration: str
    name: str
    uid: str
    client: Mapping[str, Any]
    criteria: Criteria
    conditions: tuple[Expression, ...]
    fails_open: bool
    timeout: float
    has_side_effects: bool
    versions: tuple[str, ...]
    reinvoked: bool

    @staticmethod
    def of(configuration: str, found: Mapping[str, Any], index: int) -> "Hook":
        """Compile a webhook."""
        name = found.get("name") or ""
        return Hook(
            configuration,
            name,
            f"{configuration}/{name}/{index}",
            found.get("clientConfig") or {},
            Criteria.of(found, found.get("rules") or ()),
            conditions(found.get("matchConditions")),
            found.get("failurePolicy") == "Ignore",
            found.get("timeoutSeconds") or _DEFAULT_TIMEOUT,
            found.get("sideEffects") not in ("None", "NoneOnDryRun"),
            tuple(found.get("admissionReviewVersions") or ("v1",)),
            found.get("reinvocationPolicy") == "IfNeeded",
        )


class Hooks:
    """The webhooks of a kind of configuration, in the order of the configurations' names."""

    def __init__(self, context: AdmissionContext, resource: Resource) -> None:
        self._context = context
        self._resource = resource
        self._step = ADMIT if resource.plural.startswith("mutating") else VALIDATE
        self._stale = Stale(context.registry, resource)
        self._hooks: list[Hook] = []

    def all(self) -> list[Hook]:
        """Return all webhooks."""
        if self._stale.value:
            self._stale.renew()
            self._hooks = []
            for found in sorted(self._context.registry.list(self._resource), key=meta.name):
                name = meta.name(found)
                self._hooks += [Hook.of(name, hook, index) for index, hook in enumerate(found.get("webhooks") or ())]
        return self._hooks

    def concern(self, operation: Operation) -> bool:
        """Tell quickly whether some webhook may have to be asked."""
        return bool(self.all()) and not is_exempt(operation)

    async def wanted(self, hook: Hook, operation: Operation) -> Form | None:
        """Return the operation in the version in which a webhook is to be asked, None when it is not.

        Raises NotFound, Forbidden when a match condition fails and the webhook does not fail open.
        """
        resource = hook.criteria.match(self._context.registry, operation)
        if resource is None:
            return None
        form = await form_of(self._context, operation, resource)
        try:
            who = (WEBHOOK, hook.name, self._step, operation.operation)
            if not meets(hook.conditions, Values(self._context, operation, form), self._context, who=who):
                return None
        except ExpressionError as error:
            if hook.fails_open:
                return None
            raise forbidden(operation.resource, operation.name, str(error)) from None
        return form
