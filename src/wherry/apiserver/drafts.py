"""New pods as their bodies say them: those of one workload differ in their metadata alone.

What the rest of a body is once it is decoded and defaulted, and which fields of it are its maker's, are functions of
its content. A draft keeps both for the next pod that is alike. Pods share what is in it: until `wherry.api.newpods`
has seen a pod, nobody may change in place what is below the first level of its spec.
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

_PLAIN = frozenset({"name", "generateName", "namespace", "uid", "creationTimestamp", "labels"})
_MOST = 1024
_LONGEST = 8 * 1024


class Draft(NamedTuple):
    """A decoded and defaulted pod without its metadata and spec, its spec, and its maker's fields; all shared."""

    rest: Object
    spec: Object
    fields: Node


class Drafts:
    """The drafts of one server, by the bytes of what was asked for."""

    def __init__(self, pods: TypeSchema) -> None:
        self._schema = pods
        self._metadata = builder(pods.root.fields["metadata"].type)
        self._known: dict[bytes, Draft] = {}
        self._owned: dict[tuple[str, ...], Node] = {}

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
        return Conformed({**draft.rest, "metadata": metadata, "spec": draft.spec.copy()}, [], None)

    def owned(self, metadata: Object) -> Node:
        """Return which fields of a pod's metadata are its maker's; shared. Of plain ones only the names matter."""
        if not metadata.keys() <= _PLAIN:
            return managedfields.given_fields({"metadata": metadata}, self._schema)
        key = (*metadata, "", *(metadata.get("labels") or ()))
        found = self._owned.get(key)
        if found is None:
            if len(self._owned) >= _MOST:
                self._owned.clear()
            found = self._owned[key] = managedfields.given_fields({"metadata": metadata}, self._schema)
        return found

    def _learn(self, content: bytes, obj: Object) -> Conformed:
        found = self._schema.conform(obj)
        if found.error is not None:
            return found
        defaults.default(PODS, found.obj)
        spec = found.obj.get("spec")
        if content and not found.unknown and len(content) < _LONGEST and spec:
            rest = {name: value for name, value in found.obj.items() if name != "metadata"}
            reset = managedfields.reset_fields(PODS, "")
            if len(self._known) >= _MOST:
                self._known.clear()
            fields = managedfields.given_fields(rest, self._schema, reset=reset)
            del rest["spec"]
            self._known[content] = Draft(rest, spec.copy(), fields)
        return found
