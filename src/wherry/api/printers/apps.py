"""Cells of the apps group."""

from typing import Any

from wherry.api import meta
from wherry.api.meta import Object
from wherry.api.printers.text import NONE, age, containers, label_selector, labels, name, spec, status


def controller_revision(obj: Object) -> list[Any]:
    owner = meta.controller_of(obj)
    controller = NONE
    if owner is not None:
        group = owner["apiVersion"].rpartition("/")[0]
        kind = owner["kind"].lower()
        controller = f"{kind}.{group}/{owner['name']}" if group else f"{kind}/{owner['name']}"
    return [name(obj), controller, obj.get("revision", 0), age(obj)]


def daemon_set(obj: Object) -> list[Any]:
    found = status(obj)
    template = spec(obj).get("template") or {}
    return [
        name(obj),
        found.get("desiredNumberScheduled", 0),
        found.get("currentNumberScheduled", 0),
        found.get("numberReady", 0),
        found.get("updatedNumberScheduled", 0),
        found.get("numberAvailable", 0),
        labels((template.get("spec") or {}).get("nodeSelector")),
        age(obj),
        *containers(template),
        label_selector(spec(obj).get("selector")),
    ]


def deployment(obj: Object) -> list[Any]:
    found = status(obj)
    return [
        name(obj),
        f"{found.get('readyReplicas', 0)}/{spec(obj).get('replicas', 0)}",
        found.get("updatedReplicas", 0),
        found.get("availableReplicas", 0),
        age(obj),
        *containers(spec(obj).get("template")),
        label_selector(spec(obj).get("selector")),
    ]


def replica_set(obj: Object) -> list[Any]:
    return [
        name(obj),
        spec(obj).get("replicas", 0),
        status(obj).get("replicas", 0),
        status(obj).get("readyReplicas", 0),
        age(obj),
        *containers(spec(obj).get("template")),
        label_selector(spec(obj).get("selector")),
    ]


def stateful_set(obj: Object) -> list[Any]:
    ready = f"{status(obj).get('readyReplicas', 0)}/{spec(obj).get('replicas', 0)}"
    return [name(obj), ready, age(obj), *containers(spec(obj).get("template"))]


CELLS = {
    ("apps", "controllerrevisions"): controller_revision,
    ("apps", "daemonsets"): daemon_set,
    ("apps", "deployments"): deployment,
    ("apps", "replicasets"): replica_set,
    ("apps", "statefulsets"): stateful_set,
}
