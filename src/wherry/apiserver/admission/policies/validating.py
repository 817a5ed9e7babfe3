"""The plugin ValidatingAdmissionPolicy."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from wherry.api.errors import BY_REASON, Forbidden
from wherry.api.resources import builtin
from wherry.apiserver.admission.checkmetrics import POLICY
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.expressions import Budget, Expression, ExpressionError, Values, meets
from wherry.apiserver.admission.metrics import VALIDATE
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.apiserver.admission.policies.source import (
    Binding,
    Invocation,
    OwnVariables,
    Policies,
    Policy,
    values_for,
)
from wherry.util import clock

_GROUP = "admissionregistration.k8s.io"
_RESOURCES = (
    builtin(_GROUP, "v1", "validatingadmissionpolicies"),
    builtin(_GROUP, "v1", "validatingadmissionpolicybindings"),
)
_LONGEST_MESSAGE = 5 * 1024
_LONGEST_ANNOTATION = 10 * 1024
_FAILURE = "validation.policy.admission.k8s.io/validation_failure"


@dataclass(frozen=True, slots=True, eq=False)
class Validation:
    """One validation of a policy."""

    expression: Expression
    message: str
    message_expression: Expression | None
    reason: str


@dataclass(frozen=True, slots=True, eq=False)
class ValidatingPolicy:
    """A compiled policy."""

    common: Policy
    validations: tuple[Validation, ...]
    annotations: tuple[Expression, ...]

    @staticmethod
    def of(found: Mapping[str, Any]) -> "ValidatingPolicy":
        """Compile a policy object."""
        common, spec = Policy.of(found), found["spec"]
        names, names_of_messages = common.names(), common.names(authorizer=False)
        validations = tuple(
            Validation(
                Expression.of(one["expression"], names),
                (one.get("message") or "").strip(),
                Expression.of(one["messageExpression"], names_of_messages) if one.get("messageExpression") else None,
                one.get("reason") or "Invalid",
            )
            for one in spec.get("validations") or ()
        )
        annotations = tuple(
            Expression.of(one["valueExpression"], names, name=one["key"]) for one in spec.get("auditAnnotations") or ()
        )
        return ValidatingPolicy(common, validations, annotations)


@dataclass(frozen=True, slots=True)
class Denial:
    """What a policy found wrong; `index` is that of the validation. `certain` denials know no actions of a binding."""

    message: str
    reason: str = "Invalid"
    index: int = 0
    certain: bool = False


class ValidatingAdmissionPolicy(Plugin):
    """Source of the rules: apiserver ``plugin/policy/validating``. All policies are evaluated; the first denial that a
    binding enforces is given."""

    name = "ValidatingAdmissionPolicy"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context
        self._policies = Policies(context, _RESOURCES, ValidatingPolicy.of, lambda policy: policy.common)

    def handles(self, operation: Operation) -> bool:
        return self._policies.concern(operation)

    async def validate(self, operation: Operation) -> None:
        refusals: list[Forbidden] = []
        notes: dict[str, list[str]] = {}
        for invocation in await self._policies.invocations(operation):
            began = clock.monotonic()
            for denial in self._denials(operation, invocation, notes):
                refusals += _enforce(operation, invocation, denial)
                self._count(invocation, denial, began)
                began = clock.monotonic()
        operation.annotations.update({key: ", ".join(dict.fromkeys(values)) for key, values in notes.items()})
        if refusals:
            raise refusals[0]

    def _count(self, invocation: Invocation[ValidatingPolicy], denial: Denial, since: float) -> None:
        policy, binding = invocation.policy.common.name, invocation.binding
        for action in _actions(binding, denial):
            self._context.checks.validated(policy, binding.name if binding else "", since=since, action=action)

    def _denials(
        self, operation: Operation, invocation: Invocation[ValidatingPolicy], notes: dict[str, list[str]]
    ) -> Iterator[Denial]:
        policy = invocation.policy
        common = policy.common
        if invocation.error or invocation.form is None:
            if not common.fails_open:
                yield Denial(invocation.error, certain=True)
            return
        values = values_for(self._context, operation, common, invocation.form, invocation.param)
        try:
            who = (POLICY, common.name, VALIDATE, operation.operation)
            if not meets(common.conditions, values, self._context, who=who):
                return
        except ExpressionError as error:
            if not common.fails_open:
                yield Denial(str(error))
            return
        budget = Budget()
        if common.variables:
            values = values.extended(variables=OwnVariables(common.variables, values, budget))
        for index, validation in enumerate(policy.validations):
            try:
                if budget.evaluate(validation.expression, values) is not True:
                    yield Denial(_message(validation, budget, values), validation.reason, index)
            except ExpressionError as error:
                if not common.fails_open:
                    yield Denial(str(error), "", index)
        for annotation in policy.annotations:
            try:
                value = Budget().evaluate(annotation, values)
            except ExpressionError as error:
                if not common.fails_open:
                    yield Denial(str(error), "", certain=True)
                continue
            if isinstance(value, str) and value.strip():
                notes.setdefault(f"{common.name}/{annotation.name}", []).append(value.strip()[:_LONGEST_ANNOTATION])


def _message(validation: Validation, budget: Budget, values: Values) -> str:
    """Return the message of a validation that failed: as its expression says, as it says, or the expression."""
    if validation.message_expression is not None:
        try:
            told = budget.evaluate(validation.message_expression, values)
        except ExpressionError:
            told = None
        if isinstance(told, str):
            told = told.strip()
            if told and "\n" not in told and len(told.encode()) <= _LONGEST_MESSAGE:
                return told
    return validation.message or f"failed expression: {validation.expression.text.strip()}"


def _enforce(operation: Operation, invocation: Invocation[ValidatingPolicy], denial: Denial) -> Iterator[Forbidden]:
    policy, binding = invocation.policy.common.name, invocation.binding
    for action in _actions(binding, denial):
        if action == "Deny":
            yield _refusal(operation, policy, binding, denial)
        elif action == "Warn" and binding is not None:
            operation.warnings.append(
                f"Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding.name}': "
                f"{denial.message}"
            )
        elif action == "Audit" and binding is not None:
            operation.annotations.setdefault(_FAILURE, _failure(policy, binding, denial))


def _actions(binding: Binding | None, denial: Denial) -> Sequence[str]:
    return ("Deny",) if binding is None or denial.certain else binding.actions


def _failure(policy: str, binding: Binding, denial: Denial) -> str:
    note = {
        "message": denial.message,
        "policy": policy,
        "binding": binding.name,
        "expressionIndex": denial.index,
        "validationActions": list(binding.actions),
    }
    return orjson.dumps([note]).decode()


def _refusal(operation: Operation, policy: str, binding: Binding | None, denial: Denial) -> Forbidden:
    bound = f" with binding '{binding.name}'" if binding is not None else ""
    message = f"ValidatingAdmissionPolicy '{policy}'{bound} denied request: {denial.message}"
    error = forbidden(operation.resource, operation.name, message)
    reason = denial.reason or "Invalid"
    error.status_reason, error.status_code = reason, BY_REASON[reason].code
    error.details = {**(error.details or {}), "causes": [{"message": message}]}
    return error
