"""NamespaceLifecycle: nothing new in a namespace that is missing or ends; some namespaces cannot be deleted."""

from wherry.api.errors import Forbidden, NotFound
from wherry.api.resources import NAMESPACES, Resource
from wherry.apiserver.admission.plugin import CREATE, DELETE, Operation, Plugin
from wherry.apiserver.attributes import Reader

_IMMORTAL = frozenset({"default", "kube-system", "kube-public"})
_REVIEWS = frozenset({"localsubjectaccessreviews"})


class NamespaceLifecycle(Plugin):
    """Source of the rules: apiserver ``plugin/namespace/lifecycle``."""

    name = "NamespaceLifecycle"
    operations = frozenset({CREATE, DELETE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def admit(self, operation: Operation) -> None:
        resource = operation.resource
        if operation.operation == DELETE:
            if resource is NAMESPACES and operation.name in _IMMORTAL:
                raise forbidden(resource, operation.name, "this namespace may not be deleted")
            return
        if not resource.namespaced or resource.plural in _REVIEWS:
            return
        namespace = self._reader.get(NAMESPACES, None, operation.namespace)
        if namespace is None:
            raise NotFound.of("namespaces", operation.namespace)
        if (namespace.get("status") or {}).get("phase") == "Terminating":
            name = operation.name
            why = f"unable to create new content in namespace {operation.namespace} because it is being terminated"
            error = forbidden(resource, name, why)
            error.details = {
                **(error.details or {}),
                "causes": [
                    {
                        "reason": "NamespaceTerminating",
                        "message": f"namespace {operation.namespace} is being terminated",
                        "field": "metadata.namespace",
                    }
                ],
            }
            raise error


def forbidden(resource: Resource, name: str, why: str) -> Forbidden:
    """Return the refusal of admission in Kubernetes' words; a request that names no object is about an Unknown one."""
    name = name or "Unknown"
    details = {k: v for k, v in (("name", name), ("group", resource.group), ("kind", resource.plural)) if v}
    return Forbidden(f'{resource.group_resource} "{name}" is forbidden: {why}', details)
