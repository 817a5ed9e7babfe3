"""What the body of a request must say of its type, where it is for a custom resource."""

from typing import Any

from wherry.api.errors import BadRequest, Invalid
from wherry.api.field import invalid
from wherry.apiserver.request import Request

Object = dict[str, Any]

_SHOWN = 30


def check_type(request: Request, obj: Object, api_version: str, kind: str) -> None:
    """Refuse an object of another type. Raises BadRequest for the version, Invalid for the kind."""
    given_version, given_kind = obj.get("apiVersion") or "", obj.get("kind") or ""
    if not given_kind:
        body = request.body.decode("utf-8", "replace")
        raise BadRequest(
            f"the object provided is unrecognized (must be of type {kind}): Object 'Kind' is missing in '{body}' "
            f"({summary(request.body)})"
        )
    if given_version != api_version:
        raise BadRequest(
            f"the API version in the data ({given_version}) does not match the expected API version ({api_version})"
        )
    refuse_type(obj, api_version, kind)


def refuse_type(obj: Object, api_version: str, kind: str) -> None:
    """Refuse an object that says to be of another type than the resource's. Raises Invalid."""
    given_version, given_kind = obj.get("apiVersion") or "", obj.get("kind") or ""
    errors = []
    if given_kind != kind:
        errors.append(invalid("kind", given_kind, f"must be {kind}"))
    if given_version != api_version:
        errors.append(invalid("apiVersion", given_version, f"must be {api_version}"))
    if errors:
        metadata = obj.get("metadata")
        name = metadata.get("name") or "" if isinstance(metadata, dict) else ""
        raise Invalid.of(str(given_kind), name, errors, str(given_version).rpartition("/")[0])


def summary(body: bytes) -> str:
    """Return the beginning of a body for a message, in hexadecimal unless it is JSON."""
    if not body:
        return "<empty>"
    head = body[:_SHOWN].decode("utf-8", "replace") if body[:1] == b"{" else body[:_SHOWN].hex()
    return f"{head} ..." if len(body) > _SHOWN else head
