"""The environment of a container: services, envFrom, env, and references into the pod."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from wherry.api import meta
from wherry.api.resources import CONFIGMAPS, SECRETS, Resource
from wherry.kubelet import downward
from wherry.kubelet.expansion import expand
from wherry.kubelet.podspec import Container

Lookup = Callable[[Resource, str], Awaitable[meta.Object | None]]
"""Returns an object of the pod's namespace by name, None when there is none."""

_ENV_NAME = re.compile(r"[^=\x00-\x1f\x7f-\U0010ffff]+")


class ConfigError(Exception):
    """A reference cannot be resolved: the container waits with CreateContainerConfigError and this message."""


async def make_environment(
    pod: meta.Object,
    container: Container,
    *,
    lookup: Lookup,
    services: Iterable[meta.Object],
    facts: downward.Facts,
    files: Callable[[dict[str, Any]], Awaitable[str | None]],
) -> tuple[dict[str, str], list[str]]:
    """Return the variables of a container in order and the names of envFrom keys that are no variable names.

    `services` are all Services of the cluster; `files` reads a fileKeyRef. Raises ConfigError.
    """
    result: dict[str, str] = {}
    invalid: list[str] = []
    # Service variables come first in lookups but never replace what the spec says.
    service_env = service_variables(pod, services)
    for source in container.get("envFrom") or ():
        await _add_source(result, invalid, source, lookup, meta.namespace(pod))
    for entry in container.get("env") or ():
        value = await _value(pod, container, entry, {**service_env, **result}, lookup=lookup, facts=facts, files=files)
        if value is not None:
            result[entry["name"]] = value
    for name, value in service_env.items():
        result.setdefault(name, value)
    return result, invalid


async def _add_source(
    result: dict[str, str], invalid: list[str], source: dict[str, Any], lookup: Lookup, namespace: str
) -> None:
    prefix = source.get("prefix") or ""
    kind, resource, ref = (
        ("configmap", CONFIGMAPS, source["configMapRef"])
        if source.get("configMapRef")
        else ("secret", SECRETS, source.get("secretRef") or {})
    )
    found = await lookup(resource, ref.get("name") or "")
    if found is None:
        if ref.get("optional"):
            return
        raise ConfigError(f'{kind} "{ref.get("name")}" not found')
    data = found.get("data") or {}
    for key in sorted(data):
        name = prefix + key
        if not _ENV_NAME.fullmatch(name):
            invalid.append(name)
            continue
        result[name] = downward.decode(data[key]) if resource is SECRETS else data[key]


async def _value(
    pod: meta.Object,
    container: Container,
    entry: dict[str, Any],
    known: Mapping[str, str],
    *,
    lookup: Lookup,
    facts: downward.Facts,
    files: Callable[[dict[str, Any]], Awaitable[str | None]],
) -> str | None:
    source = entry.get("valueFrom")
    if not source:
        return expand(entry.get("value") or "", known)
    if field := source.get("fieldRef"):
        return downward.field_value(pod, field["fieldPath"], facts)
    if resource := source.get("resourceFieldRef"):
        return downward.resource_value(pod, resource, facts, container=container)
    if ref := source.get("configMapKeyRef"):
        return await _key(CONFIGMAPS, "configmap", "ConfigMap", ref, lookup, meta.namespace(pod))
    if ref := source.get("secretKeyRef"):
        return await _key(SECRETS, "secret", "Secret", ref, lookup, meta.namespace(pod))
    if ref := source.get("fileKeyRef"):
        return await files(ref)
    return ""


async def _key(
    resource: Resource, word: str, kind: str, ref: dict[str, Any], lookup: Lookup, namespace: str
) -> str | None:
    found = await lookup(resource, ref.get("name") or "")
    if found is None:
        if ref.get("optional"):
            return None
        raise ConfigError(f'{word} "{ref.get("name")}" not found')
    data = found.get("data") or {}
    if ref["key"] not in data:
        if ref.get("optional"):
            return None
        raise ConfigError(f"couldn't find key {ref['key']} in {kind} {namespace}/{ref.get('name')}")
    value = data[ref["key"]]
    return downward.decode(value) if resource is SECRETS else value


def service_variables(pod: meta.Object, services: Iterable[meta.Object]) -> dict[str, str]:
    """Return the variables of the Services that a pod sees.

    The API server's own are always there; the others of the pod's namespace only with enableServiceLinks.
    """
    links = pod["spec"].get("enableServiceLinks")
    chosen: dict[str, meta.Object] = {}
    for service in services:
        ip = service["spec"].get("clusterIP")
        if not ip or ip == "None":
            continue
        namespace, name = meta.namespace(service), meta.name(service)
        if namespace == "default" and name == "kubernetes":
            chosen.setdefault(name, service)
        elif namespace == meta.namespace(pod) and links is not False:
            chosen[name] = service
    result: dict[str, str] = {}
    for name in sorted(chosen):
        result.update(_of_service(name, chosen[name]))
    return result


def _of_service(name: str, service: meta.Object) -> dict[str, str]:
    ip = service["spec"]["clusterIP"]
    host = f"[{ip}]" if ":" in ip else ip
    word = name.upper().replace("-", "_")
    ports = service["spec"].get("ports") or []
    if not ports:
        return {}
    result = {f"{word}_SERVICE_HOST": ip, f"{word}_SERVICE_PORT": str(ports[0]["port"])}
    for port in ports:
        if port.get("name"):
            result[f"{word}_SERVICE_PORT_{port['name'].upper().replace('-', '_')}"] = str(port["port"])
    for index, port in enumerate(ports):
        protocol = port.get("protocol") or "TCP"
        prefix = f"{word}_PORT_{port['port']}_{protocol}"
        url = f"{protocol.lower()}://{host}:{port['port']}"
        if index == 0:
            result[f"{word}_PORT"] = url
        result.update(
            {
                prefix: url,
                f"{prefix}_PROTO": protocol.lower(),
                f"{prefix}_PORT": str(port["port"]),
                f"{prefix}_ADDR": ip,
            }
        )
    return result
