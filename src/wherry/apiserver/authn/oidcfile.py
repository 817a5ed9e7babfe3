"""Who may come, by file: an AuthenticationConfiguration (apiserver.config.k8s.io)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import yaml

from wherry.api.cel import Program
from wherry.apiserver.authn import configrules
from wherry.apiserver.authn.claims import Expressions, Rule, over_claims, over_user
from wherry.apiserver.authn.issuer import DEFAULT_ISSUER
from wherry.apiserver.authn.oidc import ALL_ALGORITHMS, OIDCConfig

_VERSIONS = tuple(f"apiserver.config.k8s.io/{version}" for version in ("v1", "v1beta1", "v1alpha1"))
_KIND = "AuthenticationConfiguration"


class ConfigurationError(OSError):
    """The file cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Authentication:
    """What a file says; with `anonymous_paths`, requests without credentials are let in at those paths only."""

    providers: list[OIDCConfig]
    anonymous: bool = True
    anonymous_paths: frozenset[str] = frozenset()


def load(path: Path) -> Authentication:
    """Return what a file says. Raises ConfigurationError with all that is wrong, OSError.

    Mappings and rules are claims, prefixes, required values, and expressions over ``claims`` and ``user``.
    """
    try:
        return parse(path.read_text(), path)
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def parse(text: str, path: Path) -> Authentication:
    """Return what the text of a file says. Raises ConfigurationError with all that is wrong."""
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    try:
        return _parsed(found)
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error}") from None


def _parsed(found: Any) -> Authentication:
    if not isinstance(found, dict) or found.get("apiVersion") not in _VERSIONS or found.get("kind") != _KIND:
        raise ConfigurationError(f"it holds no {_KIND} of {_VERSIONS[0]}")
    wrong = configrules.misshapen(found) or [str(one) for one in configrules.problems(found, (DEFAULT_ISSUER,))]
    if wrong:
        raise ConfigurationError("; ".join(wrong))
    anonymous = found.get("anonymous") or {"enabled": True}
    paths = frozenset(condition.get("path") or "" for condition in anonymous.get("conditions") or ())
    providers = [_provider(entry) for entry in found.get("jwt") or ()]
    return Authentication(providers, bool(anonymous.get("enabled")), paths)


def _provider(entry: Mapping[str, Any]) -> OIDCConfig:
    issuer, mappings = entry["issuer"], entry["claimMappings"]
    username, groups = mappings["username"], mappings.get("groups") or {}
    rules = entry.get("claimValidationRules") or ()
    audience, *others = issuer["audiences"]
    return OIDCConfig(
        issuer_url=issuer["url"],
        discovery_url=issuer.get("discoveryURL") or "",
        client_id=audience,
        more_audiences=tuple(others),
        username_claim=username.get("claim") or "",
        username_prefix=username.get("prefix") or "-",
        groups_claim=groups.get("claim") or "",
        groups_prefix=groups.get("prefix") or "",
        required_claims={rule["claim"]: rule.get("requiredValue") or "" for rule in rules if rule.get("claim")},
        signing_algs=ALL_ALGORITHMS,
        ca_pem=issuer.get("certificateAuthority") or "",
        expressions=_expressions(entry, mappings),
    )


def _expressions(entry: Mapping[str, Any], mappings: Mapping[str, Any]) -> Expressions:
    """Compile the expressions of a provider, which are known to be right."""
    uid = mappings.get("uid") or {}
    text = uid.get("expression") or (f"claims[{orjson.dumps(uid['claim']).decode()}]" if uid.get("claim") else "")
    return Expressions(
        username=_mapped(mappings["username"].get("expression")),
        groups=_mapped((mappings.get("groups") or {}).get("expression")),
        uid=_mapped(text),
        extra={one["key"]: over_claims(one["valueExpression"]) for one in mappings.get("extra") or ()},
        claim_rules=[
            Rule(over_claims(rule["expression"]), rule.get("message") or "")
            for rule in entry.get("claimValidationRules") or ()
            if rule.get("expression")
        ],
        user_rules=[
            Rule(over_user(rule["expression"]), rule.get("message") or "")
            for rule in entry.get("userValidationRules") or ()
        ],
    )


def _mapped(expression: str | None) -> Program | None:
    return over_claims(expression) if expression else None
