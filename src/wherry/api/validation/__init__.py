"""What makes an object invalid, in Kubernetes' order and words.

Promises: pure functions over one object (and its older version); nothing is changed, nothing else is read. Objects must
have been decoded by their schema, defaulted and prepared (`wherry.api.strategy`) before. An empty list means valid.

One module per kind or family holds a table ``RULES`` of (group, plural) to `rules.Rules`; a new module is found by
being here. A module without a table holds what several kinds share.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from wherry.api.field import FieldError
from wherry.api.resources import Resource
from wherry.api.validation import metadata
from wherry.api.validation.rules import Rules


def _collect() -> dict[tuple[str, str], Rules]:
    table: dict[tuple[str, str], Rules] = {}
    for module in iter_modules(__path__):
        table.update(getattr(import_module(f"{__name__}.{module.name}"), "RULES", {}))
    return table


_TABLE = _collect()
_ONLY_METADATA = Rules(name=metadata.path_segment)


def _rules(resource: Resource) -> Rules:
    if resource.custom is not None:
        return resource.custom.rules
    return _TABLE.get((resource.group, resource.plural), _ONLY_METADATA)


def _metadata(resource: Resource, obj: dict[str, Any], rules: Rules, name: metadata.NameRule) -> list[FieldError]:
    known = rules.known_finalizers
    return metadata.validate(obj["metadata"], resource.namespaced, name, known_finalizers=known)


def validate_create(resource: Resource, obj: dict[str, Any]) -> list[FieldError]:
    """Return what is wrong with a new object; its name has been generated and its strategy applied."""
    rules = _rules(resource)
    errors = _metadata(resource, obj, rules, rules.name)
    errors += rules.create(obj) + rules.create_only(obj)
    # What every resource must satisfy is only looked at when the kind's own rules are satisfied.
    return errors or metadata.validate_names(obj["metadata"], metadata.path_segment)


def validate_new_metadata(resource: Resource, obj: dict[str, Any]) -> list[FieldError]:
    """Return what is wrong with the metadata of a new object; a part of `validate_create`."""
    rules = _rules(resource)
    errors = _metadata(resource, obj, rules, rules.name)
    if errors or rules.name is metadata.subdomain:  # which fits into a path
        return errors
    return metadata.validate_names(obj["metadata"], metadata.path_segment)


def validate_update(
    resource: Resource, obj: dict[str, Any], old: dict[str, Any], subresource: str = ""
) -> list[FieldError]:
    """Return what is wrong with changing `old` to `obj`, through a subresource when one is named."""
    rules = _rules(resource)
    meta = obj["metadata"]
    update = metadata.validate_update(meta, old["metadata"])
    errors = _metadata(resource, obj, rules, metadata.path_segment) + update
    if subresource:
        errors += update
        apply = rules.subresources.get(subresource)
        return errors + apply(obj, old) if apply else errors
    changes = update + rules.update(obj, old)
    if not rules.recheck:
        return errors + changes
    whole = rules.create(obj)
    if rules.metadata_again:
        whole = _metadata(resource, obj, rules, rules.name) + whole
    return errors + changes + whole if rules.update_first else errors + whole + changes
