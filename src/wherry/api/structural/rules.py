"""Rules in CEL (``x-kubernetes-validations``): compiling those of a schema, and judging objects by them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from wherry.api import cel, field
from wherry.api.cel.schema import adapter, type_of
from wherry.api.cel.types import Type, optional_of
from wherry.api.cel.values import NONE, Optional
from wherry.api.field import FieldError
from wherry.api.meta import Object
from wherry.api.structural import paths
from wherry.api.structural.correlation import Known, known_of
from wherry.api.structural.fieldpath import field_at
from wherry.api.structural.paths import Path
from wherry.api.structural.validate import ABSENT, by_keys, match

Schema = dict[str, Any]

BUDGET = 10_000_000
"""What judging one object may cost (apiserver ``cel.RuntimeCELCostBudget``)."""

_OUT_OF_BUDGET = "validation failed due to running out of cost budget, no further validation rules will be run"
_UNCHECKED = (
    "some validation rules were not checked because the object was invalid; correct the existing errors to complete "
    "validation"
)
_BLOCKING = frozenset(
    {
        "FieldValueNotSupported",
        "FieldValueRequired",
        "FieldValueTooLong",
        "FieldValueTooMany",
        "FieldValueTypeInvalid",
    }
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: its program (None when it cannot be compiled, for the reason `error`) and how a failure is reported."""

    text: str
    program: cel.Program | None
    error: str
    message: str
    message_program: cel.Program | None
    reason: str
    field_path: str
    optional_old: bool

    @property
    def uses_old(self) -> bool:
        return self.program is not None and "oldSelf" in self.program.used

    @property
    def shown(self) -> str:
        """The rule in messages about its evaluation."""
        return self.message or self.text

    def failure(self) -> str:
        """Return the message of a failure, but for that of ``messageExpression``."""
        return self.message or f"failed rule: {self.text}"


def compile_rule(given: dict[str, Any], kind: Type, schema: Schema) -> Rule:
    """Return a rule over values of `kind` and `schema`; what keeps it from being compiled is kept in it."""
    optional_old = bool(given.get("optionalOldSelf"))
    variables = {"self": kind, "oldSelf": optional_of(kind) if optional_old else kind}
    text = given.get("rule") or ""
    program, error = compile_text(text.strip(), variables) if text.strip() else (None, "")
    expression = (given.get("messageExpression") or "").strip()
    found = field_at(schema, given.get("fieldPath") or "")
    message_program = compile_text(expression, variables)[0] if expression else None
    return Rule(
        text.strip(),
        program,
        error,
        (given.get("message") or "").strip(),
        message_program,
        given.get("reason") or "",
        "" if isinstance(found, str) else found.shown,
        optional_old,
    )


def compile_text(text: str, variables: dict[str, Type]) -> tuple[cel.Program | None, str]:
    """Return a program, or why there is none."""
    try:
        return cel.compile(text, variables), ""
    except cel.CompileError as error:
        return None, error.told


class _Node(NamedTuple):
    rules: list[Rule]
    adapt: Callable[[Any], Any] | None
    kind: str
    members: "dict[str, _Node]"
    other: "_Node | None"
    items: "_Node | None"
    keys: tuple[str, ...]
    known: Known | None


class Rules:
    """The rules of one schema."""

    def __init__(self, root: "_Node") -> None:
        self._root = root

    def errors(self, obj: Object, old: Any = ABSENT, *, before: list[FieldError]) -> list[FieldError]:
        """Return what is wrong with `obj`, which replaces `old`; `before` is what is wrong with it already.

        What `old` had in the same way is passed over.
        """
        if any(error.reason in _BLOCKING for error in before):
            return [field.invalid("<nil>", None, _UNCHECKED)]
        judge = _Judge(unchanged=False)
        judge.visit(self._root, obj, old, None)
        return judge.errors

    def warnings(self, obj: Object, old: Object) -> list[str]:
        """Return what `errors` passes over."""
        judge = _Judge(unchanged=True)
        judge.visit(self._root, obj, old, None)
        return [str(error) for error in judge.errors]


def rules_of(schema: Schema, *, whole: bool = True) -> Rules | None:
    """Return the rules of a schema, None when it has none. `whole`: its values are whole objects."""
    node = _compile(schema, root=whole)
    return None if node is None else Rules(node)


def _compile(schema: Schema, *, root: bool = False) -> _Node | None:
    given = schema.get("x-kubernetes-validations") or ()
    embedded = root or bool(schema.get("x-kubernetes-embedded-resource"))
    kind = type_of(schema, root=embedded) if given else None
    rules = [compile_rule(rule, kind, schema) for rule in given] if kind is not None else []
    members = {name: _compile(member) for name, member in (schema.get("properties") or {}).items()}
    found = {name: node for name, node in members.items() if node is not None}
    additional, items = schema.get("additionalProperties"), schema.get("items")
    other = _compile(additional) if isinstance(additional, dict) else None
    each = _compile(items) if isinstance(items, dict) else None
    if not rules and not found and other is None and each is None:
        return None
    is_map = schema.get("x-kubernetes-list-type") == "map"
    keys = tuple(schema.get("x-kubernetes-list-map-keys") or ()) if is_map else ()
    shown = schema.get("type") or ("object" if root else "")
    return _Node(rules, adapter(schema) if rules else None, shown, found, other, each, keys, known_of(schema))


class _OutOfBudget(Exception):
    """No further rule runs."""


class _Judge:
    """Judges one object. `unchanged`: by the rules that need not hold because nothing changed, or by all others."""

    def __init__(self, *, unchanged: bool) -> None:
        self.errors: list[FieldError] = []
        self._unchanged = unchanged
        self._budget = BUDGET

    def visit(self, node: _Node, value: Any, old: Any, path: Path) -> None:
        try:
            self._visit(node, value, old, path)
        except _OutOfBudget:
            return

    def _visit(self, node: _Node, value: Any, old: Any, path: Path) -> None:
        if value is None:
            return
        if node.rules:
            self._apply(node, value, ABSENT if old is None else old, path)
        if value.__class__ is list and node.items is not None:
            before = by_keys(old, node.keys) if node.keys and old.__class__ is list else None
            for at, item in enumerate(value):
                self._visit(node.items, item, match(before, item, node.keys), paths.index(path, at))
        elif value.__class__ is dict:
            known = old if old.__class__ is dict else {}
            for name, item in value.items():
                inner = node.members.get(name)
                if inner is not None:
                    self._visit(inner, item, known.get(name, ABSENT), paths.child(path, name))
                elif node.other is not None:
                    self._visit(node.other, item, known.get(name, ABSENT), paths.key(path, name))

    def _apply(self, node: _Node, value: Any, old: Any, path: Path) -> None:
        adapt = node.adapt
        new_value = adapt(value) if adapt is not None else value
        plain: dict[str, Any] = {"self": new_value}
        optional: dict[str, Any] = {"self": new_value, "oldSelf": NONE}
        if old is not ABSENT:
            plain["oldSelf"] = adapt(old) if adapt is not None else old
            optional["oldSelf"] = Optional(plain["oldSelf"])
        unchanged = old is not ABSENT and old == value and (node.known is None or node.known(value))
        for rule in node.rules:
            if (unchanged and not rule.uses_old) is not self._unchanged:
                continue
            if rule.error:
                self.errors.append(field.invalid(paths.field(path), node.kind, f"rule compile error: {rule.error}"))
            elif rule.program is not None and not (rule.uses_old and old is ABSENT and not rule.optional_old):
                self._run(node, rule, optional if rule.optional_old else plain, path, value)

    def _run(self, node: _Node, rule: Rule, bindings: dict[str, Any], path: Path, value: Any) -> None:
        place = paths.field(path)
        if self._budget <= 0:
            self.errors.append(field.invalid(place, node.kind, _OUT_OF_BUDGET))
            raise _OutOfBudget
        assert rule.program is not None
        try:
            result, cost = rule.program.measure(bindings)
            self._spend(cost, place, node.kind)
        except cel.CostExceeded as error:
            detail = f"'{error}': no further validation rules will be run due to call cost exceeds limit for rule: "
            self.errors.append(field.invalid(place, node.kind, detail + rule.shown))
            raise _OutOfBudget from None
        except cel.EvalError as error:
            self.errors.append(field.invalid(place, node.kind, _evaluation_failure(error, rule)))
            return
        if result is not True:
            where = paths.field(paths.child(path, rule.field_path)) if rule.field_path else place
            shown = field.OMIT if node.kind in ("object", "array") else value
            self.errors.append(_failure(where, shown, rule, self._message(rule, bindings, where, node.kind)))

    def _spend(self, cost: int, place: str, kind: str) -> None:
        self._budget -= cost
        if self._budget < 0:
            self.errors.append(field.invalid(place, kind, _OUT_OF_BUDGET))
            raise _OutOfBudget

    def _message(self, rule: Rule, bindings: dict[str, Any], place: str, kind: str) -> str:
        if rule.message_program is None:
            return rule.failure()
        try:
            text, cost = rule.message_program.measure(bindings)
        except cel.EvalError:
            return rule.failure()
        self._spend(cost, place, kind)
        good = isinstance(text, str) and text.strip() and "\n" not in text and len(text) <= _LONGEST_MESSAGE
        return text.strip() if good else rule.failure()


_LONGEST_MESSAGE = 5 * 1024


def _evaluation_failure(error: cel.EvalError, rule: Rule) -> str:
    if str(error).startswith("no such overload"):
        return (
            f"'{error}': call arguments did not match a supported operator, function or macro signature for rule: "
            f"{rule.shown}"
        )
    return f"{error} evaluating rule: {rule.shown}"


def _failure(place: str, value: Any, rule: Rule, detail: str) -> FieldError:
    match rule.reason:
        case "FieldValueForbidden":
            return field.forbidden(place, detail)
        case "FieldValueRequired":
            return field.required(place, detail)
        case "FieldValueDuplicate":
            return field.duplicate(place, value)
    return field.invalid(place, value, detail)
