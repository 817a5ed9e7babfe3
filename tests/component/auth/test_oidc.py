"""ID tokens of a real OpenID Connect provider, mapped by an AuthenticationConfiguration."""

from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import oidc_provider_mock
import pytest
from aiohttp import BasicAuth, ClientSession

from wherry.apiserver.authn import oidcfile
from wherry.apiserver.authn.oidc import OIDCTokens
from wherry.apiserver.authn.token import InvalidToken

BACK = "http://localhost/back"


async def id_token(issuer: str, client: str, **claims: Any) -> str:
    """Log somebody in by the authorization code flow and return the ID token."""
    async with ClientSession(issuer) as session:
        async with session.put("/users/ann", json=claims) as made:
            assert made.status < 300, await made.text()
        query = {"client_id": client, "redirect_uri": BACK, "response_type": "code", "scope": "openid email profile"}
        async with session.post(
            "/oauth2/authorize", params=query, data={"sub": "ann"}, allow_redirects=False
        ) as answer:
            (code,) = parse_qs(urlsplit(answer.headers["Location"]).query)["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": BACK}
        async with session.post("/oauth2/token", data=form, auth=BasicAuth(client, "secret")) as answer:
            return (await answer.json())["id_token"]


def configured(path: Path, issuer: str) -> OIDCTokens:
    path.write_text("""
apiVersion: apiserver.config.k8s.io/v1
kind: AuthenticationConfiguration
jwt:
- issuer: {url: "https://id.example.com", audiences: [other, wherry], audienceMatchPolicy: MatchAny}
  claimValidationRules:
  - {expression: "claims.?email.orValue('').endsWith('@example.com')", message: only our people}
  claimMappings:
    username: {expression: "'people:' + claims.sub"}
    groups: {expression: "claims.?email.hasValue() ? ['mail'] : []"}
    uid: {claim: sub}
    extra:
    - {key: example.com/mail, valueExpression: "claims.email"}
  userValidationRules:
  - {expression: "!user.username.startsWith('system:')", message: reserved}
""")
    (provider,) = oidcfile.load(path).providers
    document = f"{issuer}/.well-known/openid-configuration"
    return OIDCTokens(replace(provider, issuer_url=issuer, discovery_url=document))  # files name https issuers only


async def test_a_providers_tokens_are_mapped_and_checked(tmp_path: Path) -> None:
    with oidc_provider_mock.run_server_in_thread() as provider:
        issuer = f"http://localhost:{provider.server_port}"
        tokens = configured(tmp_path / "authentication.yaml", issuer)
        found = await tokens.authenticate_token(await id_token(issuer, "wherry", email="ann@example.com"), ())
        assert found is not None
        assert (found.user.name, found.user.groups, found.user.uid) == ("people:ann", ("mail",), "ann")
        assert found.user.extra["example.com/mail"] == ("ann@example.com",)
        with pytest.raises(InvalidToken, match="only our people"):
            await tokens.authenticate_token(await id_token(issuer, "wherry", email="ann@example.org"), ())
        with pytest.raises(InvalidToken, match="verify token"):
            await tokens.authenticate_token(await id_token(issuer, "stranger", email="ann@example.com"), ())
        forged = (await id_token(issuer, "wherry", email="ann@example.com"))[:-6] + "AAAAAA"
        with pytest.raises(InvalidToken, match="verify token"):
            await tokens.authenticate_token(forged, ())
