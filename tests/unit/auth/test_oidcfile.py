"""Files of the kind AuthenticationConfiguration: what they say, and what is wrong with them."""

from pathlib import Path
from typing import Any

import jwt
import pytest
import yaml
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from wherry.apiserver.authn import oidcfile
from wherry.apiserver.authn.filetokens import FileTokens
from wherry.apiserver.authn.oidc import OIDCTokens
from wherry.apiserver.authn.token import InvalidToken
from wherry.util import clock

RSA = rsa.generate_private_key(65537, 2048)
P256, P384 = (ec.generate_private_key(curve) for curve in (ec.SECP256R1(), ec.SECP384R1()))
ED = ed25519.Ed25519PrivateKey.generate()

HEAD = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"}


def load(path: Path, **members: Any) -> oidcfile.Authentication:
    file = path / "authentication.yaml"
    file.write_text(yaml.safe_dump(HEAD | members))
    return oidcfile.load(file)


def problems(path: Path, **members: Any) -> str:
    with pytest.raises(oidcfile.ConfigurationError) as raised:
        load(path, **members)
    return str(raised.value).removeprefix(f"{path}/authentication.yaml: ")


def provider(issuer: dict[str, Any] | None = None, **members: Any) -> dict[str, Any]:
    mappings = {"username": {"claim": "sub", "prefix": ""}}
    base = {"url": "https://id.example.com", "audiences": ["wherry"]}
    return {"issuer": base | (issuer or {}), "claimMappings": mappings} | members


def mapped(expression: str, **members: Any) -> dict[str, Any]:
    return {"username": {"expression": expression}} | members


def test_a_file_names_providers(tmp_path: Path) -> None:
    groups = {"claim": "groups", "prefix": "id:"}
    mappings = {"username": {"claim": "email", "prefix": ""}, "groups": groups}
    rules = [{"claim": "hd", "requiredValue": "example.com"}]
    url = {"discoveryURL": "https://hidden.example.com/document"}
    found = load(tmp_path, jwt=[provider(url, claimMappings=mappings, claimValidationRules=rules)])
    (one,) = found.providers
    assert (one.issuer_url, one.client_id, one.prefix()) == ("https://id.example.com", "wherry", "")
    assert (one.groups_claim, one.groups_prefix, one.discovery_url) == ("groups", "id:", url["discoveryURL"])
    assert one.required_claims == {"hd": "example.com"}
    assert (found.anonymous, found.anonymous_paths) == (True, frozenset())


def test_requests_without_credentials_are_let_in_as_the_file_says(tmp_path: Path) -> None:
    assert not load(tmp_path, anonymous={"enabled": False}).anonymous
    found = load(tmp_path, anonymous={"enabled": True, "conditions": [{"path": "/livez"}]})
    assert (found.anonymous, found.anonymous_paths) == (True, frozenset({"/livez"}))
    assert problems(tmp_path, anonymous={"conditions": [{"path": "/livez"}]}) == (
        'anonymous.conditions: Invalid value: [{"path":"/livez"}]: enabled should be set to true when conditions are '
        "defined"
    )


def test_another_file_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, kind="Policy") == (
        "it holds no AuthenticationConfiguration of apiserver.config.k8s.io/v1"
    )
    unknown = {"issuer": {"url": 5}, "claims": {}}
    assert problems(tmp_path, jwt=[unknown], more=1) == (
        'unknown field "jwt[0].claims"; jwt[0].issuer.url: must be of type string; unknown field "more"'
    )


@pytest.mark.parametrize(
    ("issuer", "problem"),
    [
        ({"url": ""}, "url: Required value"),
        ({"url": "http://a"}, 'url: Invalid value: "http://a": URL scheme must be https'),
        ({"url": "https://b@a"}, 'url: Invalid value: "https://b@a": URL must not contain a username or password'),
        ({"url": "https://a?b"}, 'url: Invalid value: "https://a?b": URL must not contain a query'),
        ({"url": "https://a#b"}, 'url: Invalid value: "https://a#b": URL must not contain a fragment'),
        (
            {"url": "https://kubernetes.default.svc"},
            'url: Invalid value: "https://kubernetes.default.svc": URL must not overlap with disallowed issuers: '
            "[https://kubernetes.default.svc]",
        ),
        (
            {"discoveryURL": "https://id.example.com/"},
            'discoveryURL: Invalid value: "https://id.example.com/": discoveryURL must be different from URL',
        ),
        ({"audiences": []}, "audiences: Required value: at least one jwt[0].issuer.audiences is required"),
        (
            {"audiences": ["", "a", "a"], "audienceMatchPolicy": "MatchAny"},
            'audiences[0]: Required value; jwt[0].issuer.audiences[2]: Duplicate value: "a"',
        ),
        (
            {"audiences": ["a", "b"]},
            'audienceMatchPolicy: Invalid value: "": audienceMatchPolicy must be MatchAny for multiple audiences',
        ),
        (
            {"audienceMatchPolicy": "All"},
            'audienceMatchPolicy: Invalid value: "All": audienceMatchPolicy must be empty or MatchAny for single '
            "audience",
        ),
        (
            {"certificateAuthority": "none"},
            'certificateAuthority: Invalid value: "<omitted>": data does not contain any valid RSA or ECDSA '
            "certificates",
        ),
        (
            {"egressSelectorType": "etcd"},
            'egressSelectorType: Invalid value: "etcd": egress selector must be either controlplane or cluster',
        ),
    ],
)
def test_issuers_are_checked(tmp_path: Path, issuer: dict[str, Any], problem: str) -> None:
    assert problems(tmp_path, jwt=[provider(issuer)]) == f"jwt[0].issuer.{problem}"


def test_providers_differ(tmp_path: Path) -> None:
    assert problems(tmp_path, jwt=[provider(), provider()]) == (
        'jwt[1].issuer.url: Duplicate value: "https://id.example.com"'
    )
    many = [provider({"url": f"https://{i}"}) for i in range(65)]
    assert problems(tmp_path, jwt=many) == "jwt: Too many: 65: must have at most 64 items"


@pytest.mark.parametrize(
    ("rule", "problem"),
    [
        ({}, ": Required value: claim or expression is required"),
        ({"claim": "a", "expression": "true"}, ': Invalid value: "a": claim and expression can\'t both be set'),
        ({"claim": "a", "message": "m"}, '.message: Invalid value: "m": may not be specified when claim is set'),
        (
            {"expression": "true", "requiredValue": "a"},
            '.requiredValue: Invalid value: "a": may not be specified when expression is set',
        ),
        ({"expression": "claims.a"}, '.expression: Invalid value: "claims.a": must evaluate to bool'),
    ],
)
def test_rules_are_checked(tmp_path: Path, rule: dict[str, Any], problem: str) -> None:
    assert problems(tmp_path, jwt=[provider(claimValidationRules=[rule])]) == f"jwt[0].claimValidationRules[0]{problem}"


def test_rules_about_users_are_checked(tmp_path: Path) -> None:
    rules = [{}, {"expression": "user.name == ''"}, {"expression": "true"}, {"expression": "true"}]
    required, unknown, repeated = problems(tmp_path, jwt=[provider(userValidationRules=rules)]).split("; ")
    assert required == "jwt[0].userValidationRules[0].expression: Required value"
    assert "compilation failed: ERROR: <input>:1:5: undefined field 'name'" in unknown
    assert repeated == 'jwt[0].userValidationRules[3].expression: Duplicate value: "true"'


@pytest.mark.parametrize(
    ("mappings", "problem"),
    [
        ({}, "username: Required value: claim or expression is required"),
        (
            {"username": {"claim": "sub"}},
            "username.prefix: Required value: prefix is required when claim is set. It can be set to an empty string "
            "to disable prefixing",
        ),
        (
            mapped("claims.sub", groups={"expression": "claims.groups", "prefix": "a"}),
            'groups.prefix: Invalid value: "a": may not be specified when expression is set',
        ),
        (
            mapped("claims.sub", uid={"claim": "a", "expression": "b"}),
            'uid: Invalid value: "": claim and expression can\'t both be set',
        ),
        (
            mapped("claims.sub", extra=[{"key": "example.com/A", "valueExpression": "''"}]),
            'extra[0].key: Invalid value: "example.com/A": must be lowercase',
        ),
        (
            mapped("claims.sub", extra=[{"key": "a.k8s.io/b", "valueExpression": "''"}]),
            'extra[0].key: Invalid value: "a.k8s.io/b": k8s.io, kubernetes.io and their subdomains are reserved for '
            "Kubernetes use",
        ),
        (
            mapped("claims.sub", extra=[{"key": "b", "valueExpression": "''"}]),
            'extra[0].key: Invalid value: "b": must be a domain-prefixed path (such as "acme.io/foo")',
        ),
        (
            mapped("claims.sub", extra=[{"key": "example.com/b"}]),
            "extra[0].valueExpression: Required value",
        ),
    ],
)
def test_mappings_are_checked(tmp_path: Path, mappings: dict[str, Any], problem: str) -> None:
    assert problems(tmp_path, jwt=[provider(claimMappings=mappings)]) == f"jwt[0].claimMappings.{problem}"


@pytest.mark.parametrize("expression", ["claims.email", "claims.?email.orValue('')", "'x:' + [claims.email][0]"])
def test_an_address_is_a_name_only_when_it_is_verified(tmp_path: Path, expression: str) -> None:
    words = "claims.email_verified must be used in claimMappings.username.expression or"
    assert words in problems(tmp_path, jwt=[provider(claimMappings=mapped(expression))])
    # What a rule about the user looks at does not count.
    late = [{"expression": "user.username != 'claims.email_verified'"}]
    assert words in problems(tmp_path, jwt=[provider(claimMappings=mapped(expression), userValidationRules=late)])
    rules = [{"expression": "claims.?email_verified.orValue(true) == true"}]
    assert load(tmp_path, jwt=[provider(claimMappings=mapped(expression), claimValidationRules=rules)])
    extra = [{"key": "example.com/verified", "valueExpression": "string(claims.email_verified)"}]
    assert load(tmp_path, jwt=[provider(claimMappings=mapped(expression, extra=extra))])
    own = f"claims.email_verified ? {expression} : ''"
    assert load(tmp_path, jwt=[provider(claimMappings=mapped(own))])


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (RSA, "RS256"),
        (RSA, "RS512"),
        (RSA, "PS384"),
        (P256, "ES256"),
        (P384, "ES384"),
        (ED, "EdDSA"),
        (b"s" * 32, "HS256"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
async def test_keys_of_all_kinds_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: Any, algorithm: str, named: bool
) -> None:
    async def fetch(self: OIDCTokens) -> dict[str, Any]:
        return {"rsa": RSA.public_key(), "p256": P256.public_key(), "p384": P384.public_key()}

    monkeypatch.setattr(OIDCTokens, "_fetch", fetch)
    tokens = OIDCTokens(load(tmp_path, jwt=[provider()]).providers[0])
    claims = {"iss": "https://id.example.com", "aud": "wherry", "sub": "ann", "exp": int(clock.seconds()) + 60}
    name = {RSA: "rsa", P256: "p256", P384: "p384"}.get(key, "rsa")
    token = jwt.encode(claims, key, algorithm, {"kid": name} if named else None)
    if algorithm in ("EdDSA", "HS256"):
        with pytest.raises(InvalidToken):
            await tokens.authenticate_token(token, ())
        return
    found = await tokens.authenticate_token(token, ())
    assert found is not None and found.user.name == "ann"


async def test_a_file_that_changes_is_followed_and_one_that_became_wrong_changes_nothing(tmp_path: Path) -> None:
    load(tmp_path, jwt=[provider()])
    file = tmp_path / "authentication.yaml"
    tokens = FileTokens(file)

    async def knows(issuer: str) -> bool:
        try:
            return await tokens.authenticate_token(jwt.encode({"iss": issuer}, "x" * 64, "HS512"), ()) is not None
        except InvalidToken:
            return True

    file.write_text("kind: Nothing")
    await tokens.look()
    await tokens.look()
    assert await knows("https://id.example.com")
    load(tmp_path, jwt=[provider({"url": "https://other.example.com"})])
    await tokens.look()
    assert await knows("https://other.example.com") and not await knows("https://id.example.com")
    reloads = [sample for sample in tokens.samples() if sample.name.endswith("_reloads_total")]
    assert {sample.labels["status"]: sample.value for sample in reloads} == {"failure": 1, "success": 1}
