"""The plugin MutatingAdmissionPolicy."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wherry.api import meta
from wherry.api.errors import Forbidden, InternalError
from wherry.api.resources import builtin
from wherry.apiserver.admission.checkmetrics import INVALID, NO_ERROR, POLICY
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.expressions import Budget, Expression, ExpressionError, Values, meets
from wherry.apiserver.admission.forms import Form, form_of, replace, schema_of
from wherry.apiserver.admission.metrics import ADMIT
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.apiserver.admission.policies.changes import ChangeError, apply_configuration, json_patch
from wherry.apiserver.admission.policies.source import Invocation, OwnVariables, Policies, Policy, values_for
from wherry.apiserver.admission.rounds import Rounds
from wherry.util import clock

_GROUP = "admissionregistration.k8s.io"
_RESOURCES = (
    builtin(_GROUP, "v1", "mutatingadmissionpolicies"),
    builtin(_GROUP, "v1", "mutatingadmissionpolicybindings"),
)


@dataclass(frozen=True, slots=True, eq=False)
class MutatingPolicy:
    """A compiled policy; `mutations` tells of each whether it makes a JSON patch."""

    common: Policy
    mutations: tuple[tuple[bool, Expression], ...]
    reinvoked: bool

    @staticmethod
    def of(found: Mapping[str, Any]) -> "MutatingPolicy":
        """Compile a policy object."""
        common, spec = Policy.of(found), found["spec"]
        names = common.names()
        mutations = []
        for one in spec.get("mutations") or ():
            is_patch = one.get("patchType") == "JSONPatch"
            source = one.get("jsonPatch" if is_patch else "applyConfiguration") or {}
            mutations.append((is_patch, Expression.of(source.get("expression") or "", names)))
        return MutatingPolicy(common, tuple(mutations), spec.get("reinvocationPolicy") == "IfNeeded")


class MutatingAdmissionPolicy(Plugin):
    """Source of the rules: apiserver ``plugin/policy/mutating``. What a policy changes is not its field manager's: the
    next update of the object shows it as the updater's."""

    name = "MutatingAdmissionPolicy"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context
        self._policies = Policies(context, _RESOURCES, MutatingPolicy.of, lambda policy: policy.common)

    def handles(self, operation: Operation) -> bool:
        return self._policies.concern(operation)

    async def admit(self, operation: Operation) -> None:
        rounds = Rounds.of(operation, self.name)
        errors: list[str] = []
        for invocation in await self._policies.invocations(operation):
            found = await self._run(operation, invocation, rounds)
            if not invocation.policy.common.fails_open:
                errors += [_denied(invocation, why) for why in found]
        rounds.finish(operation)
        if errors:
            raise _refusal(operation, errors)

    async def _run(self, operation: Operation, invocation: Invocation[MutatingPolicy], rounds: Rounds) -> list[str]:
        """Evaluate one policy and apply its mutations; return what went wrong."""
        policy, common = invocation.policy, invocation.policy.common
        if invocation.error or invocation.form is None or invocation.binding is None:
            return [invocation.error]
        # Earlier policies may have changed the object.
        form = await form_of(self._context, operation, invocation.form.resource)
        param = invocation.param
        try:
            who = (POLICY, common.name, ADMIT, operation.operation)
            values = values_for(self._context, operation, common, form, param)
            if not meets(common.conditions, values, self._context, who=who):
                return []
        except ExpressionError as error:
            return [str(error)]
        uid = f"{common.name}/{invocation.binding.name}/{meta.key_of(param) if param is not None else ''}"
        if not rounds.calls(operation, uid):
            return []
        errors, changed = [], False
        for is_patch, expression in policy.mutations:
            form = await form_of(self._context, operation, form.resource)
            if form.obj is None:
                break
            values = values_for(self._context, operation, common, form, param)
            began, error_type = clock.monotonic(), NO_ERROR
            try:
                changed = await self._mutate(operation, common, form, values, is_patch, expression) or changed
            except (ExpressionError, ChangeError) as error:
                errors.append(str(error))
                error_type = INVALID
            self._context.checks.mutated(common.name, invocation.binding.name, since=began, error=error_type)
        rounds.called(operation, uid, changed=changed, willing=policy.reinvoked)
        return errors

    async def _mutate(
        self, operation: Operation, policy: Policy, form: Form, values: Values, is_patch: bool, expression: Expression
    ) -> bool:
        budget = Budget()
        if policy.variables:
            values = values.extended(variables=OwnVariables(policy.variables, values, budget))
        value = budget.evaluate(expression, values)
        if form.obj is None:
            raise InternalError.of("no object to change")
        if is_patch:
            new = json_patch(form.obj, value)
        else:
            new = apply_configuration(schema_of(self._context, operation, form), form.obj, value)
        return await replace(self._context, operation, form, new)


def _denied(invocation: Invocation[MutatingPolicy], why: str) -> str:
    name = invocation.policy.common.name
    if invocation.binding is None:
        return f'policy "{name}" denied request: {why}'
    return f"policy '{name}' with binding '{invocation.binding.name}' denied request: {why}"


def _refusal(operation: Operation, messages: list[str]) -> Forbidden:
    error = forbidden(operation.resource, operation.name, "")
    error.message = messages[0]
    error.status_reason = "Invalid"
    error.details = {**(error.details or {}), "causes": [{"message": message} for message in messages]}
    return error
