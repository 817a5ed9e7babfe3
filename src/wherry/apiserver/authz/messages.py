"""How a refusal is worded (apiserver ``endpoints/handlers/responsewriters``)."""

import json

from wherry.api.errors import Forbidden
from wherry.apiserver.attributes import Attributes


def forbidden(attributes: Attributes, reason: str = "") -> Forbidden:
    """Return the refusal of a request; `reason` is the authorizer's."""
    a = attributes
    user = _quote(a.user.name)
    if a.resource:
        resource = f"{a.resource}/{a.subresource}" if a.subresource else a.resource
        place = f"in the namespace {_quote(a.namespace)}" if a.namespace else "at the cluster scope"
        text = f"User {user} cannot {a.verb} resource {_quote(resource)} in API group {_quote(a.group)} {place}"
    else:
        text = f"User {user} cannot {a.verb} path {_quote(a.path)}"
    return refused(a.resource, a.name, f"{text}: {reason}" if reason else text, group=a.group)


def refused(resource: str, name: str, why: str, *, group: str = "") -> Forbidden:
    """Return a Forbidden about an object; `resource` is its plural, empty for a path that is no resource."""
    qualified = f"{resource}.{group}" if group else resource
    details = {k: v for k, v in (("name", name), ("group", group), ("kind", resource)) if v}
    if not resource:
        return Forbidden(f"forbidden: {why}", details)
    return Forbidden(
        f"{qualified} {_quote(name)} is forbidden: {why}" if name else f"{qualified} is forbidden: {why}", details
    )


def _quote(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
