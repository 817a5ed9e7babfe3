"""What an image store offers the kubelet and ``wherry image``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from wherry.util.disk import DiskUsage


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """`id` is ``sha256:…`` of the configuration; `tags` are full references (``docker.io/library/redis:latest``),
    `digests` likewise with ``@sha256:…``. `user` is the configuration's, unresolved."""

    id: str
    tags: Sequence[str]
    digests: Sequence[str]
    size: int
    created: float
    user: str = ""
    env: Sequence[str] = ()
    entrypoint: Sequence[str] = ()
    command: Sequence[str] = ()
    working_dir: str = ""
    stop_signal: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Credentials:
    username: str = ""
    password: str = ""
    identity_token: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """A user resolved against an image's ``/etc/passwd`` and ``/etc/group``."""

    uid: int
    gid: int
    additional_gids: Sequence[int] = ()
    home: str = "/"


class ImageError(Exception):
    """`reason` is the kubelet's waiting reason: ErrImagePull, InvalidImageName, CreateContainerError (no such user),
    or ImageInUse (a removal)."""

    def __init__(self, message: str, *, reason: str = "ErrImagePull") -> None:
        super().__init__(message)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Ids:
    """A user namespace: its file, and the host's id of its root."""

    namespace: str
    host_id: int


class ImageStore(Protocol):
    on_named: Callable[[Image], None]
    """Called on the event loop with an image that has got a name: it was pulled, loaded, built or tagged."""

    async def list(self) -> Sequence[Image]: ...

    async def find(self, reference: str) -> Image | None:
        """Return the image that a reference (short names as Docker reads them), digest or id names.

        Raises ImageError(InvalidImageName).
        """
        ...

    async def pull(
        self, reference: str, credentials: Sequence[Credentials] = (), *, progress: Callable[[str], None] | None = None
    ) -> Image:
        """Fetch from its registry for this machine's platform. Raises ImageError; the store is then unchanged."""
        ...

    async def load(self, path: str) -> Sequence[Image]:
        """Add the images of a docker-archive or oci-archive tar (gzip or not). Raises ImageError."""
        ...

    async def tag(self, image: str, reference: str) -> Image:
        """Give an image another name. Raises ImageError when there is no such image."""
        ...

    async def build(
        self,
        context_dir: str,
        *,
        tag: str,
        dockerfile: str = "",
        build_args: Mapping[str, str] | None = None,
        progress: Callable[[str], None] | None = None,
    ) -> Image:
        """Build a Dockerfile (by default the context's own) and add the result as `tag`. Raises ImageError."""
        ...

    async def remove(self, reference: str) -> None:
        """Untag, and delete when the last tag is gone and nothing is mounted; an id loses all its names.

        Nothing happens when there is no such image. Raises ImageError(ImageInUse) for the id of a mounted one.
        """
        ...

    async def mount(self, image_id: str, key: str, *, ids: Ids | None = None) -> str:
        """Return the path of a fresh writable root of the image, under `key` (a container id); the same for the same
        key. With `ids` its files belong to the users of a user namespace. Raises ImageError."""
        ...

    async def unmount(self, key: str) -> None:
        """Unmount and delete a root; nothing happens when it is gone."""
        ...

    async def resolve_user(self, rootfs: str, user: str) -> User:
        """Resolve ``name``, ``uid``, ``name:group`` … in a mounted root. Raises ImageError when it names nobody."""
        ...

    async def roots(self) -> Sequence[str]:
        """Return the keys of the roots that were mounted and not unmounted."""
        ...

    async def root_usage(self, key: str) -> DiskUsage:
        """Return what was written to the root `key`, nothing when there is none."""
        ...

    async def usage(self) -> int:
        """Return the bytes that images and writable layers use on disk."""
        ...
