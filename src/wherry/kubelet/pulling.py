"""Images for containers: the pull policy, back-off, credentials and the words that go with them."""

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from wherry.api import meta
from wherry.api.resources import SECRETS, Resource
from wherry.images.protocol import Credentials, Image, ImageError, ImageStore
from wherry.kubelet.crashes import EventBackoff
from wherry.kubelet.events import PodEvents
from wherry.kubelet.status import Waiting
from wherry.kubelet.words import duration
from wherry.util import clock

log = logging.getLogger(__name__)

WAITING_REASONS = ("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull")
"""Why a container waits whose image is not there."""

_CHECK_AGAIN = 10.0


class NotReady(Exception):
    """The image is not there: the container waits with `waiting`, and may try again after `retry` seconds."""

    def __init__(self, waiting: Waiting, retry: float) -> None:
        super().__init__(waiting.message)
        self.waiting = waiting
        self.retry = retry


class ImagePuller:
    """Makes an image present as a container's pull policy says; equal pulls at one time are one pull."""

    def __init__(self, store: ImageStore, events: PodEvents, *, backoff: tuple[float, float] = (10.0, 300.0)) -> None:
        self._store = store
        self._events = events
        self._backoff = EventBackoff(*backoff)
        self._failures: dict[tuple[str, str], str] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    async def present(self, pod: meta.Object, *, container: str, reference: str, policy: str) -> Image | None:
        """Return the image when it is here and its policy is content, None when it is to be pulled. Raises NotReady."""
        try:
            found = await self._store.find(reference)
        except ImageError as error:
            text = str(error)
            self._events.warning(pod, "InspectFailed", text, container=container)
            raise self._failed(pod, container, Waiting("InvalidImageName", text), _CHECK_AGAIN) from error
        if found is not None and (policy != "Always" or _made_here(found)):
            text = f'Container image "{reference}" already present on machine and can be accessed by the pod'
            self._events.normal(pod, "Pulled", text, container=container)
            return found
        if policy == "Never":
            text = f'Container image "{reference}" is not present with pull policy of Never'
            self._events.warning(pod, "ErrImageNeverPull", text, container=container)
            raise self._failed(pod, container, Waiting("ErrImageNeverPull", text), _CHECK_AGAIN)
        return None

    def forget(self, uid: str) -> None:
        """Drop the back-off of a pod that is gone."""
        for key in [k for k in self._failures if k[0] == uid]:
            del self._failures[key]
            self._backoff.forget(key)

    async def pull(self, pod: meta.Object, *, container: str, reference: str, credentials: "CredentialSource") -> Image:
        """Fetch the image, unless an earlier failure still forbids it. Raises NotReady; cancellable."""
        key = (meta.uid(pod), reference)
        if remaining := self._backoff.until(key, now=clock.monotonic()):
            text = f'Back-off pulling image "{reference}"'
            self._events.normal(pod, "BackOff", text, container=container)
            waiting = Waiting("ImagePullBackOff", f"{text}: ErrImagePull: {self._failures[key]}")
            raise self._failed(pod, container, waiting, remaining)
        self._events.normal(pod, "Pulling", f'Pulling image "{reference}"', container=container)
        asked = clock.monotonic()
        lock = self._locks.setdefault(reference, asyncio.Lock())
        try:
            async with lock:
                started = clock.monotonic()
                image = await self._store.pull(reference, await credentials())
        except ImageError as error:
            self._failures[key] = str(error)
            delay = self._backoff.advance(key, now=clock.monotonic())
            text = f'Failed to pull image "{reference}": {error}'
            self._events.warning(pod, "Failed", text, container=container)
            raise self._failed(pod, container, Waiting(error.reason, str(error)), delay) from error
        finally:
            if not lock.locked():
                self._locks.pop(reference, None)
        self._failures.pop(key, None)
        self._backoff.forget(key)
        done = clock.monotonic()
        text = (
            f'Successfully pulled image "{reference}" in {duration(round(done - started, 3))} '
            f"({duration(round(done - asked, 3))} including waiting). Image size: {image.size} bytes."
        )
        self._events.normal(pod, "Pulled", text, container=container)
        return image

    def _failed(self, pod: meta.Object, container: str, waiting: Waiting, retry: float) -> NotReady:
        self._events.warning(pod, "Failed", f"Error: {waiting.reason}", container=container)
        return NotReady(waiting, retry)


def _made_here(image: Image) -> bool:
    """An image that was built or loaded, never pulled: no registry is the authority over its name."""
    return not image.digests


CredentialSource = Callable[[], Awaitable[Sequence[Credentials]]]
Lookup = Callable[[Resource, str], Awaitable[meta.Object | None]]


async def pull_credentials(reference: str, secret_names: Sequence[str], lookup: Lookup) -> list[Credentials]:
    """Return the credentials for an image's registry out of pull secrets, the most specific first.

    Secrets that are missing or not of a docker type are skipped, as kubelets do.
    """
    found: list[tuple[int, Credentials]] = []
    for name in secret_names:
        secret = await lookup(SECRETS, name)
        for registry, entry in _auths(secret or {}).items():
            where = registry.removeprefix("https://").removeprefix("http://").rstrip("/")
            where = where.removesuffix("/v1").removesuffix("/v2").removeprefix("index.")
            if _matches(where, reference):
                found.append((len(where), _credentials(entry)))
    return [c for _, c in sorted(found, key=lambda pair: -pair[0])]


def _auths(secret: meta.Object) -> dict[str, Any]:
    data = secret.get("data") or {}
    try:
        if ".dockerconfigjson" in data:
            return json.loads(base64.b64decode(data[".dockerconfigjson"])).get("auths") or {}
        if ".dockercfg" in data:
            return json.loads(base64.b64decode(data[".dockercfg"]))
    except ValueError:
        log.warning("the pull secret %s is not valid", meta.key_of(secret))
    return {}


def _matches(where: str, reference: str) -> bool:
    first, slash, _ = reference.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost")
    full = reference if is_host else f"docker.io/{reference}"
    return full == where or full.startswith((where + "/", where + ":", where + "@"))


def _credentials(entry: dict[str, Any]) -> Credentials:
    username, password = entry.get("username") or "", entry.get("password") or ""
    if not username and entry.get("auth"):
        username, _, password = base64.b64decode(entry["auth"]).decode(errors="replace").partition(":")
    return Credentials(username, password, entry.get("identitytoken") or "")
