"""The types of CEL: what the checker knows about a value before it exists."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple


class Member(NamedTuple):
    """A field of an object type: the key under which the value keeps it, which differs from an escaped name."""

    key: str
    type: "Type"


@dataclass(frozen=True, slots=True)
class Type:
    """One type. `kind` is dyn, null, bool, int, uint, double, string, bytes, timestamp, duration, list, map, object,
    optional, type, parameter or opaque; `name` tells objects, opaque types and parameters apart.

    `size` bounds the length of strings, lists and maps (None: unbounded) and takes no part in comparisons; neither do
    `fields` of an object and `list_type` (``set`` or ``map``, with `keys`).
    """

    kind: str
    params: "tuple[Type, ...]" = ()
    name: str = ""
    fields: Mapping[str, Member] = field(default_factory=dict, compare=False, repr=False)
    size: int | None = field(default=None, compare=False)
    list_type: str = field(default="", compare=False)
    keys: tuple[str, ...] = field(default=(), compare=False)

    def __str__(self) -> str:
        if self.kind in ("object", "opaque", "parameter"):
            return self.name
        if self.params:
            head = "optional_type" if self.kind == "optional" else self.kind
            return f"{head}({', '.join(map(str, self.params))})"
        return self.kind

    @property
    def element(self) -> "Type":
        """The type of what a list, map or optional holds."""
        return self.params[-1] if self.params else DYN


DYN = Type("dyn")
NULL = Type("null")
BOOL = Type("bool")
INT = Type("int")
UINT = Type("uint")
DOUBLE = Type("double")
STRING = Type("string")
BYTES = Type("bytes")
TIMESTAMP = Type("timestamp")
DURATION = Type("duration")
TYPE = Type("type", (DYN,))

_SCALARS = {t.kind: t for t in (DYN, NULL, BOOL, INT, UINT, DOUBLE, STRING, BYTES, TIMESTAMP, DURATION)}
_SCALARS["null_type"] = NULL


def list_of(element: Type, *, size: int | None = None, list_type: str = "", keys: tuple[str, ...] = ()) -> Type:
    """Return the type of lists."""
    return Type("list", (element,), size=size, list_type=list_type, keys=keys)


def map_of(key: Type, value: Type, *, size: int | None = None) -> Type:
    """Return the type of maps."""
    return Type("map", (key, value), size=size)


def optional_of(value: Type) -> Type:
    """Return the type of optional values."""
    return Type("optional", (value,))


def opaque(name: str) -> Type:
    """Return a type that only functions look into (``kubernetes.URL``)."""
    return Type("opaque", (), name)


def object_of(name: str, fields: Mapping[str, Type]) -> Type:
    """Return an object type; the keys of `fields` are the names of the wire."""
    members = {escape(key): Member(key, kind) for key, kind in fields.items()}
    return Type("object", (), name, {k: m for k, m in members.items() if k})


RESERVED = frozenset(
    [
        "true",
        "false",
        "null",
        "in",
        "as",
        "break",
        "const",
        "continue",
        "else",
        "for",
        "function",
        "if",
        "import",
        "let",
        "loop",
        "package",
        "namespace",
        "return",
        "var",
        "void",
        "while",
    ]
)
_ESCAPES = {"__": "__underscores__", ".": "__dot__", "-": "__dash__", "/": "__slash__"}


def escape(key: str) -> str:
    """Return the identifier by which rules name a field, empty when they cannot (apiserver ``cel.Escape``)."""
    if key in RESERVED:
        return f"__{key}__"
    if not key or key[0].isdigit():
        return ""
    out, at = [], 0
    while at < len(key):
        two = key[at : at + 2]
        if two == "__":
            out.append(_ESCAPES[two])
            at += 2
            continue
        char = key[at]
        if char in _ESCAPES:
            out.append(_ESCAPES[char])
        elif char.isascii() and (char.isalnum() or char == "_"):
            out.append(char)
        else:
            return ""
        at += 1
    return "".join(out)


def parse_type(text: str) -> Type:
    """Return the type of a signature: ``list(A)``, ``kubernetes.URL``; one letter is a parameter."""
    text = text.strip()
    if text.endswith(")"):
        head, _, inner = text[:-1].partition("(")
        return Type(head, tuple(parse_type(part) for part in split_types(inner)))
    if len(text) == 1:
        return Type("parameter", (), text)
    return _SCALARS.get(text) or opaque(text)


def split_types(text: str) -> list[str]:
    """Split at the commas that are outside of parentheses."""
    parts, depth, start = [], 0, 0
    for at, char in enumerate(text):
        depth += (char == "(") - (char == ")")
        if char == "," and depth == 0:
            parts.append(text[start:at])
            start = at + 1
    tail = text[start:].strip()
    return [*parts, tail] if tail else parts


Bindings = dict[str, Type]


def assign(target: Type, source: Type, bound: Bindings) -> bool:
    """Tell whether a `source` may stand where a `target` is wanted, binding the type parameters of `target`."""
    if target.kind == "parameter":
        known = bound.get(target.name)
        if known is None or (known.kind in ("dyn", "null") and source.kind not in ("dyn", "null")):
            if known is not None and known.kind == "null" and not _takes_null(source):
                return False
            bound[target.name] = source
            return True
        return assign(known, source, bound)
    if target.kind == "dyn" or source.kind in ("dyn", "parameter"):
        return True
    if source.kind == "null":
        return target.kind == "null" or _takes_null(target)
    if target.kind != source.kind:
        return False
    if target.kind in ("object", "opaque"):
        return target.name == source.name
    if target.kind == "type" or len(target.params) != len(source.params):
        return True
    return all(assign(t, s, bound) for t, s in zip(target.params, source.params, strict=True))


def _takes_null(kind: Type) -> bool:
    return kind.kind in ("object", "opaque", "optional", "dyn", "null")


def substitute(kind: Type, bound: Bindings) -> Type:
    """Return `kind` with its parameters replaced; unbound ones become dyn."""
    if kind.kind == "parameter":
        found = bound.get(kind.name)
        return DYN if found is None else found
    if not kind.params:
        return kind
    return Type(kind.kind, tuple(substitute(p, bound) for p in kind.params), kind.name)


def unbounded(kind: Type) -> Type:
    """Return `kind` without the bounds that a schema sets: what a function returns is not found in it any more."""
    if kind.size is None and not kind.params and not kind.fields:
        return kind
    fields = {name: Member(member.key, unbounded(member.type)) for name, member in kind.fields.items()}
    params = tuple(unbounded(param) for param in kind.params)
    return Type(kind.kind, params, kind.name, fields, None, kind.list_type, kind.keys)


def join(left: Type, right: Type) -> Type:
    """Return the type of a value that is one or the other; dyn when they have nothing in common."""
    if left == right:
        return left
    if left.kind == "null" and _takes_null(right):
        return right
    if right.kind == "null" and _takes_null(left):
        return left
    if left.kind == right.kind and left.params and len(left.params) == len(right.params):
        parts = tuple(join(a, b) for a, b in zip(left.params, right.params, strict=True))
        return Type(left.kind, parts, left.name)
    return DYN
