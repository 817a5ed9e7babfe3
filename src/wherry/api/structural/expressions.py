"""Whether the rules of a schema compile, and what they may cost (apiextensions ``schema/cel``)."""

from dataclasses import dataclass, field
from typing import Any

from wherry.api import field as errors
from wherry.api.cel import cost
from wherry.api.cel.schema import MAX_REQUEST, smallest, type_of
from wherry.api.cel.types import Type, optional_of
from wherry.api.field import FieldError
from wherry.api.structural.rules import compile_text

Schema = dict[str, Any]

_ADVICE = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)
_SHOWN_EXPENSIVE = 4


@dataclass(slots=True)
class Budget:
    """The estimated cost of all rules of one schema."""

    total: int = 0
    rules: list[tuple[int, str]] = field(default_factory=list)

    def note(self, amount: int, place: str) -> None:
        """Count one expression."""
        self.total += amount
        if amount:
            self.rules.append((amount, place))

    def errors(self, path: str) -> list[FieldError]:
        """Return what is wrong when the sum is too high: the most expensive rules, and the schema."""
        if self.total <= cost.TOTAL_LIMIT:
            return []
        detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
        worst = sorted(self.rules, reverse=True)[:_SHOWN_EXPENSIVE]
        found = [errors.forbidden(place, detail) for _, place in worst]
        name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema"
        return [*found, errors.forbidden(path, exceeds(name, self.total, cost.TOTAL_LIMIT))]


@dataclass(frozen=True, slots=True)
class Place:
    """Where in a schema rules stand: how often a value can occur there (None: unbounded), the budget, and the nearest
    part above whose old and new values cannot be told which is which (empty when they can)."""

    budget: Budget
    cardinality: int | None = 1
    uncorrelated: str = ""

    def times(self, most: int | None) -> int | None:
        """Return how often values occur in a list or map here of at most `most` members."""
        return None if most is None or self.cardinality is None else self.cardinality * most


def exceeds(name: str, amount: int, limit: int) -> str:
    """Return the message of an estimate above its limit."""
    factor = amount / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{name} exceeds budget by factor of {shown} {_ADVICE}"


def rule_errors(schema: Schema, path: str, place: Place, *, root: bool) -> list[FieldError]:
    """Return what is wrong with the rules of a node, whose schema is sound."""
    kind = type_of(schema, root=root)
    if kind is None:
        text = (
            "internal error: failed to construct type information for x-kubernetes-validations rules: "
            "unable to convert structural schema to CEL declarations"
        )
        return [errors.internal(f"{path}.x-kubernetes-validations", text)]
    found: list[FieldError] = []
    for at, rule in enumerate(schema["x-kubernetes-validations"]):
        found += _Check(schema, rule, kind, f"{path}.x-kubernetes-validations[{at}]", place).errors()
    return found


class _Check:
    def __init__(self, schema: Schema, rule: Schema, kind: Type, path: str, place: Place) -> None:
        self._schema = schema
        self._rule = rule
        optional = bool(rule.get("optionalOldSelf"))
        self._variables = {"self": kind, "oldSelf": optional_of(kind) if optional else kind}
        self._path = path
        self._place = place

    def errors(self) -> list[FieldError]:
        """Return what is wrong with one rule."""
        path, rule = self._path, self._rule
        program, failure = compile_text((rule.get("rule") or "").strip(), self._variables)
        found: list[FieldError] = []
        if program is not None and program.type.kind not in ("bool", "dyn"):
            failure = "cel expression must evaluate to a bool"
        elif program is not None:
            found += self._cost(program, "rule")
        if failure:
            found.append(errors.invalid(f"{path}.rule", _shown(rule), failure))
        found += self._message()
        uses_old = program is not None and not failure and "oldSelf" in program.used
        if uses_old:
            if self._place.uncorrelated:
                portion = self._place.uncorrelated
                detail = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {portion}"
                found.append(errors.invalid(f"{path}.rule", rule["rule"], detail))
        elif rule.get("optionalOldSelf") is not None:
            detail = "may not be set if oldSelf is not used in rule"
            found.append(errors.invalid(f"{path}.optionalOldSelf", rule["optionalOldSelf"], detail))
        return found

    def _cost(self, program: Any, name: str) -> list[FieldError]:
        amount = cost.estimate(program.tree)
        if name == "rule":
            often = self._place.cardinality
            amount *= often if often is not None else MAX_REQUEST // (smallest(self._schema) + 1)
        place = f"{self._path}.{name}"
        self._place.budget.note(amount, place)
        if amount <= cost.RULE_LIMIT:
            return []
        return [errors.forbidden(place, exceeds(f"estimated {name} cost", amount, cost.RULE_LIMIT))]

    def _message(self) -> list[FieldError]:
        text = (self._rule.get("messageExpression") or "").strip()
        if not text:
            return []
        program, failure = compile_text(text, self._variables)
        if program is None:
            failure = f"messageExpression {failure}"
        elif program.type.kind not in ("string", "dyn"):
            failure = "messageExpression must evaluate to a string"
        if program is None or failure:
            return [errors.invalid(f"{self._path}.messageExpression", _shown(self._rule), failure)]
        return self._cost(program, "messageExpression")


def _shown(rule: Schema) -> Schema:
    """Return a rule as messages show it."""
    return {
        "Rule": rule.get("rule") or "",
        "Message": rule.get("message") or "",
        "MessageExpression": rule.get("messageExpression") or "",
        "Reason": rule.get("reason"),
        "FieldPath": rule.get("fieldPath") or "",
        "OptionalOldSelf": rule.get("optionalOldSelf"),
    }
