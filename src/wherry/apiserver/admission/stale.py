"""Tells when what was compiled from objects must be compiled again."""

from typing import Any

from wherry.api.resources import Resource
from wherry.apiserver.attributes import Reader


class Stale:
    """True until `renew` is called, and again after every change of an object of its resources."""

    __slots__ = ("_following", "_reader", "_resources", "value")

    def __init__(self, reader: Reader, *resources: Resource) -> None:
        self._reader = reader
        self._resources = resources
        self._following = False
        self.value = True

    def renew(self) -> None:
        """Note that everything is about to be compiled."""
        if not self._following:
            self._following = True
            for resource in self._resources:
                self._reader.follow(resource, self._note)
        self.value = False

    def _note(self, key: str, obj: dict[str, Any] | None) -> None:
        self.value = True
