"""The token controller: fills Secrets of type ``kubernetes.io/service-account-token``.

Watches those Secrets and ServiceAccounts. Writes the token, the cluster's authority and the namespace into the Secret.
Deletes it when the account that it names is gone or has come again as another one (read from the server first). Makes
no Secrets of its own: pods get their tokens from the TokenRequest API.
"""

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import SECRETS, SERVICEACCOUNTS
from wherry.controllers.controller import Controller

_TYPE = "kubernetes.io/service-account-token"
_NAME = "kubernetes.io/service-account.name"
_UID = "kubernetes.io/service-account.uid"
_ACCOUNT = "account"


@dataclass(frozen=True, slots=True)
class Missing:
    """What a Secret lacks; `token` tells that one must be made."""

    data: dict[str, str]
    annotations: dict[str, str]
    token: bool


def belongs(secret: Object, account: Object) -> bool:
    """Tell whether the Secret is for this very account."""
    annotations = meta.annotations(secret)
    return annotations.get(_NAME) == meta.name(account) and annotations.get(_UID) in (None, "", meta.uid(account))


def missing(secret: Object, account: Object, *, ca: str) -> Missing:
    """Return what the Secret of an account lacks."""
    data = secret.get("data") or {}
    lacking = {} if data.get("namespace") else {"namespace": _encoded(meta.namespace(secret))}
    if ca and data.get("ca.crt") != _encoded(ca):
        lacking["ca.crt"] = _encoded(ca)
    annotations = {} if meta.annotations(secret).get(_UID) else {_UID: meta.uid(account)}
    return Missing(lacking, annotations, token=not data.get("token"))


class ServiceAccountTokenController(Controller):
    name = "serviceaccount-token-controller"
    account = None

    def register(self) -> None:
        self._secrets = self.watch(SECRETS, field_selector=f"type={_TYPE}")
        self._secrets.add_index(_ACCOUNT, _account_key)
        self._accounts = self.watch(SERVICEACCOUNTS, self._of_account, changed=lambda old, new: False)

    def _of_account(self, account: Object) -> Iterable[str]:
        return [meta.key_of(secret) for secret in self._secrets.lister.by_index(_ACCOUNT, meta.key_of(account))]

    async def reconcile(self, key: str) -> float | None:
        secret = self._secrets.lister.get(key)
        if secret is None or meta.is_deleting(secret) or self.settings.mint_token is None:
            return None
        name = meta.annotations(secret).get(_NAME, "")
        account = self._accounts.lister.get(f"{meta.namespace(secret)}/{name}")
        if account is None or not belongs(secret, account):
            account = await self._read_account(secret, name)
        if account is None:
            await self._delete(secret)
            return None
        todo = missing(secret, account, ca=self.settings.root_ca)
        if todo.data or todo.annotations or todo.token:
            data = dict(todo.data)
            if todo.token:
                data["token"] = _encoded(self.settings.mint_token(account, secret))
            await self._write(key, secret, data, todo.annotations)
        return None

    async def _write(self, key: str, secret: Object, data: dict[str, str], annotations: dict[str, str]) -> None:
        md = {**secret["metadata"], "annotations": {**meta.annotations(secret), **annotations}}
        changed = {**secret, "metadata": md, "data": {**(secret.get("data") or {}), **data}}
        try:
            self.wrote(key, SECRETS, await self.client.update(SECRETS, changed))
        except errors.NotFound:
            return

    async def _read_account(self, secret: Object, name: str) -> Object | None:
        try:
            account = await self.client.get(SERVICEACCOUNTS, name, meta.namespace(secret))
        except errors.NotFound:
            return None
        return account if belongs(secret, account) else None

    async def _delete(self, secret: Object) -> None:
        options = {"preconditions": {"uid": meta.uid(secret), "resourceVersion": secret["metadata"]["resourceVersion"]}}
        try:
            await self.client.delete(SECRETS, meta.name(secret), meta.namespace(secret), options=options)
        except errors.NotFound:
            return


def _account_key(secret: Object) -> Iterable[str]:
    return (f"{meta.namespace(secret)}/{meta.annotations(secret).get(_NAME, '')}",)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
