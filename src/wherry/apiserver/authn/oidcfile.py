"""Providers of identity by file: the ``jwt`` part of an AuthenticationConfiguration (apiserver.config.k8s.io)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from wherry.apiserver.authn.oidc import OIDCConfig

_VERSIONS = ("apiserver.config.k8s.io/v1", "apiserver.config.k8s.io/v1beta1")


class ConfigurationError(OSError):
    """The file cannot be used; the text says why."""


def load(path: Path) -> list[OIDCConfig]:
    """Return the providers that a file names. Raises ConfigurationError, OSError.

    Of the claim mappings claims and prefixes are understood, of the validation rules required values.
    """
    try:
        found = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ConfigurationError(f"{path}: {error}") from None
    if not isinstance(found, dict) or found.get("apiVersion") not in _VERSIONS:
        raise ConfigurationError(f"{path} holds no AuthenticationConfiguration of {_VERSIONS[0]}")
    try:
        return [_provider(entry) for entry in found.get("jwt") or ()]
    except (KeyError, TypeError, AttributeError) as error:
        raise ConfigurationError(f"{path}: a member of jwt is missing or wrong: {error}") from None


def _provider(entry: Mapping[str, Any]) -> OIDCConfig:
    issuer, mappings = entry["issuer"], entry["claimMappings"]
    unknown = [member for member in ("userValidationRules",) if entry.get(member)]
    rules = entry.get("claimValidationRules") or ()
    if unknown or any("expression" in rule for rule in rules):
        raise ConfigurationError("expressions in an AuthenticationConfiguration are not supported")
    username, groups = mappings["username"], mappings.get("groups") or {}
    if "expression" in username or "expression" in groups:
        raise ConfigurationError("expressions in an AuthenticationConfiguration are not supported")
    (audience,) = issuer["audiences"][:1]
    return OIDCConfig(
        issuer_url=issuer["url"],
        client_id=audience,
        username_claim=username["claim"],
        username_prefix=username.get("prefix") or "-",
        groups_claim=groups.get("claim", ""),
        groups_prefix=groups.get("prefix", ""),
        required_claims={rule["claim"]: rule.get("requiredValue", "") for rule in rules},
        ca_pem=issuer.get("certificateAuthority", ""),
    )
