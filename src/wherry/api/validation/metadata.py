"""Metadata: names, labels, annotations, owners, finalizers, and what an update may not change.

The rules are those of apimachinery ``api/validation`` (ObjectMeta).
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from wherry.api import field, names
from wherry.api.field import FieldError
from wherry.api.validation import checks

Meta = dict[str, Any]
NameRule = Callable[[str, bool], Iterable[str]]

ANNOTATIONS_LIMIT = 256 * 1024
_MAX_MANAGER, _MAX_SUBRESOURCE = 128, 256
STANDARD_FINALIZERS = frozenset({"kubernetes", "orphan", "foregroundDeletion"})


def _unprefixed(name: str, prefix: bool) -> str:
    """A generateName may end with a dash, because more follows."""
    return name[:-2] + "a" if prefix and len(name) > 1 and name.endswith("-") else name


def subdomain(name: str, prefix: bool) -> Iterable[str]:
    """Check the name of most kinds."""
    return names.is_dns1123_subdomain(_unprefixed(name, prefix) if prefix else name)


def label(name: str, prefix: bool) -> Iterable[str]:
    """Check a name that is used as a DNS label."""
    return checks.label(_unprefixed(name, prefix))


def dns1035_label(name: str, prefix: bool) -> Iterable[str]:
    """Check a name that is used as a DNS label and starts with a letter."""
    return checks.dns1035_label(_unprefixed(name, prefix))


def path_segment(name: str, prefix: bool) -> Iterable[str]:
    """Check a name that need only fit into a URL's path (RBAC objects)."""
    if not prefix and name in (".", ".."):
        return (f"may not be '{name}'",)
    return [f"may not contain '{c}'" for c in "/%" if c in name]


def any_name(name: str, prefix: bool) -> Iterable[str]:
    """Accept every name: the kind checks it by itself."""
    return ()


def validate(
    meta: Meta, namespaced: bool, name_rule: NameRule, path: str = "metadata", *, known_finalizers: bool = True
) -> list[FieldError]:
    """Return what is wrong with the metadata of an object in itself.

    `known_finalizers`: those without a domain must be Kubernetes' own, as the kinds of its core want it.
    """
    errors = validate_names(meta, name_rule, path)
    errors += _namespace(meta.get("namespace"), namespaced, path)
    if meta.get("generation", 0) < 0:
        errors.append(field.invalid(f"{path}.generation", meta["generation"], "must be greater than or equal to 0"))
    if meta.get("labels"):
        errors += labels(meta["labels"], f"{path}.labels")
    if meta.get("annotations"):
        errors += annotations(meta["annotations"], f"{path}.annotations")
    if meta.get("ownerReferences"):
        errors += owner_references(meta["ownerReferences"], f"{path}.ownerReferences")
    if meta.get("finalizers"):
        errors += finalizers(meta["finalizers"], f"{path}.finalizers", known=known_finalizers)
    return errors


def validate_names(meta: Meta, name_rule: NameRule, path: str = "metadata") -> list[FieldError]:
    """Return what is wrong with the name of an object and the beginning of a generated one."""
    errors: list[FieldError] = []
    prefix = meta.get("generateName")
    if prefix:
        errors += [field.invalid(f"{path}.generateName", prefix, m) for m in name_rule(prefix, True)]
    name = meta.get("name")
    if not name:
        errors.append(field.required(f"{path}.name", "name or generateName is required"))
    else:
        errors += [field.invalid(f"{path}.name", name, m) for m in name_rule(name, False)]
    return errors


def _namespace(namespace: str | None, namespaced: bool, path: str) -> list[FieldError]:
    if not namespaced:
        return [field.forbidden(f"{path}.namespace", "not allowed on this type")] if namespace else []
    if not namespace:
        return [field.required(f"{path}.namespace")]
    return [field.invalid(f"{path}.namespace", namespace, m) for m in checks.label(namespace)]


def labels(found: Mapping[str, str], path: str) -> list[FieldError]:
    """Check labels."""
    errors: list[FieldError] = []
    for key, value in found.items():
        errors += [field.invalid(path, key, m) for m in checks.qualified_name(key)]
        errors += [field.invalid(path, value, m) for m in checks.label_value(value)]
    return errors


def annotations(found: Mapping[str, str], path: str) -> list[FieldError]:
    """Check annotations: their keys, and their size together."""
    errors: list[FieldError] = []
    size = 0
    for key, value in found.items():
        errors += [field.invalid(path, key, m) for m in checks.qualified_name(key.lower())]
        size += len(key) + (len(value) if value.isascii() else len(value.encode()))
    if size > ANNOTATIONS_LIMIT:
        errors.append(field.too_long(path, ANNOTATIONS_LIMIT))
    return errors


def owner_references(found: list[dict[str, Any]], path: str) -> list[FieldError]:
    """Check owner references, and that one of them at most is the controller."""
    errors: list[FieldError] = []
    controller = ""
    for ref in found:
        api_version, kind = ref.get("apiVersion") or "", ref.get("kind") or ""
        group, _, version = api_version.rpartition("/")
        if not version or "/" in group:
            errors.append(field.invalid(f"{path}.apiVersion", api_version, "version must not be empty"))
        empty = [m for m in ("kind", "name", "uid") if not ref.get(m)]
        errors += [field.invalid(f"{path}.{m}", "", "must not be empty") for m in empty]
        if (group, version, kind) == ("", "v1", "Event"):
            errors.append(field.invalid(path, ref, "/v1, Kind=Event is disallowed from being an owner"))
        if ref.get("controller"):
            shown = f"{kind}/{ref.get('name') or ''}"
            if controller:
                detail = 'Only one reference can have Controller set to true. Found "true" in references for '
                errors.append(field.invalid(path, found, f"{detail}{controller} and {shown}"))
            else:
                controller = shown
    return errors


def finalizers(found: list[str], path: str, *, known: bool = True) -> list[FieldError]:
    """Check the names of finalizers."""
    errors: list[FieldError] = []
    for name in found:
        errors += [field.invalid(path, name, m) for m in checks.qualified_name(name)]
    if "orphan" in found and "foregroundDeletion" in found:
        errors.append(field.invalid(path, found, "finalizer orphan and foregroundDeletion cannot be both set"))
    for i, name in enumerate(found):
        if known and "/" not in name and name not in STANDARD_FINALIZERS:
            detail = "name is neither a standard finalizer name nor is it fully qualified"
            errors.append(field.invalid(f"{path}[{i}]", name, detail))
    return errors


_IMMUTABLE = ("name", "namespace", "uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds")


def validate_update(meta: Meta, old: Meta, path: str = "metadata") -> list[FieldError]:
    """Return what an update may not change in metadata."""
    errors: list[FieldError] = []
    if old.get("deletionTimestamp") and meta.get("finalizers"):
        added = sorted(set(meta["finalizers"]) - set(old.get("finalizers") or ()))
        if added:
            shown = ", ".join(f'"{f}"' for f in added)
            detail = "no new finalizers can be added if the object is being deleted, found new finalizers []string{"
            errors.append(field.forbidden(f"{path}.finalizers", f"{detail}{shown}}}"))
    if not meta.get("resourceVersion"):
        errors.append(field.invalid(f"{path}.resourceVersion", "", "must be specified for an update"))
    if meta.get("generation", 0) < old.get("generation", 0):
        errors.append(field.invalid(f"{path}.generation", meta.get("generation", 0), "must not be decremented"))
    changed = [m for m in _IMMUTABLE if meta.get(m) != old.get(m)]
    errors += [immutable(f"{path}.{m}", meta.get(m, "" if m in _STRINGS else None)) for m in changed]
    if meta.get("labels"):
        errors += labels(meta["labels"], f"{path}.labels")
    if meta.get("annotations"):
        errors += annotations(meta["annotations"], f"{path}.annotations")
    if meta.get("ownerReferences"):
        errors += owner_references(meta["ownerReferences"], f"{path}.ownerReferences")
    return errors + managed_fields(meta.get("managedFields") or (), f"{path}.managedFields")


def managed_fields(found: Iterable[Mapping[str, Any]], path: str) -> list[FieldError]:
    """Check what entries that could be decoded may still have wrong: the names in them."""
    errors: list[FieldError] = []
    for i, entry in enumerate(found):
        manager, subresource = entry.get("manager") or "", entry.get("subresource") or ""
        if len(manager) > _MAX_MANAGER or not manager.isprintable():
            errors += field_manager(manager, f"{path}[{i}].manager")
        if len(subresource) > _MAX_SUBRESOURCE:
            errors.append(field.too_long(f"{path}[{i}].subresource", _MAX_SUBRESOURCE))
    return errors


def field_manager(name: str, path: str) -> list[FieldError]:
    """Check the name of a field manager."""
    errors: list[FieldError] = []
    if name.isascii() and name.isprintable() and len(name) <= _MAX_MANAGER:
        return errors
    if len(name.encode()) > _MAX_MANAGER:
        errors.append(field.too_long(path, _MAX_MANAGER))
    place = 0
    for char in name:
        if not char.isprintable():
            errors.append(field.invalid(path, name, f"invalid character U+{ord(char):04X} (at position {place})"))
        place += len(char.encode())
    return errors


_STRINGS = frozenset({"name", "namespace", "uid"})


def immutable(path: str, value: Any) -> FieldError:
    """Return the error of a field that may not change."""
    return field.invalid(path, value, "field is immutable")
