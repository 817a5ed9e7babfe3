"""What an AuthenticationConfiguration must be, in Kubernetes' words (apiserver ``pkg/apis/apiserver/validation``)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from cryptography.x509 import load_pem_x509_certificates

from wherry.api import field
from wherry.api.cel import CompileError, Program, ast
from wherry.api.cel.types import BOOL
from wherry.api.field import FieldError
from wherry.api.validation import checks
from wherry.apiserver.authn.claims import over_claims, over_user

Obj = Mapping[str, Any]

_MAX_PROVIDERS = 64
_MATCH_ANY = "MatchAny"
_TUNNELS = ("controlplane", "cluster")
_RESERVED = ("kubernetes.io", "k8s.io")
_NO_CERTIFICATES = "data does not contain any valid RSA or ECDSA certificates"
_PREFIX = "prefix is required when claim is set. It can be set to an empty string to disable prefixing"
_EMAIL = (
    "claims.email_verified must be used in claimMappings.username.expression or "
    "claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in "
    "claimMappings.username.expression"
)

_CLAIM_OR_EXPRESSION = {"claim": str, "expression": str}
_MAPPED = {**_CLAIM_OR_EXPRESSION, "prefix": str}
_JWT = {
    "issuer": {
        "url": str,
        "discoveryURL": str,
        "certificateAuthority": str,
        "audiences": [str],
        "audienceMatchPolicy": str,
        "egressSelectorType": str,
    },
    "claimValidationRules": [{**_CLAIM_OR_EXPRESSION, "requiredValue": str, "message": str}],
    "claimMappings": {
        "username": _MAPPED,
        "groups": _MAPPED,
        "uid": _CLAIM_OR_EXPRESSION,
        "extra": [{"key": str, "valueExpression": str}],
    },
    "userValidationRules": [{"expression": str, "message": str}],
}
_SHAPE = {
    "apiVersion": str,
    "kind": str,
    "jwt": [_JWT],
    "anonymous": {"enabled": bool, "conditions": [{"path": str}]},
}
_SHOWN = {str: "string", bool: "bool"}


def misshapen(found: Any) -> list[str]:
    """Return what of a decoded file is no part of an AuthenticationConfiguration, or of another type."""
    return list(_misshapen(found, _SHAPE, ""))


def _misshapen(found: Any, shape: Any, path: str) -> Iterator[str]:
    if found is None:
        return
    if isinstance(shape, dict) and isinstance(found, dict):
        for name, value in found.items():
            at = f"{path}.{name}" if path else str(name)
            if name in shape:
                yield from _misshapen(value, shape[name], at)
            else:
                yield f'unknown field "{at}"'
    elif isinstance(shape, list) and isinstance(found, list):
        for i, value in enumerate(found):
            yield from _misshapen(value, shape[0], f"{path}[{i}]")
    elif not isinstance(shape, type) or not isinstance(found, shape):
        wanted = "object" if isinstance(shape, dict) else "array" if isinstance(shape, list) else _SHOWN[shape]
        yield f"{path}: must be of type {wanted}"


def problems(found: Obj, disallowed: Collection[str] = ()) -> list[FieldError]:
    """Return what is wrong with a configuration of the right shape; `disallowed` are issuers of somebody else."""
    return [*_providers(found.get("jwt") or (), disallowed), *_anonymous(found.get("anonymous"))]


def _providers(entries: Sequence[Obj], disallowed: Collection[str]) -> Iterator[FieldError]:
    if len(entries) > _MAX_PROVIDERS:
        yield field.too_many("jwt", len(entries), _MAX_PROVIDERS)
        return
    seen: dict[str, set[str]] = {"url": set(), "discoveryURL": set()}
    for i, entry in enumerate(entries):
        path = f"jwt[{i}]"
        yield from _provider(entry or {}, path, disallowed)
        for member, known in seen.items():
            text = _of(entry, "issuer").get(member) or ""
            if text in known and (text or member == "url"):
                yield field.duplicate(f"{path}.issuer.{member}", text)
            known.add(text)


def _anonymous(found: Obj | None) -> Iterator[FieldError]:
    if found and found.get("conditions") and not found.get("enabled"):
        words = "enabled should be set to true when conditions are defined"
        yield field.invalid("anonymous.conditions", found["conditions"], words)


def _provider(entry: Obj, path: str, disallowed: Collection[str]) -> Iterator[FieldError]:
    issuer, mappings = _of(entry, "issuer"), _of(entry, "claimMappings")
    yield from _issuer(issuer, f"{path}.issuer", disallowed)
    checked: list[Program] = []
    yield from _claim_rules(entry.get("claimValidationRules") or (), f"{path}.claimValidationRules", checked)
    yield from _mappings(mappings, f"{path}.claimMappings", checked)
    yield from _user_rules(entry.get("userValidationRules") or (), f"{path}.userValidationRules")


def _issuer(issuer: Obj, path: str, disallowed: Collection[str]) -> Iterator[FieldError]:
    url, discovery = issuer.get("url") or "", issuer.get("discoveryURL") or ""
    yield from _url(url, f"{path}.url", disallowed) if url else [field.required(f"{path}.url")]
    if discovery:
        if url and url.rstrip("/") == discovery.rstrip("/"):
            yield field.invalid(f"{path}.discoveryURL", discovery, "discoveryURL must be different from URL")
        yield from _url(discovery, f"{path}.discoveryURL", ())
    yield from _audiences(issuer.get("audiences") or (), issuer.get("audienceMatchPolicy") or "", path)
    if (authority := issuer.get("certificateAuthority")) and not _has_certificates(authority):
        yield field.invalid(f"{path}.certificateAuthority", "<omitted>", _NO_CERTIFICATES)
    if (tunnel := issuer.get("egressSelectorType")) and tunnel not in _TUNNELS:
        words = "egress selector must be either controlplane or cluster"
        yield field.invalid(f"{path}.egressSelectorType", tunnel, words)


def _has_certificates(text: str) -> bool:
    try:
        return bool(load_pem_x509_certificates(text.encode()))
    except ValueError:
        return False


def _url(text: str, path: str, disallowed: Collection[str]) -> Iterator[FieldError]:
    if text in disallowed:
        words = f"URL must not overlap with disallowed issuers: [{' '.join(sorted(disallowed))}]"
        yield field.invalid(path, text, words)
    try:
        url = urlsplit(text)
        has_user = "@" in url.netloc
        _ = url.port
    except ValueError as error:
        yield field.invalid(path, text, str(error))
        return
    if url.scheme != "https":
        yield field.invalid(path, text, "URL scheme must be https")
    if has_user:
        yield field.invalid(path, text, "URL must not contain a username or password")
    if url.query:
        yield field.invalid(path, text, "URL must not contain a query")
    if url.fragment:
        yield field.invalid(path, text, "URL must not contain a fragment")


def _audiences(audiences: Collection[str], policy: str, path: str) -> Iterator[FieldError]:
    at, own = f"{path}.audiences", f"{path}.audienceMatchPolicy"
    if not audiences:
        yield field.required(at, f"at least one {at} is required")
        return
    seen: set[str] = set()
    for i, audience in enumerate(audiences):
        if not audience:
            yield field.required(f"{at}[{i}]")
        if audience in seen:
            yield field.duplicate(f"{at}[{i}]", audience)
        seen.add(audience)
    if len(audiences) > 1 and policy != _MATCH_ANY:
        yield field.invalid(own, policy, "audienceMatchPolicy must be MatchAny for multiple audiences")
    if len(audiences) == 1 and policy not in ("", _MATCH_ANY):
        yield field.invalid(own, policy, "audienceMatchPolicy must be empty or MatchAny for single audience")


def _claim_rules(rules: Iterable[Obj], path: str, checked: list[Program]) -> Iterator[FieldError]:
    claims: set[str] = set()
    expressions: set[str] = set()
    for i, rule in enumerate(rules):
        at, claim, text = f"{path}[{i}]", rule.get("claim") or "", rule.get("expression") or ""
        if claim and text:
            yield field.invalid(at, claim, "claim and expression can't both be set")
        elif claim:
            if rule.get("message"):
                yield field.invalid(f"{at}.message", rule["message"], "may not be specified when claim is set")
            if claim in claims:
                yield field.duplicate(f"{at}.claim", claim)
            claims.add(claim)
        elif not text:
            yield field.required(at, "claim or expression is required")
        else:
            if rule.get("requiredValue"):
                words = "may not be specified when expression is set"
                yield field.invalid(f"{at}.requiredValue", rule["requiredValue"], words)
            if text in expressions:
                yield field.duplicate(f"{at}.expression", text)
                continue
            expressions.add(text)
            yield from _expression(text, f"{at}.expression", over_claims, checked, is_condition=True)


def _user_rules(rules: Iterable[Obj], path: str) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, rule in enumerate(rules):
        at, text = f"{path}[{i}].expression", rule.get("expression") or ""
        if not text:
            yield field.required(at)
        elif text in seen:
            yield field.duplicate(at, text)
        else:
            yield from _expression(text, at, over_user, [], is_condition=True)
        seen.add(text)


def _mappings(mappings: Obj, path: str, checked: list[Program]) -> Iterator[FieldError]:
    """Check what makes a user of claims; `checked` are the programs that may look whether an address is verified."""
    name: list[Program] = []
    wrong = list(_mapped(_of(mappings, "username"), f"{path}.username", name, needed=True))
    yield from wrong
    yield from _mapped(_of(mappings, "groups"), f"{path}.groups", [], needed=False)
    uid = _of(mappings, "uid")
    if uid.get("claim") and uid.get("expression"):
        yield field.invalid(f"{path}.uid", "", "claim and expression can't both be set")
    elif uid.get("expression"):
        yield from _expression(uid["expression"], f"{path}.uid.expression", over_claims, [])
    yield from _extra(mappings.get("extra") or (), f"{path}.extra", checked)
    if wrong or not name or not _reads(name[0].tree, "email"):
        return
    if not any(_reads(program.tree, "email_verified") for program in (*name, *checked)):
        yield field.invalid(f"{path}.username.expression", name[0].text, _EMAIL)


def _mapped(mapping: Obj, path: str, programs: list[Program], *, needed: bool) -> Iterator[FieldError]:
    claim, text, prefix = mapping.get("claim"), mapping.get("expression"), mapping.get("prefix")
    if claim and text:
        yield field.invalid(path, "", "claim and expression can't both be set")
    elif text:
        if prefix is not None:
            yield field.invalid(f"{path}.prefix", prefix, "may not be specified when expression is set")
        yield from _expression(text, f"{path}.expression", over_claims, programs)
    elif claim and prefix is None:
        yield field.required(f"{path}.prefix", _PREFIX)
    elif not claim and needed:
        yield field.required(path, "claim or expression is required")


def _extra(entries: Iterable[Obj], path: str, checked: list[Program]) -> Iterator[FieldError]:
    seen: set[str] = set()
    for i, entry in enumerate(entries):
        at, key, text = f"{path}[{i}]", entry.get("key") or "", entry.get("valueExpression") or ""
        if key:
            yield from (field.invalid(f"{at}.key", *wrong) for wrong in checks.domain_prefixed_path(key))
        else:
            yield field.required(f"{at}.key")
        if key != key.lower():
            yield field.invalid(f"{at}.key", key, "must be lowercase")
        domain, slash, _ = key.partition("/")
        if slash and any(f".{domain}".endswith(f".{reserved}") for reserved in _RESERVED):
            words = "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use"
            yield field.invalid(f"{at}.key", key, words)
        if key in seen:
            yield field.duplicate(f"{at}.key", key)
            continue
        seen.add(key)
        if text:
            yield from _expression(text, f"{at}.valueExpression", over_claims, checked)
        else:
            yield field.required(f"{at}.valueExpression")


def _expression(
    text: str, path: str, over: Callable[[str], Program], programs: list[Program], *, is_condition: bool = False
) -> Iterator[FieldError]:
    """Compile an expression into `programs`; a condition must be of type bool."""
    try:
        program = over(text)
    except CompileError as error:
        yield field.invalid(path, text, error.told)
        return
    if is_condition and program.type != BOOL:
        yield field.invalid(path, text, "must evaluate to bool")
        return
    programs.append(program)


def _reads(found: Any, claim: str) -> bool:
    """Tell whether ``claims.claim`` or ``claims.?claim`` stands anywhere in a tree."""
    if isinstance(found, list | tuple):
        return any(_reads(each, claim) for each in found)
    if not isinstance(found, ast.Node):
        return False
    if isinstance(found, ast.Select) and found.field == claim and isinstance(found.operand, ast.Ident):
        return found.operand.name == "claims"
    return any(_reads(getattr(found, member.name), claim) for member in fields(found) if member.name != "overloads")


def _of(holder: Obj | None, member: str) -> Obj:
    return (holder or {}).get(member) or {}
