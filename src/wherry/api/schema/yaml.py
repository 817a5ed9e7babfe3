"""YAML as the API server's library reads it (go-yaml 2 by way of sigs.k8s.io/yaml): values of JSON from parser events.

1.1 with ``y`` and ``n``, no timestamps, no base-60 numbers; keys become text. Built without recursion, so that deep
documents are refused and not fatal; aliases may not make much more of a document than it says.
"""

import json
import math
import re
from typing import Any

import yaml
from yaml._yaml import CParser

from wherry.api.meta import copy as deep_copy

MAX_DEPTH = 250
"""How deep a document may be: what is stored must be encodable again."""

_MAX_UNSIGNED = 2**64
_FREE_ALIASES, _FREE_VALUES = 100, 1000
_GENEROUS, _STRICT = 400_000, 4_000_000
_TAG = "tag:yaml.org,2002:"
_TRUE = frozenset({"y", "yes", "true", "on"})
_SAID = frozenset({f"{_TAG}bool", f"{_TAG}null"})
"""Of these types is only what would be without a tag."""

_MERGE: Any = object()
_NONE: Any = object()


class _Scalars(yaml.SafeLoader):
    """Makes values of scalars; given the implicit types of the API server's library."""


_Scalars.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in entries if not tag.endswith((":timestamp", ":int", ":float", ":bool"))]
    for first, entries in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Scalars.add_implicit_resolver(
    _TAG + "bool",
    re.compile(r"(?:y|Y|yes|Yes|YES|n|N|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"),
    list("yYnNtTfFoO"),
)
_Scalars.add_implicit_resolver(
    _TAG + "int",
    re.compile(r"[-+]?(?:0b[01_]+|0[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)$"),
    list("-+0123456789"),
)
_Scalars.add_implicit_resolver(
    _TAG + "float",
    re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)
_Scalars.add_constructor(_TAG + "bool", lambda _loader, node: node.value.lower() in _TRUE)
_Scalars.add_constructor(_TAG + "timestamp", lambda _loader, node: node.value)
_IMPLICIT = _Scalars.yaml_implicit_resolvers


def load(raw: bytes) -> tuple[Any, list[str]]:
    """Return the value of the first document and what is wrong with its keys. Raises yaml.YAMLError, ValueError."""
    parser = CParser(raw)
    builder = _Builder(parser)
    try:
        return builder.build(), builder.problems
    finally:
        parser.dispose()


def wording(error: Exception) -> str:
    """Return what is wrong with a document as the API server's library says it.

    Both are ports of one parser and have its problems in common. The other tells no mark but the line, which counts
    from nought (so the first is not told), and of the context before that of the problem; what the scanner finds is
    one line further.
    """
    if isinstance(error, yaml.reader.ReaderError):
        return str(error.reason)
    if not isinstance(error, yaml.MarkedYAMLError) or not error.problem:
        return str(error)
    marks = (error.context_mark, error.problem_mark)
    line = next((mark.line for mark in marks if mark is not None and mark.line), 0)
    if line and isinstance(error, yaml.scanner.ScannerError):
        line += 1
    return f"line {line}: {error.problem}" if line else str(error.problem)


class _Open:
    """A collection that is being read: `value` is the list or dict, `merged` what ``<<`` brought in."""

    __slots__ = ("anchor", "before", "key", "merged", "value")

    def __init__(self, value: Any, anchor: str | None, before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.before = before
        self.key: Any = _NONE
        self.merged: list[Any] = []


class _Builder:
    """Reads the events of one document."""

    def __init__(self, parser: Any) -> None:
        self._parser = parser
        self._scalars = _Scalars("")
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._decoded = 0
        self._aliased = 0
        self._result: Any = None
        self.problems: list[str] = []

    def build(self) -> Any:
        """Return the value of the document."""
        take = self._parser.get_event
        while True:
            event = take()
            kind = event.__class__
            if kind is yaml.ScalarEvent:
                self._decoded += 1
                value = self._scalar(event)
                if event.anchor is not None:
                    self._anchors[event.anchor] = (value, 1)
                self._put(value, event)
            elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
                self._begin(event, {} if kind is yaml.MappingStartEvent else [])
            elif kind is yaml.MappingEndEvent or kind is yaml.SequenceEndEvent:
                self._end(event)
            elif kind is yaml.AliasEvent:
                self._put(self._alias(event), event)
            elif kind is yaml.DocumentEndEvent or kind is yaml.StreamEndEvent:
                return self._result

    def _begin(self, event: Any, value: Any) -> None:
        self._decoded += 1
        wanted = _TAG + ("map" if value.__class__ is dict else "seq")
        if event.tag not in (None, "!", wanted):
            raise yaml.constructor.ConstructorError(
                None, None, f"could not determine a constructor for the tag {event.tag!r}", event.start_mark
            )
        if self._stack:
            holder = self._stack[-1]
            if holder.value.__class__ is dict and holder.key is _NONE:
                raise yaml.YAMLError("map keys must be scalars")
            if len(self._stack) >= MAX_DEPTH:
                raise yaml.YAMLError("exceeded max depth")
        if event.anchor is not None:
            self._anchors[event.anchor] = (_NONE, 0)
        self._stack.append(_Open(value, event.anchor, self._decoded))

    def _end(self, event: Any) -> None:
        done = self._stack.pop()
        for source in done.merged:
            for name, value in source.items():
                done.value.setdefault(name, value)
        if done.anchor is not None:
            self._anchors[done.anchor] = (done.value, self._decoded - done.before + 1)
        self._put(done.value, event)

    def _put(self, value: Any, event: Any) -> None:
        if not self._stack:
            self._result = None if value is _MERGE else value
            return
        holder = self._stack[-1]
        if holder.value.__class__ is list:
            holder.value.append("<<" if value is _MERGE else value)
        elif holder.key is _NONE:
            self._key(holder, value, event)
        else:
            name, holder.key = holder.key, _NONE
            if name is _MERGE:
                holder.merged += self._sources(value)
            else:
                holder.value[name] = "<<" if value is _MERGE else value

    def _key(self, holder: _Open, key: Any, event: Any) -> None:
        if key.__class__ is dict or key.__class__ is list:
            raise yaml.YAMLError("map keys must be scalars")
        if key is _MERGE:
            holder.key = key
            return
        holder.key = name = key if key.__class__ is str else _key_text(key)
        if name in holder.value:
            shown = json.dumps(key) if isinstance(key, str) else name
            self.problems.append(f"  line {event.start_mark.line + 1}: key {shown} already set in map")

    @staticmethod
    def _sources(value: Any) -> list[Any]:
        """Return the maps to merge; of several the first has the last word."""
        sources = value if isinstance(value, list) else [value]
        if not all(isinstance(source, dict) for source in sources):
            raise yaml.YAMLError("map merge requires map or sequence of maps as the value")
        return sources

    def _alias(self, event: Any) -> Any:
        found = self._anchors.get(event.anchor)
        if found is None:
            raise yaml.YAMLError(f"unknown anchor '{event.anchor}' referenced")
        value, weight = found
        if value is _NONE:
            raise yaml.YAMLError(f"anchor '{event.anchor}' value contains itself")
        self._decoded += weight
        self._aliased += weight
        if (
            self._aliased > _FREE_ALIASES
            and self._decoded > _FREE_VALUES
            and self._aliased > self._decoded * _allowed(self._decoded)
        ):
            raise yaml.YAMLError("document contains excessive aliasing")
        return deep_copy({"": value})[""] if isinstance(value, (dict, list)) else value

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        tag = event.tag
        if tag is None or tag == "!":
            if tag is not None or not event.implicit[0]:
                return text
            tag = _implicit_tag(text)
            if tag is None:
                return text
        return self._tagged(tag, text, event)

    def _tagged(self, tag: str, text: str, event: Any) -> Any:
        if tag == _TAG + "merge":
            return _MERGE
        if tag == _TAG + "int" and text.isascii() and text.isdigit() and len(text) < 19 and text[0] != "0":
            return int(text)
        if tag in _SAID and _implicit_tag(text) != tag:
            raise _undecodable(text, tag)
        try:
            value = self._scalars.construct_object(yaml.ScalarNode(tag, text, event.start_mark, event.end_mark))
        except ValueError:
            raise _undecodable(text, tag) from None
        if isinstance(value, bytes):
            return value.decode("utf-8", "replace")
        if isinstance(value, float) and not math.isfinite(value):
            raise yaml.YAMLError(f"json: unsupported value: {text}")
        if value.__class__ is int and abs(value) >= _MAX_UNSIGNED:
            return float(value)
        return value


def _implicit_tag(text: str) -> str | None:
    """Return the tag of a plain scalar that is no text."""
    for tag, pattern in _IMPLICIT.get(text[:1], ()):
        if pattern.match(text):
            return str(tag)
    return None


def _undecodable(text: str, tag: str) -> yaml.YAMLError:
    given = (_implicit_tag(text) or "str").removeprefix(_TAG)
    return yaml.YAMLError(f"cannot decode !!{given} `{text}` as a !!{tag.removeprefix(_TAG)}")


def _allowed(decoded: int) -> float:
    """Return what part of the values may come from aliases: nearly all of a small document, a tenth of a large one."""
    if decoded <= _GENEROUS:
        return 0.99
    if decoded >= _STRICT:
        return 0.10
    return 0.99 - 0.89 * (decoded - _GENEROUS) / (_STRICT - _GENEROUS)


def _key_text(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    return "null" if key is None else str(key)
