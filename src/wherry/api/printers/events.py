"""The row of an event, in both groups that serve it."""

from typing import Any

from wherry.api.meta import Object
from wherry.api.printers.text import name, since


def event(obj: Object) -> list[Any]:
    """Return the cells of an event (core or events.k8s.io spelling)."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    series = obj.get("series") or {}
    micro = obj.get("eventTime")
    first = obj.get("firstTimestamp") or obj.get("deprecatedFirstTimestamp")
    last = obj.get("lastTimestamp") or obj.get("deprecatedLastTimestamp")
    count = obj.get("count") or obj.get("deprecatedCount") or 0
    first_seen = since(first or micro)
    last_seen = first_seen if not last else since(last)
    if series:
        last_seen, count = since(series.get("lastObservedTime")), series.get("count", 0)
    elif not count:
        count = 1
    target = f"{about.get('kind', '').lower()}/{about['name']}" if about.get("name") else about.get("kind", "").lower()
    return [
        last_seen,
        obj.get("type", ""),
        obj.get("reason", ""),
        target,
        about.get("fieldPath", ""),
        _source(obj),
        (obj.get("message") or obj.get("note") or "").strip(),
        first_seen,
        count,
        name(obj),
    ]


def _source(obj: Object) -> str:
    source = obj.get("source") or obj.get("deprecatedSource") or {}
    component = source.get("component") or obj.get("reportingComponent") or obj.get("reportingController") or ""
    host = source.get("host") or obj.get("reportingInstance") or ""
    return f"{component}, {host}" if host else component


CELLS = {("", "events"): event, ("events.k8s.io", "events"): event}
