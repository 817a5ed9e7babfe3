"""ResourceClaims: what of a write depends on who makes it, and on the namespace (``pkg/registry/resource``).

Administrative access to devices needs a label on the namespace. The parts of a status have permissions of their own,
beside that to write it: ``resourceclaims/binding`` for what is allocated and to whom, ``resourceclaims/driver`` by the
name of a driver for what that says of its devices (the gate DRAResourceClaimGranularStatusAuthorization).
"""

from typing import Any

from wherry.api import field
from wherry.api.field import FieldError
from wherry.api.resources import NAMESPACES
from wherry.apiserver.attributes import Attributes, Authorizer, Reader
from wherry.apiserver.authn.token import NODE_NAME
from wherry.apiserver.authz.messages import forbidden
from wherry.apiserver.request import Request
from wherry.apiserver.strategies.hooks import Hook

Object = dict[str, Any]
Errors = list[FieldError]

ADMIN_LABEL = "resource.kubernetes.io/admin-access"
_SERVICE_ACCOUNT = "system:serviceaccount:"


def claim_hook(reader: Reader, authorizer: Authorizer) -> Hook:
    """Return the hook of ResourceClaims."""
    checks = _Checks(reader, authorizer)
    return Hook(check=checks.of_claim)


def template_hook(reader: Reader, authorizer: Authorizer) -> Hook:
    """Return the hook of ResourceClaimTemplates."""
    checks = _Checks(reader, authorizer)
    return Hook(check=checks.of_template)


class _Checks:
    def __init__(self, reader: Reader, authorizer: Authorizer) -> None:
        self._reader = reader
        self._authorizer = authorizer

    def of_claim(self, request: Request, new: Object, old: Object | None) -> Errors:
        if request.subresource == "status" and old is not None:
            return self._status(request, new.get("status") or {}, old.get("status") or {})
        return self._spec(request, new.get("spec") or {}, "spec") if old is None else []

    def of_template(self, request: Request, new: Object, old: Object | None) -> Errors:
        inner = (new.get("spec") or {}).get("spec") or {}
        # The path is upstream's, which looks at the inner spec alone.
        return self._spec(request, inner, "spec") if old is None else []

    def _spec(self, request: Request, spec: Object, path: str) -> Errors:
        asked = (spec.get("devices") or {}).get("requests") or ()
        return self._admin(request, [entry.get("exactly") or {} for entry in asked], f"{path}.devices.requests")

    def _admin(self, request: Request, found: list[Object], path: str) -> Errors:
        index = _first_admin(found)
        if index is None:
            return []
        namespace = self._reader.get(NAMESPACES, None, request.namespace) or {"metadata": {}}
        if (namespace["metadata"].get("labels") or {}).get(ADMIN_LABEL) == "true":
            return []
        detail = f"admin access to devices requires the `{ADMIN_LABEL}: true` label on the containing namespace"
        return [field.forbidden(f"{path}[{index}].adminAccess", detail)]

    def _status(self, request: Request, new: Object, old: Object) -> Errors:
        errors: Errors = []
        results, before = (_results(status) for status in (new, old))
        if _first_admin(before) is None:
            errors += self._admin(request, results, "status.allocation.devices.results")
        if any((new.get(member) or None) != (old.get(member) or None) for member in ("allocation", "reservedFor")):
            # The scheduler binds claims wherever they are.
            refusal = self._refusal(request, request.verb, "binding", namespace="", name="")
            if refusal:
                detail = "changing status.allocation or status.reservedFor requires "
                detail += f'resource="resourceclaims/binding", verb="{request.verb}" permission: {refusal}'
                errors.append(field.forbidden("status", detail))
        return errors + self._devices(request, new, old)

    def _devices(self, request: Request, new: Object, old: Object) -> Errors:
        drivers = _changed_drivers(new.get("devices") or (), old.get("devices") or ())
        verbs = [f"arbitrary-node:{request.verb}"]
        node = _allocated_node(new.get("allocation") or {})
        user = request.user
        # A driver's pod may speak for the devices of its own node.
        if node and user.name.startswith(_SERVICE_ACCOUNT) and list(user.extra.get(NODE_NAME, ())) == [node]:
            verbs.insert(0, f"associated-node:{request.verb}")
        errors: Errors = []
        for driver in sorted(drivers):
            refusals = [self._refusal(request, verb, "driver", request.namespace, driver) for verb in verbs]
            if all(refusals):
                detail = 'changing status.devices requires resource="resourceclaims/driver", '
                detail += f'verb="[{" ".join(verbs)}]" permission: {refusals[0]}'
                errors.append(field.forbidden("status.devices", detail))
        return errors

    def _refusal(self, request: Request, verb: str, subresource: str, namespace: str, name: str) -> str:
        resource = request.resource
        asked = Attributes(
            request.user, verb, resource.group, resource.version, resource.plural, subresource, namespace, name
        )
        decision = self._authorizer.authorize(asked)
        return "" if decision.allowed else forbidden(asked, decision.reason).message


def _first_admin(found: list[Object]) -> int | None:
    return next((i for i, entry in enumerate(found) if entry.get("adminAccess")), None)


def _results(status: Object) -> list[Object]:
    return ((status.get("allocation") or {}).get("devices") or {}).get("results") or []


def _changed_drivers(new: Any, old: Any) -> set[str]:
    """Return the drivers of the devices whose state was added, changed or removed."""
    before = {_device(state): state for state in old}
    changed = {state.get("driver") or "" for state in new if before.pop(_device(state), None) != state}
    return changed | {state.get("driver") or "" for state in before.values()}


def _device(state: Object) -> tuple[str, ...]:
    return tuple(state.get(member) or "" for member in ("driver", "pool", "device", "shareID"))


def _allocated_node(allocation: Object) -> str:
    """Return the name of the only node that an allocation is for, empty when it is not for one by its name."""
    terms = (allocation.get("nodeSelector") or {}).get("nodeSelectorTerms") or []
    if len(terms) != 1 or terms[0].get("matchExpressions"):
        return ""
    match terms[0].get("matchFields") or []:
        case [{"key": "metadata.name", "operator": "In", "values": [str(name)]}]:
            return name
    return ""
