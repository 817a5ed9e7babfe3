"""Expansion of ``$(VAR)`` in commands, arguments, environment and sub-paths (core/v1 Container.command)."""

import re
from collections.abc import Mapping

_REFERENCE = re.compile(r"\$(\$|\(([^)]*)\))")


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace ``$(NAME)`` by its value; ``$$`` is a dollar sign, and a name that is not known stays as written."""

    def replace(match: re.Match[str]) -> str:
        if match[1] == "$":
            return "$"
        return variables.get(match[2], match[0])

    return _REFERENCE.sub(replace, text)


def unknown_references(text: str, variables: Mapping[str, str]) -> list[str]:
    """Return the names that `text` refers to and `variables` lacks."""
    return [m[2] for m in _REFERENCE.finditer(text) if m[1] != "$" and m[2] not in variables]
