"""Continue tokens of lists (apiserver ``storage/continue``)."""

import base64
import re
from typing import Any

import orjson

from wherry.api.errors import BadRequest, Expired
from wherry.api.gojson import syntax_error

_VERSION = "meta.k8s.io/v1"
_MAX_INT64 = 2**63 - 1
_NOT_IN_BASE64 = re.compile(r"[^A-Za-z0-9_-]")
_GO_KINDS = {list: "array", str: "string", int: "number", float: "number", bool: "bool"}

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class TokenExpired(Expired):
    """The revision of a continue token is compacted; the answer offers `token`, which goes on at present."""

    def __init__(self, token: str) -> None:
        super().__init__(_TOO_OLD)
        self.token = token

    def to_status(self) -> dict[str, Any]:
        """Return the Status with the other token in its metadata."""
        return {**super().to_status(), "metadata": {"continue": self.token}}


def encode(revision: int, last: str) -> str:
    """Return the token for what follows `last`, the end of a key; revision -1 continues at present."""
    token = orjson.dumps({"v": _VERSION, "rv": revision, "start": last + "\0"})
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def decode(token: str) -> tuple[int, str]:
    """Return (revision, the end of the last key seen). Raises BadRequest."""
    bad = _NOT_IN_BASE64.search(token)
    if bad or len(token) % 4 == 1:
        raise _invalid(f"illegal base64 data at input byte {bad.start() if bad else len(token) - 1}")
    data = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    try:
        content = orjson.loads(data) or {}
    except ValueError as error:
        raise _invalid(syntax_error(data) or str(error)) from None
    if not isinstance(content, dict):
        raise _invalid(f"json: cannot unmarshal {_GO_KINDS[type(content)]} into Go value of type storage.continueToken")
    version, revision, start = content.get("v"), content.get("rv"), content.get("start")
    if version != _VERSION:
        raise _invalid("server does not recognize this encoded version")
    if revision.__class__ is not int or not -_MAX_INT64 <= revision <= _MAX_INT64 or revision == 0:
        raise _invalid("incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    if not isinstance(start, str) or not start:
        raise _invalid("encoded start key empty (version meta.k8s.io/v1)")
    if ".." in start.split("/") or start.startswith("/"):
        raise _invalid(start)
    return revision, start.removesuffix("\0")


def _invalid(why: str) -> BadRequest:
    return BadRequest(f"invalid continue token: continue key is not valid: {why}")
