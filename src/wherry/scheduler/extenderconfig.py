"""The ``extenders`` of a KubeSchedulerConfiguration: what may stand there, and what it means."""

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from wherry.api.cel.functions.times import parse_duration
from wherry.api.cel.values import EvalError
from wherry.api.validation import checks
from wherry.api.validation.resources import is_extended
from wherry.scheduler.extender import ExtenderConfig

_TEXTS = frozenset({"urlPrefix", "filterVerb", "preemptVerb", "prioritizeVerb", "bindVerb", "httpTimeout"})
_TRUTHS = frozenset({"enableHTTPS", "nodeCacheCapable", "ignorable"})
_FIELDS = _TEXTS | _TRUTHS | {"weight", "tlsConfig", "managedResources"}
_TLS = frozenset({"insecure", "serverName", "certFile", "keyFile", "caFile", "certData", "keyData", "caData"})
_TIMEOUT = 5.0


def problems_of(extenders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield what is wrong with ``extenders``, each beginning with the path of the field."""
    managed: set[str] = set()
    for number, entry in enumerate(extenders):
        path = f"extenders[{number}]"
        yield from (f'unknown field "{path}.{name}"' for name in sorted(entry.keys() - _FIELDS))
        for names, kind, words in ((_TEXTS, str, "a string"), (_TRUTHS, bool, "true or false")):
            wrong = [name for name in sorted(names & entry.keys()) if not isinstance(entry[name], kind)]
            yield from (f"{path}.{name}: Invalid value: {entry[name]!r}: must be {words}" for name in wrong)
        if entry.get("prioritizeVerb") and (entry.get("weight") or 0) <= 0:
            yield f"{path}.weight: Invalid value: {entry.get('weight') or 0}: must have a positive weight applied to it"
        yield from _managed_problems(f"{path}.managedResources", entry.get("managedResources") or (), managed)
        yield from _tls_problems(f"{path}.tlsConfig", entry.get("tlsConfig") or {})
        try:
            _seconds(entry)
        except EvalError:
            yield f"{path}.httpTimeout: Invalid value: {entry['httpTimeout']!r}: must be a duration"
    binders = sum(bool(entry.get("bindVerb")) for entry in extenders)
    if binders > 1:
        found = f"found {binders} extenders implementing bind"
        yield f'extenders: Invalid value: "{found}": only one extender can implement bind'


def _managed_problems(path: str, entries: Sequence[Mapping[str, Any]], seen: set[str]) -> Iterator[str]:
    for number, entry in enumerate(entries):
        at, name = f"{path}[{number}]", entry.get("name") or ""
        yield from (f'unknown field "{at}.{other}"' for other in sorted(entry.keys() - {"name", "ignoredByScheduler"}))
        yield from (f'{at}.name: Invalid value: "{name}": {why}' for why in checks.qualified_name(name))
        if not is_extended(name):
            yield f'{at}.name: Invalid value: "{name}": is an invalid extended resource name'
        if name in seen:
            yield f'{at}.name: Invalid value: "{name}": duplicate extender managed resource name'
        seen.add(name)


def _tls_problems(path: str, tls: Mapping[str, Any]) -> Iterator[str]:
    yield from (f'unknown field "{path}.{name}"' for name in sorted(tls.keys() - _TLS))
    for name in ("certData", "keyData", "caData"):
        try:
            base64.b64decode(tls.get(name) or "", validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            yield f"{path}.{name}: Invalid value: must be PEM in base64"


def ignored_resources(extenders: Sequence[Mapping[str, Any]]) -> Sequence[str]:
    """Return the resources that an extender manages so that the scheduler itself does not look at them."""
    managed = [resource for entry in extenders for resource in entry.get("managedResources") or ()]
    return [resource["name"] for resource in managed if resource.get("ignoredByScheduler")]


def parse(entry: Mapping[str, Any]) -> ExtenderConfig:
    """Return the configuration of one of ``extenders``, which has no problems."""
    return ExtenderConfig(
        url=entry["urlPrefix"],
        filter=entry.get("filterVerb") or "",
        prioritize=entry.get("prioritizeVerb") or "",
        preempt=entry.get("preemptVerb") or "",
        bind=entry.get("bindVerb") or "",
        weight=entry.get("weight") or 0,
        timeout=_seconds(entry),
        knows_nodes=bool(entry.get("nodeCacheCapable")),
        managed=frozenset(resource["name"] for resource in entry.get("managedResources") or ()),
        ignorable=bool(entry.get("ignorable")),
        tls=_tls(entry),
    )


def _seconds(entry: Mapping[str, Any]) -> float:
    text = entry.get("httpTimeout")
    return (parse_duration(text).ns / 1e9 if text else 0.0) or _TIMEOUT


def _tls(entry: Mapping[str, Any]) -> dict[str, Any] | None:
    found = entry.get("tlsConfig") or {}
    if not found and not entry.get("enableHTTPS"):
        return None
    tls: dict[str, Any] = {"server_name": found.get("serverName") or ""}
    for name in ("ca", "cert", "key"):
        data = found.get(f"{name}Data")
        tls[name] = base64.b64decode(data).decode() if data else found.get(f"{name}File")
    # HTTPS without an authority to trust is taken as it is, as kube-scheduler does.
    tls["insecure"] = bool(found.get("insecure")) or (bool(entry.get("enableHTTPS")) and not tls["ca"])
    return tls
