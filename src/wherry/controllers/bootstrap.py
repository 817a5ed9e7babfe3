"""Bootstrap tokens: the token cleaner and the signer of ``cluster-info``.

Watch Secrets of type ``bootstrap.kubernetes.io/token`` in kube-system. The cleaner deletes those that have expired.
The signer writes into the ConfigMap ``kube-public/cluster-info``, where there is one, a signature of its kubeconfig for
each token that may sign, so that a joining node which knows the token can trust it; signatures of other tokens go.
"""

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CONFIGMAPS, SECRETS
from wherry.controllers.controller import Controller
from wherry.util import clock

_TYPE = "bootstrap.kubernetes.io/token"
_SELECTOR = f"type={_TYPE}"
_NAMESPACE = "kube-system"
_NAME = re.compile(r"bootstrap-token-([a-z0-9]{6})")
_CLUSTER_INFO = "kube-public/cluster-info"
_KUBECONFIG = "kubeconfig"
_SIGNATURE = "jws-kubeconfig-"


def _data(secret: Object) -> dict[str, str]:
    try:
        return {name: base64.b64decode(value).decode() for name, value in (secret.get("data") or {}).items()}
    except (binascii.Error, UnicodeDecodeError):
        return {}


def expires_in(secret: Object, *, now: datetime) -> float | None:
    """Return the seconds until the token expires, None when it never does; a date that is none has passed."""
    text = _data(secret).get("expiration")
    if not text:
        return None
    try:
        return (clock.parse(text) - now).total_seconds()
    except ValueError:
        return 0.0


def signing_token(secret: Object, *, now: datetime) -> tuple[str, str] | None:
    """Return id and secret of a token that may sign now, None for any other."""
    found, data = _NAME.fullmatch(meta.name(secret)), _data(secret)
    left = expires_in(secret, now=now)
    good = data.get("usage-bootstrap-signing") == "true" and (left is None or left > 0)
    if found is None or data.get("token-id") != found[1] or not data.get("token-secret") or not good:
        return None
    return found[1], data["token-secret"]


def signature(content: str, identifier: str, secret: str) -> str:
    """Return the detached JWS (HS256, compact form without its payload) of `content`."""
    header = _encoded(json.dumps({"alg": "HS256", "kid": identifier}, separators=(",", ":")).encode())
    signed = f"{header}.{_encoded(content.encode())}".encode()
    return f"{header}..{_encoded(hmac.new(secret.encode(), signed, hashlib.sha256).digest())}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def signed(info: Object, tokens: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the data of ``cluster-info`` with the signatures of these tokens and no others."""
    data = {name: value for name, value in (info.get("data") or {}).items() if not name.startswith(_SIGNATURE)}
    if data.get(_KUBECONFIG):
        data.update({f"{_SIGNATURE}{i}": signature(data[_KUBECONFIG], i, secret) for i, secret in tokens})
    return data


class TokenCleanerController(Controller):
    name = "token-cleaner"
    workers = 1

    def register(self) -> None:
        self._secrets = self.watch(SECRETS, _of_system, field_selector=_SELECTOR)

    async def reconcile(self, key: str) -> float | None:
        secret = self._secrets.lister.get(key)
        left = expires_in(secret, now=clock.now()) if secret else None
        if secret is None or left is None or left > 0:
            return left
        options = {"preconditions": {"uid": meta.uid(secret)}}
        try:
            await self.client.delete(SECRETS, meta.name(secret), _NAMESPACE, options=options)
        except (errors.NotFound, errors.Conflict):
            return None
        return None


class BootstrapSignerController(Controller):
    name = "bootstrap-signer"
    workers = 1

    def register(self) -> None:
        self._secrets = self.watch(SECRETS, lambda secret: (_CLUSTER_INFO,), field_selector=_SELECTOR)
        self._configs = self.watch(CONFIGMAPS, _info_only, field_selector="metadata.name=cluster-info")

    async def reconcile(self, key: str) -> float | None:
        info = self._configs.lister.get(key)
        if info is None:
            return None
        now = clock.now()
        secrets: Sequence[Object] = self._secrets.lister.list(_NAMESPACE)
        tokens = [found for secret in secrets if (found := signing_token(secret, now=now)) is not None]
        data = signed(info, tokens)
        if data != (info.get("data") or {}):
            self.wrote(key, CONFIGMAPS, await self.client.update(CONFIGMAPS, {**info, "data": data}))
        return min((left for secret in secrets if (left := expires_in(secret, now=now) or 0) > 0), default=None)


def _of_system(secret: Object) -> Iterable[str]:
    return (meta.key_of(secret),) if meta.namespace(secret) == _NAMESPACE else ()


def _info_only(config: Object) -> Iterable[str]:
    return (_CLUSTER_INFO,) if meta.key_of(config) == _CLUSTER_INFO else ()
