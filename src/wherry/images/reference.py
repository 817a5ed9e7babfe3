"""Image references with short names as Docker reads them (``redis`` is ``docker.io/library/redis:latest``).

The grammar is that of the distribution project's ``reference`` package.
"""

import re
from dataclasses import dataclass

from wherry.images.protocol import ImageError

DEFAULT_REGISTRY = "docker.io"
DEFAULT_TAG = "latest"

_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?")
_PATH_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_PATH_PART}(?:/{_PATH_PART})*")
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[a-f0-9]{64}|sha512:[a-f0-9]{128}")
_HEX64 = re.compile(r"[a-f0-9]{64}")
_MOST_NAME = 255


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference in full. `digest` wins over `tag`; one of them is set."""

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        return f"{self.name}@{self.digest}" if self.digest else f"{self.name}:{self.tag}"

    @property
    def version(self) -> str:
        """What a registry is asked for: the digest, or the tag."""
        return self.digest or self.tag


def parse(text: str) -> Reference:
    """Parse a reference. Raises ImageError(InvalidImageName)."""
    name, _, digest = text.partition("@")
    if "@" in text and not _DIGEST.fullmatch(digest):
        raise _invalid(text, "invalid reference format")
    registry, rest = _split_registry(name)
    repository, colon, tag = rest.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise _invalid(text, "invalid reference format")
    if _HEX64.fullmatch(name):
        raise _invalid(text, f"invalid repository name ({name}), cannot specify 64-byte hexadecimal strings")
    if not _PATH.fullmatch(repository):
        if _PATH.fullmatch(repository.lower()):
            raise _invalid(text, f"invalid reference format: repository name ({repository}) must be lowercase")
        raise _invalid(text, "invalid reference format")
    if not _HOST.fullmatch(registry):
        raise _invalid(text, "invalid reference format")
    if len(repository) > _MOST_NAME:
        raise _invalid(text, f"repository name must not be more than {_MOST_NAME} characters")
    return Reference(registry, repository, "" if digest else tag or DEFAULT_TAG, digest)


def _split_registry(name: str) -> tuple[str, str]:
    first, slash, rest = name.partition("/")
    is_host = slash and ("." in first or ":" in first or first == "localhost" or first != first.lower())
    if not is_host:
        first, rest = DEFAULT_REGISTRY, name
    if first == "index.docker.io":
        first = DEFAULT_REGISTRY
    if first == DEFAULT_REGISTRY and "/" not in rest:
        rest = f"library/{rest}"
    return first, rest


def _invalid(text: str, why: str) -> ImageError:
    message = f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {why}'
    return ImageError(message, reason="InvalidImageName")
