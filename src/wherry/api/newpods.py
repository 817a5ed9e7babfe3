"""New pods: what a create makes of them, what is wrong with them, what there is to warn about, what they share.

The pods of one workload are alike: one whose like was found good gets the status that the other got and shares its
spec, of which memory then holds one, and of it only the metadata is looked at. Quotas, admission and all that needs
other objects is not of this.
"""

from typing import Any, NamedTuple

import orjson

from wherry.api import meta, strategy, validation, warnings
from wherry.api.field import FieldError
from wherry.api.meta import Object
from wherry.api.resources import PODS
from wherry.api.warnings import pods as podwarnings

_MOST = 1024
_MOST_PARTS = 4096
_LONGEST = 8 * 1024
_OWN = (b'"ephemeral":', b'atchLabelKeys":', b'"schedulingGates":')
"""What makes rules look at a pod's name or labels too, or its status hold more than the classes of pods."""


class Good(NamedTuple):
    """What pods have in common that were found good; never to be changed."""

    spec: Object
    status: Object


_good: dict[bytes, Good] = {}
"""Pods that were found good, by their content."""

_parts: dict[bytes, Any] = {}
"""Containers, volumes and other parts of the specs of pods that were read, by their content."""


def examine(pod: Object) -> tuple[list[FieldError], list[str]]:
    """Prepare a new pod in place (`strategy.prepare_create`) and return what is wrong with it and the warnings."""
    content = content_of(pod)
    good = _good.get(content)
    if good is not None:
        strategy.prepare_metadata(PODS, pod)
        pod["spec"], pod["status"] = good.spec, good.status.copy()
        errors = validation.validate_new_metadata(PODS, pod)
        return errors, [] if errors else podwarnings.of_name(pod["metadata"])
    pod["spec"] = meta.copy(pod["spec"])  # parts of it may be those of other pods
    found = warnings.for_given(PODS, pod)
    strategy.prepare_create(PODS, pod)
    errors = validation.validate_create(PODS, pod)
    if not errors:
        found += warnings.for_object(PODS, pod)
    if not errors and not found and content and content_of(pod) == content:
        if len(_good) >= _MOST:
            _good.clear()
        _good[content] = Good(pod["spec"], pod["status"].copy())
    return errors, found


def share(pod: Object) -> None:
    """Let a pod that was read from the store share what its spec has in common with others, in place."""
    spec = pod.get("spec") or {}
    for name, value in spec.items():
        if value.__class__ is list or value.__class__ is dict:
            if len(_parts) >= _MOST_PARTS:
                _parts.clear()
            spec[name] = _parts.setdefault(orjson.dumps(value), value)


def content_of(pod: Object) -> bytes:
    """Return what is looked at of a new pod beside its name and labels, empty where these matter too."""
    content = orjson.dumps((pod["spec"], pod["metadata"].get("annotations")))
    if len(content) > _LONGEST:
        return b""
    for name in _OWN:
        if name in content:
            return b""
    return content
