"""Acting as somebody else: the ``Impersonate-`` headers (Kubernetes docs: User impersonation; KEP-5284).

Two ways lead to a yes. Constrained impersonation needs ``impersonate-on:<mode>:<verb>`` on what the request is about,
and ``impersonate:<mode>`` on the identity; the older way needs ``impersonate`` on every part of the identity. When all
fail, the refusal is that of the first way that was tried.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote

from wherry.api.errors import BadRequest, Forbidden
from wherry.apiserver.attributes import ANONYMOUS, UNAUTHENTICATED_GROUP, Attributes, Authorizer, UserInfo
from wherry.apiserver.authn import issuer
from wherry.apiserver.authn.token import NODE_NAME, with_authenticated
from wherry.apiserver.authz.messages import forbidden
from wherry.apiserver.authz.node import NODE_PREFIX, NODES_GROUP

_GROUP = "authentication.k8s.io"
_EXTRA = "impersonate-extra-"

_Check = tuple[str, str, str, str, str]
"""API group, resource, subresource, namespace and name of one part of an identity."""


@dataclass(frozen=True, slots=True)
class _Mode:
    """One kind of constrained impersonation; `checks` are what its verb is needed on, `groups` what it adds."""

    name: str
    checks: Sequence[_Check]
    groups: tuple[str, ...] = ()


def wanted(headers: Iterable[tuple[str, str]]) -> UserInfo | None:
    """Return the identity that the headers ask for, as given; None when they ask for none.

    Raises BadRequest when they name groups, a UID or extra fields and no user.
    """
    name, uid = "", ""
    groups: list[str] = []
    extra: dict[str, list[str]] = {}
    for header, value in headers:
        if header[:12].lower() != "impersonate-":
            continue
        header = header.lower()
        if header == "impersonate-user":
            name = name or value
        elif header == "impersonate-group":
            groups.append(value)
        elif header == "impersonate-uid":
            uid = uid or value
        elif header.startswith(_EXTRA):
            extra.setdefault(unquote(header[len(_EXTRA) :]), []).append(value)
    if not name:
        if groups or uid or extra:
            parts = [*groups, *([uid] if uid else []), *extra]
            raise BadRequest(f"requested {json.dumps(parts)} without impersonating a user name")
        return None
    return UserInfo(name, tuple(groups), uid, extra)


def impersonate(requestor: UserInfo, target: UserInfo, attributes: Attributes, authorizer: Authorizer) -> UserInfo:
    """Return the user to go on as. `attributes` are the request's, with any user. Raises Forbidden."""
    refusal: Forbidden | None = None
    for mode in _modes(requestor, target):
        failed = _try_constrained(mode, requestor, attributes, authorizer)
        if failed is None:
            return _completed(target, mode.groups)
        refusal = refusal or failed
    checks = list(_parts(target, "", _legacy_user(target)))
    failed = _first_refused(requestor, "impersonate", checks, authorizer)
    if failed is None:
        return _completed(target)
    raise refusal or failed


def _try_constrained(
    mode: _Mode, requestor: UserInfo, attributes: Attributes, authorizer: Authorizer
) -> Forbidden | None:
    request = attributes._replace(user=requestor, verb=f"impersonate-on:{mode.name}:{attributes.verb}")
    decision = authorizer.authorize(request)
    if not decision.allowed:
        return forbidden(request, decision.reason)
    return _first_refused(requestor, f"impersonate:{mode.name}", mode.checks, authorizer)


def _first_refused(
    requestor: UserInfo, verb: str, checks: Iterable[_Check], authorizer: Authorizer
) -> Forbidden | None:
    for group, resource, subresource, namespace, name in checks:
        asked = Attributes(requestor, verb, group, "v1", resource, subresource, namespace, name)
        decision = authorizer.authorize(asked)
        if not decision.allowed:
            return forbidden(asked, decision.reason)
    return None


def _modes(requestor: UserInfo, target: UserInfo) -> Iterator[_Mode]:
    alone = not (target.uid or target.groups or target.extra)
    node = target.name.removeprefix(NODE_PREFIX) if target.name.startswith(NODE_PREFIX) else ""
    account = issuer.split_username(target.name)
    if node and alone:
        if issuer.split_username(requestor.name) and _single(requestor.extra, NODE_NAME) == node:
            yield _Mode("associated-node", [(_GROUP, "nodes", "", "", "*")], (NODES_GROUP,))
        yield _Mode("arbitrary-node", [(_GROUP, "nodes", "", "", node)], (NODES_GROUP,))
    elif account and alone:
        yield _Mode("serviceaccount", [(_GROUP, "serviceaccounts", "", *account)])
    elif not node and not account:
        yield _Mode("user-info", list(_parts(target, _GROUP, (_GROUP, "users", "", "", target.name))))


def _parts(target: UserInfo, group: str, user: _Check) -> Iterator[_Check]:
    yield user
    for name in target.groups:
        yield group, "groups", "", "", name
    for key, values in target.extra.items():
        for value in values:
            yield _GROUP, "userextras", key, "", value
    if target.uid:
        yield _GROUP, "uids", "", "", target.uid


def _legacy_user(target: UserInfo) -> _Check:
    account = issuer.split_username(target.name)
    return ("", "serviceaccounts", "", *account) if account else ("", "users", "", "", target.name)


def _completed(target: UserInfo, groups: tuple[str, ...] = ()) -> UserInfo:
    """Add the groups that authentication would have added."""
    groups = target.groups or groups
    account = issuer.split_username(target.name)
    if account and not groups:
        groups = issuer.groups(account[0])
    if target.name == ANONYMOUS:
        groups = groups if UNAUTHENTICATED_GROUP in groups else (*groups, UNAUTHENTICATED_GROUP)
        return UserInfo(target.name, groups, target.uid, target.extra)
    return with_authenticated(UserInfo(target.name, groups, target.uid, target.extra))


def _single(extra: Mapping[str, Sequence[str]], key: str) -> str:
    values = extra.get(key) or ()
    return values[0] if len(values) == 1 else ""
