"""How Kubernetes words ages, selectors and lists in a cell."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from wherry.api.meta import Object
from wherry.util import clock

NONE, UNSET, UNKNOWN = "<none>", "<unset>", "<unknown>"

_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def duration(span: timedelta) -> str:
    """Word a time span in at most two units (apimachinery ``duration.HumanDuration``)."""
    seconds = int(span.total_seconds())
    if seconds < -1:
        return "<invalid>"
    if seconds < 0:
        return "0s"
    if seconds < 2 * _MINUTE:
        return f"{seconds}s"
    minutes = seconds // _MINUTE
    if minutes < 10:
        return _two(minutes, "m", seconds % _MINUTE, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = seconds // _HOUR
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    days = seconds // _DAY
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 730:
        return f"{days}d"
    if days < 2920:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, unit: str, small: int, sub: str) -> str:
    return f"{large}{unit}{small}{sub}" if small else f"{large}{unit}"


def since(stamp: str | None) -> str:
    """Word the time since an RFC 3339 timestamp; `UNKNOWN` without one."""
    return duration(clock.since(stamp)) if stamp else UNKNOWN


def age(obj: Object) -> str:
    """Word the time since the object was created."""
    return since((obj.get("metadata") or {}).get("creationTimestamp"))


def name(obj: Object) -> str:
    return (obj.get("metadata") or {}).get("name", "")


def spec(obj: Object) -> Object:
    return obj.get("spec") or {}


def status(obj: Object) -> Object:
    return obj.get("status") or {}


def labels(pairs: Mapping[str, str] | None) -> str:
    """``a=b,c=d`` in order of the keys."""
    return ",".join(f"{k}={v}" for k, v in sorted((pairs or {}).items())) or NONE


_OPERATORS = {"In": " in ({})", "NotIn": " notin ({})"}


def label_selector(selector: Object | None) -> str:
    """Word a LabelSelector; `NONE` for an empty one."""
    if selector is None:
        return NONE
    parts = [(k, f"{k}={v}") for k, v in (selector.get("matchLabels") or {}).items()]
    for e in selector.get("matchExpressions") or ():
        key, operator = e.get("key", ""), e.get("operator", "")
        values = ",".join(sorted(e.get("values") or ()))
        if operator in _OPERATORS:
            parts.append((key, key + _OPERATORS[operator].format(values)))
        else:
            parts.append((key, key if operator == "Exists" else f"!{key}"))
    return ",".join(text for _, text in sorted(parts, key=lambda p: p[0])) or NONE


def go_selector(selector: Object) -> str:
    """Word a LabelSelector as Go prints the struct."""
    pairs = "".join(f"{key}: {value}," for key, value in sorted((selector.get("matchLabels") or {}).items()))
    requirements = "".join(
        f"LabelSelectorRequirement{{Key:{e.get('key', '')},Operator:{e.get('operator', '')},"
        f"Values:[{' '.join(e.get('values') or ())}],}},"
        for e in selector.get("matchExpressions") or ()
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{pairs}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{requirements}}},}}"
    )


def containers(template: Object | None) -> tuple[str, str]:
    """Return the names and the images of a pod spec's containers, each joined by commas."""
    found = ((template or {}).get("spec") or {}).get("containers") or ()
    return ",".join(c.get("name", "") for c in found), ",".join(c.get("image", "") for c in found)


def few(items: Iterable[str], most: int = 3, *, nothing: str = NONE) -> str:
    """Join at most `most` items and say how many more there are; `nothing` for an empty text."""
    found = list(items)
    if len(found) > most:
        return f"{','.join(found[:most])} + {len(found) - most} more..."
    return ",".join(found) or nothing
