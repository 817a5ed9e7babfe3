"""One aggregated group version: where its Service is, and how it is asked."""

import asyncio
import base64
import random
import socket
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import aiohttp
import orjson
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from multidict import CIMultiDict
from yarl import URL

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.resources import ENDPOINTSLICES, SERVICES
from wherry.apiserver.attributes import Reader, UserInfo
from wherry.apiserver.relay import Relay
from wherry.client.http import METHODS, status_error
from wherry.client.transport import Call
from wherry.util import certificates
from wherry.util.trust import trusting

_TIMEOUT = 5.0
_PATIENCE = 30.0
_SERVICE_OF = "kubernetes.io/service-name"


class Unavailable(Exception):
    """The service cannot be used: `reason` and text are those of the condition."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class _Endpoint(AbstractResolver):
    """Resolves the service's name to the endpoint chosen last: the certificate there is for the name."""

    def __init__(self) -> None:
        self.address = ""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await asyncio.get_running_loop().getaddrinfo(self.address, port, type=socket.SOCK_STREAM)
        return [
            ResolveResult(hostname=host, host=str(at[0]), port=port, family=kind, proto=proto, flags=0)
            for kind, _, proto, _, at in found
        ]

    async def close(self) -> None:
        """Nothing is held."""


_ITSELF = UserInfo("system:kube-aggregator", ("system:masters",))


class Remote:
    """The server behind one APIService. `resources` are its resources as discovery lists them, None while unknown.

    `available` is what the APIService says, `told` the status of that condition that was last found out here.
    """

    def __init__(self, reader: Reader, obj: Object, certificate: tuple[Path, Path] | None) -> None:
        spec = obj["spec"]
        self.name = meta.name(obj)
        self.spec = spec
        self.group, self.version = spec["group"], spec["version"]
        self.available = meta.is_true(obj, "Available")
        self.told = ""
        self.resources: list[Object] | None = None
        self.v2: Object = {}
        self.v3_url = ""
        self._reader = reader
        self._endpoint = _Endpoint()
        self._context = _context(spec, certificate)
        self._relay = Relay(self._context, resolver=self._endpoint)

    @property
    def path(self) -> str:
        """The path of the group version."""
        return f"/apis/{self.group}/{self.version}"

    async def close(self) -> None:
        """Release the connections."""
        await self._relay.close()

    def _base(self) -> URL:
        """Choose an endpoint. Raises Unavailable."""
        service = self.spec["service"]
        namespace, name, number = service["namespace"], service["name"], service.get("port", 443)
        found = self._reader.get(SERVICES, namespace, name)
        if found is None:
            raise Unavailable("ServiceNotFound", f'service/{name} in "{namespace}" is not present')
        ports = (found.get("spec") or {}).get("ports") or ()
        port = next((p for p in ports if p.get("port") == number), None)
        if port is None:
            text = f'service/{name} in "{namespace}" is not listening on port {number}'
            raise Unavailable("ServicePortError", text)
        if found["spec"].get("type") == "ExternalName":
            self._endpoint.address = found["spec"].get("externalName", "")
        else:
            self._endpoint.address, number = self._chosen(namespace, name, port)
        return URL.build(scheme="https", host=f"{name}.{namespace}.svc", port=number)

    def _chosen(self, namespace: str, name: str, port: Object) -> tuple[str, int]:
        slices = [s for s in self._reader.list(ENDPOINTSLICES, namespace) if meta.labels(s).get(_SERVICE_OF) == name]
        if not slices:
            raise Unavailable("EndpointsNotFound", f'cannot find endpointslices for service/{name} in "{namespace}"')
        wanted = port.get("name") or ""
        found = [
            (address, slice_port["port"])
            for slice_ in slices
            for slice_port in slice_.get("ports") or ()
            if (slice_port.get("name") or "") == wanted and slice_port.get("port")
            for endpoint in slice_.get("endpoints") or ()
            if (endpoint.get("conditions") or {}).get("ready", True)
            for address in endpoint.get("addresses") or ()
        ]
        if not found:
            text = f'endpoints for service/{name} in "{namespace}" have no addresses with port name "{wanted}"'
            raise Unavailable("MissingEndpoints", text)
        return random.choice(found)

    async def check(self) -> list[Object]:
        """Return the resources that the server lists. Raises Unavailable."""
        base = self._base()
        headers = _identity(_ITSELF)
        url = base.with_path(self.path)
        try:
            async with self._relay.client().get(
                url, headers=headers, timeout=aiohttp.ClientTimeout(total=_TIMEOUT)
            ) as response:
                if response.status != 200:
                    text = f"failing or missing response from {url}: bad status from {url}: {response.status}"
                    raise Unavailable("FailedDiscoveryCheck", text)
                listed = await response.json(content_type=None)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            text = f'failing or missing response from {url}: Get "{url}": {error}'
            raise Unavailable("FailedDiscoveryCheck", text) from None
        return discovered(listed.get("resources") or (), self.group, self.version)

    async def read_documents(self) -> None:
        """Ask for the OpenAPI documents of the group version; a server without them goes without."""
        self.v2 = await self._document("/openapi/v2")
        index = await self._document("/openapi/v3")
        found = (index.get("paths") or {}).get(self.path.lstrip("/"))
        self.v3_url = found.get("serverRelativeURL", "") if isinstance(found, dict) else ""

    async def _document(self, path: str) -> Object:
        try:
            url = self._base().with_path(path)
            async with self._relay.client().get(
                url, headers=_identity(_ITSELF), timeout=aiohttp.ClientTimeout(total=_TIMEOUT)
            ) as response:
                found = await response.json(content_type=None) if response.status == 200 else {}
        except (Unavailable, aiohttp.ClientError, OSError, TimeoutError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    async def pass_on(self, http: web.BaseRequest, user: UserInfo) -> web.StreamResponse:
        """Relay a request that `user` may make. Raises Unavailable, StatusError."""
        base = self._base()
        url = URL(f"{base}".rstrip("/") + http.raw_path, encoded=True)
        return await self._relay.pass_on(http, url, headers=_identity(user))

    async def ask(self, call: Call, user: UserInfo) -> Object:
        """Carry a call that `user` may make and return the answer. Raises Unavailable, StatusError."""
        path = call.resource.path(call.namespace, call.name, call.subresource)
        url = self._base().with_path(path).with_query(call.params)
        headers = _identity(user)
        data = None if call.body is None else orjson.dumps(call.body)
        if data is not None:
            headers["Content-Type"] = call.content_type
        try:
            async with self._relay.client().request(
                METHODS[call.verb], url, headers=headers, data=data, timeout=aiohttp.ClientTimeout(total=_PATIENCE)
            ) as response:
                body, code = await response.read(), response.status
            if code >= 400:
                raise status_error(code, body)
            answer: Object = orjson.loads(body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise Unavailable("FailedRequest", f"{url}: {error}") from None
        return answer


def _identity(user: UserInfo) -> CIMultiDict[str]:
    headers: CIMultiDict[str] = CIMultiDict({"X-Remote-User": user.name})
    for group in user.groups:
        headers.add("X-Remote-Group", group)
    for key, values in user.extra.items():
        for value in values:
            headers.add(f"X-Remote-Extra-{key.replace('/', '%2f')}", value)
    return headers


def _context(spec: Object, certificate: tuple[Path, Path] | None) -> ssl.SSLContext:
    context = trusting(base64.b64decode(spec.get("caBundle") or "").decode())
    if spec.get("insecureSkipTLSVerify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate is not None:
        certificates.load_chain(context, *certificate)
    return context


def discovered(listed: Sequence[Object], group: str, version: str) -> list[Object]:
    """Return the resources of an APIResourceList as aggregated discovery has them."""
    rows: dict[str, Object] = {}
    for entry in sorted(listed, key=lambda one: str(one.get("name"))):
        name, _, sub = str(entry.get("name")).partition("/")
        kind = {"group": entry.get("group", ""), "version": entry.get("version", ""), "kind": entry.get("kind", "")}
        verbs = list(entry.get("verbs") or ())
        if sub:
            parent = rows.get(name)
            if parent is not None:
                found: list[Any] = parent.setdefault("subresources", [])
                found.append({"subresource": sub, "responseKind": kind, "verbs": verbs})
            continue
        row: Object = {
            "resource": name,
            "responseKind": {
                "group": kind["group"] or group,
                "version": kind["version"] or version,
                "kind": kind["kind"],
            },
            "scope": "Namespaced" if entry.get("namespaced") else "Cluster",
            "singularResource": entry.get("singularName", ""),
            "verbs": verbs,
        }
        row |= {member: entry[member] for member in ("shortNames", "categories") if entry.get(member)}
        rows[name] = row
    return list(rows.values())
