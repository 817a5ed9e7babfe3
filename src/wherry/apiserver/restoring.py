"""The words of Go's conversion from untyped maps, which strategic merge patches go through instead of its JSON decoder
(``k8s.io/apimachinery/pkg/runtime``, the unstructured converter)."""

import re
from typing import Any

_MISMATCH = re.compile(r"json: cannot unmarshal (\w+)(?: \S+)? into Go (?:struct field \S+|value) of type (\S+)")
_KINDS = {"object": "map", "array": "slice", "number": "int64"}
_SCALARS = ("string", "bool", "int32", "int64", "float64")


def error_of(text: str) -> str:
    """Return what the converter says where the JSON decoder says `text`; what both say alike stays.

    ``json: cannot unmarshal string into Go struct field ObjectMeta.metadata.labels of type map[string]string`` is
    ``cannot restore map from string``.
    """
    found = _MISMATCH.fullmatch(text)
    if found is None:
        return text
    kind, wanted = _KINDS.get(found[1], found[1]), found[2]
    if wanted.startswith("map["):
        return f"cannot restore map from {kind}"
    if wanted.startswith("[]"):
        return f"cannot restore slice from {kind}"
    if wanted in _SCALARS:
        return f"cannot convert {'map[string]interface {}' if kind == 'map' else kind} to {wanted}"
    # A named type is a struct where text does not fit: all others are made of text.
    return f"cannot restore struct from: {kind}" if kind == "string" else text


def shown(value: Any) -> str:
    """Return a decoded JSON value as Go's verb ``%+v`` shows it."""
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{name}:{shown(value[name])}" for name in sorted(value)) + "]"
    if isinstance(value, list):
        return "[" + " ".join(map(shown, value)) + "]"
    return str(value)
