"""How Go words values in messages that people and programs match on."""

import os


def duration(seconds: float) -> str:
    """Render as Go's time.Duration does: ``10s``, ``1m20s``, ``5m0s``, ``1.5s``, ``250ms``."""
    if 0 < seconds < 1:
        return f"{seconds * 1000:.9g}ms"
    minutes, rest = divmod(round(seconds, 9), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:.9f}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{text}"
    return f"{minutes}m{text}" if minutes else text


def said(error: Exception) -> str:
    """Return an error as events show it: one of the system's in Go's form (``/x: permission denied``)."""
    if not isinstance(error, OSError) or error.errno is None:
        return str(error)
    text = (error.strerror or os.strerror(error.errno)).lower()
    return f"{error.filename}: {text}" if error.filename else text
