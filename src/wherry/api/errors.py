"""The errors of the API: exceptions that are ``Status`` objects (apimachinery ``api/errors``).

::

    StatusError
    ├── BadRequest 400          ├── Conflict 409              ├── UnsupportedMediaType 415
    ├── Unauthorized 401        │   └── AlreadyExists 409     ├── Invalid 422
    ├── Forbidden 403           ├── Gone 410                  ├── TooManyRequests 429
    ├── NotFound 404            │   └── Expired 410           ├── InternalError 500
    ├── MethodNotAllowed 405    ├── RequestEntityTooLarge 413 ├── ServiceUnavailable 503
    └── NotAcceptable 406                                     └── Timeout 504 (ServerTimeout 500)

The class carries the name of the reason; clients match on the class or on ``reason``.
"""

import json
from typing import Any, ClassVar, Self

from wherry.api.field import FieldError


class StatusError(Exception):
    """An API error. `details` is the ``details`` member of the Status, without empty members."""

    code: ClassVar[int] = 500
    reason: ClassVar[str] = "InternalError"

    def __init__(
        self, message: str, details: dict[str, Any] | None = None, *, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.details = details
        self.headers = headers or {}
        self.status_code = self.code
        self.status_reason = self.reason

    def to_status(self) -> dict[str, Any]:
        """Return the Status object of the wire."""
        status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": self.message,
        }
        if self.status_reason:
            status["reason"] = self.status_reason
        if self.details is not None:
            status["details"] = self.details
        status["code"] = self.status_code
        return status


class BadRequest(StatusError):
    code, reason = 400, "BadRequest"


class Unauthorized(StatusError):
    code, reason = 401, "Unauthorized"

    def __init__(self, message: str = "Unauthorized", details: dict[str, Any] | None = None) -> None:
        super().__init__(message, details)


class Forbidden(StatusError):
    code, reason = 403, "Forbidden"


class NotFound(StatusError):
    code, reason = 404, "NotFound"

    @classmethod
    def of(cls, resource: str, name: str, group: str = "") -> Self:
        """`resource` is the plural; the message shows it with its group: ``deployments.apps "x" not found``."""
        return cls(f'{_qualified(resource, group)} "{name}" not found', _details(name, group, resource))

    @classmethod
    def path(cls) -> Self:
        """The requested path is not served."""
        return cls("the server could not find the requested resource", {})


class MethodNotAllowed(StatusError):
    code, reason = 405, "MethodNotAllowed"

    def __init__(
        self,
        message: str = "the server does not allow this method on the requested resource",
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, {} if details is None else details)


class NotAcceptable(StatusError):
    code, reason = 406, "NotAcceptable"


class Conflict(StatusError):
    code, reason = 409, "Conflict"

    @classmethod
    def of(cls, resource: str, name: str, why: str, group: str = "") -> Self:
        return cls(
            f'Operation cannot be fulfilled on {_qualified(resource, group)} "{name}": {why}',
            _details(name, group, resource),
        )

    @classmethod
    def modified(cls, resource: str, name: str, group: str = "") -> Self:
        """The optimistic lock failed."""
        return cls.of(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
            group,
        )


class AlreadyExists(Conflict):
    code, reason = 409, "AlreadyExists"

    @classmethod
    def of(cls, resource: str, name: str, why: str = "already exists", group: str = "") -> Self:
        return cls(f'{_qualified(resource, group)} "{name}" {why}', _details(name, group, resource))


class Gone(StatusError):
    code, reason = 410, "Gone"


class Expired(Gone):
    code, reason = 410, "Expired"


class RequestEntityTooLarge(StatusError):
    code, reason = 413, "RequestEntityTooLarge"


class UnsupportedMediaType(StatusError):
    code, reason = 415, "UnsupportedMediaType"


class Invalid(StatusError):
    code, reason = 422, "Invalid"

    @classmethod
    def of(cls, kind: str, name: str, errors: list[FieldError], group: str = "") -> Self:
        """One error is worded alone, several in brackets, equal ones once; details name the kind, as upstream does."""
        texts = list(dict.fromkeys(str(e) for e in errors))
        text = texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"
        details = _details(name, group, kind)
        details["causes"] = [e.cause() for e in errors]
        return cls(f'{_qualified(kind, group)} "{name}" is invalid: {text}', details)


class TooManyRequests(StatusError):
    code, reason = 429, "TooManyRequests"


class InternalError(StatusError):
    code, reason = 500, "InternalError"

    @classmethod
    def of(cls, error: object) -> Self:
        return cls(f"Internal error occurred: {error}", {"causes": [{"message": str(error)}]})


class ServerTimeout(StatusError):
    code, reason = 500, "ServerTimeout"


class ServiceUnavailable(StatusError):
    code, reason = 503, "ServiceUnavailable"


class Timeout(StatusError):
    code, reason = 504, "Timeout"


def _qualified(resource: str, group: str) -> str:
    return f"{resource}.{group}" if group else resource


def _details(name: str, group: str, kind: str) -> dict[str, Any]:
    return {k: v for k, v in (("name", name), ("group", group), ("kind", kind)) if v}


def _subclasses(cls: type[StatusError]) -> list[type[StatusError]]:
    return [cls, *(s for c in cls.__subclasses__() for s in _subclasses(c))]


BY_REASON: dict[str, type[StatusError]] = {c.reason: c for c in reversed(_subclasses(StatusError))}
_BY_CODE: dict[int, type[StatusError]] = {
    c.code: c for c in reversed(_subclasses(StatusError)) if c not in (Expired, AlreadyExists, ServerTimeout)
}


def from_status(status: dict[str, Any]) -> StatusError:
    """Return the exception for a Status object; an unknown reason becomes the class of its code."""
    code = int(status.get("code") or 500)
    reason = status.get("reason") or ""
    cls = BY_REASON.get(reason) or _BY_CODE.get(code) or StatusError
    error = cls.__new__(cls)
    StatusError.__init__(error, status.get("message") or "", status.get("details"))
    error.status_code, error.status_reason = code, reason
    return error


def generic_error(status: int, text: str) -> tuple[str, str]:
    """Return reason and message of what another server answered with an error that is no Status.

    `text` is what it said (apimachinery ``errors.NewGenericServerResponse``); ``unknown`` when that is no text.
    """
    found = _GENERIC.get(status)
    if found is not None:
        said = status == 403 or (status in (406, 415) and text not in ("", "unknown"))
        return found[0], text if said else found[1]
    if status >= 500:
        shown = json.dumps(text, ensure_ascii=False)
        return "InternalError", f"an error on the server ({shown}) has prevented the request from succeeding"
    return "", f"the server responded with the status code {status} but did not return more information"


_GENERIC = {
    400: ("BadRequest", "the server rejected our request for an unknown reason"),
    401: ("Unauthorized", "the server has asked for the client to provide credentials"),
    403: ("Forbidden", ""),
    404: ("NotFound", "the server could not find the requested resource"),
    405: ("MethodNotAllowed", "the server does not allow this method on the requested resource"),
    406: ("NotAcceptable", "the server was unable to respond with a content type that the client supports"),
    409: ("Conflict", "the server reported a conflict"),
    415: ("UnsupportedMediaType", ""),
    422: ("Invalid", "the server rejected our request due to an error in our request"),
    429: ("TooManyRequests", "the server has received too many requests and has asked us to try again later"),
    503: ("ServiceUnavailable", "the server is currently unable to handle the request"),
    504: (
        "Timeout",
        "the server was unable to return a response in the time allotted, but may still be processing the request",
    ),
}
