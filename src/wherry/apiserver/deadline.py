"""How long a client is willing to wait: the query parameter ``timeout`` (apiserver ``endpoints/filters``)."""

import re
from collections.abc import Mapping

from wherry.api.errors import BadRequest

LONGEST = 60.0
"""Seconds that upstream gives to a request that is none of those that last as long as their client likes."""

_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"([0-9]*)(?:\.([0-9]*))?([^0-9.]*)")
_MAX_SECONDS = (2**63 - 1) / 1e9


def deadline(params: Mapping[str, str]) -> float | None:
    """Return the seconds after which the client gives up, None when it waits as long as it takes.

    What is longer than `LONGEST`, nought or negative counts as not said. Raises BadRequest.
    """
    text = params.get("timeout")
    if not text:
        return None
    try:
        seconds = _parse(text)
    except ValueError as error:
        raise BadRequest(f"invalid timeout specified in the request URL - time: {error}") from None
    return seconds if 0 < seconds < LONGEST else None


def _parse(text: str) -> float:
    """Return the seconds of a duration in Go's notation. Raises ValueError in the words of Go's ``time``."""
    shown = '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
    rest = text[1:] if text[0] in "+-" else text
    if rest == "0":
        return 0.0
    if not rest:
        raise ValueError(f"invalid duration {shown}")
    total, at = 0.0, 0
    while at < len(rest):
        found = _PART.match(rest, at)
        assert found is not None
        whole, fraction, unit = found.groups()
        if not whole and not fraction:
            raise ValueError(f"invalid duration {shown}")
        if not unit:
            raise ValueError(f"missing unit in duration {shown}")
        if unit not in _SECONDS:
            raise ValueError(f'unknown unit "{unit}" in duration {shown}')
        total += float(f"{whole or 0}.{fraction or 0}") * _SECONDS[unit]
        if total > _MAX_SECONDS:
            raise ValueError(f"invalid duration {shown}")
        at = found.end()
    return -total if text[0] == "-" else total
