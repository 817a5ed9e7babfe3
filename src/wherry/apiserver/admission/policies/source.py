"""What policies of both kinds share: compiled once per change, bound to operations, with their parameters."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from wherry.api import meta
from wherry.api.cel import EvalError, Type, admission
from wherry.api.cel.types import DYN
from wherry.api.errors import NotFound
from wherry.api.resources import Resource
from wherry.api.selectors import labels
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.expressions import (
    Budget,
    Expression,
    ExpressionError,
    Values,
    conditions,
)
from wherry.apiserver.admission.forms import Form, form_of
from wherry.apiserver.admission.matching import Criteria, is_exempt
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.admission.stale import Stale

Object = dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Policy:
    """What policies of both kinds have. `own` are the types of its variables, None when it has none."""

    name: str
    fails_open: bool
    criteria: Criteria
    param_kind: Mapping[str, str] | None
    conditions: tuple[Expression, ...]
    variables: Mapping[str, Expression]
    own: Mapping[str, Type] | None

    @staticmethod
    def of(found: Mapping[str, Any]) -> "Policy":
        """Compile a policy object."""
        spec = found["spec"]
        constraints = spec.get("matchConstraints") or {}
        params = spec.get("paramKind")
        variables, own = _variables(spec.get("variables") or (), params=params is not None)
        return Policy(
            found["metadata"]["name"],
            spec.get("failurePolicy") == "Ignore",
            Criteria.of(constraints, constraints.get("resourceRules") or ()),
            params,
            conditions(spec.get("matchConditions"), params=params is not None),
            variables,
            own,
        )

    def names(self, *, authorizer: bool = True) -> dict[str, Type]:
        """Return the variables that the policy's expressions see."""
        return admission.variables(params=self.param_kind is not None, authorizer=authorizer, own=self.own)


def _variables(found: Any, *, params: bool) -> tuple[dict[str, Expression], dict[str, Type] | None]:
    if not found:
        return {}, None
    own: dict[str, Type] = {}
    compiled = {}
    for variable in found:
        name = variable["name"]
        expression = Expression.of(variable["expression"], admission.variables(params=params, own=own), name=name)
        compiled[name] = expression
        own[name] = expression.program.type if expression.program is not None else DYN
    return compiled, own


class OwnVariables(Mapping[str, Any]):
    """``variables`` of one evaluation: each is evaluated when it is first read."""

    def __init__(self, expressions: Mapping[str, Expression], values: Values, budget: Budget) -> None:
        self._expressions = expressions
        self._values = values.extended(variables=self)
        self._budget = budget
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            try:
                self._made[name] = self._budget.evaluate(self._expressions[name], self._values)
            except ExpressionError as error:
                why = error.why
                raise EvalError(f'composited variable "{name}" fails to evaluate: {why}') from None
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._expressions)

    def __len__(self) -> int:
        return len(self._expressions)


@dataclass(frozen=True, slots=True, eq=False)
class Binding:
    """A binding of a policy."""

    name: str
    criteria: Criteria | None
    param_ref: Mapping[str, Any] | None
    actions: tuple[str, ...]

    @staticmethod
    def of(found: Mapping[str, Any]) -> "Binding":
        """Compile a binding object."""
        spec = found["spec"]
        resources = spec.get("matchResources")
        criteria = None if resources is None else Criteria.of(resources, resources.get("resourceRules") or None)
        return Binding(
            found["metadata"]["name"], criteria, spec.get("paramRef"), tuple(spec.get("validationActions") or ())
        )


class ConfigurationError(Exception):
    """A policy or binding cannot be used as it stands."""


P = TypeVar("P")


@dataclass(frozen=True, slots=True)
class Invocation(Generic[P]):
    """A policy that is to be evaluated: with one parameter, or in vain (`error`)."""

    policy: P
    binding: Binding | None
    form: Form | None
    param: Object | None = None
    error: str = ""


class Policies(Generic[P]):
    """All policies of a kind with their bindings, in the order of their names. `compile` makes one of an object."""

    def __init__(
        self,
        context: AdmissionContext,
        resources: tuple[Resource, Resource],
        compiled: Callable[[Mapping[str, Any]], P],
        common: Callable[[P], Policy],
    ) -> None:
        self._context = context
        self._policies, self._bindings = resources
        self._compile = compiled
        self._common = common
        self._stale = Stale(context.registry, *resources)
        self._bound: list[tuple[P, list[Binding]]] = []

    def concern(self, operation: Operation) -> bool:
        """Tell quickly whether some policy may have to be evaluated."""
        return bool(self._all()) and not is_exempt(operation)

    def _all(self) -> list[tuple[P, list[Binding]]]:
        if self._stale.value:
            self._stale.renew()
            registry = self._context.registry
            bindings: dict[str, list[Binding]] = {}
            for found in sorted(registry.list(self._bindings), key=meta.name):
                bindings.setdefault(found["spec"].get("policyName") or "", []).append(Binding.of(found))
            self._bound = [
                (self._compile(found), bindings[meta.name(found)])
                for found in sorted(registry.list(self._policies), key=meta.name)
                if meta.name(found) in bindings
            ]
        return self._bound

    async def invocations(self, operation: Operation) -> list[Invocation[P]]:
        """Return what is to be evaluated for an operation."""
        out: list[Invocation[P]] = []
        for policy, bindings in self._all():
            common = self._common(policy)
            try:
                resource = common.criteria.match(self._context.registry, operation)
                if resource is None:
                    continue
                kind = self._kind_of_params(common)
            except (ConfigurationError, NotFound) as error:
                out.append(Invocation(policy, None, None, error=f"failed to configure policy: {error}"))
                continue
            form = await form_of(self._context, operation, resource)
            for binding in bindings:
                out += self._bound_invocations(policy, binding, operation, form, kind)
        return out

    def _bound_invocations(
        self, policy: P, binding: Binding, operation: Operation, form: Form, kind: Resource | None
    ) -> list[Invocation[P]]:
        try:
            if binding.criteria is not None and binding.criteria.match(self._context.registry, operation) is None:
                return []
            params = self._params(binding, operation, kind)
        except (ConfigurationError, NotFound) as error:
            return [Invocation(policy, binding, form, error=f"failed to configure binding: {error}")]
        return [Invocation(policy, binding, form, param) for param in params]

    def _kind_of_params(self, policy: Policy) -> Resource | None:
        if policy.param_kind is None:
            return None
        version, kind = policy.param_kind.get("apiVersion", ""), policy.param_kind.get("kind", "")
        found = self._context.registry.table.for_object(version, kind)
        if found is None:
            shown = version if "/" in version else f"/{version}"
            raise ConfigurationError(f"failed to find resource referenced by paramKind: '{shown}, Kind={kind}'")
        return found

    def _params(self, binding: Binding, operation: Operation, kind: Resource | None) -> list[Object | None]:
        ref = binding.param_ref
        if kind is None or ref is None:
            return [None]
        namespace: str | None = None
        if kind.namespaced:
            namespace = ref.get("namespace") or operation.namespace
            if not namespace:
                raise ConfigurationError(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources"
                )
        elif ref.get("namespace"):
            raise ConfigurationError("paramRef.namespace must not be provided for a cluster-scoped `paramKind`")
        params: list[Object | None]
        registry = self._context.registry
        if ref.get("name"):
            found = registry.get(kind, namespace, ref["name"])
            params = [] if found is None else [found]
        else:
            selector = labels.from_selector(ref.get("selector") or {})
            params = [obj for obj in registry.list(kind, namespace) if selector.matches(meta.labels(obj))]
        if not params and ref.get("parameterNotFoundAction") == "Deny":
            raise ConfigurationError("no params found for policy binding with `Deny` parameterNotFoundAction")
        return params


def values_for(
    context: AdmissionContext, operation: Operation, policy: Policy, form: Form, param: Object | None
) -> Values:
    """Return what the expressions of a policy see, but for its own variables."""
    values = Values(context, operation, form)
    return values.extended(params=param) if policy.param_kind is not None else values
