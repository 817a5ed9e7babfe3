"""The file ``kubelet.yaml``: settings of a node in Kubernetes' own form (``kubelet.config.k8s.io/v1beta1``).

Fields that say nothing to this kubelet are refused: whoever sets one would wait in vain for what it does upstream.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from wherry.api import quantity, schema
from wherry.kubelet.config import DEFAULT_EVICTION_HARD, KubeletConfig
from wherry.kubelet.pressure import SIGNALS, amount
from wherry.kubelet.words import duration

API_VERSION, KIND = "kubelet.config.k8s.io/v1beta1", "KubeletConfiguration"

_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 0.001, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")


class ConfigurationError(Exception):
    """The file cannot be followed; the message names the field."""


def load(path: Path, base: KubeletConfig) -> KubeletConfig:
    """Return `base` with what the file at `path` sets, `base` itself where there is none. Raises ConfigurationError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return base
    try:
        return apply(schema.decode_body(raw, "application/yaml")[0], base)
    except (schema.DecodeError, ConfigurationError) as error:
        raise ConfigurationError(f"{path}: {error}") from error


def apply(document: Mapping[str, Any], base: KubeletConfig) -> KubeletConfig:
    """Return `base` with what a KubeletConfiguration sets. Raises ConfigurationError."""
    if (document.get("apiVersion"), document.get("kind")) != (API_VERSION, KIND):
        raise ConfigurationError(f"expected a {KIND} of {API_VERSION}")
    changes: dict[str, Any] = {}
    for name, value in document.items():
        if name in ("apiVersion", "kind", "mergeDefaultEvictionSettings") or value is None:
            continue
        if name not in _FIELDS:
            raise ConfigurationError(f'field "{name}" is not supported')
        member, read = _FIELDS[name]
        try:
            changes[member] = read(value)
        except (TypeError, ValueError, AttributeError) as error:
            raise ConfigurationError(f"{name}: Invalid value: {value!r}: {error}") from error
    if document.get("mergeDefaultEvictionSettings") and "eviction_hard" in changes:
        changes["eviction_hard"] = {**DEFAULT_EVICTION_HARD, **changes["eviction_hard"]}
    made = replace(base, **changes)
    if missing := set(made.eviction_soft) - set(made.eviction_soft_grace):
        text = f"grace period must be specified for the soft eviction threshold {min(missing)}"
        raise ConfigurationError(f"evictionSoftGracePeriod: {text}")
    if made.image_gc_low_percent >= made.image_gc_high_percent:
        raise ConfigurationError("imageGCLowThresholdPercent must be below imageGCHighThresholdPercent")
    return made


def shown(config: KubeletConfig) -> dict[str, Any]:
    """Return the settings as ``/configz`` shows them."""
    return {
        "kind": KIND,
        "apiVersion": API_VERSION,
        "staticPodPath": str(config.manifests),
        "address": config.listen,
        "port": config.port,
        "tlsCertFile": str(config.certificate or ""),
        "tlsPrivateKeyFile": str(config.key or ""),
        "authentication": {
            "x509": {"clientCAFile": str(config.client_ca or "")},
            "webhook": {"enabled": True, "cacheTTL": "2m0s"},
            "anonymous": {"enabled": False},
        },
        "authorization": {"mode": "Webhook"},
        "clusterDomain": config.cluster_domain,
        "clusterDNS": list(config.cluster_dns),
        "nodeStatusUpdateFrequency": duration(config.pressure_period),
        "nodeStatusReportFrequency": duration(config.status_period),
        "nodeLeaseDurationSeconds": config.lease_duration,
        "imageMinimumGCAge": duration(config.image_minimum_age),
        "imageMaximumGCAge": duration(config.image_maximum_age),
        "imageGCHighThresholdPercent": config.image_gc_high_percent,
        "imageGCLowThresholdPercent": config.image_gc_low_percent,
        "cgroupRoot": config.cgroup_root,
        "cgroupsPerQOS": True,
        "cgroupDriver": "cgroupfs",
        "maxPods": config.max_pods,
        "podPidsLimit": config.pod_pids_limit,
        "resolvConf": str(config.resolv_conf),
        "evictionHard": dict(config.eviction_hard),
        "evictionSoft": dict(config.eviction_soft),
        "evictionSoftGracePeriod": {name: duration(value) for name, value in config.eviction_soft_grace.items()},
        "evictionPressureTransitionPeriod": duration(config.pressure_transition),
        "evictionMaxPodGracePeriod": int(config.eviction_max_pod_grace),
        "evictionMinimumReclaim": dict(config.eviction_minimum_reclaim),
        "failSwapOn": False,
        "containerLogMaxSize": quantity.of(config.log_max_size, "BinarySI"),
        "containerLogMaxFiles": config.log_max_files,
        "allowedUnsafeSysctls": list(config.allowed_sysctls),
        "crashLoopBackOff": {"maxContainerRestartPeriod": duration(config.crash_backoff[1])},
        "registerNode": True,
        "enableServer": True,
    }


def _seconds(value: Any) -> float:
    if isinstance(value, int):
        return value * 1e-9  # Go's durations are nanoseconds where they are numbers
    if value == "0":
        return 0.0
    parts = _PART.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise ValueError("not a duration")
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _thresholds(value: Mapping[str, Any]) -> dict[str, str]:
    for signal, threshold in value.items():
        if signal not in SIGNALS:
            raise ValueError(f"unknown eviction signal {signal}")
        if amount(str(threshold), 100) < 0:
            raise ValueError(f"threshold of {signal} must not be negative")
    return {signal: str(threshold) for signal, threshold in value.items()}


def _pids(value: Any) -> int:
    number = int(value)
    if number < 1 and number != -1:
        raise ValueError("must be positive, or -1 for no limit")
    return number


def _words(value: Any) -> tuple[str, ...]:
    return tuple(str(word) for word in value)


_FIELDS: Mapping[str, tuple[str, Callable[[Any], Any]]] = {
    "allowedUnsafeSysctls": ("allowed_sysctls", _words),
    "containerLogMaxFiles": ("log_max_files", int),
    "containerLogMaxSize": ("log_max_size", lambda value: quantity.parse(value).whole()),
    "crashLoopBackOff": ("crash_backoff", lambda value: (10.0, _seconds(value["maxContainerRestartPeriod"]))),
    "evictionHard": ("eviction_hard", _thresholds),
    "evictionMaxPodGracePeriod": ("eviction_max_pod_grace", float),
    "evictionMinimumReclaim": ("eviction_minimum_reclaim", _thresholds),
    "evictionPressureTransitionPeriod": ("pressure_transition", _seconds),
    "evictionSoft": ("eviction_soft", _thresholds),
    "evictionSoftGracePeriod": ("eviction_soft_grace", lambda value: {k: _seconds(v) for k, v in value.items()}),
    "imageGCHighThresholdPercent": ("image_gc_high_percent", int),
    "imageGCLowThresholdPercent": ("image_gc_low_percent", int),
    "imageMaximumGCAge": ("image_maximum_age", _seconds),
    "imageMinimumGCAge": ("image_minimum_age", _seconds),
    "maxPods": ("max_pods", int),
    "nodeLeaseDurationSeconds": ("lease_duration", int),
    "nodeStatusReportFrequency": ("status_period", _seconds),
    "nodeStatusUpdateFrequency": ("pressure_period", _seconds),
    "podPidsLimit": ("pod_pids_limit", _pids),
    "resolvConf": ("resolv_conf", Path),
    "staticPodPath": ("static_pod_path", Path),
}
"""By field: the member of KubeletConfig and what reads it."""
