"""The status controller of ValidatingAdmissionPolicies: says which expressions do not fit the kinds they are for.

Watches policies and CustomResourceDefinitions. Writes ``status.observedGeneration`` and ``status.typeChecking``. The
warnings are hints: a policy with some works all the same. Only kinds that the rules name without ``*`` are looked at.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from wherry.api import cel, errors, meta
from wherry.api import schema as schemas
from wherry.api.cel import admission
from wherry.api.cel import schema as structural
from wherry.api.cel import types as kinds
from wherry.api.meta import Object
from wherry.api.resources import CUSTOMRESOURCEDEFINITIONS, TABLE, Resource, builtin
from wherry.api.schema import Type as FieldType
from wherry.controllers.controller import Controller

_POLICIES = builtin("admissionregistration.k8s.io", "v1", "validatingadmissionpolicies")
_MOST_KINDS = 10
_SCALARS = {
    "string": kinds.STRING,
    "quantity": kinds.STRING,
    "bytes": kinds.BYTES,
    "boolean": kinds.BOOL,
    "integer": kinds.INT,
    "number": kinds.DOUBLE,
    "time": kinds.TIMESTAMP,
    "micro-time": kinds.TIMESTAMP,
}


def type_of(found: FieldType, open_types: frozenset[int] = frozenset()) -> kinds.Type:
    """Return the type that expressions see of a built-in type; one that holds itself is dynamic below."""
    if id(found) in open_types:
        return kinds.DYN
    below = open_types | {id(found)}
    if found.kind == "struct":
        fields = {name: type_of(member.type, below) for name, member in found.fields.items()}
        return kinds.object_of(found.name or found.go or "object", fields)
    if found.kind in ("map", "list"):
        element = type_of(found.element, below) if found.element is not None else kinds.DYN
        return kinds.list_of(element) if found.kind == "list" else kinds.map_of(kinds.STRING, element)
    return _SCALARS.get(found.kind, kinds.DYN)


@lru_cache(maxsize=64)
def _builtin_type(resource: Resource) -> kinds.Type:
    return type_of(schemas.load().for_resource(resource).root)


def kinds_of(policy: Object) -> list[tuple[str, str, str]]:
    """Return the (group, version, plural) that the rules of a policy name, the first ten."""
    named: dict[tuple[str, str, str], None] = {}
    for rule in (policy["spec"].get("matchConstraints") or {}).get("resourceRules") or ():
        for group in rule.get("apiGroups") or ():
            for version in rule.get("apiVersions") or ():
                for plural in rule.get("resources") or ():
                    if "*" not in (group, version) and not set(plural) & set("*/"):
                        named[group, version, plural] = None
    return list(named)[:_MOST_KINDS]


def warnings(policy: Object, types: Mapping[str, kinds.Type]) -> Iterator[Object]:
    """Yield a warning for each expression that does not fit some of the kinds, which `types` has by their names."""
    spec = policy["spec"]
    for index, validation in enumerate(spec.get("validations") or ()):
        for member in ("expression", "messageExpression"):
            text = validation.get(member)
            found = [f"{name}: {why}\n" for name, kind in types.items() for why in _problems(spec, kind, text)]
            if found:
                yield {"fieldRef": f"spec.validations[{index}].{member}", "warning": "\n".join(found)}


def _problems(spec: Object, kind: kinds.Type, text: str | None) -> Iterator[str]:
    if not text:
        return
    own: dict[str, kinds.Type] = {}
    params = spec.get("paramKind") is not None
    declared = {"object": kind, "oldObject": kind}
    for variable in spec.get("variables") or ():
        names = admission.variables(params=params, own=own) | declared
        try:
            own[variable["name"]] = cel.compile(variable["expression"], names, structs=admission.structs).type
        except cel.CompileError:
            own[variable["name"]] = kinds.DYN
    names = admission.variables(params=params, own=own if own else None) | declared
    try:
        cel.compile(text, names, structs=admission.structs)
    except cel.CompileError as error:
        yield str(error)


class ValidatingAdmissionPolicyStatusController(Controller):
    name = "validatingadmissionpolicy-status-controller"
    workers = 1

    def register(self) -> None:
        self._policies = self.watch(_POLICIES, changed=lambda old, new: old["spec"] != new["spec"])
        self._definitions = self.watch(CUSTOMRESOURCEDEFINITIONS, self._all_policies)

    def _all_policies(self, definition: Object) -> Iterable[str]:
        return [meta.name(policy) for policy in self._policies.lister.list()]

    def _types(self, policy: Object) -> dict[str, kinds.Type]:
        types = {}
        for group, version, plural in kinds_of(policy):
            kind, found = self._type(group, version, plural)
            if found is not None:
                types[f"{group}/{version}, Kind={kind}"] = found
        return dict(sorted(types.items()))

    def _type(self, group: str, version: str, plural: str) -> tuple[str, kinds.Type | None]:
        resource = TABLE.find(group, version, plural)
        if resource is not None:
            return resource.kind, _builtin_type(resource)
        definition = self._definitions.lister.get(f"{plural}.{group}")
        for served in definition["spec"]["versions"] if definition is not None else ():
            if served["name"] == version and definition is not None:
                given = (served.get("schema") or {}).get("openAPIV3Schema") or {}
                return definition["spec"]["names"]["kind"], structural.type_of(given, root=True)
        return "", None

    async def reconcile(self, key: str) -> float | None:
        policy = self._policies.lister.get(key)
        if policy is None:
            return None
        found = list(warnings(policy, self._types(policy)))
        checking = {"expressionWarnings": found} if found else {}
        generation = policy["metadata"].get("generation")
        before = policy.get("status") or {}
        if before.get("observedGeneration") == generation and before.get("typeChecking") == checking:
            return None
        status = {**before, "observedGeneration": generation, "typeChecking": checking}
        try:
            self.wrote(key, _POLICIES, await self.client.update_status(_POLICIES, {**policy, "status": status}))
        except errors.NotFound:
            return None
        return None
