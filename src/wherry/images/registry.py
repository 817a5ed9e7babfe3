"""Pulling from a registry over HTTP (the OCI distribution specification): manifests, blobs, tokens, mirrors."""

import asyncio
import base64
import hashlib
import ipaddress
import re
import ssl
import tomllib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from wherry.images import blobs
from wherry.images.blobs import Blobs, Descriptor
from wherry.images.protocol import Credentials, ImageError
from wherry.images.reference import DEFAULT_REGISTRY, Reference
from wherry.util import clock
from wherry.util.backoff import Backoff

DOCKER_HUB = "registry-1.docker.io"
_ACCEPT = ", ".join((blobs.OCI_INDEX, blobs.DOCKER_LIST, blobs.OCI_MANIFEST, blobs.DOCKER_MANIFEST))
_ATTEMPTS = 4
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_TIMEOUT = aiohttp.ClientTimeout(total=None, connect=30, sock_read=60)


@dataclass(frozen=True, slots=True)
class RegistryConfig:
    """How one registry is reached: `mirrors` (base URLs) are asked first; `insecure` allows http and any
    certificate."""

    mirrors: Sequence[str] = ()
    insecure: bool = False


@dataclass(frozen=True, slots=True)
class RegistriesConfig:
    """The registries that need saying something about, by host."""

    registries: Mapping[str, RegistryConfig] = field(default_factory=dict)

    @staticmethod
    def read(path: str) -> "RegistriesConfig":
        """Read a TOML file: ``[registries."docker.io"]`` with ``mirrors = ["http://…"]`` and ``insecure = true``.

        A missing file says nothing. Raises ImageError when it is wrong.
        """
        try:
            with open(path, "rb") as file:
                tables = tomllib.load(file).get("registries", {})
            return RegistriesConfig({host: RegistryConfig(**table) for host, table in tables.items()})
        except FileNotFoundError:
            return RegistriesConfig()
        except (tomllib.TOMLDecodeError, TypeError, AttributeError) as error:
            raise ImageError(f"{path}: {error}") from error

    def endpoints(self, registry: str) -> list["Endpoint"]:
        """Return where to ask for the images of `registry`, in order."""
        config = self.registries.get(registry, RegistryConfig())
        found = [Endpoint(url.rstrip("/"), verify=not config.insecure) for url in config.mirrors]
        host = DOCKER_HUB if registry == DEFAULT_REGISTRY else registry
        found.append(Endpoint(f"https://{host}", verify=not config.insecure))
        if config.insecure or _is_local(host):
            found.append(Endpoint(f"http://{host}", verify=False))
        return found


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] or host
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The base URL of a registry or mirror."""

    url: str
    verify: bool = True


class _Missing(Exception):
    """The registry does not have it."""


class _Denied(Exception):
    """The registry does not let us."""


class Client:
    """Fetches from one endpoint, for one repository, with one set of credentials."""

    def __init__(
        self, session: aiohttp.ClientSession, endpoint: Endpoint, *, repository: str, credentials: Credentials | None
    ) -> None:
        self._session = session
        self._endpoint = endpoint
        self._repository = repository
        self._credentials = credentials
        self._authorization = ""
        self._authorizing = asyncio.Lock()

    @asynccontextmanager
    async def _get(self, path: str, **headers: str) -> AsyncIterator[aiohttp.ClientResponse]:
        url = f"{self._endpoint.url}/v2/{self._repository}/{path}"
        for last in (False, True):
            used = self._authorization
            given = headers | ({"Authorization": used} if used else {})
            async with self._session.get(url, headers=given, ssl=_tls(self._endpoint)) as response:
                if response.status == 401 and not last:
                    await self._authorize(response.headers.get("WWW-Authenticate", ""), used)
                    continue
                if response.status in (401, 403):
                    raise _Denied
                if response.status == 404:
                    raise _Missing
                response.raise_for_status()
                yield response
                return

    async def _authorize(self, challenge: str, used: str) -> None:
        async with self._authorizing:
            if self._authorization != used:
                return  # another request got it meanwhile
            scheme, _, rest = challenge.partition(" ")
            if scheme.lower() == "basic":
                if self._credentials is None:
                    raise _Denied
                self._authorization = _basic(self._credentials)
            elif scheme.lower() == "bearer":
                self._authorization = f"Bearer {await self._token(dict(_CHALLENGE.findall(rest)))}"
            else:
                raise _Denied

    async def _token(self, challenge: Mapping[str, str]) -> str:
        query = {name: challenge[name] for name in ("service", "scope") if name in challenge}
        query.setdefault("scope", f"repository:{self._repository}:pull")
        credentials, tls = self._credentials, _tls(self._endpoint)
        realm = challenge.get("realm", "")
        if credentials is not None and credentials.identity_token:
            form = query | {"grant_type": "refresh_token", "client_id": "wherry"}
            form["refresh_token"] = credentials.identity_token
            request = self._session.post(realm, data=form, ssl=tls)
        else:
            headers = {"Authorization": _basic(credentials)} if credentials is not None else {}
            request = self._session.get(realm, params=query, headers=headers, ssl=tls)
        async with request as response:
            if response.status in (400, 401, 403):
                raise _Denied
            response.raise_for_status()
            answer = await response.json(content_type=None)
        return str(answer.get("token") or answer.get("access_token") or "")

    async def manifest(self, version: str) -> tuple[bytes, str]:
        """Return a manifest or index by tag or digest, with its media type. Raises ImageError when it is not that."""
        async with self._get(f"manifests/{version}", Accept=_ACCEPT) as response:
            data = await response.content.read(blobs.MOST_DOCUMENT + 1)
            while len(data) <= blobs.MOST_DOCUMENT and (more := await response.content.read(1 << 20)):
                data += more
        if len(data) > blobs.MOST_DOCUMENT:
            raise ImageError("manifest is too large")
        if version.startswith("sha256:") and f"sha256:{hashlib.sha256(data).hexdigest()}" != version:
            raise ImageError(f"registry answered with another manifest than {version}")
        return data, response.content_type

    async def blob(self, descriptor: Descriptor, store: Blobs) -> None:
        """Fetch a blob into the store, going on where a broken connection ended. Raises ImageError."""
        with store.writing() as blob:
            backoff = Backoff(0.5, 10, jitter=0.2)
            for attempt in range(_ATTEMPTS):
                try:
                    await self._download(descriptor, blob)
                    break
                except (aiohttp.ClientError, TimeoutError):
                    if attempt == _ATTEMPTS - 1:
                        raise
                    await clock.sleep(backoff.next())
            await asyncio.to_thread(blob.commit, descriptor.digest)

    async def _download(self, descriptor: Descriptor, blob: blobs.NewBlob) -> None:
        headers = {"Range": f"bytes={blob.size}-"} if blob.size else {}
        async with self._get(f"blobs/{descriptor.digest}", **headers) as response:
            skip = blob.size if blob.size and response.status != 206 else 0
            async for data in response.content.iter_chunked(1 << 18):
                fresh = data[min(skip, len(data)) :]
                skip -= len(data) - len(fresh)
                if blob.size + len(fresh) > descriptor.size:
                    raise ImageError(f"blob {descriptor.digest} is larger than its manifest says")
                await asyncio.to_thread(blob.write, fresh)
        if blob.size < descriptor.size:
            raise aiohttp.ClientPayloadError("unexpected EOF")


def _basic(credentials: Credentials) -> str:
    pair = f"{credentials.username}:{credentials.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _tls(endpoint: Endpoint) -> ssl.SSLContext | bool:
    return endpoint.verify


@asynccontextmanager
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """Give the HTTP session of one pull; the proxies of the environment are used."""
    connector = aiohttp.TCPConnector(ssl=await asyncio.to_thread(ssl.create_default_context))
    async with aiohttp.ClientSession(
        connector=connector, timeout=_TIMEOUT, trust_env=True, auto_decompress=False
    ) as opened:
        yield opened


async def resolve(
    http: aiohttp.ClientSession, wanted: Reference, *, config: RegistriesConfig, credentials: Sequence[Credentials]
) -> tuple[Client, bytes, str]:
    """Find the manifest of a reference: each endpoint with each of the credentials, then without any.

    Returns the client that had it, the document and its media type. Raises ImageError in containerd's words.
    """
    failure = ""
    for endpoint in config.endpoints(wanted.registry):
        for given in (*credentials, None):
            client = Client(http, endpoint, repository=wanted.repository, credentials=given)
            try:
                data, media_type = await client.manifest(wanted.version)
                return client, data, media_type
            except _Missing:
                failure = f"{wanted}: not found"
                break
            except _Denied:
                failure = (
                    "pull access denied, repository does not exist or may require authorization: "
                    "authorization failed: no basic auth credentials"
                )
            except (aiohttp.ClientError, TimeoutError, OSError) as error:
                url = f"{endpoint.url}/v2/{wanted.repository}/manifests/{wanted.version}"
                # An answer that was understood says more than that a fallback could not be reached.
                failure = failure or f'failed to do request: Get "{url}": {error or type(error).__name__}'
                break
    raise ImageError(f'failed to pull and unpack image "{wanted}": failed to resolve reference "{wanted}": {failure}')
