"""Tokens of service accounts: verified once, then looked up for as long as what they are bound to stands."""

import base64
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt

from wherry.api import meta
from wherry.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS, Resource
from wherry.apiserver.attributes import Reader, UserInfo
from wherry.apiserver.authn import issuer as issuing
from wherry.apiserver.authn.issuer import CLAIM, LEGACY_ISSUER, ServiceAccountIssuer
from wherry.apiserver.authn.legacytokens import INVALID_SINCE
from wherry.apiserver.authn.token import (
    CREDENTIAL_ID,
    NODE_NAME,
    NODE_UID,
    POD_NAME,
    POD_UID,
    Authenticated,
    InvalidToken,
    digest,
    unverified_issuer,
    with_authenticated,
)
from wherry.util import clock

_LEEWAY = 60.0
_MAX_VERIFIED = 20_000
_NEVER = float("inf")

_RESOURCES = {"pod": PODS, "secret": SECRETS, "node": NODES}

Claims = Mapping[str, Any]


@dataclass(slots=True)
class _Verified:
    """A token whose signature held. `versions` are those of the resources it depends on, at the last check that found
    them standing; `recheck` raises InvalidToken, and tells whether none of its objects is on its way out (what happens
    to those depends on the time too). `secret` is the one that holds the token, by namespace and name."""

    user: UserInfo
    audiences: tuple[str, ...]
    not_before: float
    expires: float
    resources: tuple[Resource, ...]
    versions: tuple[int, ...]
    recheck: Callable[[], bool]
    secret: tuple[str, str] | None = None


class ServiceAccountTokens:
    """Authenticates tokens of `issuer` against the objects that `reader` finds.

    `used` hears of each use of a token that a Secret holds, with the Secret's namespace and name.
    """

    def __init__(
        self, issuer: ServiceAccountIssuer, reader: Reader, *, used: Callable[[str, str], None] | None = None
    ) -> None:
        self._used = used
        self._issuer = issuer
        self._reader = reader
        self._verified: dict[bytes, _Verified] = {}

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        key = digest(token)
        known = self._verified.get(key)
        if known is None:
            known = self._verify(token)
            if known is None:
                return None
            if len(self._verified) >= _MAX_VERIFIED:
                self._verified.clear()
            self._verified[key] = known
        try:
            self._check(known)
        except InvalidToken:
            self._verified.pop(key, None)
            raise
        good_for = tuple(audience for audience in audiences if audience in known.audiences)
        if not good_for:
            ours, theirs = _quoted(known.audiences), _quoted(audiences)
            raise InvalidToken(f"token audiences {ours} is invalid for the target audiences {theirs}")
        return Authenticated(known.user, good_for, lambda: self._holds(known))

    def _holds(self, known: _Verified) -> bool:
        try:
            self._check(known)
        except InvalidToken:
            return False
        return True

    def _check(self, known: _Verified) -> None:
        now = clock.seconds()
        if now > known.expires:
            raise InvalidToken("service account token has expired")
        if now < known.not_before:
            raise InvalidToken("service account token is not valid yet")
        versions = tuple(map(self._reader.version, known.resources))
        if versions != known.versions:
            settled = known.recheck()
            known.versions = versions if settled else ()
        if known.secret is not None and self._used is not None:
            self._used(*known.secret)

    def _verify(self, token: str) -> _Verified | None:
        """Check the signature; None when another issuer made the token. Raises InvalidToken."""
        if unverified_issuer(token) not in (self._issuer.issuer, LEGACY_ISSUER):
            return None
        claims = self._claims(token)
        if claims["iss"] == LEGACY_ISSUER:
            return self._legacy(token, claims)
        private = claims.get(CLAIM) or {}
        account = private.get("serviceaccount") or {}
        namespace, name = private.get("namespace") or "", account.get("name") or ""
        if claims.get("sub") != issuing.username(namespace, name):
            raise InvalidToken("sub claim does not match the service account")
        bound = {kind: private[kind] for kind in ("secret", "pod", "node") if private.get(kind)}
        user = issuing.user_of(namespace, name, account.get("uid") or "")
        extra = _extra(claims, bound)
        if "pod" in bound:  # the node is then only told, not checked: it is the pod's
            bound.pop("node", None)

        def recheck() -> bool:
            objects = [self._check_account(namespace, name, account.get("uid") or "")]
            objects += [self._check_bound(kind, namespace, reference) for kind, reference in bound.items()]
            return not any(map(meta.is_deleting, objects))

        resources = (SERVICEACCOUNTS, *(_RESOURCES[kind] for kind in bound))
        return _Verified(
            with_authenticated(UserInfo(user.name, user.groups, user.uid, extra)),
            tuple(claims.get("aud") or ()),
            float(claims.get("nbf", 0)) - _LEEWAY,
            float(claims.get("exp", _NEVER)) + _LEEWAY,
            resources,
            (),
            recheck,
        )

    def _claims(self, token: str) -> Claims:
        try:
            wanted = jwt.get_unverified_header(token).get("kid")
        except jwt.PyJWTError as malformed:
            raise InvalidToken(str(malformed)) from malformed
        error: Exception | None = None
        for key in self._issuer.keys:
            if wanted and wanted != key.id:
                continue
            try:
                options: Any = {f"verify_{name}": False for name in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")}
                claims: Claims = jwt.decode(token, key.private.public_key(), [key.algorithm], options)
                return claims
            except jwt.PyJWTError as failed:
                error = failed
        raise InvalidToken(str(error or "no key of the server signed the token"))

    def _legacy(self, token: str, claims: Claims) -> _Verified:
        name, namespace = (str(claims.get(f"{LEGACY_ISSUER}/{m}") or "") for m in ("service-account.name", "namespace"))
        uid, secret = (str(claims.get(f"{LEGACY_ISSUER}/{m}") or "") for m in ("service-account.uid", "secret.name"))
        if claims.get("sub") != issuing.username(namespace, name):
            raise InvalidToken("sub claim does not match the service account")

        def recheck() -> bool:
            stored = self._reader.get(SECRETS, namespace, secret)
            if stored is None or meta.is_deleting(stored):
                raise InvalidToken("service account token has been invalidated")
            held = (stored.get("data") or {}).get("token") or ""
            if not hmac.compare_digest(held.encode(), base64.b64encode(token.encode())):
                raise InvalidToken("service account token does not match server's copy")
            if meta.labels(stored).get(INVALID_SINCE):
                raise InvalidToken(
                    f"the token in secret {namespace}/{secret} for service account {namespace}/{name} "
                    "has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based "
                    f"tokens, or remove the '{INVALID_SINCE}' label from the secret to temporarily allow use of this "
                    "token"
                )
            return not meta.is_deleting(self._check_account(namespace, name, uid))

        user = with_authenticated(issuing.user_of(namespace, name, uid))
        return _Verified(
            user, self._issuer.audiences, 0.0, _NEVER, (SERVICEACCOUNTS, SECRETS), (), recheck, (namespace, secret)
        )  # a legacy token names no audience: it is for the API server

    def _check_account(self, namespace: str, name: str, uid: str) -> meta.Object:
        account = self._reader.get(SERVICEACCOUNTS, namespace, name)
        if account is None:
            raise InvalidToken(f'serviceaccounts "{name}" not found')
        if _deleted_for_long(account):
            raise InvalidToken(f"service account {namespace}/{name} has been deleted")
        if meta.uid(account) != uid:
            raise InvalidToken(f"service account UID ({meta.uid(account)}) does not match claim ({uid})")
        return account

    def _check_bound(self, kind: str, namespace: str, reference: Mapping[str, str]) -> meta.Object:
        found = self._reader.get(_RESOURCES[kind], None if kind == "node" else namespace, reference.get("name") or "")
        if found is None or _deleted_for_long(found):
            raise InvalidToken("service account token has been invalidated")
        if meta.uid(found) != reference.get("uid"):
            claim = f"service account {kind} ref claim ({reference.get('uid')})"
            raise InvalidToken(f"{kind} UID ({meta.uid(found)}) does not match {claim}")
        return found


def _extra(claims: Claims, bound: Mapping[str, Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    extra: dict[str, tuple[str, ...]] = {}
    for kind, name, uid in (("pod", POD_NAME, POD_UID), ("node", NODE_NAME, NODE_UID)):
        if kind in bound:
            extra[name] = (bound[kind].get("name") or "",)
            extra[uid] = (bound[kind].get("uid") or "",)
    if claims.get("jti"):
        extra[CREDENTIAL_ID] = (f"JTI={claims['jti']}",)
    return extra


def _deleted_for_long(obj: Mapping[str, Any]) -> bool:
    """A deletion timestamp lies in the future while the grace period runs; the token holds a little beyond it."""
    at = obj["metadata"].get("deletionTimestamp")
    return bool(at) and clock.parse(at).timestamp() < clock.seconds() - _LEEWAY


def _quoted(values: Sequence[str]) -> str:
    return "[" + " ".join(json.dumps(value) for value in values) + "]"
