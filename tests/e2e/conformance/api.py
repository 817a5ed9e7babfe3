"""Plain requests to the cluster's API server, as a conformance test's client makes them."""

import base64
import json
import ssl
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.client import HTTPResponse, HTTPSConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import yaml

from wherry.api.resources import TABLE, Resource
from wherry.util import clock

Object = dict[str, Any]
MERGE = "application/merge-patch+json"
STRATEGIC = "application/strategic-merge-patch+json"
JSON_PATCH = "application/json-patch+json"
APPLY = "application/apply-patch+yaml"


class Refused(Exception):
    """An answer of 300 or more; `status` is its Status object (or the text that came instead)."""

    def __init__(self, code: int, status: Any) -> None:
        super().__init__(f"{code} {status.get('message') if isinstance(status, dict) else status}")
        self.code = code
        self.status = status

    @property
    def reason(self) -> str:
        return str(self.status.get("reason", "")) if isinstance(self.status, dict) else ""


@dataclass
class Answer:
    """What the server answered: the status code, the headers in lower case, the body."""

    code: int
    headers: dict[str, str]
    body: bytes

    @property
    def object(self) -> Any:
        return json.loads(self.body)


def resource(named: str) -> Resource:
    """Return the built-in resource of ``apps/v1/deployments`` or ``v1/pods``."""
    group, version, plural = ("/" + named).rsplit("/", 2)
    found = TABLE.find(group.strip("/"), version, plural) if group else None
    if found is None:
        found = next((r for r in TABLE if f"{r.api_version}/{r.plural}" == named), None)
    assert found is not None, named
    return found


@dataclass
class Api:
    """Requests as the administrator of a kubeconfig; `headers` go with each."""

    kubeconfig: Path
    headers: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        config = yaml.safe_load(self.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server = urlsplit(cluster["server"])
        self.authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=self.authority)
        self.anonymous = ssl.create_default_context(cadata=self.authority)
        with tempfile.NamedTemporaryFile() as pem:
            pem.write(base64.b64decode(user["client-certificate-data"]) + b"\n")
            pem.write(base64.b64decode(user["client-key-data"]))
            pem.flush()
            self._tls.load_cert_chain(pem.name)
        self._connection: HTTPSConnection | None = None

    def with_token(self, token: str) -> "Api":
        """Return a client of the same server with a bearer token instead of the administrator's certificate."""
        other = Api(self.kubeconfig, {**self.headers, "Authorization": f"Bearer {token}"})
        other._tls = other.anonymous
        return other

    def _connect(self, timeout: float) -> HTTPSConnection:
        return HTTPSConnection(self.server.hostname or "", self.server.port, timeout=timeout, context=self._tls)

    def raw(
        self, method: str, path: str, body: Any = None, *, headers: dict[str, str] | None = None, **params: str
    ) -> Answer:
        """Send one request and return its answer, whatever it is; `body` is an object, or bytes to be sent as is."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        sent = {"Content-Type": "application/json"} if data is not None else {}
        sent |= self.headers | (headers or {})
        target = f"{path}?{urlencode(params)}" if params else path
        for fresh in (False, True):
            if self._connection is None or fresh:
                self._connection = self._connect(40)
            try:
                self._connection.request(method, target, data, sent)
                response = self._connection.getresponse()
                break
            except (ConnectionError, OSError):
                self._connection = None
                if fresh:
                    raise
        received: dict[str, str] = {}
        for name, value in response.getheaders():
            before = received.get(name.lower())
            received[name.lower()] = value if before is None else f"{before}, {value}"
        answer = Answer(response.status, received, response.read())
        if response.will_close:
            self._connection = None
        return answer

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        **params: str,
    ) -> Any:
        """Send one request and return the object answered. Raises Refused."""
        answer = self.raw(method, path, body, headers=headers, **params)
        try:
            found = answer.object
        except ValueError:
            found = answer.body.decode(errors="replace")
        if answer.code >= 300:
            raise Refused(answer.code, found)
        return found

    def get(self, path: str, **params: str) -> Any:
        return self.call("GET", path, headers=None, **params)

    def create(self, path: str, obj: Object, **params: str) -> Any:
        return self.call("POST", path, obj, headers=None, **params)

    def update(self, path: str, obj: Object, **params: str) -> Any:
        return self.call("PUT", path, obj, headers=None, **params)

    def patch(self, path: str, patch: Any, kind: str = MERGE, **params: str) -> Any:
        return self.call("PATCH", path, patch, headers={"Content-Type": kind}, **params)

    def delete(self, path: str, options: Object | None = None, **params: str) -> Any:
        return self.call("DELETE", path, options, headers=None, **params)

    def watch(self, path: str, *, seconds: int = 20, **params: str) -> Iterator[tuple[str, Object]]:
        """Iterate over the events of a watch, at most `seconds` long, as (type, object)."""
        connection = self._connect(seconds + 5)
        try:
            query = urlencode({"watch": "true", "timeoutSeconds": str(seconds), **params})
            connection.request("GET", f"{path}?{query}", headers=self.headers)
            response: HTTPResponse = connection.getresponse()
            if response.status != 200:
                raise Refused(response.status, json.loads(response.read()))
            while line := response.readline():
                event = json.loads(line)
                yield event["type"], event["object"]
        finally:
            connection.close()

    def wait(
        self, path: str, wanted: Callable[[Any], object], *, what: str = "", seconds: float = 30, step: float = 0.1
    ) -> Any:
        """Read an object (or None while it is not there) until `wanted` holds; return it."""
        end = clock.monotonic() + seconds
        while True:
            try:
                found = self.get(path)
            except Refused as refused:
                if refused.code != 404:
                    raise
                found = None
            if wanted(found):
                return found
            shown = json.dumps(found)
            assert clock.monotonic() < end, f"{what or path} after {seconds} s: {shown[-1500:]}"
            clock.block(step)

    def gone(self, path: str, *, seconds: float = 30) -> None:
        """Wait until there is no such object."""
        self.wait(path, lambda found: found is None, what=f"{path} should be gone", seconds=seconds)
