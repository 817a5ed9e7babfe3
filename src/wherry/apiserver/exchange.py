"""One HTTP request on its way to its answer."""

import random
from collections.abc import Sequence

from aiohttp import web

from wherry.apiserver.attributes import Attributes
from wherry.apiserver.audit.record import Record
from wherry.apiserver.requestinfo import PathInfo
from wherry.apiserver.warnings import warning_headers

Headers = list[tuple[str, str]]

_AUDIT_ID = "Audit-ID"
_MAX_AUDIT_ID = 64


class Exchange:
    """What the steps of `wherry.apiserver.http.Frontend` tell each other about a request.

    `verb` and `attributes` are set once the user is known. `warnings` are sent with the answer, and `headers` where the
    steps add some. `record` collects for the audit log what is to be written of the request, None for nothing.
    """

    __slots__ = ("attributes", "audit_id", "headers", "http", "info", "params", "path", "record", "verb", "warnings")

    def __init__(self, http: web.BaseRequest, path: str, info: PathInfo, params: dict[str, str]) -> None:
        self.http = http
        self.path = path
        self.info = info
        self.params = params
        self.verb = http.method.lower()
        self.attributes: Attributes | None = None
        self.warnings: list[str] = []
        self.headers: Sequence[tuple[str, str]] = ()
        self.record: Record | None = None
        given = http.headers.get(_AUDIT_ID)
        self.audit_id = given[:_MAX_AUDIT_ID] if given else new_audit_id()

    def answer_headers(self, media: str) -> Headers:
        """Return the headers of an answer of a media type."""
        headers = answer_headers(self.audit_id, media)
        if self.warnings:
            headers += warning_headers(self.warnings)
        if self.headers:
            headers += self.headers
        return headers


def new_audit_id() -> str:
    """Return an id for a request whose client gave none."""
    return f"{random.getrandbits(128):032x}"


def answer_headers(audit_id: str, media: str) -> Headers:
    """Return the headers that every answer of a media type has."""
    return [("Audit-Id", audit_id), ("Cache-Control", "no-cache, private"), ("Content-Type", media)]
