"""TokenReview, SelfSubjectReview and TokenRequest: who is this token, who am I, give me a token."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from wherry.api import meta
from wherry.api.errors import BadRequest, Conflict, Invalid, NotFound
from wherry.api.field import FieldError, invalid
from wherry.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS
from wherry.apiserver.attributes import Reader, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.authn.token import InvalidToken
from wherry.apiserver.authn.union import UnionAuthenticator
from wherry.util import clock

GROUP = "authentication.k8s.io"
DEFAULT_SECONDS = 3600

Object = dict[str, Any]

_BINDABLE = {("v1", "Pod"): PODS, ("v1", "Secret"): SECRETS, ("v1", "Node"): NODES}


async def review_token(authenticator: UnionAuthenticator, obj: Object) -> Object:
    """Answer a TokenReview. Raises BadRequest without a token."""
    spec = obj.get("spec") or {}
    if not spec.get("token"):
        raise BadRequest("token is required for TokenReview in authentication")
    try:
        found = await authenticator.authenticate_token(
            spec["token"], tuple(spec.get("audiences") or authenticator.audiences)
        )
    except InvalidToken as error:
        return {**meta.copy(obj), "status": {"user": {}, "error": str(error)}}
    status = {"authenticated": True, "user": found.user.to_dict(), "audiences": list(found.audiences)}
    return {**meta.copy(obj), "status": status}


def review_self(user: UserInfo, obj: Object) -> Object:
    """Answer a SelfSubjectReview of `user`."""
    answer = {**meta.copy(obj), "metadata": {"creationTimestamp": clock.timestamp()}}
    return {**answer, "status": {"userInfo": user.to_dict()}}


def default_token_request(obj: Object) -> None:
    """Fill in for how long a TokenRequest asks."""
    spec = obj.setdefault("spec", {})
    if spec.get("expirationSeconds") is None:
        spec["expirationSeconds"] = DEFAULT_SECONDS


def request_token(issuer: ServiceAccountIssuer, reader: Reader, *, namespace: str, name: str, obj: Object) -> Object:
    """Answer a TokenRequest, defaulted, for a service account. Raises NotFound, Invalid, BadRequest, Conflict."""
    given = obj.get("metadata") or {}
    if (given.get("namespace") or namespace) != namespace:
        raise BadRequest("the namespace of the provided object does not match the namespace sent on the request")
    if (given.get("name") or name) != name:
        mismatch = invalid("metadata.name", given["name"], "must match the service account name if specified")
        raise Invalid.of("TokenRequest", name, [mismatch], GROUP)
    account = reader.get(SERVICEACCOUNTS, namespace, name)
    if account is None:
        raise NotFound.of(SERVICEACCOUNTS.plural, name)
    if (uid := given.get("uid") or meta.uid(account)) != meta.uid(account):
        why = (
            f"the UID in the token request ({uid}) does not match the UID of the service account ({meta.uid(account)})"
        )
        raise Conflict.of("TokenRequest", name, why, GROUP)
    spec = obj.get("spec") or {}
    seconds = spec["expirationSeconds"]
    errors = _check_seconds(seconds)
    if errors:
        raise Invalid.of("TokenRequest", "", errors, GROUP)
    reference = spec.get("boundObjectRef")
    bound = _bound(reader, namespace, name, reference) if reference is not None else {}
    audiences = list(spec.get("audiences") or issuer.audiences)
    now = clock.now()
    token = issuer.mint(account, audiences=audiences, seconds=seconds, **bound)
    return {
        "kind": "TokenRequest",
        "apiVersion": "authentication.k8s.io/v1",
        "metadata": {
            **meta.copy(given),
            "name": name,
            "namespace": namespace,
            "uid": meta.uid(account),
            "creationTimestamp": clock.timestamp(now),
        },
        "spec": {
            "audiences": audiences,
            "expirationSeconds": seconds,
            "boundObjectRef": meta.copy(reference) if reference is not None else None,
        },
        "status": {"token": token, "expirationTimestamp": clock.timestamp(now + timedelta(seconds=seconds))},
    }


def _check_seconds(seconds: int) -> list[FieldError]:
    path = "spec.expirationSeconds"
    if seconds < 600:
        return [invalid(path, seconds, "may not specify a duration less than 10 minutes")]
    if seconds > 1 << 32:
        return [invalid(path, seconds, "may not specify a duration larger than 2^32 seconds")]
    return []


def _bound(reader: Reader, namespace: str, account: str, reference: Mapping[str, Any]) -> dict[str, Object]:
    """Return the objects that the token is bound to, by the parameter of `ServiceAccountIssuer.mint`."""
    api_version, kind, name = (reference.get(member) or "" for member in ("apiVersion", "kind", "name"))
    resource = _BINDABLE.get((api_version, kind))
    if resource is None:
        group, _, version = api_version.rpartition("/")
        described = f"{group}/{version}, Kind={kind}"
        raise BadRequest(f'cannot bind token for serviceaccount "{account}" to type {described}')
    if not name:
        raise BadRequest("Name parameter required.")
    found = reader.get(resource, None if resource is NODES else namespace, name)
    if found is None:
        raise NotFound.of(resource.plural, name)
    bound = {kind.lower(): found}
    if resource is PODS:
        if (found["spec"].get("serviceAccountName") or "") != account:
            why = "to pod running with different serviceaccount name."
            raise BadRequest(f'cannot bind token for serviceaccount "{account}" {why}')
        node = found["spec"].get("nodeName")
        if node:
            bound["node"] = reader.get(NODES, None, node) or {"metadata": {"name": node}}
    if reference.get("uid") and reference["uid"] != meta.uid(found):
        why = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise Conflict.of(kind, name, why)
    return bound
