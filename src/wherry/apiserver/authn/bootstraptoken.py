"""Bootstrap tokens: ``id.secret``, kept as Secrets in kube-system (Kubernetes docs: Bootstrap Tokens)."""

import base64
import binascii
import hmac
import re
from collections.abc import Mapping, Sequence
from typing import Any

from wherry.api import meta
from wherry.api.resources import SECRETS
from wherry.apiserver.attributes import Reader, UserInfo
from wherry.apiserver.authn.token import Authenticated
from wherry.util import clock

SECRET_TYPE = "bootstrap.kubernetes.io/token"
_TOKEN = re.compile(r"([a-z0-9]{6})\.([a-z0-9]{16})")
_GROUP = re.compile(r"system:bootstrappers:[a-z0-9:-]{0,255}[a-z0-9]")
_DEFAULT_GROUP = "system:bootstrappers"


class BootstrapTokens:
    """Authenticates the bootstrap tokens that `reader` finds."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    async def authenticate_token(self, token: str, audiences: Sequence[str]) -> Authenticated | None:
        found = _TOKEN.fullmatch(token)
        if found is None:
            return None
        identifier, secret = found.groups()
        stored = self._reader.get(SECRETS, "kube-system", f"bootstrap-token-{identifier}")
        if stored is None or stored.get("type") != SECRET_TYPE or meta.is_deleting(stored):
            return None
        data = _decoded(stored.get("data") or {})
        if not hmac.compare_digest(data.get("token-secret", "").encode(), secret.encode()):
            return None
        if data.get("token-id") != identifier or data.get("usage-bootstrap-authentication") != "true":
            return None
        groups = _groups(data.get("auth-extra-groups", ""))
        if _expired(data.get("expiration", "")) or groups is None:
            return None
        return Authenticated(UserInfo(f"system:bootstrap:{identifier}", groups), tuple(audiences))


def _decoded(data: Mapping[str, Any]) -> dict[str, str]:
    try:
        return {key: base64.b64decode(value).decode() for key, value in data.items()}
    except (binascii.Error, UnicodeDecodeError):
        return {}


def _expired(text: str) -> bool:
    if not text:
        return False
    try:
        return clock.parse(text) <= clock.now()
    except ValueError:
        return True


def _groups(text: str) -> tuple[str, ...] | None:
    """Return the groups of the token, None when one of them may not be given by a token."""
    extra = sorted({group for group in text.split(",") if group})
    if not all(_GROUP.fullmatch(group) for group in extra):
        return None
    return tuple(sorted({_DEFAULT_GROUP, *extra}))
