"""The variables and types of admission policies and match conditions (apiserver ``admission/plugin/cel``).

Expressions see ``object``, ``oldObject`` and ``params`` as values of any type, ``request`` as the attributes of the
request, ``namespaceObject`` as the namespace's metadata and status, ``authorizer`` as what the user may do, and the
policy's own ``variables``. Those of a mutating policy make ``Object`` and ``JSONPatch`` values.
"""

from collections.abc import Iterator, Mapping

from wherry.api.cel.types import (
    BOOL,
    DYN,
    STRING,
    TIMESTAMP,
    Member,
    Type,
    list_of,
    map_of,
    opaque,
)

AUTHORIZER = Type(
    "opaque",
    (),
    "kubernetes.authorization.Authorizer",
    {"requestResource": Member("requestResource", opaque("kubernetes.authorization.ResourceCheck"))},
)
_STRINGS = map_of(STRING, STRING)


def _struct(name: str, fields: Mapping[str, Type]) -> Type:
    """Return an object type whose fields have the names of the wire, reserved words too (``request.namespace``)."""
    return Type("object", (), name, {field: Member(field, kind) for field, kind in fields.items()})


_KIND = _struct("kubernetes.GroupVersionKind", dict.fromkeys(("group", "version", "kind"), STRING))
_RESOURCE = _struct("kubernetes.GroupVersionResource", dict.fromkeys(("group", "version", "resource"), STRING))
_USER = _struct(
    "kubernetes.UserInfo",
    {"username": STRING, "uid": STRING, "groups": list_of(STRING), "extra": map_of(STRING, list_of(STRING))},
)
REQUEST = _struct(
    "kubernetes.AdmissionRequest",
    {
        "kind": _KIND,
        "resource": _RESOURCE,
        "subResource": STRING,
        "requestKind": _KIND,
        "requestResource": _RESOURCE,
        "requestSubResource": STRING,
        "name": STRING,
        "namespace": STRING,
        "operation": STRING,
        "userInfo": _USER,
        "dryRun": BOOL,
        "options": DYN,
    },
)
_METADATA = _struct(
    "kubernetes.NamespaceMetadata",
    {
        "name": STRING,
        "generateName": STRING,
        "namespace": STRING,
        "labels": _STRINGS,
        "annotations": _STRINGS,
        "UID": STRING,
        "creationTimestamp": TIMESTAMP,
        "deletionGracePeriodSeconds": Type("int"),
        "deletionTimestamp": TIMESTAMP,
        "generation": Type("int"),
        "resourceVersion": STRING,
        "finalizers": list_of(STRING),
    },
)
NAMESPACE = _struct(
    "kubernetes.Namespace",
    {
        "metadata": _METADATA,
        "spec": _struct("kubernetes.NamespaceSpec", {"finalizers": list_of(STRING)}),
        "status": _struct("kubernetes.NamespaceStatus", {"phase": STRING}),
    },
)


class _AnyField(Mapping[str, Member]):
    """Fields of every name, of any type: what is applied is checked when it is applied."""

    def __getitem__(self, name: str) -> Member:
        return Member(name, DYN)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0

    def __contains__(self, name: object) -> bool:
        return True

    def __bool__(self) -> bool:
        return True


JSON_PATCH = _struct("JSONPatch", {"op": STRING, "path": STRING, "from": STRING, "value": DYN})
OBJECT = Type("object", (), "Object", _AnyField())


def structs(name: str) -> Type | None:
    """Return the type that an expression of a mutating policy may make under a name."""
    if name == "JSONPatch":
        return JSON_PATCH
    if name == "Object" or name.startswith("Object."):
        return Type("object", (), name, OBJECT.fields)
    return None


def variables(
    *, params: bool = False, authorizer: bool = True, own: Mapping[str, Type] | None = None
) -> dict[str, Type]:
    """Return the variables that an expression may read; `own` are those of its policy, None when it defines none."""
    found = {"object": DYN, "oldObject": DYN, "request": REQUEST, "namespaceObject": NAMESPACE}
    if params:
        found["params"] = DYN
    if authorizer:
        found["authorizer"] = AUTHORIZER
    if own is not None:
        found["variables"] = _struct("kubernetes.variables", own)
    return found
