"""The legacy service-account token cleaner: tokens in Secrets that nobody has used for a year (KEP-2800).

Watches Secrets with tokens, ServiceAccounts and pods. Marks a Secret that a ServiceAccount lists, that no pod mounts
and that was neither made nor used within the period, with the day on which its token became invalid; deletes it a
period later, unless somebody takes the mark away. Tokens that people made by hand are in no such list and are left
alone. Nothing happens within a period after the server began to write uses down.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from enum import Enum

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CONFIGMAPS, PODS, SECRETS, SERVICEACCOUNTS
from wherry.controllers.controller import Controller, gather_all
from wherry.util import clock

_TYPE = "kubernetes.io/service-account-token"
_NAME = "kubernetes.io/service-account.name"
_UID = "kubernetes.io/service-account.uid"
LAST_USED = "kubernetes.io/legacy-token-last-used"
INVALID_SINCE = "kubernetes.io/legacy-token-invalid-since"
_TRACKING = "kube-apiserver-legacy-service-account-token-tracking"
_SYNC = 24 * 3600.0
_ROUND = "all"
_MOUNTED = "secret volumes"


class Verdict(Enum):
    """What becomes of a Secret."""

    KEEP = "keep"
    MARK = "mark"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Inputs:
    """A Secret with its account (None: gone); `keep_since` is the first day whose use or making keeps a token."""

    secret: Object
    account: Object | None
    mounted: bool
    keep_since: date


def plan(inputs: Inputs) -> Verdict:
    """Return what becomes of a Secret that holds a token."""
    secret, account = inputs.secret, inputs.account
    listed = account is not None and any(ref.get("name") == meta.name(secret) for ref in account.get("secrets") or ())
    uid = meta.annotations(secret).get(_UID)
    if account is None or not listed or uid not in (None, "", meta.uid(account)) or inputs.mounted:
        return Verdict.KEEP
    labels = meta.labels(secret)
    used = _day(labels.get(LAST_USED, ""))
    created = clock.parse(secret["metadata"]["creationTimestamp"]).date()
    since = _day(labels.get(INVALID_SINCE, ""))
    if created >= inputs.keep_since or (used is not None and used >= inputs.keep_since):
        return Verdict.KEEP
    if since is None:
        return Verdict.MARK
    return Verdict.DELETE if since < inputs.keep_since else Verdict.KEEP


class LegacyTokenCleaner(Controller):
    name = "legacy-serviceaccount-token-cleaner-controller"
    account = "legacy-service-account-token-cleaner"
    workers = 1

    def register(self) -> None:
        self._secrets = self.informer(SECRETS, field_selector=f"type={_TYPE}")
        self._accounts = self.informer(SERVICEACCOUNTS)
        self._pods = self.informer(PODS)
        self._pods.add_index(_MOUNTED, _mounted)
        self.queue.add(_ROUND)

    async def reconcile(self, key: str) -> float | None:
        try:
            tracking = await self.client.get(CONFIGMAPS, _TRACKING, "kube-system")
        except errors.NotFound:
            return _SYNC
        period = timedelta(seconds=self.settings.legacy_token_clean_up_period)
        keep_since = (clock.now() - period).date()
        began = _day((tracking.get("data") or {}).get("since", ""))
        if began is not None and began < keep_since:
            await gather_all(self._clean(secret, keep_since) for secret in self._secrets.lister.list())
        return _SYNC

    async def _clean(self, secret: Object, keep_since: date) -> None:
        if meta.is_deleting(secret) or secret.get("type") != _TYPE:
            return
        account = self._accounts.lister.get(f"{meta.namespace(secret)}/{meta.annotations(secret).get(_NAME, '')}")
        mounted = bool(self._pods.lister.by_index(_MOUNTED, meta.key_of(secret)))
        name, namespace = meta.name(secret), meta.namespace(secret)
        locked = {"uid": meta.uid(secret), "resourceVersion": secret["metadata"]["resourceVersion"]}
        try:
            match plan(Inputs(secret, account, mounted, keep_since)):
                case Verdict.MARK:
                    md = {**locked, "labels": {INVALID_SINCE: clock.timestamp()[:10]}}
                    await self.client.patch(SECRETS, name, {"metadata": md}, namespace)
                case Verdict.DELETE:
                    await self.client.delete(SECRETS, name, namespace, options={"preconditions": locked})
        except (errors.NotFound, errors.Conflict):
            return


def _mounted(pod: Object) -> Iterable[str]:
    sources = [volume.get("secret") or {} for volume in pod["spec"].get("volumes") or ()]
    return [f"{meta.namespace(pod)}/{source['secretName']}" for source in sources if source.get("secretName")]


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
