"""One version of a custom kind: everything that the handlers ask about it, from its definition."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from wherry.api import field, names, strategy
from wherry.api.field import FieldError
from wherry.api.jsonpath import JSONPathError, compile_path
from wherry.api.meta import Object
from wherry.api.strategy.rules import Strategy
from wherry.api.structural.columns import Columns
from wherry.api.structural.default import defaulter
from wherry.api.structural.defaultcheck import below
from wherry.api.structural.lists import duplicates, embedded
from wherry.api.structural.prune import pruner
from wherry.api.structural.rules import Rules as CelRules
from wherry.api.structural.rules import rules_of
from wherry.api.structural.schema import CustomSchema, custom_schema
from wherry.api.structural.validate import ABSENT, validator
from wherry.api.validation.rules import Rules

_MAX_REPLICAS = (1 << 31) - 1
_GO_TYPES = {
    bool: "bool",
    int: "int64",
    float: "float64",
    str: "string",
    list: "[]interface {}",
    dict: "map[string]interface {}",
}
_FINALIZERS = ("orphan", "foregroundDeletion", "kubernetes")


def _nothing_wrong(obj: Object) -> list[FieldError]:
    return []


class CustomKind:
    """What one served or stored version of a CustomResourceDefinition does to objects. Parts are made when needed."""

    def __init__(self, definition: Object, version: Mapping[str, Any]) -> None:
        spec = definition["spec"]
        self.group: str = spec["group"]
        self.version: str = version["name"]
        self.kind: str = spec["names"]["kind"]
        self.list_kind: str = spec["names"].get("listKind") or f"{self.kind}List"
        self.openapi: dict[str, Any] = (version.get("schema") or {}).get("openAPIV3Schema") or {}
        self.preserve_unknown = bool(spec.get("preserveUnknownFields"))
        self.selectable = tuple(entry["jsonPath"] for entry in version.get("selectableFields") or ())
        self._given = version
        subresources = version.get("subresources") or {}
        self.has_status = "status" in subresources
        self.scale: Mapping[str, str] | None = subresources.get("scale")

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}"

    @property
    def deprecation(self) -> str | None:
        """The warning that every request for this version gets."""
        if not self._given.get("deprecated"):
            return None
        return self._given.get("deprecationWarning") or f"{self.api_version} {self.kind} is deprecated"

    @cached_property
    def schema(self) -> CustomSchema:
        """The type schema."""
        return custom_schema(
            self.openapi, api_version=self.api_version, kind=self.kind, preserve_unknown=self.preserve_unknown
        )

    @cached_property
    def columns(self) -> Columns:
        """The columns of the Table form."""
        return Columns(list(self._given.get("additionalPrinterColumns") or ()))

    @cached_property
    def strategy(self) -> Strategy:
        """What create and update do beside what they do to every kind."""
        return Strategy(
            generation=_changed,
            status_keeps_metadata=strategy.ALL_METADATA,
            unconditional_update=False,
            fields={path.removeprefix("."): _getter(path) for path in self.selectable},
        )

    @cached_property
    def rules(self) -> Rules:
        """How objects are validated."""
        return Rules(
            create=self._create,
            update=self._update,
            subresources={"status": self._update_status, "scale": self._update},
            recheck=False,
            known_finalizers=False,
        )

    def default(self, obj: Object, *, applied: bool = False) -> None:
        """Fill in what is absent of an object, in place. What an apply left null stays so, for validation to see."""
        step = self._filler if applied else self._defaulter
        if step is not None:
            filled = step(obj)
            for name in obj.keys() - filled.keys():
                del obj[name]
            obj.update(filled)

    def from_store(self, obj: Object) -> Object:
        """Return an object that was stored in this version as it is now read; itself when nothing differs."""
        step = self._defaulter
        return self.prune(obj if step is None else step(obj))

    def prune(self, obj: Object) -> Object:
        """Return an object without what the schema does not name."""
        prune = self._pruner
        return obj if prune is None else prune(obj, None, None)

    def warnings(self, obj: Object, old: Object | None) -> list[str]:
        """Return the rules that `obj` breaks as `old` did, which do not refuse it, and its new odd finalizers."""
        rules = self._cel
        broken = [] if rules is None or old is None else rules.warnings(obj, old)
        before = (old or {}).get("metadata", {}).get("finalizers") or ()
        added = set(obj["metadata"].get("finalizers") or ()).difference(before)
        return broken + [warning for name in sorted(added) for warning in _finalizer_warnings(name)]

    @cached_property
    def _defaulter(self) -> Callable[[Any], Any] | None:
        return defaulter(self.openapi, root=True)

    @cached_property
    def _filler(self) -> Callable[[Any], Any] | None:
        return defaulter(self.openapi, root=True, drop_null=False)

    @cached_property
    def _pruner(self) -> Any:
        return None if self.preserve_unknown else pruner(self.openapi, root=True)

    @cached_property
    def _validate(self) -> Callable[[Object, Any], list[FieldError]]:
        return validator(self.openapi)

    @cached_property
    def _duplicates(self) -> Callable[[Object], list[FieldError]]:
        return duplicates(self.openapi) or _nothing_wrong

    @cached_property
    def _embedded(self) -> Callable[[Object], list[FieldError]]:
        return embedded(self.openapi) or _nothing_wrong

    @cached_property
    def _cel(self) -> CelRules | None:
        return rules_of(self.openapi)

    def _create(self, obj: Object) -> list[FieldError]:
        errors = self._validate(obj, ABSENT) + self._scale_errors(obj) + self._embedded(obj) + self._duplicates(obj)
        return errors + self._judge(obj, ABSENT, errors)

    def _update(self, obj: Object, old: Object) -> list[FieldError]:
        errors = self._validate(obj, old) + self._scale_errors(obj) + self._embedded(obj)
        if not self._duplicates(old):
            errors += self._duplicates(obj)
        return errors + self._judge(obj, old, errors)

    def _judge(self, obj: Object, old: Any, errors: list[FieldError]) -> list[FieldError]:
        return [] if self._cel is None else self._cel.errors(obj, old, before=errors)

    def _update_status(self, obj: Object, old: Object) -> list[FieldError]:
        """What is outside of the status is kept, so it need not be right."""
        errors: list[FieldError] = []
        if "status" in obj and self._validate_status is not None:
            found = self._validate_status(obj["status"], old.get("status", ABSENT))
            errors += [replace(error, field=below("status", error.field)) for error in found]
        errors += self._scale_errors(obj, ("statusReplicasPath",))
        if not self._duplicates(old):
            errors += self._duplicates(obj)
        return errors + self._judge(obj, old, errors)

    @cached_property
    def _validate_status(self) -> Callable[[Any, Any], list[FieldError]] | None:
        schema = (self.openapi.get("properties") or {}).get("status")
        return None if schema is None else validator(schema)

    def _scale_errors(
        self, obj: Object, members: tuple[str, ...] = ("specReplicasPath", "statusReplicasPath")
    ) -> list[FieldError]:
        if self.scale is None:
            return []
        errors = []
        for name in members:
            path = self.scale[name]
            value, problem = _nested(obj, path, 0)
            if problem:
                errors.append(field.invalid(path, 0, problem))
            elif value < 0:
                errors.append(field.invalid(path, value, "should be a non-negative integer"))
            elif value > _MAX_REPLICAS:
                errors.append(field.invalid(path, value, f"should be less than or equal to {_MAX_REPLICAS}"))
        selector = self.scale.get("labelSelectorPath")
        if selector and "statusReplicasPath" in members:
            _, problem = _nested(obj, selector, "")
            if problem:
                errors.append(field.invalid(selector, "", problem))
        return errors


def _nested(obj: Object, path: str, absent: Any) -> tuple[Any, str]:
    """Return what is at `path`, which is of the type of `absent`, and why there is no such value."""
    members = path.removeprefix(".").split(".")
    value: Any = obj
    for at, member in enumerate(members, 1):
        if value is None:
            return absent, ""
        if not isinstance(value, dict):
            return absent, _misplaced(members[:at], value, "map[string]interface{}")
        if member not in value:
            return absent, ""
        value = value[member]
    if value.__class__ is not absent.__class__:
        return absent, _misplaced(members, value, _GO_TYPES[type(absent)])
    return value, ""


def _misplaced(path: list[str], value: Any, wanted: str) -> str:
    shown = value if isinstance(value, str) else field.show(value)
    kind = _GO_TYPES.get(type(value), "<nil>")
    return f".{'.'.join(path)} accessor error: {shown} is of the type {kind}, expected {wanted}"


def _finalizer_warnings(name: str) -> list[str]:
    """Return what is odd about the name of a finalizer (apiextensions ``customresource/validator.go``)."""
    at = f"metadata.finalizers: {field.show(name)}: "
    found = [at + problem for problem in names.is_qualified_name(name)]
    if "/" not in name and name not in _FINALIZERS:
        including = " including a path (/)" if "." in name else ""
        to_avoid = "to avoid accidental conflicts with other finalizer writers"
        found.append(f"{at}prefer a domain-qualified finalizer name{including} {to_avoid}")
    return found


def _changed(obj: Object, old: Object) -> bool:
    """The generation counts changes of anything but metadata; a status with an endpoint of its own is kept before."""
    keys = (obj.keys() | old.keys()) - {"metadata"}
    return any(obj.get(key) != old.get(key) for key in keys)


def _getter(path: str) -> Callable[[Object], str]:
    try:
        read = compile_path(path)
    except JSONPathError:
        return lambda obj: ""

    def get(obj: Object) -> str:
        found = read(obj)
        value = found[0] if found else None
        if value is None:
            return ""
        return ("true" if value else "false") if isinstance(value, bool) else str(value)

    return get
