"""New pods as their bodies say them: those of one workload differ in their metadata alone.

What the rest of a body is once it is decoded and defaulted, and which fields of it are its maker's, are functions of
its content. A draft keeps both for the next pod that is alike.
"""

from typing import NamedTuple

import orjson

from wherry.api import defaults, managedfields
from wherry.api.managedfields.fieldset import Node
from wherry.api.meta import Object
from wherry.api.resources import PODS
from wherry.api.schema import TypeSchema
from wherry.api.schema.compile import builder
from wherry.api.schema.types import Anomaly, Conformed
from wherry.apiserver.request import Request

_MOST = 1024
_LONGEST = 8 * 1024


class Draft(NamedTuple):
    """A decoded and defaulted pod without its metadata, as bytes since each pod is changed, and its maker's fields."""

    rest: bytes
    fields: Node


class Drafts:
    """The drafts of one server, by the bytes of what was asked for."""

    def __init__(self, pods: TypeSchema) -> None:
        self._schema = pods
        self._metadata = builder(pods.root.fields["metadata"].type)
        self._known: dict[bytes, Draft] = {}

    def conform(self, request: Request, obj: Object) -> Conformed:
        """Return a new pod as its schema and the defaults make it of `obj`, which is not changed.

        Notes in ``request.fields`` what its maker owns beside metadata, where that is known.
        """
        rest = obj.copy()
        metadata = rest.pop("metadata", None)
        try:
            content = orjson.dumps(rest)
        except TypeError:  # numbers that were written as Go refuses them
            content = b""
        draft = self._known.get(content)
        if draft is None or metadata.__class__ is not dict:
            return self._learn(content, obj)
        try:
            metadata = self._metadata(metadata)
        except Anomaly:
            return self._learn(b"", obj)
        request.fields = draft.fields
        return Conformed({"metadata": metadata, **orjson.loads(draft.rest)}, [], None)

    def _learn(self, content: bytes, obj: Object) -> Conformed:
        found = self._schema.conform(obj)
        if found.error is not None:
            return found
        defaults.default(PODS, found.obj)
        if content and not found.unknown and len(content) < _LONGEST:
            rest = {name: value for name, value in found.obj.items() if name != "metadata"}
            reset = managedfields.reset_fields(PODS, "")
            if len(self._known) >= _MOST:
                self._known.clear()
            fields = managedfields.given_fields(rest, self._schema, reset=reset)
            self._known[content] = Draft(orjson.dumps(rest), fields)
        return found
