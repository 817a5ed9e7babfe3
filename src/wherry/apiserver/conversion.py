"""Objects that are served in two versions share one storage; here is how one form becomes the other.

A row of `STORED_AS` names the resource that holds the objects of another; `to_stored` and `from_stored` convert whole
objects. Custom resources convert through their definition's webhook and are registered at run time.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple

from wherry.api.resources import EVENTS, HORIZONTALPODAUTOSCALERS, Resource, builtin
from wherry.apiserver import autoscaling

Object = dict[str, Any]


class Conversion(NamedTuple):
    """How a served resource relates to the one that stores its objects.

    The functions do not change what they are given and return it when there is nothing to do. `fetch` and `send` stand
    for them where a webhook converts: `from_stored` of many objects, and `to_stored`. `sibling` finds another version
    of a custom resource by its apiVersion, also one that is not served; its `from_stored` and `fetch` take any version.
    """

    stored: Resource
    to_stored: Callable[[Object], Object]
    from_stored: Callable[[Object], Object]
    fetch: Callable[[Sequence[Object]], Awaitable[list[Object]]] | None = None
    send: Callable[[Object], Awaitable[Object]] | None = None
    sibling: Callable[[str], "tuple[Resource, Conversion] | None"] | None = None


_EVENT_NEW_TO_CORE = {
    "regarding": "involvedObject",
    "note": "message",
    "deprecatedSource": "source",
    "deprecatedCount": "count",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "reportingController": "reportingComponent",
}
_EVENT_CORE_TO_NEW = {core: new for new, core in _EVENT_NEW_TO_CORE.items()}


# The core form always shows these, the new form likewise under its own names.
_EVENT_SHOWN: dict[str, Any] = {
    "involvedObject": {},
    "source": {},
    "firstTimestamp": None,
    "lastTimestamp": None,
    "eventTime": None,
    "reportingComponent": "",
    "reportingInstance": "",
}


def _event_to_core(obj: Object) -> Object:
    out = {_EVENT_NEW_TO_CORE.get(key, key): value for key, value in obj.items()}
    out["apiVersion"] = "v1"
    for key, value in _EVENT_SHOWN.items():
        out.setdefault(key, value)
    return out


def _event_from_core(obj: Object) -> Object:
    out = {_EVENT_CORE_TO_NEW.get(key, key): value for key, value in obj.items()}
    out["apiVersion"] = "events.k8s.io/v1"
    for key in ("reportingController", "reportingInstance"):
        if out.get(key) == "":
            del out[key]
    return out


STORED_AS: dict[Resource, Conversion] = {
    builtin("events.k8s.io", "v1", "events"): Conversion(EVENTS, _event_to_core, _event_from_core),
    builtin("autoscaling", "v1", "horizontalpodautoscalers"): Conversion(
        HORIZONTALPODAUTOSCALERS, autoscaling.to_v2, autoscaling.from_v2
    ),
}
"""By served resource; a resource that is not here is stored as it is served."""
