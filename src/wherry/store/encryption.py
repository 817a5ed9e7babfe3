"""Encryption at rest: what the log on disk holds of some resources is sealed (``EncryptionConfiguration`` v1).

The memory of the server holds what clients get; only what is written to disk passes here. A sealed value begins with
``k8s:enc:PROVIDER:v1:KEY:``, as upstream's does. The first provider of a resource seals, all of its providers open; so
a key is rotated by putting the new one first and starting the server, which seals anew what is not sealed by it, and
by taking the old one away after that.
"""

import base64
import binascii
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.padding import PKCS7

from wherry.store.log import Loaded, Log
from wherry.store.protocol import Event, Record

_PREFIX = b"k8s:enc:"
_KEY_SIZES = (16, 24, 32)
_NONCE, _BLOCK = 12, 16


class EncryptionError(OSError):
    """The configuration cannot be used, or a value cannot be opened with its keys; the text says why."""


class _Provider(Protocol):
    prefix: bytes

    def seal(self, value: bytes, path: bytes) -> bytes: ...

    def open(self, sealed: bytes, path: bytes) -> bytes: ...


class _Identity:
    """Leaves values as they are."""

    def __init__(self) -> None:
        self.prefix = b""

    def seal(self, value: bytes, path: bytes) -> bytes:
        return value

    def open(self, sealed: bytes, path: bytes) -> bytes:
        return sealed


class _AesGcm:
    """AES-GCM with a random nonce; the path is authenticated, so that values cannot be put in each other's place."""

    def __init__(self, name: str, key: bytes) -> None:
        self.prefix = _PREFIX + f"aesgcm:v1:{name}:".encode()
        self._cipher = AESGCM(key)

    def seal(self, value: bytes, path: bytes) -> bytes:
        nonce = os.urandom(_NONCE)
        return nonce + self._cipher.encrypt(nonce, value, path)

    def open(self, sealed: bytes, path: bytes) -> bytes:
        return self._cipher.decrypt(sealed[:_NONCE], sealed[_NONCE:], path)


class _AesCbc:
    """AES-CBC with PKCS #7 padding: for data that another server sealed so."""

    def __init__(self, name: str, key: bytes) -> None:
        self.prefix = _PREFIX + f"aescbc:v1:{name}:".encode()
        self._algorithm = algorithms.AES(key)

    def seal(self, value: bytes, path: bytes) -> bytes:
        vector = os.urandom(_BLOCK)
        padder, encryptor = PKCS7(128).padder(), Cipher(self._algorithm, modes.CBC(vector)).encryptor()
        padded = padder.update(value) + padder.finalize()
        return vector + encryptor.update(padded) + encryptor.finalize()

    def open(self, sealed: bytes, path: bytes) -> bytes:
        decryptor, unpadder = Cipher(self._algorithm, modes.CBC(sealed[:_BLOCK])).decryptor(), PKCS7(128).unpadder()
        padded = decryptor.update(sealed[_BLOCK:]) + decryptor.finalize()
        return unpadder.update(padded) + unpadder.finalize()


_KEYED: Mapping[str, Callable[[str, bytes], _Provider]] = {"aesgcm": _AesGcm, "aescbc": _AesCbc}


class Sealer:
    """Seals and opens values by their keys (``/registry/core/secrets/…``), by an EncryptionConfiguration.

    Raises EncryptionError for one that is none.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        if config.get("kind") != "EncryptionConfiguration" or not config.get("resources"):
            raise EncryptionError("an EncryptionConfiguration with resources is needed")
        self._rules = [(tuple(rule["resources"]), _providers(rule["providers"])) for rule in config["resources"]]
        self._known: dict[tuple[str, str], Sequence[_Provider]] = {}

    @classmethod
    def load(cls, path: Path) -> "Sealer":
        """Read a configuration file (YAML or JSON). Raises EncryptionError, OSError."""
        import yaml  # only servers with such a file need its parser here

        try:
            found = yaml.safe_load(path.read_text())
            return cls(found if isinstance(found, dict) else {})
        except (yaml.YAMLError, KeyError, TypeError, AttributeError) as error:
            raise EncryptionError(f"{path} is no EncryptionConfiguration: {error}") from None

    def seal(self, key: str, value: bytes) -> bytes:
        """Return what is written to disk of a value."""
        providers = self._of(key)
        if not providers:
            return value
        first = providers[0]
        return first.prefix + first.seal(value, key.encode())

    def open(self, key: str, sealed: bytes) -> bytes:
        """Return the value of what is on disk. Raises EncryptionError."""
        for provider in self._of(key):
            if provider.prefix and not sealed.startswith(provider.prefix):
                continue
            if not provider.prefix and sealed.startswith(_PREFIX):
                continue
            try:
                return provider.open(sealed[len(provider.prefix) :], key.encode())
            except (InvalidTag, ValueError):
                continue  # another key may have the same name
        if not self._of(key) and not sealed.startswith(_PREFIX):
            return sealed
        raise EncryptionError(f"no provider of the encryption configuration opens {key}")

    def is_current(self, key: str, sealed: bytes) -> bool:
        """Tell whether what is on disk was sealed by the provider that seals now."""
        providers = self._of(key)
        if not providers or not providers[0].prefix:
            return not sealed.startswith(_PREFIX)
        return sealed.startswith(providers[0].prefix)

    def _of(self, key: str) -> Sequence[_Provider]:
        _, _, group, plural, _ = key.split("/", 4)
        found = self._known.get((group, plural))
        if found is None:
            found = self._known[group, plural] = next(
                (providers for patterns, providers in self._rules if any(_covers(p, group, plural) for p in patterns)),
                (),
            )
        return found


class SealedLog:
    """A `log.Log` whose values are sealed in the log below it."""

    def __init__(self, log: Log, sealer: Sealer) -> None:
        self._log = log
        self._sealer = sealer

    def load(self) -> Loaded:
        loaded = self._log.load()
        self._log.rewrite(self._renewed)
        return loaded._replace(records=[self._opened(record) for record in loaded.records])

    def append(self, events: Sequence[Event]) -> None:
        self._log.append(self.sealed(events))

    def sealed(self, events: Sequence[Event]) -> Sequence[Event]:
        """Return `events` as they go into the log below."""
        return [Event(e.type, self._sealed(e.record), e.previous) for e in events]

    def events(self, prefix: str, after: int, until: int, limit: int) -> Sequence[Event]:
        found = self._log.events(prefix, after, until, limit)
        return [Event(e.type, self._opened(e.record), e.previous and self._opened(e.previous)) for e in found]

    def rewrite(self, renew: Callable[[str, bytes], bytes | None]) -> None:
        self._log.rewrite(renew)

    def compact(self, after: int, until: int) -> None:
        self._log.compact(after, until)

    def close(self) -> None:
        self._log.close()

    def _sealed(self, record: Record) -> Record:
        return Record(record.key, self._sealer.seal(record.key, record.value), record.revision, record.created)

    def _opened(self, record: Record) -> Record:
        return Record(record.key, self._sealer.open(record.key, record.value), record.revision, record.created)

    def _renewed(self, key: str, sealed: bytes) -> bytes | None:
        if self._sealer.is_current(key, sealed):
            return None
        return self._sealer.seal(key, self._sealer.open(key, sealed))


def _providers(given: Sequence[Mapping[str, Any]]) -> list[_Provider]:
    found: list[_Provider] = []
    for provider in given:
        ((kind, settings),) = provider.items()
        if kind == "identity":
            found.append(_Identity())
        elif kind in _KEYED:
            found += [_KEYED[kind](key["name"], _key(key)) for key in settings["keys"]]
        else:
            raise EncryptionError(f"the encryption provider {kind!r} is not supported: use aesgcm, aescbc or identity")
    return found


def _key(key: Mapping[str, Any]) -> bytes:
    try:
        raw = base64.b64decode(key["secret"], validate=True)
    except (binascii.Error, ValueError):
        raise EncryptionError(f"the secret of encryption key {key['name']!r} is not base64") from None
    if len(raw) not in _KEY_SIZES:
        raise EncryptionError(f"encryption key {key['name']!r} has {len(raw)} bytes, not 16, 24 or 32")
    return raw


def _covers(pattern: str, group: str, plural: str) -> bool:
    """Tell whether ``secrets``, ``deployments.apps``, ``*.apps``, ``*.`` (the core group) or ``*.*`` is a resource."""
    name, _, of = pattern.partition(".")
    return name in ("*", plural) and of in ("*", "" if group == "core" else group)
