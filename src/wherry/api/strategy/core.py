"""Strategies of the core group, but for Pods and Services."""

from typing import Any

from wherry.api.strategy.rules import Getter, Strategy, content_changed, spec_changed
from wherry.util import clock

Obj = dict[str, Any]


def _at(*path: str) -> Getter:
    """Return a getter of the string at a path."""

    def get(obj: Obj) -> str:
        value: Any = obj
        for member in path:
            value = (value or {}).get(member)
        return str(value) if value is not None else ""

    return get


def _flag(*path: str) -> Getter:
    get = _at(*path)
    return lambda obj: "true" if get(obj) == "True" else "false"


def _number(*path: str) -> Getter:
    get = _at(*path)
    return lambda obj: get(obj) or "0"


def _create_namespace(obj: Obj) -> None:
    obj["status"] = {"phase": "Active"}
    finalizers = obj.setdefault("spec", {}).get("finalizers") or []
    if "kubernetes" not in finalizers:
        obj["spec"]["finalizers"] = [*finalizers, "kubernetes"]


def _update_namespace(obj: Obj, old: Obj) -> None:
    spec = obj.setdefault("spec", {})
    if "finalizers" in (old.get("spec") or {}):
        spec["finalizers"] = old["spec"]["finalizers"]
    else:
        spec.pop("finalizers", None)


def _finalize_namespace(obj: Obj, old: Obj) -> None:
    obj["status"] = old.get("status") or {}


def _create_volume(obj: Obj) -> None:
    obj["status"] = {"phase": "Pending", "lastPhaseTransitionTime": clock.timestamp()}


def _volume_status(obj: Obj, old: Obj) -> None:
    """The phase carries the time of its last change."""
    status, was = obj.setdefault("status", {}), old.get("status") or {}
    if status.get("phase") != was.get("phase"):
        given = status.get("lastPhaseTransitionTime")
        if not given or given == was.get("lastPhaseTransitionTime"):
            status["lastPhaseTransitionTime"] = clock.timestamp()
    elif not status.get("lastPhaseTransitionTime") and was.get("lastPhaseTransitionTime"):
        status["lastPhaseTransitionTime"] = was["lastPhaseTransitionTime"]


def _create_claim(obj: Obj) -> None:
    obj["status"] = {"phase": "Pending"}
    _drop_other_namespace(obj["spec"])
    _drop_unknown_source(obj["spec"])
    normalize_data_sources(obj["spec"])


_SOURCES = {("", "PersistentVolumeClaim"), ("snapshot.storage.k8s.io", "VolumeSnapshot")}


def _drop_other_namespace(spec: Obj) -> None:
    """A source in another namespace is behind a gate that is off: the whole reference goes."""
    if (spec.get("dataSourceRef") or {}).get("namespace"):
        spec.pop("dataSourceRef")


def _drop_unknown_source(spec: Obj) -> None:
    """``dataSource`` alone takes no other kinds, and never did; ``dataSourceRef`` is there for them."""
    source = spec.get("dataSource")
    if source is None or spec.get("dataSourceRef") is not None:
        return
    if (source.get("apiGroup") or "", source.get("kind")) not in _SOURCES:
        spec.pop("dataSource")


def normalize_data_sources(spec: Obj) -> None:
    """``dataSource`` and ``dataSourceRef`` of a claim's spec say the same, unless the latter names a namespace."""
    source, ref = spec.get("dataSource"), spec.get("dataSourceRef")
    if source and not ref:
        spec["dataSourceRef"] = dict(source)
    elif ref and not source and not ref.get("namespace"):
        spec["dataSource"] = dict(ref)


def _update_claim(obj: Obj, old: Obj) -> None:
    if old["spec"].get("dataSourceRef") is None:
        _drop_other_namespace(obj["spec"])
        if old["spec"].get("dataSource") is None:
            _drop_unknown_source(obj["spec"])
    normalize_data_sources(obj["spec"])


def _clean_account(obj: Obj) -> None:
    """A ServiceAccount refers to its secrets by name alone."""
    if obj.get("secrets"):
        obj["secrets"] = [{"name": ref["name"]} if ref.get("name") else {} for ref in obj["secrets"]]


def _create_replication_controller(obj: Obj) -> None:
    obj["status"] = {"replicas": 0}


def _create_node(obj: Obj) -> None:
    obj.setdefault("status", {})


def _create_quota(obj: Obj) -> None:
    obj["status"] = {}


_REFERENCE = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")


def _about(member: str) -> Getter:
    """Return a getter for the object of an event in either of its forms."""
    core, new = _at("involvedObject", member), _at("regarding", member)
    return lambda obj: core(obj) or new(obj)


def _reporter(obj: Obj) -> str:
    return obj.get("reportingComponent") or obj.get("reportingController") or ""


def _source(obj: Obj) -> str:
    return _at("source", "component")(obj) or _at("deprecatedSource", "component")(obj) or _reporter(obj)


_EVENT_FIELDS: dict[str, Getter] = {
    **{f"involvedObject.{m}": _about(m) for m in _REFERENCE},
    "reason": _at("reason"),
    "reportingComponent": _reporter,
    "source": _source,
    "type": _at("type"),
}
_NEW_EVENT_FIELDS: dict[str, Getter] = {
    **{f"regarding.{m}": _about(m) for m in _REFERENCE},
    "reason": _at("reason"),
    "reportingController": _reporter,
    "type": _at("type"),
}

STRATEGIES = {
    ("", "namespaces"): Strategy(
        create=_create_namespace,
        update=_update_namespace,
        subresources={"finalize": _finalize_namespace},
        fields={"status.phase": _at("status", "phase")},
    ),
    ("", "nodes"): Strategy(
        create=_create_node, keeps_status=True, fields={"spec.unschedulable": _flag("spec", "unschedulable")}
    ),
    ("", "persistentvolumes"): Strategy(create=_create_volume, subresources={"status": _volume_status}),
    ("", "persistentvolumeclaims"): Strategy(create=_create_claim, update=_update_claim),
    ("", "serviceaccounts"): Strategy(create=_clean_account, update=lambda obj, old: _clean_account(obj)),
    ("", "secrets"): Strategy(fields={"type": _at("type")}),
    ("", "limitranges"): Strategy(create_on_update=True),
    ("", "resourcequotas"): Strategy(create=_create_quota),
    ("", "endpoints"): Strategy(create_on_update=True),
    ("", "events"): Strategy(create_on_update=True, fields=_EVENT_FIELDS),
    ("events.k8s.io", "events"): Strategy(create_on_update=True, fields=_NEW_EVENT_FIELDS),
    ("", "podtemplates"): Strategy(generation=content_changed),
    ("", "replicationcontrollers"): Strategy(
        create=_create_replication_controller,
        generation=spec_changed,
        fields={"status.replicas": _number("status", "replicas")},
    ),
}
