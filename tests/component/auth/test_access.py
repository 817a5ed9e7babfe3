"""Who may do what, through the whole server: tokens, roles, impersonation, reviews."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
from cryptography.hazmat.primitives.asymmetric import ec

from wherry.apiserver.attributes import MASTERS_GROUP, UserInfo
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey
from wherry.apiserver.authn.tokenfile import TokenFile
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.store.memory import MemoryStore

RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"
ACCOUNTS = "/api/v1/namespaces/default/serviceaccounts"


class User:
    """Sends JSON requests with one token; None sends none."""

    def __init__(self, session: aiohttp.ClientSession, root: str, token: str | None) -> None:
        self._session, self._root = session, root
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        given = {**self._headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self._session.request(method, self._root + path, json=body, headers=given) as answer:
            is_json = answer.content_type.endswith("json")
            return answer.status, await answer.json() if is_json else await answer.text()


@asynccontextmanager
async def cluster(**options: Any) -> AsyncIterator[Any]:
    """Run a server with some options; yield what makes a `User` of a token."""
    store = MemoryStore()
    issuer = ServiceAccountIssuer([SigningKey.of(ec.generate_private_key(ec.SECP256R1()))])
    tokens = [TokenFile([("root", UserInfo("root", (MASTERS_GROUP,)))])]
    server = ApiServer(store, ServerOptions(port=0, **options), issuer=issuer, tokens=tokens)
    async with server, aiohttp.ClientSession() as session:
        yield lambda token: User(session, f"http://127.0.0.1:{server.port}", token)
    await store.close()


async def test_a_service_account_may_what_it_is_bound_to_as_long_as_it_exists():
    async with cluster() as users:
        root = users("root")
        assert (await root("POST", ACCOUNTS, {"metadata": {"name": "bot"}}))[0] == 201
        code, made = await root("POST", f"{ACCOUNTS}/bot/token", {})
        assert code == 201
        bot = users(made["status"]["token"])
        code, refusal = await bot("GET", "/api/v1/namespaces/default/configmaps")
        assert code == 403 and refusal["message"] == (
            'configmaps is forbidden: User "system:serviceaccount:default:bot" cannot list resource "configmaps" '
            'in API group "" in the namespace "default"'
        )
        rules = [{"verbs": ["list"], "apiGroups": [""], "resources": ["configmaps"]}]
        await root("POST", f"{RBAC}/roles", {"metadata": {"name": "lister"}, "rules": rules})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "lister"}
        subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "default"}
        binding = {"metadata": {"name": "bot"}, "roleRef": ref, "subjects": [subject]}
        assert (await root("POST", f"{RBAC}/rolebindings", binding))[0] == 201
        assert (await bot("GET", "/api/v1/namespaces/default/configmaps"))[0] == 200
        assert (await bot("DELETE", "/api/v1/namespaces/default/configmaps"))[0] == 403
        assert (await root("DELETE", f"{ACCOUNTS}/bot"))[0] == 200
        assert (await bot("GET", "/api/v1/namespaces/default/configmaps"))[0] == 401


async def test_nobody_grants_what_they_do_not_hold():
    async with cluster() as users:
        root = users("root")
        rules = [{"verbs": ["*"], "apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles", "rolebindings"]}]
        # `*` on roles contains `escalate` and `bind`, so the verbs are spelled out.
        rules[0]["verbs"] = ["create", "update", "patch", "get"]
        await root("POST", f"{RBAC}/roles", {"metadata": {"name": "manager"}, "rules": rules})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "manager"}
        subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}
        await root("POST", f"{RBAC}/rolebindings", {"metadata": {"name": "ann"}, "roleRef": ref, "subjects": [subject]})
        more = {
            "metadata": {"name": "more"},
            "rules": [{"verbs": ["get"], "apiGroups": [""], "resources": ["secrets"]}],
        }
        code, refusal = await root("POST", f"{RBAC}/roles", more, Impersonate_User="ann")
        assert code == 403 and '{APIGroups:[""], Resources:["secrets"], Verbs:["get"]}' in refusal["message"]
        patch = {"rules": more["rules"]}
        code, _ = await root(
            "PATCH", f"{RBAC}/roles/manager", patch, Impersonate_User="ann", Content_Type="application/merge-patch+json"
        )
        assert code == 403
        admin = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"}
        up = {"metadata": {"name": "up"}, "roleRef": admin, "subjects": [subject]}
        assert (await root("POST", f"{RBAC}/rolebindings", up, Impersonate_User="ann"))[0] == 403
        same = {"metadata": {"name": "same"}, "rules": rules}
        assert (await root("POST", f"{RBAC}/roles", same, Impersonate_User="ann"))[0] == 201


async def test_nobody_is_anonymous_and_a_wrong_token_is_refused():
    async with cluster() as users:
        assert (await users(None)("GET", "/version"))[0] == 200
        assert (await users(None)("GET", "/api/v1/nodes"))[0] == 403
        assert (await users("wrong")("GET", "/version"))[0] == 401
        assert (await users(None)("GET", "/version", Impersonate_User="root"))[0] == 403


async def test_requests_without_credentials_come_in_at_some_paths_only():
    async with cluster(anonymous_paths=frozenset({"/livez"})) as users:
        assert (await users(None)("GET", "/livez/ping"))[0] == 401
        assert (await users(None)("GET", "/%6civez?verbose"))[0] == 200
        assert (await users("wrong")("GET", "/livez"))[0] == 401
        assert (await users(None)("GET", "/api/v1/namespaces/default/pods/a"))[0] == 401
    async with cluster(anonymous=False, anonymous_paths=frozenset({"/livez"})) as users:
        assert (await users(None)("GET", "/livez"))[0] == 401


async def test_the_published_keys_are_those_that_sign():
    async with cluster() as users:
        _, found = await users("root")("GET", "/openid/v1/jwks")
        assert [key["alg"] for key in found["keys"]] == ["ES256"]
        _, discovery = await users("root")("GET", "/.well-known/openid-configuration")
        assert discovery["id_token_signing_alg_values_supported"] == ["ES256"]


async def test_streams_opened_by_get_need_create_too():
    async with cluster() as users:
        root = users("root")
        await root("POST", ACCOUNTS, {"metadata": {"name": "bot"}})
        bot = users((await root("POST", f"{ACCOUNTS}/bot/token", {}))[1]["status"]["token"])
        rules = [{"verbs": ["get"], "apiGroups": [""], "resources": ["pods/exec", "pods/log"]}]
        await root("POST", f"{RBAC}/roles", {"metadata": {"name": "r"}, "rules": rules})
        ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "r"}
        subject = {"kind": "ServiceAccount", "name": "bot", "namespace": "default"}
        await root("POST", f"{RBAC}/rolebindings", {"metadata": {"name": "b"}, "roleRef": ref, "subjects": [subject]})
        path = "/api/v1/namespaces/default/pods/p"
        code, refusal = await bot("GET", f"{path}/exec?command=ls&stdout=true")
        assert (code, refusal["message"]) == (403, 'pods "p" is forbidden: ')
        assert (await bot("GET", f"{path}/log"))[0] == 404, "a log is only read"
        rules[0]["verbs"].append("create")
        await root("PUT", f"{RBAC}/roles/r", {"metadata": {"name": "r"}, "rules": rules})
        assert (await bot("GET", f"{path}/exec?command=ls&stdout=true"))[0] == 404
