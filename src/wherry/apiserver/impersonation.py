"""Acting as somebody else through ``Impersonate-*`` headers."""

from typing import Any
from urllib.parse import unquote

from wherry.api.errors import BadRequest, Forbidden
from wherry.apiserver.attributes import (
    ANONYMOUS,
    AUTHENTICATED_GROUP,
    UNAUTHENTICATED_GROUP,
    Attributes,
    Authorizer,
    UserInfo,
)

_EXTRA = "impersonate-extra-"
_ACCOUNT = "system:serviceaccount:"


def impersonated(authorizer: Authorizer, user: UserInfo, headers: Any) -> UserInfo:
    """Return the user that the request acts as: itself when no header asks otherwise. Raises Forbidden, BadRequest."""
    name = headers.get("Impersonate-User")
    if name is None and not any(header.lower().startswith("impersonate-") for header in headers):
        return user
    groups = headers.getall("Impersonate-Group", [])
    uid = headers.get("Impersonate-Uid", "")
    extra: dict[str, list[str]] = {}
    for header, value in headers.items():
        if header.lower().startswith(_EXTRA):
            extra.setdefault(unquote(header[len(_EXTRA) :].lower()), []).append(value)
    if not name:
        raise BadRequest("requested impersonation without impersonating a user")
    _check_user(authorizer, user, name)
    for group in groups:
        _check(authorizer, user, "", "groups", group)
    if uid:
        _check(authorizer, user, "authentication.k8s.io", "uids", uid)
    for key, values in extra.items():
        for value in values:
            _check(authorizer, user, "authentication.k8s.io", "userextras", value, key)
    return UserInfo(name, tuple(_groups(name, groups)), uid, extra)


def _check_user(authorizer: Authorizer, user: UserInfo, name: str) -> None:
    if name.startswith(_ACCOUNT) and name.count(":") == 3:
        _, _, namespace, account = name.split(":")
        _check(authorizer, user, "", "serviceaccounts", account, namespace=namespace)
    else:
        _check(authorizer, user, "", "users", name)


def _check(
    authorizer: Authorizer,
    user: UserInfo,
    group: str,
    resource: str,
    name: str,
    subresource: str = "",
    namespace: str = "",
) -> None:
    attributes = Attributes(user, "impersonate", group, "v1", resource, subresource, namespace, name)
    decision = authorizer.authorize(attributes)
    if decision.allowed:
        return
    shown = f"{resource}/{subresource}" if subresource else resource
    qualified = f"{resource}.{group}" if group else resource
    where = f' in the namespace "{namespace}"' if namespace else " at the cluster scope"
    why = f": {decision.reason}" if decision.reason else ""
    details = {k: v for k, v in (("name", name), ("group", group), ("kind", resource)) if v}
    raise Forbidden(
        f'{qualified} "{name}" is forbidden: User "{user.name}" cannot impersonate resource "{shown}" in API group '
        f'"{group}"{where}{why}',
        details,
    )


def _groups(name: str, groups: list[str]) -> list[str]:
    """Add the groups that belong to the name."""
    out = list(groups)
    if name == ANONYMOUS:
        if UNAUTHENTICATED_GROUP not in out:
            out.append(UNAUTHENTICATED_GROUP)
        return out
    if name.startswith(_ACCOUNT) and not groups and name.count(":") == 3:
        out = ["system:serviceaccounts", f"system:serviceaccounts:{name.split(':')[2]}"]
    if AUTHENTICATED_GROUP not in out:
        out.append(AUTHENTICATED_GROUP)
    return out
