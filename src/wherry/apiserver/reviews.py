"""The requests that are answered and not stored: ``REVIEWS`` says who answers a create of which resource."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.apiserver.attributes import Reader, UserInfo
from wherry.apiserver.authn import reviews as authn
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.authn.union import UnionAuthenticator
from wherry.apiserver.authz import reviews as authz
from wherry.apiserver.authz.union import UnionAuthorizer

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ReviewContext:
    """What the reviews ask."""

    reader: Reader
    authenticator: UnionAuthenticator
    authorizer: UnionAuthorizer
    issuer: ServiceAccountIssuer


Handler = Callable[[ReviewContext, UserInfo, str, str, Object], Awaitable[Object]]
"""Called with (context, user, namespace, name, obj); `obj` is decoded and not changed. Returns the whole answer, for
code 201. Raises StatusError."""


async def _subject(context: ReviewContext, user: UserInfo, namespace: str, name: str, obj: Object) -> Object:
    return authz.review_subject(context.authorizer, obj)


async def _local_subject(context: ReviewContext, user: UserInfo, namespace: str, name: str, obj: Object) -> Object:
    return authz.review_local_subject(context.authorizer, namespace, obj)


async def _self(context: ReviewContext, user: UserInfo, namespace: str, name: str, obj: Object) -> Object:
    return authz.review_self(context.authorizer, user, obj)


async def _own_rules(context: ReviewContext, user: UserInfo, namespace: str, name: str, obj: Object) -> Object:
    return authz.review_own_rules(context.authorizer, user, obj)


async def _token(context: ReviewContext, user: UserInfo, namespace: str, name: str, obj: Object) -> Object:
    return await authn.review_token(context.authenticator, obj)


async def _who_am_i(context: ReviewContext, user: UserInfo, namespace: str, name: str, obj: Object) -> Object:
    return authn.review_self(user, obj)


async def _request_token(context: ReviewContext, user: UserInfo, namespace: str, name: str, obj: Object) -> Object:
    return authn.request_token(context.issuer, context.reader, namespace=namespace, name=name, obj=obj)


REVIEWS: Mapping[tuple[str, str], Handler] = {
    ("authorization.k8s.io", "subjectaccessreviews"): _subject,
    ("authorization.k8s.io", "localsubjectaccessreviews"): _local_subject,
    ("authorization.k8s.io", "selfsubjectaccessreviews"): _self,
    ("authorization.k8s.io", "selfsubjectrulesreviews"): _own_rules,
    ("authentication.k8s.io", "tokenreviews"): _token,
    ("authentication.k8s.io", "selfsubjectreviews"): _who_am_i,
    ("", "serviceaccounts/token"): _request_token,
}
"""Handlers by API group and plural, of a subresource ``plural/subresource``."""
