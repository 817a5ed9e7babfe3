"""CustomResourceDefinitions (apiextensions ``apis/apiextensions/validation``).

Errors name the fields of the internal version: what all versions of a definition have in common stands at its top
(``spec.validation``, ``spec.subresources`` …), and the webhook of a conversion is not wrapped.
"""

from collections.abc import Callable
from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.structural.defaultcheck import default_errors
from wherry.api.structural.expressions import Budget, Place
from wherry.api.structural.fieldpath import field_at
from wherry.api.structural.openapi import OpenApiErrors
from wherry.api.structural.structure import structure_errors, unsupported
from wherry.api.validation import checks, metadata
from wherry.api.validation.references import ca_bundle, webhook_client
from wherry.api.validation.rules import Rules

Obj = dict[str, Any]
Errors = list[FieldError]

_APPROVAL = "api-approved.kubernetes.io"
_SEE = "see https://github.com/kubernetes/enhancements/pull/1111"
_SHARED = {
    "schema": "validation",
    "subresources": "subresources",
    "additionalPrinterColumns": "additionalPrinterColumns",
    "selectableFields": "selectableFields",
}
_COLUMN_TYPES = "boolean,date,integer,number,string"
_COLUMN_FORMATS = ("byte", "date", "date-time", "double", "float", "int32", "int64", "password")
_MIXED = "may have mixed case, but should otherwise match: "
_MAX_SELECTABLE = 8
_MAX_WARNING = 256
_REVIEWS = ("v1", "v1beta1")
_WITH_STATUS = "if the status subresource is enabled"
_AT_ROOT = (
    "Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern "
    "MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields "
    "XValidations"
)
_ROOT_ORDER = {"id": 0, "$schema": 1, "$ref": 2, "type": 3}
"""The members that are looked at first; nothing is after the first that is wrong."""
_ZERO_IS_ABSENT = ("id", "$schema", "nullable", "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string")
_AT_ROOT_KEYS = frozenset(
    {name[0].lower() + name[1:] for name in _AT_ROOT.split()}
    | {"x-kubernetes-preserve-unknown-fields", "x-kubernetes-validations"}
)


def _create(obj: Obj) -> Errors:
    return _name(obj) + _spec(obj["spec"], None) + _status(obj) + _approval(obj, None) + _preserving(obj, None)


def _name(obj: Obj) -> Errors:
    spec = obj["spec"]
    name = obj["metadata"].get("name") or ""
    wanted = f"{(spec.get('names') or {}).get('plural') or ''}.{spec.get('group') or ''}"
    if not name or name == wanted:
        return []
    return [field.invalid("metadata.name", name, 'must be spec.names.plural+"."+spec.group')]


def _update(obj: Obj, old: Obj) -> Errors:
    spec, before = obj["spec"], old["spec"]
    errors = _spec(spec, before)
    names, names_before = spec["names"], before["names"]
    established = any(
        c.get("type") == "Established" and c.get("status") == "True"
        for c in (old.get("status") or {}).get("conditions") or ()
    )
    if established:
        errors += _immutable("spec.scope", spec.get("scope"), before.get("scope"))
        errors += _immutable("spec.names.kind", names.get("kind"), names_before.get("kind"))
        errors += _trust(spec.get("conversion") or {}, before.get("conversion") or {})
    errors += _immutable("spec.group", spec.get("group"), before.get("group"))
    errors += _immutable("spec.names.plural", names.get("plural"), names_before.get("plural"))
    return errors + _status(obj) + _approval(obj, old) + _preserving(obj, old)


def _trust(conversion: Obj, before: Obj) -> Errors:
    """What is served needs certificates that can be read, unless they could not be read before."""

    def unreadable(given: Obj) -> Errors:
        bundle = ((given.get("webhook") or {}).get("clientConfig") or {}).get("caBundle")
        return ca_bundle(bundle, "spec.conversion.webhookClientConfig.caBundle") if bundle else []

    return unreadable(conversion) if conversion.get("strategy") == "Webhook" and not unreadable(before) else []


def _immutable(path: str, value: Any, before: Any) -> Errors:
    return [] if value == before else [metadata.immutable(path, value)]


def _update_status(obj: Obj, old: Obj) -> Errors:
    return _names((obj.get("status") or {}).get("acceptedNames") or {}, "status.acceptedNames")


def internal(spec: Obj) -> Obj:
    """Return a spec in the form of the internal version."""
    out = {key: value for key, value in spec.items() if key != "conversion"}
    versions = [dict(version) for version in spec.get("versions") or ()]
    for member, shared in _SHARED.items():
        found = [version.get(member) for version in versions]
        if found and found[0] and all(one == found[0] for one in found):
            out[shared] = found[0]
            for version in versions:
                version.pop(member, None)
    out["versions"] = versions
    conversion = dict(spec.get("conversion") or {})
    webhook = conversion.pop("webhook", None) or {}
    conversion["webhookClientConfig"] = webhook.get("clientConfig")
    conversion["conversionReviewVersions"] = webhook.get("conversionReviewVersions")
    out["conversion"] = conversion
    return out


def _spec(given: Obj, before: Obj | None) -> Errors:
    spec = internal(given)
    errors = _group(spec.get("group") or "") + _enum("spec.scope", spec.get("scope") or "", ("Cluster", "Namespaced"))
    versions = spec["versions"]
    if "validation" not in spec:
        for i, version in enumerate(versions):
            if "openAPIV3Schema" not in (version.get("schema") or {}):
                errors.append(field.required(f"spec.versions[{i}].schema.openAPIV3Schema"))
    for i, version in enumerate(versions):
        path = f"spec.versions[{i}]"
        name = version.get("name") or ""
        bad = checks.dns1035_label(name)
        if bad:
            errors.append(field.invalid(f"{path}.name", name, ",".join(bad)))
        status = "status" in (version.get("subresources") or spec.get("subresources") or {})
        errors += _version(version, path, status=status)
    names = [version.get("name") or "" for version in versions]
    if len(set(names)) != len(names):
        errors.append(field.invalid("spec.versions", versions, "must contain unique version names"))
    if sum(bool(version.get("storage")) for version in versions) != 1:
        detail = "must have exactly one version marked as storage version"
        errors.append(field.invalid("spec.versions", versions or None, detail))
    if versions:
        # The first version is the internal version's only one, too.
        bad = checks.dns1035_label(names[0]) if names[0] else ()
        if bad:
            errors.append(field.invalid("spec.version", names[0], ",".join(bad)))
    given_names = spec.get("names") or {}
    for member in ("plural", "singular", "kind", "listKind"):
        if not given_names.get(member):
            errors.append(field.required(f"spec.names.{member}"))
    errors += _names(given_names, "spec.names")
    any_status = any("status" in (one.get("subresources") or {}) for one in (spec, *versions))
    errors += _schema(spec.get("validation"), "spec.validation", status=any_status)
    errors += _common(spec, "spec")
    return errors + _conversion(spec["conversion"], "spec.conversion", strict=_strict(before))


def _group(group: str) -> Errors:
    if not group:
        return [field.required("spec.group")]
    bad = checks.subdomain(group)
    if bad:
        return [field.invalid("spec.group", group, ",".join(bad))]
    if "." not in group:
        return [field.invalid("spec.group", group, "should be a domain with at least one dot")]
    return []


def _enum(path: str, value: str, allowed: tuple[str, ...]) -> Errors:
    if not value:
        return [field.required(path)]
    return [] if value in allowed else [field.not_supported(path, value, allowed, ordered=True)]


def _version(version: Obj, path: str, *, status: bool) -> Errors:
    errors = _warning(version, f"{path}.deprecationWarning")
    errors += _schema(version.get("schema"), f"{path}.schema", status=status)
    return errors + _common(version, path, schema="schema")


def _common(holder: Obj, path: str, *, schema: str = "validation") -> Errors:
    """Check what a version has, or the top when all versions have it alike."""
    errors = _subresources(holder.get("subresources") or {}, f"{path}.subresources")
    for i, column in enumerate(holder.get("additionalPrinterColumns") or ()):
        errors += _column(column, f"{path}.additionalPrinterColumns[{i}]")
    selectable = holder.get("selectableFields")
    if selectable:
        openapi = (holder.get(schema) or {}).get("openAPIV3Schema")
        errors += _selectable(selectable, openapi, f"{path}.selectableFields", top=schema == "validation")
    return errors


def _warning(version: Obj, path: str) -> Errors:
    warning = version.get("deprecationWarning")
    if warning is None:
        return []
    problems = []
    if not version.get("deprecated"):
        return [field.invalid(path, warning, "can only be set for deprecated versions")]
    if len(warning.encode()) > _MAX_WARNING:
        problems.append(f"must be <= {_MAX_WARNING} characters long")
    if not warning:
        problems.append("must not be an empty string")
    at = next((at for at, char in enumerate(warning) if not char.isprintable()), None)
    if at is not None:
        place = len(warning[:at].encode())
        problems.append(f"must only contain printable UTF-8 characters; non-printable character found at index {place}")
    return [field.invalid(path, warning, problem) for problem in problems]


def _schema(validation: Obj | None, path: str, *, status: bool) -> Errors:
    schema = (validation or {}).get("openAPIV3Schema")
    if schema is None:
        return []
    place = f"{path}.openAPIV3Schema"
    errors: Errors = []
    if status:
        errors += _root_errors(schema, place)
    if schema.get("nullable"):
        errors.append(field.forbidden(f"{place}.nullable", "nullable cannot be true at the root"))
    budget = Budget()
    unreadable = unsupported(schema)
    unsound = [] if unreadable else structure_errors(schema, place) or default_errors(schema, place)
    errors += unsound
    errors += OpenApiErrors(None if unreadable or unsound else Place(budget)).check(schema, place)
    if unreadable and not errors:
        return [field.invalid(place, "", unreadable)]
    return errors + budget.errors(place)


def _root_errors(schema: Obj, place: str) -> Errors:
    """With a status of its own only what leaves the schema of the status whole may stand at the root."""
    for key in sorted(schema, key=lambda key: _ROOT_ORDER.get(key, len(_ROOT_ORDER))):
        value = schema[key]
        if key == "type":
            if value and value != "object":
                detail = f'only "object" is allowed as the type at the root of the schema {_WITH_STATUS}'
                return [field.invalid(f"{place}.type", value, detail)]
        elif key not in _AT_ROOT_KEYS and value is not None and (value or key not in _ZERO_IS_ABSENT):
            detail = f"only [{_AT_ROOT}] fields are allowed at the root of the schema {_WITH_STATUS}"
            return [field.invalid(place, schema, detail)]
    return []


def _names(names: Obj, path: str) -> Errors:
    errors: Errors = []
    for member in ("plural", "singular", "kind", "listKind"):
        value = names.get(member) or ""
        mixed = member in ("kind", "listKind")
        bad = checks.dns1035_label(value.lower() if mixed else value) if value else ()
        if bad:
            errors.append(field.invalid(f"{path}.{member}", value, (_MIXED if mixed else "") + ",".join(bad)))
    errors += _labels(names.get("shortNames") or (), f"{path}.shortNames")
    if names.get("kind") and names.get("kind") == names.get("listKind"):
        detail = "kind and listKind may not be the same"
        errors.append(field.invalid(f"{path}.listKind", names["listKind"], detail))
    return errors + _labels(names.get("categories") or (), f"{path}.categories")


def _labels(values: Any, path: str) -> Errors:
    found = ((i, value, checks.dns1035_label(value)) for i, value in enumerate(values))
    return [field.invalid(f"{path}[{i}]", value, ",".join(bad)) for i, value, bad in found if bad]


def _column(column: Obj, path: str) -> Errors:
    errors: Errors = []
    if not column.get("name"):
        errors.append(field.required(f"{path}.name"))
    kind = column.get("type") or ""
    if not kind:
        errors.append(field.required(f"{path}.type", f"must be one of {_COLUMN_TYPES}"))
    elif kind not in _COLUMN_TYPES.split(","):
        errors.append(field.invalid(f"{path}.type", kind, f"must be one of {_COLUMN_TYPES}"))
    form = column.get("format") or ""
    if form and form not in _COLUMN_FORMATS:
        errors.append(field.invalid(f"{path}.format", form, f"must be one of {','.join(_COLUMN_FORMATS)}"))
    if not column.get("jsonPath"):
        errors.append(field.required(f"{path}.JSONPath"))
    else:
        errors += _simple_path(column["jsonPath"], f"{path}.JSONPath")
    return errors


def _simple_path(text: str, path: str) -> Errors:
    return [] if text.startswith(".") else [field.invalid(path, text, "must be a simple json path starting with .")]


def _subresources(subresources: Obj, path: str) -> Errors:
    scale = subresources.get("scale")
    if scale is None:
        return []
    errors: Errors = []
    for member, root in (("specReplicasPath", "spec"), ("statusReplicasPath", "status")):
        place, value = f"{path}.scale.{member}", scale.get(member) or ""
        if not value:
            errors.append(field.required(place))
        else:
            bad = _simple_path(value, place)
            if not bad and not value.startswith(f".{root}."):
                bad = [field.invalid(place, value, f"should be a json path under .{root}")]
            errors += bad
    selector, place = scale.get("labelSelectorPath") or "", f"{path}.scale.labelSelectorPath"
    if selector:
        bad = _simple_path(selector, place)
        if not bad and not selector.startswith((".spec.", ".status.")):
            bad = [field.invalid(place, selector, "should be a json path under either .spec or .status")]
        errors += bad
    return errors


def _selectable(fields: list[Obj], schema: Obj | None, path: str, *, top: bool) -> Errors:
    if schema is None:
        when = "validations.schema is included" if top else "`version.schema.openAPIV3Schema` is not included"
        return [field.invalid(path, "", f"may only be set when {when}")]
    errors: Errors = []
    seen: set[str] = set()
    for i, entry in enumerate(fields):
        place, text = f"{path}[{i}].jsonPath", entry.get("jsonPath") or ""
        if not text:
            errors.append(field.required(place))
            continue
        found = field_at(schema, text, brackets=False)
        if isinstance(found, str):
            errors.append(field.invalid(place, text, f"is an invalid path: {found}"))
            continue
        if text.split(".")[1] == "metadata":
            errors.append(field.invalid(place, text, "must not point to fields in metadata"))
        if found.schema.get("type") not in ("string", "boolean", "integer"):
            detail = (
                "must point to a field of type string, boolean or integer. Enum string fields and strings with formats "
                "are allowed."
            )
            errors.append(field.invalid(place, text, detail))
        if text in seen:
            errors.append(field.duplicate(place, text))
        seen.add(text)
    if len(seen) > _MAX_SELECTABLE:
        errors.append(field.too_many(path, len(seen), _MAX_SELECTABLE))
    return errors


def _conversion(conversion: Obj, path: str, *, strict: bool) -> Errors:
    strategy, config = conversion.get("strategy") or "", conversion.get("webhookClientConfig")
    versions = conversion.get("conversionReviewVersions") or []
    errors = _enum(f"{path}.strategy", strategy, ("None", "Webhook"))
    place, reviews = f"{path}.webhookClientConfig", f"{path}.conversionReviewVersions"
    if strategy != "Webhook":
        detail = "should not be set when strategy is not set to Webhook"
        return errors + [field.forbidden(p, detail) for p, v in ((place, config), (reviews, versions)) if v]
    if config is None:
        errors.append(field.required(place, "required when strategy is set to Webhook"))
    else:
        errors += webhook_client(config, place)
    return errors + _review_versions(versions, reviews, strict=strict)


def _strict(before: Obj | None) -> bool:
    """Tell whether a webhook must know a version of the review: it need not where it did not before."""
    webhook = ((before or {}).get("conversion") or {}).get("webhook") or {}
    known = webhook.get("conversionReviewVersions") or ()
    return not known or any(version in _REVIEWS for version in known)


def _review_versions(versions: list[str], path: str, *, strict: bool) -> Errors:
    if not versions:
        return [field.required(path)]
    errors: Errors = []
    for i, version in enumerate(versions):
        if version in versions[:i]:
            errors.append(field.invalid(f"{path}[{i}]", version, "duplicate version"))
        else:
            errors += [field.invalid(f"{path}[{i}]", version, bad) for bad in checks.dns1035_label(version)]
    if strict and not any(version in _REVIEWS for version in versions):
        errors.append(field.invalid(path, versions, f"must include at least one of {', '.join(_REVIEWS)}"))
    return errors


def _status(obj: Obj) -> Errors:
    status = obj.get("status") or {}
    errors = _names(status.get("acceptedNames") or {}, "status.acceptedNames")
    stored, versions = status.get("storedVersions") or [], obj["spec"].get("versions") or []
    path = "status.storedVersions"
    if not stored:
        return [*errors, field.invalid(path, None, "must have at least one stored version")]
    for version in versions:
        if version.get("storage") and version.get("name") not in stored:
            errors.append(field.invalid(path, stored, f"must have the storage version {version.get('name')}"))
    known = {version.get("name") for version in versions}
    for i, name in enumerate(stored):
        if name not in known:
            detail = (
                f"missing from spec.versions; {name} was previously a storage version, and must remain in "
                f"spec.versions until a storage migration ensures no data remains persisted in {name} and removes "
                f"{name} from status.storedVersions"
            )
            errors.append(field.invalid(f"{path}[{i}]", name, detail))
    return errors


def _approval_problem(obj: Obj) -> tuple[Callable[[str], FieldError] | None, str]:
    value = (obj["metadata"].get("annotations") or {}).get(_APPROVAL) or ""
    need = f'protected groups must have approval annotation "{_APPROVAL}"'
    if not value:
        return (lambda path: field.required(path, f"{need}, {_SEE}")), "missing"
    if value.startswith("unapproved"):
        return None, "bypassed"
    scheme, colon, rest = value.partition("://")
    if colon and scheme and rest.split("/")[0]:
        return None, "approved"
    detail = f'{need} with either a URL or a reason starting with "unapproved", {_SEE}'
    return (lambda path: field.invalid(path, value, detail)), "invalid"


def _approval(obj: Obj, old: Obj | None) -> Errors:
    group = obj["spec"].get("group") or ""
    if not (group in ("k8s.io", "kubernetes.io") or group.endswith((".k8s.io", ".kubernetes.io"))):
        return []
    problem, state = _approval_problem(obj)
    if problem is None or (old is not None and _approval_problem(old)[1] == state):
        return []
    return [problem(f"metadata.annotations[{_APPROVAL}]")]


def _preserving(obj: Obj, old: Obj | None) -> Errors:
    if not obj["spec"].get("preserveUnknownFields") or (old is not None and old["spec"].get("preserveUnknownFields")):
        return []
    detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"
    return [field.invalid("spec.preserveUnknownFields", True, detail)]


RULES = {
    ("apiextensions.k8s.io", "customresourcedefinitions"): Rules(
        create=_create,
        update=_update,
        subresources={"status": _update_status},
        recheck=False,
        known_finalizers=False,
    )
}
