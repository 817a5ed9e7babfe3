"""Query parameters of requests, read as Kubernetes reads them (apimachinery ``conversion/queryparams``)."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from wherry.api.errors import BadRequest, Invalid, StatusError
from wherry.api.field import FieldError, forbidden, not_supported
from wherry.api.validation.metadata import field_manager

_MAX_INT64 = 2**63 - 1
_MAX_UINT64 = 2**64 - 1
_DIGITS = 20


class Query(dict[str, str]):
    """The first value of each parameter. `repeated` holds the others, where there are any: see `values`."""

    __slots__ = ("repeated",)

    def __init__(self) -> None:
        self.repeated: dict[str, list[str]] | None = None


def values(params: Mapping[str, str], name: str) -> list[str]:
    """Return all values of a parameter."""
    if name not in params:
        return []
    repeated = params.repeated if isinstance(params, Query) else None
    return [params[name], *(repeated or {}).get(name, ())]


def parse_query(text: str) -> Query:
    """Return the parameters; a pair with a bad escape is left out, as Go's ``url.Query`` does."""
    out = Query()
    if not text:
        return out
    for pair in text.split("&"):
        if not pair or ";" in pair:
            continue
        key, _, value = pair.partition("=")
        if "%" in pair and not (_escapes_are_good(key) and _escapes_are_good(value)):
            continue
        key, value = unquote_plus(key), unquote_plus(value)
        if key not in out:
            out[key] = value
            continue
        if out.repeated is None:
            out.repeated = {}
        out.repeated.setdefault(key, []).append(value)
    return out


def parse_multi(text: str) -> dict[str, list[str]]:
    """Return all values of each parameter."""
    out: dict[str, list[str]] = {}
    for pair in text.split("&") if text else ():
        key, _, value = pair.partition("=")
        if pair and _escapes_are_good(key) and _escapes_are_good(value):
            out.setdefault(unquote_plus(key), []).append(unquote_plus(value))
    return out


def _escapes_are_good(text: str) -> bool:
    at = text.find("%")
    while at >= 0:
        digits = text[at + 1 : at + 3]
        if len(digits) != 2 or not all(c in "0123456789abcdefABCDEF" for c in digits):
            return False
        at = text.find("%", at + 3)
    return True


def boolean(params: Mapping[str, str], name: str) -> bool:
    """Read a boolean option: only ``false`` and ``0`` (in any case) are false once the parameter is there."""
    value = params.get(name)
    return value is not None and value.lower() not in ("false", "0")


def integer(params: Mapping[str, str], name: str) -> int | None:
    """Read a 64-bit integer option, None when it is absent. Raises BadRequest in the words of Go's strconv."""
    value = params.get(name)
    if value is None:
        return None
    digits = value[1:] if value[:1] in "+-" else value
    if not (digits.isascii() and digits.isdigit()):
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": invalid syntax')
    number = int(value) if len(digits.lstrip("0")) <= _DIGITS else None
    if number is None or not -_MAX_INT64 - 1 <= number <= _MAX_INT64:
        raise BadRequest(f'strconv.ParseInt: parsing "{value}": value out of range')
    return number


def resource_version(text: str) -> int:
    """Return a resource version as a number, 0 for the empty one. Raises BadRequest."""
    number, wrong = _version(text)
    if wrong:
        raise BadRequest(f"invalid resource version: {wrong}")
    return number


def cached_version(text: str) -> int:
    """Return what ``resource_version`` does, where Kubernetes has its watch cache parse it. Raises StatusError."""
    number, wrong = _version(text)
    if wrong:
        error = StatusError(wrong)
        error.status_reason = ""
        raise error
    return number


def _version(text: str) -> tuple[int, str]:
    """Return a resource version as a number, and what is wrong with it."""
    if not text:
        return 0, ""
    wrong = "" if text.isascii() and text.isdigit() else "invalid syntax"
    number = int(text) if not wrong and len(text.lstrip("0")) <= _DIGITS else -1
    if 0 <= number <= _MAX_UINT64:
        return number, ""
    return -1, (
        f'resourceVersion: Invalid value: "{text}": '
        f'strconv.ParseUint: parsing "{text}": {wrong or "value out of range"}'
    )


def validate_list(params: Mapping[str, str], *, watch: bool) -> None:
    """Refuse combinations of list options that mean nothing (``ValidateListOptions``). Raises Invalid, BadRequest."""
    for name in ("timeoutSeconds", "limit"):
        integer(params, name)
    version, match = params.get("resourceVersion", ""), params.get("resourceVersionMatch", "")
    initial = params.get("sendInitialEvents")
    errors: list[FieldError] = []
    if watch:
        errors = _watch_errors(version, match, params, initial)
    else:
        if match:
            if not version:
                errors.append(
                    forbidden(
                        "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
                    )
                )
            if params.get("continue"):
                errors.append(
                    forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
                )
            if match not in ("Exact", "NotOlderThan"):
                errors.append(_unsupported_match(match, ("Exact", "NotOlderThan", "")))
            elif match == "Exact" and version == "0":
                errors.append(
                    forbidden(
                        "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
                    )
                )
        if initial is not None:
            errors.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if errors:
        raise Invalid.of("ListOptions", "", errors, "meta.k8s.io")


def _watch_errors(version: str, match: str, params: Mapping[str, str], initial: str | None) -> list[FieldError]:
    errors: list[FieldError] = []
    told = "resourceVersionMatch"
    if initial is None and not match and version in ("", "0"):
        initial, match = "true", "NotOlderThan"  # what a watch from the present state means
    if initial is not None and match != "NotOlderThan":
        errors.append(forbidden(told, f"sendInitialEvents requires setting {told} to NotOlderThan"))
    if match and initial is None:
        errors.append(forbidden(told, f"{told} is forbidden for watch unless sendInitialEvents is provided"))
    if match and match != "NotOlderThan":
        errors.append(_unsupported_match(match, ("NotOlderThan",)))
    if match and params.get("continue"):
        errors.append(forbidden(told, f"{told} is forbidden when continue is provided"))
    return errors


def _unsupported_match(match: str, valid: tuple[str, ...]) -> FieldError:
    """Kubernetes lists these in the given order, unlike other unsupported values."""
    plain = not_supported("resourceVersionMatch", match, ())
    shown = ", ".join(f'"{value}"' for value in valid)
    return FieldError(plain.reason, plain.field, f"{plain.text}: supported values: {shown}")


def write_options(params: Mapping[str, str], kind: str, *, first: Sequence[FieldError] = ()) -> bool:
    """Check the options of a write and tell whether it is a dry run (apimachinery ``apis/meta/v1/validation``).

    `kind` (``CreateOptions`` …) is for the message; `first` are errors of options that only this kind has. Raises
    Invalid.
    """
    if not params and not first:
        return False
    dry = values(params, "dryRun")
    errors = [*first, *field_manager(params.get("fieldManager") or "", "fieldManager"), *dry_run_errors(dry)]
    mode = params.get("fieldValidation")
    if mode and mode not in _VALIDATION:
        errors.append(not_supported("fieldValidation", mode, _VALIDATION))
    if errors:
        raise Invalid.of(kind, "", errors, "meta.k8s.io")
    return bool(dry)


def dry_run_errors(asked: Sequence[Any]) -> list[FieldError]:
    """Return what is wrong with the values of ``dryRun``: there is one that means something."""
    return [] if all(value == "All" for value in asked) else [not_supported("dryRun", list(asked), ("All",))]


_VALIDATION = ("", "Ignore", "Strict", "Warn")
