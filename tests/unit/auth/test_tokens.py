"""Authentication of every kind of credential, and the reviews about it."""

import asyncio
import base64

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from wherry.api.errors import BadRequest, Conflict, Invalid, NotFound, Unauthorized
from wherry.api.resources import NODES, PODS, SECRETS, SERVICEACCOUNTS
from wherry.apiserver.authn import issuer as issuing
from wherry.apiserver.authn import reviews, x509
from wherry.apiserver.authn.bootstraptoken import BootstrapTokens
from wherry.apiserver.authn.issuer import ServiceAccountIssuer, SigningKey
from wherry.apiserver.authn.oidc import OIDCConfig, OIDCTokens
from wherry.apiserver.authn.serviceaccount import ServiceAccountTokens
from wherry.apiserver.authn.token import InvalidToken
from wherry.apiserver.authn.tokenfile import TokenFile
from wherry.apiserver.authn.union import UnionAuthenticator, bearer
from wherry.util import clock

RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
AUDIENCE = "https://kubernetes.default.svc"


def obj(name, uid, namespace="ns", **rest):
    return {"metadata": {"name": name, "uid": uid, **({"namespace": namespace} if namespace else {})}, **rest}


@pytest.fixture
def issuer():
    return ServiceAccountIssuer([SigningKey.of(RSA)])


@pytest.fixture
def tokens(issuer, reader):
    reader.put(SERVICEACCOUNTS, obj("bot", "u1"))
    reader.put(PODS, obj("p", "u2", spec={"serviceAccountName": "bot", "nodeName": "n1"}))
    reader.put(NODES, obj("n1", "u3", namespace=None))
    reader.put(SECRETS, obj("s", "u4"))
    return UnionAuthenticator([ServiceAccountTokens(issuer, reader)])


@pytest.fixture
def now(monkeypatch):
    """The wall clock, to be set as ``now[0]``."""
    at = [1_800_000_000.0]
    clock.set_source(lambda: at[0])
    yield at
    clock.set_source(None)


async def error_of(tokens, token, audience=AUDIENCE):
    answer = await reviews.review_token(tokens, {"spec": {"token": token, "audiences": [audience]}})
    return answer["status"].get("error")


async def test_a_bound_token_is_its_account_with_pod_and_node(tokens, issuer, reader):
    account, pod, node = (reader.get(r, s, n) for r, s, n in (
        (SERVICEACCOUNTS, "ns", "bot"), (PODS, "ns", "p"), (NODES, None, "n1"),
    ))  # fmt: skip
    token = issuer.mint(account, pod=pod, node=node)
    user = await tokens.authenticate(f"Bearer {token}", None)
    assert user.name == "system:serviceaccount:ns:bot" and user.uid == "u1"
    assert user.groups == ("system:serviceaccounts", "system:serviceaccounts:ns", "system:authenticated")
    prefix = "authentication.kubernetes.io/"
    assert user.extra[f"{prefix}pod-name"] == ("p",) and user.extra[f"{prefix}pod-uid"] == ("u2",)
    assert user.extra[f"{prefix}node-name"] == ("n1",) and user.extra[f"{prefix}node-uid"] == ("u3",)
    assert user.extra[f"{prefix}credential-id"][0].startswith("JTI=")
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["kubernetes.io"] == {
        "namespace": "ns",
        "node": {"name": "n1", "uid": "u3"},
        "pod": {"name": "p", "uid": "u2"},
        "serviceaccount": {"name": "bot", "uid": "u1"},
    }


async def test_a_repeated_token_is_not_verified_again(tokens, issuer, reader):
    token = issuer.mint(reader.get(SERVICEACCOUNTS, "ns", "bot"))
    first = await tokens.authenticate(f"Bearer {token}", None)
    reads = reader.reads
    assert await tokens.authenticate(f"bearer {token}", None) is first
    assert reader.reads == reads


@pytest.mark.parametrize(
    ("kind", "resource", "name", "message"),
    [
        ("account", SERVICEACCOUNTS, "bot", 'serviceaccounts "bot" not found'),
        ("pod", PODS, "p", "service account token has been invalidated"),
        ("secret", SECRETS, "s", "service account token has been invalidated"),
        ("node", NODES, "n1", "service account token has been invalidated"),
    ],
)
async def test_a_token_ends_with_what_it_is_bound_to(tokens, issuer, reader, kind, resource, name, message):
    namespace = None if resource is NODES else "ns"
    bound = {} if kind == "account" else {kind: reader.get(resource, namespace, name)}
    token = issuer.mint(reader.get(SERVICEACCOUNTS, "ns", "bot"), **bound)
    assert await error_of(tokens, token) is None
    reader.remove(resource, namespace or "", name)
    assert await error_of(tokens, token) == f"[invalid bearer token, {message}]"
    with pytest.raises(Unauthorized):
        await tokens.authenticate(f"Bearer {token}", None)
    reader.put(resource, obj(name, "another", namespace=namespace))
    assert "UID (another) does not match" in await error_of(tokens, token)


async def test_an_account_on_its_way_out_keeps_its_tokens_for_the_grace_period(tokens, issuer, reader, now):
    account = reader.get(SERVICEACCOUNTS, "ns", "bot")
    token = issuer.mint(account)
    leaving = {"metadata": {**account["metadata"], "deletionTimestamp": clock.timestamp()}}
    reader.put(SERVICEACCOUNTS, leaving)
    assert await error_of(tokens, token) is None
    now[0] += 90
    assert "has been deleted" in await error_of(tokens, token)


async def test_a_token_has_its_time_and_its_audience(tokens, issuer, reader, now):
    token = issuer.mint(reader.get(SERVICEACCOUNTS, "ns", "bot"), seconds=600, audiences=["a", "b"])
    wrong = f'[invalid bearer token, token audiences ["a" "b"] is invalid for the target audiences ["{AUDIENCE}"]]'
    assert await error_of(tokens, token) == wrong
    assert await error_of(tokens, token, "b") is None
    now[0] += 700
    assert await error_of(tokens, token, "b") == "[invalid bearer token, service account token has expired]"


async def test_a_token_of_another_key_or_changed_on_the_way_is_refused(tokens, reader):
    account = reader.get(SERVICEACCOUNTS, "ns", "bot")
    other = ServiceAccountIssuer([SigningKey.of(ec.generate_private_key(ec.SECP256R1()))])
    forged = other.mint(account)
    assert await error_of(tokens, forged) is not None
    head, _, signature = forged.split(".")
    none = base64.urlsafe_b64encode(b'{"iss":"https://kubernetes.default.svc"}').decode().rstrip("=")
    for garbage in (f"{head}.{none}.{signature}", f"e30.{none}.", f"!!.{none}.x", "garbage", "a.b.c", "é.é.é"):
        assert await error_of(tokens, garbage) is not None
    accepted = UnionAuthenticator([ServiceAccountTokens(other, reader)])
    assert await error_of(accepted, forged) is None


async def test_a_pods_hour_is_extended_to_a_year_with_a_date_to_warn_from(issuer, reader, tokens, now):
    token = issuer.mint(reader.get(SERVICEACCOUNTS, "ns", "bot"), seconds=3607, pod=reader.get(PODS, "ns", "p"))
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["exp"] - claims["iat"] == 365 * 24 * 3600
    assert claims["kubernetes.io"]["warnafter"] == claims["iat"] + 3607


async def test_a_legacy_token_is_good_while_its_secret_holds_it(tokens, issuer, reader):
    account = reader.get(SERVICEACCOUNTS, "ns", "bot")
    secret = obj("tok", "u5")
    token = issuer.mint_legacy(account, secret)
    reader.put(SECRETS, {**secret, "data": {"token": base64.b64encode(token.encode()).decode()}})
    assert (await tokens.authenticate(f"Bearer {token}", None)).name == "system:serviceaccount:ns:bot"
    reader.put(SECRETS, {**secret, "data": {"token": ""}})
    assert "does not match server's copy" in await error_of(tokens, token)


async def test_the_use_of_a_legacy_token_is_heard_and_one_marked_invalid_refused(tokens, issuer, reader):
    uses: list[tuple[str, str]] = []
    tokens = ServiceAccountTokens(issuer, reader, used=lambda *secret: uses.append(secret))
    secret = obj("tok", "u5")
    token = issuer.mint_legacy(reader.get(SERVICEACCOUNTS, "ns", "bot"), secret)
    held = {**secret, "data": {"token": base64.b64encode(token.encode()).decode()}}
    reader.put(SECRETS, held)
    await tokens.authenticate_token(token, [AUDIENCE])
    assert uses == [("ns", "tok")]
    labels = {"kubernetes.io/legacy-token-invalid-since": "2026-01-01"}
    reader.put(SECRETS, {**held, "metadata": {**held["metadata"], "labels": labels}})
    with pytest.raises(InvalidToken, match="has been marked invalid"):
        await tokens.authenticate_token(token, [AUDIENCE])


async def test_the_published_key_verifies_the_tokens(issuer, reader, tokens):
    token = issuer.mint(reader.get(SERVICEACCOUNTS, "ns", "bot"))
    keys = jwt.PyJWKSet.from_dict(issuer.jwks())
    assert {k: issuer.jwks()["keys"][0][k] for k in ("use", "kty", "alg")} == {
        "use": "sig",
        "kty": "RSA",
        "alg": "RS256",
    }
    kid = jwt.get_unverified_header(token)["kid"]
    jwt.decode(token, keys[kid].key, ["RS256"], audience=AUDIENCE)
    assert issuer.discovery("x")["id_token_signing_alg_values_supported"] == ["RS256"]


async def test_static_tokens_and_their_groups(tmp_path):
    path = tmp_path / "tokens.csv"
    path.write_text('secret,alice,1,"a,b"\nplain, bob, 2\n')
    union = UnionAuthenticator([TokenFile.read(path)])
    alice = await union.authenticate("Bearer secret", None)
    assert (alice.name, alice.uid, alice.groups) == ("alice", "1", ("a", "b", "system:authenticated"))
    assert (await union.authenticate("Bearer plain", None)).groups == ("system:authenticated",)
    with pytest.raises(Unauthorized):
        await union.authenticate("Bearer other", None)


async def test_without_credentials_one_is_anonymous_where_that_is_on():
    union = UnionAuthenticator([])
    for header in (None, "Basic YTpi", "Bearer ", "Bearer"):
        assert (await union.authenticate(header, None)).name == "system:anonymous"
    assert await UnionAuthenticator([], anonymous=False).authenticate(None, None) is None
    assert bearer("  BEARER abc def") == "abc"


async def test_a_certificate_names_user_groups_and_itself():
    subject = ((("organizationName", "devs"),), (("organizationName", "ops"),), (("commonName", "alice"),))
    user = await UnionAuthenticator([]).authenticate(None, {"subject": subject, x509.FINGERPRINT: "ab"})
    assert (user.name, user.groups) == ("alice", ("devs", "ops", "system:authenticated"))
    assert user.extra == {"authentication.kubernetes.io/credential-id": ("X509SHA256=ab",)}


async def test_bootstrap_tokens(reader, now):
    data = {
        "token-id": "abcdef",
        "token-secret": "0123456789abcdef",
        "usage-bootstrap-authentication": "true",
        "expiration": clock.timestamp(),
        "auth-extra-groups": "system:bootstrappers:x",
    }

    def store(**changes):
        encoded = {k: base64.b64encode(v.encode()).decode() for k, v in {**data, **changes}.items()}
        secret = obj("bootstrap-token-abcdef", "u", namespace="kube-system", data=encoded)
        reader.put(SECRETS, {**secret, "type": "bootstrap.kubernetes.io/token"})

    tokens = BootstrapTokens(reader)
    store()
    assert await tokens.authenticate_token("abcdef.0123456789abcdef", []) is None  # expired
    now[0] -= 10
    found = await tokens.authenticate_token("abcdef.0123456789abcdef", [])
    assert found.user.name == "system:bootstrap:abcdef"
    assert found.user.groups == ("system:bootstrappers", "system:bootstrappers:x")
    assert await tokens.authenticate_token("abcdef.0123456789abcdeX", []) is None
    store(**{"auth-extra-groups": "system:masters"})
    assert await tokens.authenticate_token("abcdef.0123456789abcdef", []) is None


async def test_an_id_token_of_a_provider(monkeypatch, now):
    config = OIDCConfig("https://idp", "client", groups_claim="groups", groups_prefix="idp:")
    provider = ServiceAccountIssuer([SigningKey.of(RSA)])
    fetches = []

    async def fetch(self):
        fetches.append(1)
        return {key.key_id: key.key for key in jwt.PyJWKSet.from_dict(provider.jwks()).keys}

    monkeypatch.setattr(OIDCTokens, "_fetch", fetch)
    tokens = UnionAuthenticator([OIDCTokens(config)])

    def token(**changes):
        claims = {"iss": "https://idp", "aud": "client", "sub": "ann", "groups": ["dev"], "exp": now[0] + 60, **changes}
        return jwt.encode(claims, RSA, "RS256", {"kid": provider.keys[0].id})

    user = await tokens.authenticate(f"Bearer {token()}", None)
    assert (user.name, user.groups) == ("https://idp#ann", ("idp:dev", "system:authenticated"))
    for changes in ({"aud": "other"}, {"exp": now[0] - 1}, {"sub": ""}, {"iss": "https://other"}):
        with pytest.raises(Unauthorized):
            await tokens.authenticate(f"Bearer {token(**changes)}", None)
    assert len(fetches) == 1


def request(issuer, reader, **spec):
    obj = {"spec": spec}
    reviews.default_token_request(obj)
    return reviews.request_token(issuer, reader, namespace="ns", name="bot", obj=obj)


async def test_a_token_request_is_answered_with_a_token_for_what_it_names(tokens, issuer, reader):
    answer = request(issuer, reader, boundObjectRef={"kind": "Pod", "apiVersion": "v1", "name": "p"})
    assert answer["metadata"]["uid"] == "u1" and answer["spec"]["expirationSeconds"] == 3600
    user = await tokens.authenticate(f"Bearer {answer['status']['token']}", None)
    assert user.extra["authentication.kubernetes.io/node-name"] == ("n1",)
    assert request(issuer, reader)["spec"]["boundObjectRef"] is None


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"expirationSeconds": 10}, Invalid, "may not specify a duration less than 10 minutes"),
        ({"expirationSeconds": 1 << 33}, Invalid, "may not specify a duration larger than 2^32 seconds"),
        ({"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "q"}}, NotFound, 'pods "q" not found'),
        (
            {"boundObjectRef": {"kind": "Pod", "apiVersion": "v1", "name": "p", "uid": "x"}},
            Conflict,
            'on Pod "p": the UID',
        ),
        ({"boundObjectRef": {"kind": "Job", "apiVersion": "batch/v1"}}, BadRequest, "to type batch/v1, Kind=Job"),
    ],
)  # fmt: skip
def test_a_token_request_that_cannot_be(tokens, issuer, reader, spec, error, message):
    with pytest.raises(error, match=message.replace("^", r"\^")):
        request(issuer, reader, **spec)


def test_a_token_request_may_name_the_account_that_it_means(tokens, issuer, reader):
    def ask(uid):
        obj = {"metadata": {"name": "bot", "uid": uid}, "spec": {"expirationSeconds": 3600}}
        return reviews.request_token(issuer, reader, namespace="ns", name="bot", obj=obj)

    assert ask("u1")["metadata"]["uid"] == "u1"
    with pytest.raises(Conflict, match=r"\(gone\) does not match the UID of the service account \(u1\)"):
        ask("gone")


async def test_a_token_review_tells_who_a_token_is(tokens, issuer, reader):
    token = issuer.mint(reader.get(SERVICEACCOUNTS, "ns", "bot"))
    good = await reviews.review_token(tokens, {"spec": {"token": token}})
    assert good["status"]["authenticated"] and good["status"]["audiences"] == [AUDIENCE]
    bad = await reviews.review_token(tokens, {"spec": {"token": "garbage"}})
    assert bad["status"] == {"user": {}, "error": "invalid bearer token"}
    with pytest.raises(BadRequest, match="token is required for TokenReview in authentication"):
        await reviews.review_token(tokens, {"spec": {"token": ""}})


def test_a_user_name_of_a_service_account_is_taken_apart():
    assert issuing.split_username("system:serviceaccount:a:b") == ("a", "b")
    for other in ("system:serviceaccount:a", "system:serviceaccount::b", "x:system:serviceaccount:a:b", "bob"):
        assert issuing.split_username(other) is None


def test_concurrent_requests_share_nothing_but_the_cache(tokens, issuer, reader):
    token = issuer.mint(reader.get(SERVICEACCOUNTS, "ns", "bot"))

    async def all_of_them():
        return await asyncio.gather(*(tokens.authenticate(f"Bearer {token}", None) for _ in range(5)))

    assert len(set(asyncio.run(all_of_them()))) == 1
