"""The metrics APIs: of resources, custom and external (``k8s.io/metrics``).

They are served by others, so their resources are in no table here. What cannot be read raises `Unavailable` in the
words of Kubernetes' client.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from wherry.api import errors, meta, quantity
from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.api.selectors import labels
from wherry.client.client import Client
from wherry.controllers.hpareplicas import Sample
from wherry.util import clock

_RESOURCE, _CUSTOM, _EXTERNAL = "metrics.k8s.io", "custom.metrics.k8s.io", "external.metrics.k8s.io"
_READ = frozenset({"get", "list"})
_MINUTE = timedelta(minutes=1)
_GENERIC = "the server could not find the requested resource"
_UNWORDED = (_GENERIC, "the server is currently unable to handle the request")

POD_METRICS = Resource(_RESOURCE, "v1beta1", "pods", "pod", "PodMetrics", True, _READ)


class Unavailable(Exception):
    """A metric cannot be read."""


def _said(error: errors.StatusError, resource: Resource) -> str:
    """Return an error as Kubernetes' client words it: one without a message of its own gets the request."""
    text = str(error)
    return f"{text} (get {resource.group_resource})" if text in _UNWORDED else text


def _duration(text: str) -> timedelta:
    """Return a duration such as ``30s`` or ``1m0s``; anything else counts as a minute."""
    total, digits, units = 0.0, "", {"h": 3600.0, "m": 60.0, "s": 1.0}
    for character in text:
        if character in units and digits:
            total, digits = total + float(digits) * units[character], ""
        elif character.isdigit() or character == ".":
            digits += character
        else:
            return _MINUTE
    return timedelta(seconds=total) if total else _MINUTE


def _taken(item: Object) -> tuple[datetime, timedelta]:
    at = clock.parse(item["timestamp"]) if item.get("timestamp") else clock.now()
    window = _duration(item["window"]) if item.get("window") else timedelta(seconds=item.get("windowSeconds") or 60)
    return at, window


async def of_resource(
    client: Client, resource: str, namespace: str, selector: str, *, container: str = ""
) -> dict[str, Sample]:
    """Return what each pod (or its `container`) uses of a resource. Raises Unavailable."""
    try:
        found = await client.list(POD_METRICS, namespace, labelSelector=selector)
    except errors.StatusError as error:
        text = f"unable to fetch metrics from resource metrics API: {_said(error, POD_METRICS)}"
        raise Unavailable(text) from error
    items = found.get("items") or []
    if not items:
        raise Unavailable("no metrics returned from resource metrics API")
    samples = {}
    for item in items:
        entries = [entry for entry in item.get("containers") or () if container in ("", entry["name"])]
        if container and not entries:
            raise Unavailable(f"container {container} not present in metrics for pod {namespace}/{meta.name(item)}")
        amounts = [(entry.get("usage") or {}).get(resource) for entry in entries]
        if amounts and all(amount is not None for amount in amounts):
            used = sum(quantity.parse(amount).milli() for amount in amounts if amount is not None)
            samples[meta.name(item)] = Sample(used, *_taken(item))
    return samples


async def _custom(
    client: Client, described: Resource, name: str, metric: Object, namespace: str, params: Mapping[str, str]
) -> list[Object]:
    query = dict(params)
    if metric.get("selector"):
        query["metricLabelSelector"] = str(labels.from_selector(metric["selector"]))
    resource = Resource(_CUSTOM, "v1beta2", described.plural, "", "MetricValueList", True, _READ)
    try:
        found = await client.get(resource, name, namespace, subresource=metric["name"], **query)
    except errors.StatusError as error:
        missing = str(error) == _GENERIC
        said = f"no custom metrics API ({_CUSTOM}) registered" if missing else str(error)
        raise Unavailable(f"unable to fetch metrics from custom metrics API: {said}") from error
    items = found.get("items") or []
    if not items:
        raise Unavailable("no metrics returned from custom metrics API")
    return list(items)


async def of_pods(client: Client, pods: Resource, metric: Object, namespace: str, selector: str) -> dict[str, Sample]:
    """Return a custom metric of each pod. Raises Unavailable."""
    items = await _custom(client, pods, "*", metric, namespace, {"labelSelector": selector})
    return {
        item["describedObject"]["name"]: Sample(quantity.parse(item["value"]).milli(), *_taken(item)) for item in items
    }


async def of_object(client: Client, resource: Resource, name: str, metric: Object, namespace: str) -> int:
    """Return a custom metric of one object in thousandths. Raises Unavailable."""
    items = await _custom(client, resource, name, metric, namespace, {})
    return quantity.parse(items[0]["value"]).milli()


async def of_outside(client: Client, metric: Object, namespace: str) -> int:
    """Return the sum of an external metric in thousandths. Raises Unavailable."""
    resource = Resource(_EXTERNAL, "v1beta1", metric["name"], "", "ExternalMetricValue", True, _READ)
    params = {"labelSelector": str(labels.from_selector(metric["selector"]))} if metric.get("selector") else {}
    try:
        found = await client.list(resource, namespace, **params)
    except errors.StatusError as error:
        text = f"unable to fetch metrics from external metrics API: {_said(error, resource)}"
        raise Unavailable(text) from error
    items = found.get("items") or []
    if not items:
        raise Unavailable("no metrics returned from external metrics API")
    return sum(quantity.parse(item["value"]).milli() for item in items)
