"""CEL in admission: compiled expressions, the values they see, match conditions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api import cel
from wherry.api.cel import CompileError, EvalError, Program, Type, admission
from wherry.api.cel.functions.authorization import Access, Authorizer, Decision
from wherry.api.cel.values import Timestamp
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.forms import Form, request_of
from wherry.apiserver.admission.matching import namespace_of
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.attributes import AUTHENTICATED_GROUP, Attributes, UserInfo
from wherry.util import clock

Object = dict[str, Any]

_BUDGET = 10_000_000
_CONDITIONS_BUDGET = _BUDGET // 4
"""What the expressions of one policy, or the conditions of one webhook, may cost together."""


_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"


@dataclass(frozen=True, slots=True, eq=False)
class Expression:
    """An expression and its program, or why it has none. `name` is that of a condition or variable."""

    text: str
    name: str = ""
    program: Program | None = None
    error: str = ""

    @staticmethod
    def of(text: str, variables: Mapping[str, Type], *, name: str = "") -> "Expression":
        """Compile an expression."""
        try:
            return Expression(text, name, cel.compile(text, variables, structs=admission.structs))
        except CompileError as error:
            return Expression(text, name, None, f"compilation error: {error}")


class ExpressionError(Exception):
    """An expression has no value; the message names it, `why` does not."""

    def __init__(self, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message


@dataclass(slots=True)
class Budget:
    """Counts what evaluations cost together."""

    left: int = _BUDGET

    def evaluate(self, expression: Expression, values: Mapping[str, Any]) -> Any:
        """Return the value of an expression. Raises ExpressionError."""
        if expression.program is None:
            raise ExpressionError(expression.error)
        if self.left <= 0:
            raise ExpressionError(
                "validation failed due to running out of cost budget, no further validation rules will be run"
            )
        try:
            value, cost = expression.program.measure(values, limit=min(self.left, cel.PER_CALL_LIMIT))
        except EvalError as error:
            raise ExpressionError(f"expression '{expression.text}' resulted in error: {error}", str(error)) from None
        self.left -= cost
        return value


def conditions(found: Iterable[Mapping[str, Any]] | None, *, params: bool = False) -> tuple[Expression, ...]:
    """Compile match conditions."""
    given = list(found or ())
    if not given:
        return ()
    variables = admission.variables(params=params)
    return tuple(Expression.of(c["expression"], variables, name=c.get("name", "")) for c in given)


def meets(
    wanted: Sequence[Expression],
    values: Mapping[str, Any],
    context: AdmissionContext,
    *,
    who: tuple[str, str, str, str],
) -> bool:
    """Tell whether all conditions hold; one that does not hold counts more than one that fails.

    `who` is what metrics tell of them: kind (webhook, policy), name, step and operation. Raises ExpressionError.
    """
    if not wanted:
        return True
    met: bool | None = None
    began = clock.monotonic()
    try:
        met = _all_hold(wanted, values)
    finally:
        context.checks.conditions(*who, since=began, met=met)
    return met


def _all_hold(wanted: Sequence[Expression], values: Mapping[str, Any]) -> bool:
    budget, errors = Budget(_CONDITIONS_BUDGET), []
    for condition in wanted:
        try:
            if budget.evaluate(condition, values) is not True:
                return False
        except ExpressionError as error:
            errors.append(str(error))
    if errors:
        raise ExpressionError(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    return True


@dataclass(slots=True)
class Values(Mapping[str, Any]):
    """The variables of an expression, made when they are read."""

    context: AdmissionContext
    operation: Operation
    form: Form
    made: dict[str, Any] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Any:
        if name not in self.made:
            self.made[name] = self._make(name)
        return self.made[name]

    def __contains__(self, name: object) -> bool:
        return name in _NAMES or name in self.made

    def __iter__(self) -> Any:
        return iter({*_NAMES, *self.made})

    def __len__(self) -> int:
        return len({*_NAMES, *self.made})

    def extended(self, **more: Any) -> "Values":
        """Return these variables with some more."""
        return Values(self.context, self.operation, self.form, {**self.made, **more})

    def _make(self, name: str) -> Any:
        if name == "object":
            return self.form.obj
        if name == "oldObject":
            return self.form.old
        if name == "request":
            return request_of(self.operation, self.form)
        if name == "namespaceObject":
            return _namespace(namespace_of(self.context.registry, self.operation))
        if name == "authorizer":
            return _authorizer(self.context, self.operation)
        raise KeyError(name)


_NAMES = frozenset({"object", "oldObject", "request", "namespaceObject", "authorizer"})


def _namespace(found: Object | None) -> Object | None:
    if found is None:
        return None
    shown = {key: value for key, value in found["metadata"].items() if key != "managedFields"}
    shown["UID"] = shown.pop("uid", "")
    for member in ("creationTimestamp", "deletionTimestamp"):
        if shown.get(member):
            shown[member] = Timestamp.of(clock.parse(shown[member]))
    return {"metadata": shown, "spec": found.get("spec") or {}, "status": found.get("status") or {}}


def _authorizer(context: AdmissionContext, operation: Operation) -> Authorizer:
    def decide(account: str, access: Access) -> Decision:
        user = _account(account) if account else operation.user
        answer = context.authorizer.authorize(
            Attributes(
                user,
                access.verb,
                access.group,
                "*",
                access.resource,
                access.subresource,
                access.namespace,
                access.name,
                access.path,
                access.field_selector,
                access.label_selector,
            )
        )
        return Decision(answer.allowed, answer.reason)

    resource = operation.resource
    request = Access(
        "",
        group=resource.group,
        resource=resource.plural,
        subresource=operation.subresource,
        namespace=operation.namespace,
        name=operation.name,
    )
    return Authorizer(decide, "", request)


def _account(account: str) -> UserInfo:
    namespace, _, _ = account.partition(":")
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED_GROUP)
    return UserInfo(f"system:serviceaccount:{account}", groups)
