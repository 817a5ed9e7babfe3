"""Helpers for tests of whatever reads a cache."""

from types import TracebackType

import orjson

from wherry.api import meta
from wherry.api.meta import Object
from wherry.client import cache


class MutationDetector:
    """Proves that no object changed after it entered a cache.

    ``with MutationDetector():`` around a test remembers every object that any `Indexer` takes, with its encoding, and
    raises AssertionError at the end when one is no longer the same.
    """

    def __init__(self) -> None:
        self._seen: dict[int, tuple[Object, bytes]] = {}

    def check(self) -> None:
        """Raise AssertionError for the first object that has changed."""
        for obj, before in self._seen.values():
            if orjson.dumps(obj) != before:
                raise AssertionError(
                    f"cached object {meta.key_of(obj)} was changed:\n {before.decode()}\n {orjson.dumps(obj).decode()}"
                )

    def _observe(self, obj: Object) -> None:
        if id(obj) not in self._seen:
            self._seen[id(obj)] = (obj, orjson.dumps(obj))

    def __enter__(self) -> "MutationDetector":
        cache.observer = self._observe
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        cache.observer = None
        if kind is None:
            self.check()
