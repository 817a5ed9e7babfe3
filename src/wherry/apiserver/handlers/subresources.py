"""Subresources with handlers of their own; the others are views of their object and go the way of its verbs."""

from collections.abc import Awaitable, Callable

from wherry.apiserver.api import Api
from wherry.apiserver.handlers import binding, eviction, scale
from wherry.apiserver.request import Answer, Request

HANDLERS: dict[tuple[str, str, str], Callable[[Api, Request], Awaitable[Answer]]] = {
    ("", "pods", "binding"): binding.handle,
    ("", "bindings", ""): binding.handle,
    ("", "pods", "eviction"): eviction.handle,
    ("", "", "scale"): scale.handle,
}
"""By (group, plural, subresource); empty group and plural: of whatever resource."""
