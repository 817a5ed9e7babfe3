"""Members behind feature gates that are off by default: they vanish from what a client sends (``DropDisabledFields``).

An update keeps them where the object has them already, as one has that an older or differently configured server wrote.
"""

from collections.abc import Sequence
from typing import Any

from wherry.api import meta

Obj = dict[str, Any]

# A step that ends with [] goes through a list, with {} through the values of a map; one with ? goes when that leaves it
# empty.
_CONTAINERS = ("containers", "initContainers", "ephemeralContainers")
_POD_SPEC = (
    "schedulingGroup",
    *(f"{members}[].lifecycle?.stopSignal" for members in _CONTAINERS),
    "volumes[].projected.sources[].clusterTrustBundle",
    "volumes[].projected.sources[].podCertificate",
)
_ATTRIBUTES = tuple(f"spec.devices[].attributes{{}}.{kind}" for kind in ("bools", "ints", "strings", "versions"))
_TEMPLATES = {
    ("", "pods"): "spec",
    ("", "podtemplates"): "template.spec",
    ("", "replicationcontrollers"): "spec.template.spec",
    ("apps", "daemonsets"): "spec.template.spec",
    ("apps", "deployments"): "spec.template.spec",
    ("apps", "replicasets"): "spec.template.spec",
    ("apps", "statefulsets"): "spec.template.spec",
    ("batch", "cronjobs"): "spec.jobTemplate.spec.template.spec",
    ("batch", "jobs"): "spec.template.spec",
}
_MEMBERS: dict[tuple[str, str], tuple[str, ...]] = {
    **{kind: tuple(f"{place}.{path}" for path in _POD_SPEC) for kind, place in _TEMPLATES.items()},
    ("coordination.k8s.io", "leases"): ("spec.strategy", "spec.preferredHolder"),
    ("resource.k8s.io", "resourceslices"): (*_ATTRIBUTES, "spec.devices[].nodeAllocatableResourceMappings"),
    ("storage.k8s.io", "csidrivers"): ("spec.preventPodSchedulingIfMissing",),
}
_STATUS_MEMBERS: dict[tuple[str, str], tuple[str, ...]] = {
    ("", "pods"): (
        "status.nodeAllocatableResourceClaimStatuses",
        *(
            f"status.{members}[].volumeMounts[].volumeStatus"
            for members in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses")
        ),
    ),
    ("apiextensions.k8s.io", "customresourcedefinitions"): (
        "status.observedGeneration",
        "status.conditions[].observedGeneration",
    ),
}
_Step = tuple[str, str]
"""The name of a member and how to go on below it: ``[]``, ``{}``, ``?`` or nothing."""
_Paths = dict[tuple[str, str], tuple[list[_Step], ...]]


def _step(text: str) -> _Step:
    if text.endswith("?"):
        return text[:-1], "?"
    return (text[:-2], text[-2:]) if text.endswith(("[]", "{}")) else (text, "")


def _paths(members: dict[tuple[str, str], tuple[str, ...]]) -> _Paths:
    return {kind: tuple([_step(step) for step in path.split(".")] for path in paths) for kind, paths in members.items()}


_PATHS, _STATUS_PATHS = _paths(_MEMBERS), _paths(_STATUS_MEMBERS)


def drop_disabled(kind: tuple[str, str], obj: Obj, old: Obj | None = None, *, status: bool = False) -> None:
    """Remove from `obj`, in place, the members of a (group, plural) that are off and that `old` does not have.

    With `status` those of its status, else those of all the rest.
    """
    for steps in (_STATUS_PATHS if status else _PATHS).get(kind, ()):
        if not _holders(obj, steps) or (old is not None and _holders(old, steps)):
            continue
        # The object may share this part with others.
        root = steps[0][0]
        obj[root] = meta.copy(obj[root])
        _remove(obj, steps)


def _remove(value: Any, steps: Sequence[_Step]) -> None:
    """Remove the last step from all that has it."""
    name, how = steps[0]
    child = value.get(name) if isinstance(value, dict) else None
    if child is None:
        return
    if len(steps) == 1:
        del value[name]
        return
    for below in child if how == "[]" else child.values() if how == "{}" else (child,):
        _remove(below, steps[1:])
    if how == "?" and not child:
        del value[name]


def _holders(obj: Obj, steps: Sequence[_Step]) -> list[Obj]:
    """Return the objects that have the last step as a member."""
    found: list[Any] = [obj]
    for name, how in steps[:-1]:
        below: list[Any] = []
        for value in found:
            child = value.get(name) if isinstance(value, dict) else None
            if child:
                below += child if how == "[]" else child.values() if how == "{}" else (child,)
        if not below:
            return below
        found = below
    last = steps[-1][0]
    return [value for value in found if isinstance(value, dict) and value.get(last) is not None]
