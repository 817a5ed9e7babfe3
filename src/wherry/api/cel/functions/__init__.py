"""The functions and operators of CEL and of Kubernetes' libraries for it, each declared beside its signature.

One module per library; importing one adds its overloads to `TABLE`. A signature is ``name(types) -> type``, of a member
function ``receiver:name(types) -> type``; single letters are type parameters. `traversal` says which arguments are
read through, for the cost (0 is the receiver where there is one).
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeVar

from wherry.api.cel.types import Type, parse_type, split_types
from wherry.api.cel.values import kind_of

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)


@dataclass(frozen=True, slots=True, eq=False)
class Overload:
    """One form of a function. `params` includes the receiver of a member function."""

    name: str
    member: bool
    params: tuple[Type, ...]
    result: Type
    run: Function
    traversal: tuple[int, ...] = ()

    def takes(self, values: tuple[Any, ...]) -> bool:
        """Tell whether values of dynamic type are what it takes."""
        return all(_takes(param, value) for param, value in zip(self.params, values, strict=True))


def _takes(param: Type, value: Any) -> bool:
    kind = param.kind
    if kind in ("dyn", "parameter"):
        return True
    found = kind_of(value)
    return found == (param.name if kind == "opaque" else "map" if kind == "object" else kind)


TABLE: dict[str, list[Overload]] = {}


def function(*signatures: str, traversal: tuple[int, ...] = ()) -> Callable[[F], F]:
    """Declare the decorated function under each of `signatures`."""

    def declare(run: F) -> F:
        for signature in signatures:
            add(signature, run, traversal=traversal)
        return run

    return declare


def add(signature: str, run: Function, *, traversal: tuple[int, ...] = ()) -> None:
    """Add one overload."""
    head, _, result = signature.rpartition(" -> ")
    receiver, colon, rest = head.rpartition(":") if "?_:_" not in head else ("", "", head)
    name, _, inner = rest.partition("(")
    params = [parse_type(part) for part in split_types(inner[:-1])]
    if colon:
        params.insert(0, parse_type(receiver))
    overload = Overload(name, bool(colon), tuple(params), parse_type(result), run, traversal)
    TABLE.setdefault(name, []).append(overload)


for _module in (
    "operators",
    "standard",
    "times",
    "strings",
    "formatting",
    "lists",
    "network",
    "kubernetes",
    "optionals",
    "authorization",
):
    import_module(f"{__name__}.{_module}")
