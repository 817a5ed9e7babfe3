"""The requests that are answered and not stored: ``REVIEWS`` says who answers a create of which resource."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from wherry.apiserver.admission.plugin import CREATE
from wherry.apiserver.api import Api, operation
from wherry.apiserver.attributes import Reader, UserInfo
from wherry.apiserver.authn import reviews as authn
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.authn.union import UnionAuthenticator
from wherry.apiserver.authz import reviews as authz
from wherry.apiserver.authz.union import UnionAuthorizer
from wherry.apiserver.decode import decode
from wherry.apiserver.handlers.create import check_namespace
from wherry.apiserver.paths import JSON, Paths
from wherry.apiserver.query import dry_run
from wherry.apiserver.request import Made, Request

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

JWKS_PATH = "/openid/v1/jwks"
_JWKS = "application/jwk-set+json"


def install(api: Api, paths: Paths, context: ReviewContext, *, server: str = "") -> None:
    """Let the API server answer the reviews and publish the issuer's keys.

    `server` is the URL under which clients outside find the keys; empty: the issuer's.
    """
    for (group, plural), handler in REVIEWS.items():
        resource, _, subresource = plural.partition("/")
        api.extensions[group, resource, subresource] = _endpoint(context, handler)
    uri = (server or context.issuer.issuer) + JWKS_PATH
    paths.documents["/.well-known/openid-configuration"] = (JSON, lambda: context.issuer.discovery(uri))
    paths.documents[JWKS_PATH] = (_JWKS, context.issuer.jwks)


def _endpoint(context: ReviewContext, handler: Handler) -> Callable[[Api, Request], Awaitable[Made]]:
    async def handle(api: Api, request: Request) -> Made:
        resource = request.resource
        dry = dry_run(request.params, "CreateOptions")
        if request.subresource:
            served = resource.subresources[request.subresource]
            type_schema, kind = api.schemas.of_subresource(served), served.kind
            api_version = f"{served.group}/{served.version}" if served.group else served.version
        else:
            type_schema, kind, api_version = api.schema(resource), resource.kind, resource.api_version
        obj = decode(request, type_schema, api_version=api_version, kind=kind, options="CreateOptions")
        check_namespace(request, obj["metadata"])
        await api.admission.validate(operation(request, CREATE, obj=obj, dry_run=dry))
        answer = await handler(context, request.user, request.namespace, request.name, obj)
        return Made(answer, None if request.subresource else resource, 201)

    return handle
