"""Tokens among the subprotocols of a WebSocket."""

import pytest

from wherry.api.errors import Unauthorized
from wherry.apiserver.authn import websocket

_OF_JANE = "base64url.bearer.authorization.k8s.io.amFuZQ"


def _headers(*protocols: str) -> dict[str, str]:
    return {"Upgrade": "websocket", "Sec-WebSocket-Protocol": ", ".join(protocols)}


def test_a_token_among_the_subprotocols_authenticates_and_is_offered_to_nobody() -> None:
    headers = _headers(_OF_JANE, "v4.channel.k8s.io")
    assert websocket.authorization(headers) == "Bearer jane"
    assert websocket.subprotocols(headers) == ["v4.channel.k8s.io"]


@pytest.mark.parametrize(
    "headers", [{}, _headers("v4.channel.k8s.io"), {"Sec-WebSocket-Protocol": f"{_OF_JANE}, binary.k8s.io"}]
)
def test_without_a_token_or_a_websocket_nobody_is_meant(headers: dict[str, str]) -> None:
    assert websocket.authorization(headers) is None


@pytest.mark.parametrize(
    "protocols",
    [
        (_OF_JANE,),
        (_OF_JANE, _OF_JANE, "binary.k8s.io"),
        ("base64url.bearer.authorization.k8s.io.a+b", "binary.k8s.io"),
        ("base64url.bearer.authorization.k8s.io._w", "binary.k8s.io"),
    ],
)
def test_tokens_alone_several_or_garbled_are_refused(protocols: tuple[str, ...]) -> None:
    with pytest.raises(Unauthorized):
        websocket.authorization(_headers(*protocols))
