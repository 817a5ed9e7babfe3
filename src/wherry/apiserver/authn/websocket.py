"""Bearer tokens of browsers, which can set no header of a WebSocket but its subprotocols
(apiserver ``authentication/request/websocket``)."""

import base64
import binascii
from collections.abc import Mapping

from aiohttp import hdrs

from wherry.api.errors import Unauthorized

_TOKEN = "base64url.bearer.authorization.k8s.io."


def is_websocket(headers: Mapping[str, str]) -> bool:
    """Tell whether a request asks for a WebSocket."""
    return headers.get(hdrs.UPGRADE, "").lower() == "websocket"


def subprotocols(headers: Mapping[str, str]) -> list[str]:
    """Return the subprotocols that a client offers, without the one that is its token."""
    return [name for name in _offered(headers) if not name.startswith(_TOKEN)]


def authorization(headers: Mapping[str, str]) -> str | None:
    """Return the ``Authorization`` header that a WebSocket's subprotocols stand for, None when they hold no token.

    Raises Unauthorized for more tokens than one, for what is none, and where nothing is left to answer with.
    """
    tokens = [name.removeprefix(_TOKEN) for name in _offered(headers) if name.startswith(_TOKEN)]
    if not tokens or not is_websocket(headers):
        return None
    if len(tokens) > 1 or not subprotocols(headers):
        raise Unauthorized
    try:
        token = base64.b64decode(tokens[0] + "=" * (-len(tokens[0]) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise Unauthorized from error
    return f"Bearer {token}" if token else None


def _offered(headers: Mapping[str, str]) -> list[str]:
    return [name for part in headers.get(hdrs.SEC_WEBSOCKET_PROTOCOL, "").split(",") if (name := part.strip())]
