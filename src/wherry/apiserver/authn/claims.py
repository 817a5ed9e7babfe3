"""Expressions over the claims of a token (``jwt`` of an AuthenticationConfiguration): who it is for, and whether."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wherry.api import cel
from wherry.api.cel import Program
from wherry.api.cel.types import DYN, STRING, Member, Type, list_of, map_of
from wherry.api.cel.values import EvalError
from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.authn.token import InvalidToken

_CLAIMS = {"claims": map_of(STRING, DYN)}
_USER_FIELDS = {
    "username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING)),
}  # fmt: skip
_USER = {"user": Type("object", (), "kubernetes.UserInfo", {k: Member(k, v) for k, v in _USER_FIELDS.items()})}


@dataclass(frozen=True, slots=True)
class Rule:
    """A condition that must hold, and what is said when it does not."""

    program: Program
    message: str


@dataclass(frozen=True, slots=True)
class Expressions:
    """What the expressions of one provider make of claims; a member that is None is read from a claim instead."""

    username: Program | None = None
    groups: Program | None = None
    uid: Program | None = None
    extra: Mapping[str, Program] = field(default_factory=dict)
    claim_rules: Sequence[Rule] = ()
    user_rules: Sequence[Rule] = ()

    def check_claims(self, claims: Mapping[str, Any]) -> None:
        """Raise InvalidToken unless the claims meet every rule."""
        _check(self.claim_rules, {"claims": claims})

    def check_user(self, user: UserInfo) -> None:
        """Raise InvalidToken unless the user meets every rule."""
        shown = {"username": user.name, "uid": user.uid, "groups": list(user.groups)}
        _check(self.user_rules, {"user": {**shown, "extra": {key: list(found) for key, found in user.extra.items()}}})


def over_claims(expression: str) -> Program:
    """Return the program of an expression over ``claims``. Raises CompileError."""
    return cel.compile(expression, _CLAIMS)


def over_user(expression: str) -> Program:
    """Return the program of an expression over ``user``. Raises CompileError."""
    return cel.compile(expression, _USER)


def text_of(program: Program, claims: Mapping[str, Any]) -> str:
    """Return the text that an expression makes. Raises InvalidToken."""
    value = _evaluate(program, {"claims": claims})
    if not isinstance(value, str):
        raise InvalidToken(f"oidc: error evaluating claim expression {program.text!r}: not a string")
    return value


def texts_of(program: Program, claims: Mapping[str, Any]) -> list[str]:
    """Return the texts that an expression makes, one or a list, without empty ones. Raises InvalidToken."""
    value = _evaluate(program, {"claims": claims})
    values = value if isinstance(value, list) else [] if value is None else [value]
    if not all(isinstance(item, str) for item in values):
        raise InvalidToken(f"oidc: error evaluating claim expression {program.text!r}: not a list of strings")
    return [item for item in values if item]


def _check(rules: Sequence[Rule], bindings: Mapping[str, Any]) -> None:
    for rule in rules:
        if _evaluate(rule.program, bindings) is not True:
            text = rule.message or f"validation expression {rule.program.text!r} failed"
            raise InvalidToken(f"oidc: error evaluating validation rules: {text}")


def _evaluate(program: Program, bindings: Mapping[str, Any]) -> Any:
    try:
        return program.evaluate(bindings)
    except EvalError as error:
        raise InvalidToken(f"oidc: error evaluating expression {program.text!r}: {error}") from None
