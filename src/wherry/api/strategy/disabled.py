"""Members behind feature gates that are off by default: they vanish from what a client sends (``DropDisabledFields``).

An update keeps them where the object has them already, as one has that an older or differently configured server wrote.
"""

from collections.abc import Iterator
from typing import Any

from wherry.api import meta

Obj = dict[str, Any]

# A step that ends with [] goes through a list, with {} through the values of a map.
_POD_SPEC = (
    "schedulingGroup",
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
    ("", "persistentvolumeclaims"): ("spec.dataSourceRef.namespace",),
    ("resource.k8s.io", "resourceslices"): (*_ATTRIBUTES, "spec.devices[].nodeAllocatableResourceMappings"),
    ("storage.k8s.io", "csidrivers"): ("spec.preventPodSchedulingIfMissing",),
}
_PATHS = {kind: tuple(tuple(path.split(".")) for path in paths) for kind, paths in _MEMBERS.items()}


def drop_disabled(kind: tuple[str, str], obj: Obj, old: Obj | None = None) -> None:
    """Remove from `obj`, in place, the members of a (group, plural) that are off and that `old` does not have."""
    for steps in _PATHS.get(kind, ()):
        if next(_holders(obj, steps), None) is None or (old is not None and next(_holders(old, steps), None)):
            continue
        # The object may share this part with others.
        root = steps[0].rstrip("[]{}")
        obj[root] = meta.copy(obj[root])
        for holder in _holders(obj, steps):
            del holder[steps[-1]]


def _holders(value: Any, steps: tuple[str, ...]) -> Iterator[Obj]:
    """Yield the objects that have the last step as a member."""
    if not isinstance(value, dict):
        return
    step, rest = steps[0], steps[1:]
    if not rest:
        if value.get(step) is not None:
            yield value
    elif step.endswith("[]"):
        for element in value.get(step[:-2]) or ():
            yield from _holders(element, rest)
    elif step.endswith("{}"):
        for element in (value.get(step[:-2]) or {}).values():
            yield from _holders(element, rest)
    else:
        yield from _holders(value.get(step), rest)
