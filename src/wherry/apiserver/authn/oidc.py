"""ID tokens of an OpenID Connect provider (``--oidc-*`` flags; OpenID Connect Core, ID token validation)."""

import asyncio
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import jwt

from wherry.apiserver.attributes import UserInfo
from wherry.apiserver.authn.claims import Expressions, text_of, texts_of
from wherry.apiserver.authn.token import CREDENTIAL_ID, Authenticated, InvalidToken, unverified_issuer
from wherry.util import clock

_REFRESH_SECONDS = 10.0
_FETCH_SECONDS = 10.0
_DOCUMENT = "/.well-known/openid-configuration"

NONE = Expressions()
ALL_ALGORITHMS = tuple(f"{kind}{bits}" for kind in ("ES", "PS", "RS") for bits in (256, 384, 512))
"""What may sign the tokens of a provider that a file names: whatever its keys are for."""


@dataclass(frozen=True, slots=True)
class OIDCConfig:
    """One provider; the members are the ``--oidc-`` flags of kube-apiserver.

    `discovery_url` is where the provider's document is, empty: below the issuer. `ca_file` or `ca_pem` holds the
    certificates to trust, the machine's when there is neither. `username_prefix` None is upstream's default: the issuer
    and ``#``, nothing for the claim ``email``; ``-`` is none.
    """

    issuer_url: str
    client_id: str
    username_claim: str = "sub"
    username_prefix: str | None = None
    groups_claim: str = ""
    groups_prefix: str = ""
    required_claims: Mapping[str, str] = field(default_factory=dict)
    signing_algs: Sequence[str] = ("RS256",)
    ca_file: str | None = None
    ca_pem: str = ""
    more_audiences: Sequence[str] = ()
    discovery_url: str = ""
    expressions: Expressions = NONE

    def prefix(self) -> str:
        """Return what stands before the user names."""
        if self.username_prefix is None:
            return "" if self.username_claim == "email" else f"{self.issuer_url}#"
        return "" if self.username_prefix == "-" else self.username_prefix


class OIDCTokens:
    """Authenticates ID tokens. Fetches the provider's keys when a token names one that is not known."""

    def __init__(self, config: OIDCConfig) -> None:
        self._config = config
        self._keys: dict[str, Any] = {}
        self._fetched = float("-inf")
        self._fetching = asyncio.Lock()

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        if unverified_issuer(token) != self._config.issuer_url:
            return None
        try:
            claims = self._verified(token, await self._keys_for(jwt.get_unverified_header(token).get("kid") or ""))
        except (jwt.PyJWTError, aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise InvalidToken(f"oidc: verify token: {error}") from error
        _check_time(claims)
        self._config.expressions.check_claims(claims)
        user = self._user(claims)
        self._config.expressions.check_user(user)
        return Authenticated(user, tuple(audiences))

    def _verified(self, token: str, keys: Sequence[Any]) -> dict[str, Any]:
        """Return the claims that one of the keys signed. Raises PyJWTError."""
        config = self._config
        options: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "sub", "jti")}
        audiences = [config.client_id, *config.more_audiences]
        for key in keys:
            try:
                return jwt.decode(
                    token, key, list(config.signing_algs), options, audience=audiences, issuer=config.issuer_url
                )
            except (jwt.InvalidSignatureError, jwt.InvalidKeyError, TypeError):  # the last for a key of another kind
                continue
        raise InvalidToken("oidc: verify token: failed to verify signature: no key of the provider signed it")

    async def _keys_for(self, identifier: str) -> list[Any]:
        """Return the keys that may have signed a token; one that names none may be of any."""
        async with self._fetching:
            now = clock.monotonic()
            known = identifier in self._keys if identifier else bool(self._keys)
            if not known and now - self._fetched >= _REFRESH_SECONDS:
                self._fetched = now
                self._keys = await self._fetch()
        if not identifier:
            return list(self._keys.values())
        return [self._keys[identifier]] if identifier in self._keys else []

    async def _fetch(self) -> dict[str, Any]:
        context = await asyncio.to_thread(
            ssl.create_default_context, cafile=self._config.ca_file, cadata=self._config.ca_pem or None
        )
        timeout = aiohttp.ClientTimeout(total=_FETCH_SECONDS)
        async with aiohttp.ClientSession(timeout=timeout, raise_for_status=True, trust_env=True) as session:
            url = (
                self._config.discovery_url or f"{self._config.issuer_url.rstrip('/')}/.well-known/openid-configuration"
            )
            async with session.get(url, ssl=context) as answer:
                document = await answer.json(content_type=None)
            if document.get("issuer") != self._config.issuer_url:
                raise ValueError(f"issuer did not match the issuer of the provider, {document.get('issuer')!r}")
            async with session.get(document["jwks_uri"], ssl=context) as answer:
                found = jwt.PyJWKSet.from_dict(await answer.json(content_type=None))
        return {key.key_id or f"#{at}": key.key for at, key in enumerate(found.keys)}

    def _user(self, claims: Mapping[str, Any]) -> UserInfo:
        config = self._config
        made = config.expressions
        name = text_of(made.username, claims) if made.username else claims.get(config.username_claim)
        if not isinstance(name, str) or not name:
            raise InvalidToken(f"oidc: parse username claims {config.username_claim!r}: claim not present")
        if not made.username and config.username_claim == "email" and claims.get("email_verified", True) is not True:
            raise InvalidToken("oidc: email not verified")
        for claim, wanted in config.required_claims.items():
            if claims.get(claim) != wanted:
                raise InvalidToken(f"oidc: required claim {claim} value does not match")
        groups = claims.get(config.groups_claim, []) if config.groups_claim else []
        groups = [groups] if isinstance(groups, str) else groups
        if not isinstance(groups, list) or not all(isinstance(group, str) for group in groups):
            raise InvalidToken(f"oidc: parse groups claim {config.groups_claim!r}: not a list of strings")
        if made.groups:
            groups = texts_of(made.groups, claims)
        extra: dict[str, tuple[str, ...]] = {CREDENTIAL_ID: (f"JTI={claims['jti']}",)} if claims.get("jti") else {}
        extra |= {key: tuple(found) for key, one in made.extra.items() if (found := texts_of(one, claims))}
        prefixed = tuple(config.groups_prefix + group for group in groups)
        uid = text_of(made.uid, claims) if made.uid else ""
        return UserInfo((config.prefix() if not made.username else "") + name, prefixed, uid, extra)


def _check_time(claims: Mapping[str, Any]) -> None:
    """Raise InvalidToken out of the token's time; of an ID token the expiry is required."""
    now = clock.seconds()
    expires, begins = claims.get("exp"), claims.get("nbf", 0)
    if not isinstance(expires, int | float) or now > expires:
        raise InvalidToken("oidc: verify token: oidc: token is expired")
    if not isinstance(begins, int | float) or now < begins - 300:
        raise InvalidToken("oidc: verify token: oidc: current time is before the nbf (not before) time")
