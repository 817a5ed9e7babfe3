"""Providers of identity by file: the ``jwt`` part of an AuthenticationConfiguration (apiserver.config.k8s.io)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import yaml

from wherry.api.cel import CompileError, Program
from wherry.apiserver.authn.claims import Expressions, Rule, over_claims, over_user
from wherry.apiserver.authn.oidc import OIDCConfig

_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")


class ConfigurationError(OSError):
    """The file cannot be used; the text says why."""


def load(path: Path) -> list[OIDCConfig]:
    """Return the providers that a file names. Raises ConfigurationError, OSError.

    Mappings and rules are claims, prefixes, required values, and expressions over ``claims`` and ``user``.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not isinstance(found, dict) or found.get("apiVersion") not in _VERSIONS:
        raise ConfigurationError(f"{path} holds no AuthenticationConfiguration of {_VERSIONS[0]}")
    try:
        return [_provider(entry) for entry in found.get("jwt") or ()]
    except CompileError as error:
        raise ConfigurationError(f"{path}: an expression of jwt cannot be compiled: {error}") from None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path}: a member of jwt is missing or wrong: {error}") from None


def _provider(entry: Mapping[str, Any]) -> OIDCConfig:
    issuer, mappings = entry["issuer"], entry["claimMappings"]
    username, groups = mappings["username"], mappings.get("groups") or {}
    rules = entry.get("claimValidationRules") or ()
    audience, *others = issuer["audiences"]
    return OIDCConfig(
        issuer_url=issuer["url"],
        client_id=audience,
        more_audiences=tuple(others),
        username_claim=username.get("claim", "") if "expression" in username else username["claim"],
        username_prefix=username.get("prefix") or "-",
        groups_claim=groups.get("claim", ""),
        groups_prefix=groups.get("prefix", ""),
        required_claims={rule["claim"]: rule.get("requiredValue", "") for rule in rules if "claim" in rule},
        ca_pem=issuer.get("certificateAuthority", ""),
        expressions=_expressions(entry, mappings),
    )


def _expressions(entry: Mapping[str, Any], mappings: Mapping[str, Any]) -> Expressions:
    """Compile the expressions of a provider. Raises CompileError."""
    uid = mappings.get("uid") or {}
    text = uid.get("expression") or (f"claims[{orjson.dumps(uid['claim']).decode()}]" if uid.get("claim") else "")
    return Expressions(
        username=_mapped(mappings["username"].get("expression")),
        groups=_mapped((mappings.get("groups") or {}).get("expression")),
        uid=_mapped(text),
        extra={one["key"]: over_claims(one["valueExpression"]) for one in mappings.get("extra") or ()},
        claim_rules=[
            Rule(over_claims(rule["expression"]), rule.get("message", ""))
            for rule in entry.get("claimValidationRules") or ()
            if "expression" in rule
        ],
        user_rules=[
            Rule(over_user(rule["expression"]), rule.get("message", ""))
            for rule in entry.get("userValidationRules") or ()
        ],
    )


def _mapped(expression: str | None) -> Program | None:
    return over_claims(expression) if expression else None
