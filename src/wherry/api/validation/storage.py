"""Storage: classes, attachments and what CSI drivers say about themselves (``storage.k8s.io``)."""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.validation import checks, resources
from wherry.api.validation.claims import access_modes
from wherry.api.validation.rules import Rules
from wherry.api.validation.shared import MAX_INT32, immutable, label_selector, named, non_negative
from wherry.api.validation.volumes import driver_name

Obj = dict[str, Any]
Errors = list[FieldError]

_RECLAIM = ("Delete", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")
_LIFECYCLE = ("Persistent", "Ephemeral")
_SIZE_LIMIT = 256 * 1024
_PARAMETERS_LIMIT = 512
_MESSAGE_LIMIT = 1024
_NODE_ID_LIMIT = 256
_ONE_SOURCE = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"


def _provisioner(name: str, path: str) -> Errors:
    if not name:
        return [field.required(path)]
    return [field.invalid(path, name.lower(), m) for m in checks.qualified_name(name.lower())]


def _size(values: dict[str, str]) -> int:
    return sum(len(k.encode()) + len(v.encode()) for k, v in values.items())


def _parameters(found: dict[str, str], path: str, *, needed: bool) -> Errors:
    if len(found) > _PARAMETERS_LIMIT:
        return [field.too_long(path, _PARAMETERS_LIMIT)]
    errors = [field.invalid(path, key, "field can not be empty.") for key in found if not key]
    if _size(found) > _SIZE_LIMIT:
        errors.append(field.too_long(path, _SIZE_LIMIT))
    if needed and not found:
        errors.append(field.required(path, "must contain at least one key/value pair"))
    return errors


def _class(obj: Obj) -> Errors:
    errors = _provisioner(obj.get("provisioner") or "", "provisioner")
    errors += _parameters(obj.get("parameters") or {}, "parameters", needed=False)
    policy, mode = obj.get("reclaimPolicy"), obj.get("volumeBindingMode")
    if policy and policy not in _RECLAIM:
        errors.append(field.not_supported("reclaimPolicy", policy, _RECLAIM))
    if mode is None:
        errors.append(field.required("volumeBindingMode"))
    elif mode not in _BINDING_MODES:
        errors.append(field.not_supported("volumeBindingMode", mode, _BINDING_MODES))
    return errors + _topologies(obj.get("allowedTopologies") or [])


def _topologies(terms: list[Obj]) -> Errors:
    errors: Errors = []
    # Upstream starts with as many empty terms as there are terms: an empty one is a duplicate of each of them.
    seen: list[dict[str, set[str]]] = [{} for _ in terms]
    for i, term in enumerate(terms):
        path = f"allowedTopologies[{i}].matchLabelExpressions"
        found: dict[str, set[str]] = {}
        for j, requirement in enumerate(term.get("matchLabelExpressions") or ()):
            key, values, at = requirement.get("key") or "", requirement.get("values") or [], f"{path}[{j}]"
            if not values:
                errors.append(field.required(f"{at}.values"))
            for k, value in enumerate(values):
                if value in values[:k]:
                    errors.append(field.duplicate(f"{at}.values[{k}]", value))
            errors += named(key, f"{at}.key", checks.qualified_name)
            if key in found:
                errors.append(field.duplicate(f"{at}.key", key))
            found[key] = set(values)
        errors += [field.duplicate(path, "") for other in seen if other == found]
        seen.append(found)
    return errors


def _unchanged(obj: Obj, old: Obj, *members: str) -> Errors:
    changed = [m for m in members if (obj.get(m) or None) != (old.get(m) or None)]
    return [field.forbidden(m, f"updates to {m} are forbidden.") for m in changed]


def _update_class(obj: Obj, old: Obj) -> Errors:
    errors = _unchanged(obj, old, "parameters", "provisioner", "reclaimPolicy")
    return errors + immutable(obj.get("volumeBindingMode"), old.get("volumeBindingMode"), "volumeBindingMode")


def _attributes_class(obj: Obj) -> Errors:
    errors = _provisioner(obj.get("driverName") or "", "driverName")
    return errors + _parameters(obj.get("parameters") or {}, "parameters", needed=True)


def _update_attributes_class(obj: Obj, old: Obj) -> Errors:
    return _unchanged(obj, old, "driverName", "parameters") + _attributes_class(obj)


def _attachment(obj: Obj) -> Errors:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    source, node = spec.get("source") or {}, spec.get("nodeName") or ""
    errors = [] if spec.get("attacher") else [field.required("spec.attacher")]
    inline, name = source.get("inlineVolumeSpec"), source.get("persistentVolumeName")
    if inline is None and name is None:
        errors.append(field.required("spec.source", _ONE_SOURCE))
    elif inline is not None and name is not None:
        errors.append(field.forbidden("spec.source", _ONE_SOURCE))
    elif name == "":
        errors.append(field.required("spec.source.persistentVolumeName", "must specify non empty persistentVolumeName"))
    elif inline is not None:
        errors += _inline_volume(inline, "spec.source.inlineVolumeSpec")
    errors += named(node, "spec.nodeName", checks.subdomain)
    if _size(status.get("attachmentMetadata") or {}) > _SIZE_LIMIT:
        errors.append(field.too_long("status.attachmentMetadata", _SIZE_LIMIT))
    for member in ("attachError", "detachError"):
        errors += _volume_error(status.get(member) or {}, f"status.{member}")
    return errors


def _inline_volume(spec: Obj, path: str) -> Errors:
    """Check the volume of a pod that was moved to CSI from an in-tree plugin."""
    never = "may not be specified in the context of inline volumes"
    errors = [field.forbidden(f"{path}.{m}", never) for m in ("claimRef", "capacity") if spec.get(m)]
    source, policy = spec.get("csi"), spec.get("persistentVolumeReclaimPolicy")
    if source is None:
        errors.append(field.required(f"{path}.csi", "has to be specified in the context of inline volumes"))
    modes = spec.get("accessModes") or []
    errors += access_modes(modes, f"{path}.accessModes") if modes else [field.required(f"{path}.accessModes")]
    if policy and policy != "Retain":
        detail = "may only be Retain in the context of inline volumes"
        errors.append(field.forbidden(f"{path}.persistentVolumeReclaimPolicy", detail))
    if spec.get("nodeAffinity") is not None:
        errors.append(field.forbidden(f"{path}.nodeAffinity", never))
    if source is not None:
        errors += driver_name(source.get("driver") or "", f"{path}.csi.driver")
        if not source.get("volumeHandle"):
            errors.append(field.required(f"{path}.csi.volumeHandle"))
    if spec.get("storageClassName"):
        errors.append(field.forbidden(f"{path}.storageClassName", never))
    if spec.get("volumeMode") not in (None, "Filesystem"):
        detail = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        errors.append(field.forbidden(f"{path}.volumeMode", detail))
    return errors


def _volume_error(error: Obj, path: str) -> Errors:
    errors: Errors = []
    if len((error.get("message") or "").encode()) > _MESSAGE_LIMIT:
        errors.append(field.too_long(f"{path}.message", _SIZE_LIMIT))
    code = error.get("errorCode")
    if code is not None and code < 0:
        errors.append(field.invalid(f"{path}.errorCode", code, f"must be between 0 and {MAX_INT32}, inclusive"))
    return errors


def _create_attachment(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors = driver_name(spec["attacher"], "spec.attacher") if spec.get("attacher") else []
    name = (spec.get("source") or {}).get("persistentVolumeName")
    return errors + (named(name, "spec.source.persistentVolumeName", checks.subdomain) if name is not None else [])


def _update_attachment(obj: Obj, old: Obj) -> Errors:
    """Upstream checks the object twice, and answers each error as often; so it does for nodes and attribute classes."""
    return _attachment(obj) + immutable(_go_spec(obj), _go_spec(old), "spec")


def _go_spec(obj: Obj) -> Obj:
    """Upstream shows its internal form of the spec, which has the names of Go fields."""
    return {"Spec": obj.get("spec")}


def _driver(obj: Obj) -> Errors:
    spec = obj.get("spec") or {}
    errors: Errors = []
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _GROUP_POLICIES:
        errors.append(field.not_supported("spec.fsGroupPolicy", policy, _GROUP_POLICIES))
    errors += _tokens(spec.get("tokenRequests") or [])
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLE:
            errors.append(field.not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLE, ordered=True))
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < 10:
        detail = "must be greater than or equal to 10 seconds"
        errors.append(field.invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, detail))
    if spec.get("serviceAccountTokenInSecrets") is not None and not spec.get("tokenRequests"):
        detail = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        value = spec["serviceAccountTokenInSecrets"]
        errors.append(field.invalid("spec.serviceAccountTokenInSecrets", value, detail))
    return errors


def _tokens(requests: list[Obj]) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, request in enumerate(requests):
        path = f"spec.tokenRequests[{i}]"
        audience, seconds = request.get("audience") or "", request.get("expirationSeconds")
        if audience in seen:
            errors.append(field.duplicate(f"{path}.audience", audience))
            continue
        seen.add(audience)
        if seconds is not None and seconds < 600:
            detail = "may not specify a duration less than 10 minutes"
            errors.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
        if seconds is not None and seconds > 1 << 32:
            detail = "may not specify a duration larger than 2^32 seconds"
            errors.append(field.invalid(f"{path}.expirationSeconds", seconds, detail))
    return errors


def _update_driver(obj: Obj, old: Obj) -> Errors:
    spec, before = obj.get("spec") or {}, old.get("spec") or {}
    # The path of attachRequired is upstream's.
    errors = immutable(spec.get("attachRequired"), before.get("attachRequired"), "spec.attachedRequired")
    modes, modes_before = spec.get("volumeLifecycleModes"), before.get("volumeLifecycleModes")
    return errors + immutable(modes, modes_before, "spec.volumeLifecycleModes")


def _node(obj: Obj) -> Errors:
    errors: Errors = []
    seen: set[str] = set()
    for i, driver in enumerate((obj.get("spec") or {}).get("drivers") or ()):
        path, name, node = f"spec.drivers[{i}]", driver.get("name") or "", driver.get("nodeID") or ""
        errors += driver_name(name, f"{path}.name")
        if not node:
            errors.append(field.required(f"{path}.nodeID"))
        if len(node.encode()) > _NODE_ID_LIMIT:
            detail = f"must be {_NODE_ID_LIMIT} characters or less"
            errors.append(field.invalid(f"{path}.nodeID", node, detail))
        errors += non_negative((driver.get("allocatable") or {}).get("count"), f"{path}.allocatable.count")
        if name in seen:
            errors.append(field.duplicate(f"{path}.name", name))
        seen.add(name)
        keys = driver.get("topologyKeys") or []
        for j, key in enumerate(keys):
            if not key:
                errors.append(field.required(path))
            if key in keys[:j]:
                errors.append(field.duplicate(path, key))
            errors += named(key, path, checks.qualified_name)
    return errors


def _update_node(obj: Obj, old: Obj) -> Errors:
    """A driver may change nothing but how many volumes it can attach."""
    errors = _node(obj)
    drivers = {d.get("name"): d for d in (obj.get("spec") or {}).get("drivers") or ()}
    for before in (old.get("spec") or {}).get("drivers") or ():
        driver = drivers.get(before.get("name"))
        if driver is not None:
            now, was = ({"Driver": {**d, "allocatable": None}} for d in (driver, before))
            errors += immutable(now, was, "spec.drivers")
    return errors


def _capacity(obj: Obj) -> Errors:
    errors = label_selector(obj.get("nodeTopology"), "nodeTopology")
    errors += named(obj.get("storageClassName") or "", "storageClassName", checks.subdomain)
    if obj.get("capacity") is not None:
        errors += resources.non_negative(obj["capacity"], "capacity")
    return errors


def _update_capacity(obj: Obj, old: Obj) -> Errors:
    members = ("nodeTopology", "storageClassName")
    return [e for m in members for e in immutable(obj.get(m), old.get(m), m)]


_GROUP = "storage.k8s.io"

RULES = {
    (_GROUP, "storageclasses"): Rules(create=_class, update=_update_class),
    (_GROUP, "volumeattributesclasses"): Rules(
        create=_attributes_class, update=_update_attributes_class, update_first=True
    ),
    (_GROUP, "volumeattachments"): Rules(
        create=_attachment,
        create_only=_create_attachment,
        update=_update_attachment,
        subresources={"status": _update_attachment},
    ),
    (_GROUP, "csidrivers"): Rules(create=_driver, update=_update_driver),
    (_GROUP, "csinodes"): Rules(create=_node, update=_update_node),
    (_GROUP, "csistoragecapacities"): Rules(create=_capacity, update=_update_capacity),
}
