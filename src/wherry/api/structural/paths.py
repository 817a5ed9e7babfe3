"""Places in an object: linked pairs while validators walk, written out only when something is wrong there."""

from typing import Any

Path = tuple[Any, str] | None
"""The path of the parent and what follows it: ``.name``, ``[0]`` or ``[key]``; None is the object itself."""


def child(path: Path, name: str) -> Path:
    """Return the path of a member."""
    return (path, f".{name}")


def index(path: Path, at: int) -> Path:
    """Return the path of an item of a list."""
    return (path, f"[{at}]")


def key(path: Path, name: str) -> Path:
    """Return the path of an entry of a map as field paths show it (``map[key]``)."""
    return (path, f"[{name}]")


def show(path: Path) -> str:
    """Return the text of a path: ``spec.list[0].x``; empty for the object itself."""
    parts: list[str] = []
    while path is not None:
        parts.append(path[1])
        path = path[0]
    return "".join(reversed(parts)).removeprefix(".")


def field(path: Path) -> str:
    """Return the text of a path as an error names it; the object itself is ``<nil>``."""
    return show(path) or "<nil>"
