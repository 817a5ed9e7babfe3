"""Which FlowSchema a request belongs to (apiserver ``flowcontrol/rule.go``)."""

from collections.abc import Mapping, Sequence
from typing import Any

from wherry.apiserver.attributes import Attributes, UserInfo

Object = Mapping[str, Any]

_ACCOUNT = "system:serviceaccount:"


def matches(schema: Object, attributes: Attributes) -> bool:
    """Tell whether a request is of a FlowSchema: one of its rules has its user and what it asks for."""
    return any(
        any(_is_subject(subject, attributes.user) for subject in rule.get("subjects") or ())
        and _is_asked(rule, attributes)
        for rule in schema["spec"].get("rules") or ()
    )


def _is_subject(subject: Object, user: UserInfo) -> bool:
    match subject.get("kind"):
        case "User":
            return subject["user"]["name"] in ("*", user.name)
        case "Group":
            name = subject["group"]["name"]
            return name == "*" or name in user.groups
        case "ServiceAccount":
            account = subject["serviceAccount"]
            prefix = f"{_ACCOUNT}{account['namespace']}:"
            if account["name"] == "*":
                return user.name.startswith(prefix)
            return user.name == prefix + account["name"]
    return False


def _is_asked(rule: Object, a: Attributes) -> bool:
    if not a.resource:
        return any(
            _has(found.get("verbs"), a.verb)
            and any(_is_path(url, a.path) for url in found.get("nonResourceURLs") or ())
            for found in rule.get("nonResourceRules") or ()
        )
    named = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
    return any(
        _has(found.get("verbs"), a.verb)
        and _has(found.get("apiGroups"), a.group)
        and _has(found.get("resources"), named)
        and (_has(found.get("namespaces"), a.namespace) if a.namespace else bool(found.get("clusterScope")))
        for found in rule.get("resourceRules") or ()
    )


def _has(values: Sequence[str] | None, value: str) -> bool:
    return values is not None and (value in values or "*" in values)


def _is_path(pattern: str, path: str) -> bool:
    if pattern == "*" or pattern == path:
        return True
    return pattern.endswith("/*") and path.startswith(pattern[:-1])
