"""CEL expressions of webhooks' match conditions and of admission policies: they must compile, to the right type."""

from collections.abc import Mapping
from typing import Any

from wherry.api import field
from wherry.api.cel import CompileError, Type, admission, compile  # noqa: A004
from wherry.api.cel.types import BOOL, DYN, escape
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.api.validation.shared import named

Obj = dict[str, Any]
Errors = list[FieldError]

_MAX_CONDITIONS = 64
# Types as the CEL library prints them where it does not explain an error.
_NAMES = {"null": "null_type", "timestamp": "google.protobuf.Timestamp", "duration": "google.protobuf.Duration"}


def output_type(text: str, path: str, variables: Mapping[str, Type]) -> tuple[Type | None, Errors]:
    """Compile an expression; return the type of its value, None when it is wrong."""
    try:
        return compile(text, variables, structs=admission.structs).type, []
    except CompileError as error:
        return None, [field.invalid(path, text, error.told)]


def expression(text: str, path: str, variables: Mapping[str, Type], *wanted: Type) -> Errors:
    """Check an expression whose value must be of one of some types."""
    kind, errors = output_type(text, path, variables)
    if kind is None or kind in wanted:
        return errors
    shown = [_shown(each) for each in wanted]
    needed = shown[0] if len(shown) == 1 else f"one of [{' '.join(shown)}]"
    return [field.invalid(path, text, f"must evaluate to {needed} but got {_shown(kind)}")]


def _shown(kind: Type) -> str:
    if kind.params and kind.kind in ("list", "map", "optional"):
        head = "optional_type" if kind.kind == "optional" else kind.kind
        return f"{head}({', '.join(_shown(param) for param in kind.params)})"
    return _NAMES.get(kind.kind, str(kind))


def match_conditions(found: list[Obj] | None, path: str, *, params: bool = False) -> Errors:
    """Check the conditions under which a webhook is called or a policy evaluated."""
    conditions = found or []
    errors = [field.too_many(path, len(conditions), _MAX_CONDITIONS)] if len(conditions) > _MAX_CONDITIONS else []
    variables = admission.variables(params=params)
    seen: set[str] = set()
    for i, condition in enumerate(conditions):
        at, text, name = f"{path}[{i}]", (condition.get("expression") or "").strip(), condition.get("name") or ""
        if text:
            errors += expression(text, f"{at}.expression", variables, BOOL)
        else:
            errors.append(field.required(f"{at}.expression"))
        errors += named(name, f"{at}.name", checks.qualified_name) if name else [field.required(f"{at}.name")]
        if name and name in seen:
            errors.append(field.duplicate(f"{at}.name", name))
        seen.add(name)
    return errors


def own_variables(found: list[Obj] | None, path: str, *, params: bool) -> tuple[dict[str, Type] | None, Errors]:
    """Check the variables of a policy; return their types, None when it has none. Each may read those before it."""
    if not found:
        return None, []
    own: dict[str, Type] = {}
    errors: Errors = []
    for i, variable in enumerate(found):
        at, name, text = f"{path}[{i}]", variable.get("name") or "", variable.get("expression") or ""
        if not name.strip():
            errors.append(field.required(f"{at}.name", "name is not specified"))
        elif not is_identifier(name):
            errors.append(field.invalid(f"{at}.name", name, "name is not a valid CEL identifier"))
        if not text.strip():
            errors.append(field.required(f"{at}.expression", "expression is not specified"))
            continue
        kind, wrong = output_type(text, f"{at}.expression", admission.variables(params=params, own=own))
        errors += wrong
        own[name] = kind or DYN
    return own, errors


def is_identifier(name: str) -> bool:
    """Tell whether a name can stand in an expression."""
    is_reserved = escape(name) == f"__{name}__"
    return name.isascii() and name.isidentifier() and not is_reserved
