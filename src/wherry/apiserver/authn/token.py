"""What an authenticator of bearer tokens is (apiserver ``authenticator.Token``)."""

import base64
import binascii
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from wherry.apiserver.attributes import AUTHENTICATED_GROUP, UNAUTHENTICATED_GROUP, UserInfo

CREDENTIAL_ID = "authentication.kubernetes.io/credential-id"
POD_NAME = "authentication.kubernetes.io/pod-name"
POD_UID = "authentication.kubernetes.io/pod-uid"
NODE_NAME = "authentication.kubernetes.io/node-name"
NODE_UID = "authentication.kubernetes.io/node-uid"


class InvalidToken(Exception):
    """The token is of the kind that the authenticator knows, and wrong; the text says why, in upstream's words."""


@dataclass(frozen=True, slots=True)
class Authenticated:
    """The user of a token, and which of the audiences asked for it is good for.

    `holds` tells quickly whether the answer still stands; None: only authenticating again can tell.
    """

    user: UserInfo
    audiences: tuple[str, ...]
    holds: Callable[[], bool] | None = None


class TokenAuthenticator(Protocol):
    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        """Return the user of `token`; None when the token is of another kind. Raises InvalidToken."""
        ...


def digest(token: str) -> bytes:
    """Return what is kept of a token in place of it."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()


def unverified_issuer(token: str) -> str | None:
    """Return the issuer that a JWT claims to be of, None when `token` is no JWT: which verifier is to look at it."""
    parts = token.split(".")
    if len(parts) != 3:
        return None
    try:
        payload = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        return payload.get("iss") if isinstance(payload, dict) else None
    except (ValueError, binascii.Error, RecursionError):
        return None


def with_authenticated(user: UserInfo) -> UserInfo:
    """Return `user` with the group ``system:authenticated``, unless it is in that or in ``system:unauthenticated``."""
    if AUTHENTICATED_GROUP in user.groups or UNAUTHENTICATED_GROUP in user.groups:
        return user
    return UserInfo(user.name, (*user.groups, AUTHENTICATED_GROUP), user.uid, user.extra)
