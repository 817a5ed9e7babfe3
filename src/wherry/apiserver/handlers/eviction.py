"""POST to ``pods/NAME/eviction``: deletion that respects PodDisruptionBudgets."""

from typing import Any

from wherry.api import meta
from wherry.api.errors import BadRequest, Forbidden, InternalError, NotFound, TooManyRequests
from wherry.api.resources import PODDISRUPTIONBUDGETS, PODS, Resource
from wherry.api.selectors import labels
from wherry.apiserver import decode
from wherry.apiserver.admission.plugin import CREATE
from wherry.apiserver.api import Api, operation
from wherry.apiserver.handlers.delete import options_of
from wherry.apiserver.handlers.deletion import delete
from wherry.apiserver.handlers.writing import change
from wherry.apiserver.request import Made, Request
from wherry.util import clock

Object = dict[str, Any]

_MAX_DISRUPTED = 2000
_ALLOWED = "DisruptionAllowed"
_FINISHED = ("Succeeded", "Failed")


async def handle(api: Api, request: Request) -> Made:
    """Evict a pod. Raises TooManyRequests when a budget forbids it now."""
    dry = decode.options_of(request, "CreateOptions")
    served = PODS.subresources["eviction"]
    eviction = decode.decode(request, api.schemas.of_subresource(served), api_version="policy/v1", kind="Eviction")
    name = request.name
    if eviction["metadata"].get("name") != name:
        raise BadRequest("name in URL does not match name in Eviction object")
    pod = api.registry.get(PODS, request.namespace, name)
    if pod is None:
        raise NotFound.of("pods", name)
    asked = operation(request, CREATE, obj=eviction, dry_run=dry)
    await api.admission.admit(asked)
    await api.admission.validate(asked)
    wanted = (asked.obj or eviction).get("deleteOptions") or {}
    options, dry = options_of(wanted), dry or bool(wanted.get("dryRun"))
    if not _ignores_budgets(pod):
        await _spend(api, request, pod, dry)
    if not dry:
        await change(api, _inner(request, PODS, name), _evicting, admitted=True)
    request.subresource = ""
    await delete(api, request, options, dry=dry)
    return Made({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, None, 201)


def _ignores_budgets(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in (*_FINISHED, "Pending") or meta.is_deleting(pod)


async def _spend(api: Api, request: Request, pod: Object, dry: bool) -> None:
    """Take one disruption from the budget that covers the pod. Raises TooManyRequests, InternalError."""
    budgets = [
        budget
        for budget in api.registry.list(PODDISRUPTIONBUDGETS, request.namespace)
        if labels.from_selector((budget.get("spec") or {}).get("selector")).matches(meta.labels(pod))
    ]
    if not budgets:
        return
    if len(budgets) > 1:
        raise InternalError(
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
    budget = budgets[0]
    if not meta.is_true(pod, "Ready") and _may_go_unready(budget):
        return

    async def make(old: Object) -> Object:
        return _spent(old, pod["metadata"]["name"])

    await change(api, _inner(request, PODDISRUPTIONBUDGETS, budget["metadata"]["name"]), make, dry=dry, admitted=True)


def _inner(request: Request, resource: Resource, name: str) -> Request:
    """Return the write of a status that an eviction makes on the way."""
    return Request("update", resource, request.namespace, name, "status", request.user, user_agent=request.user_agent)


async def _evicting(pod: Object) -> Object:
    """Say in the pod's status why it goes: a Job's failure policy may look for it."""
    new = {
        "type": "DisruptionTarget",
        "status": "True",
        "reason": "EvictionByEvictionAPI",
        "message": "Eviction API: evicting",
        "observedGeneration": pod["metadata"].get("generation", 0),
    }
    status = pod.get("status") or {}
    conditions = meta.with_condition(status.get("conditions") or (), new, now=clock.timestamp())
    return {**pod, "status": {**status, "conditions": conditions}}


def _may_go_unready(budget: Object) -> bool:
    """An unready pod may always go, or when enough others are healthy, as the budget's policy says."""
    policy = (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy")
    status = budget.get("status") or {}
    if policy == "AlwaysAllow":
        return True
    return status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0


def _spent(budget: Object, pod: str) -> Object:
    """Return the budget with one disruption less, for `pod`. Raises TooManyRequests, Forbidden."""
    name, status = budget["metadata"]["name"], dict(budget.get("status") or {})
    disrupted = dict(status.get("disruptedPods") or {})
    allowed = status.get("disruptionsAllowed", 0)
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise _refusal(f"The disruption budget {name} is still being processed by the server.", retry_after=10)
    if allowed < 0:
        raise _forbidden(name, "pdb disruptions allowed is negative")
    if len(disrupted) > _MAX_DISRUPTED:
        raise _forbidden(name, "DisruptedPods map too big - too many evictions not confirmed by PDB controller")
    if allowed == 0:
        condition = meta.condition(budget, _ALLOWED) or {}
        if condition.get("reason") == "SyncFailed":
            raise _refusal(
                f"The disruption budget {name} does not allow evicting pods currently because it failed sync: "
                f"{condition.get('message', '')}"
            )
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise _refusal(f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently")
    disrupted[pod] = clock.timestamp()
    status.update(disruptionsAllowed=allowed - 1, disruptedPods=disrupted)
    if allowed == 1:
        generation = status.get("observedGeneration", 0)
        spent = {"type": _ALLOWED, "status": "False", "reason": "InsufficientPods", "message": ""}
        status["conditions"] = meta.with_condition(
            status.get("conditions") or (), {**spent, "observedGeneration": generation}, now=clock.timestamp()
        )
    return {**budget, "status": status}


def _refusal(cause: str, *, retry_after: int = 0) -> TooManyRequests:
    details: Object = {"causes": [{"reason": "DisruptionBudget", "message": cause}]}
    headers = {}
    if retry_after:
        details["retryAfterSeconds"] = retry_after
        headers["Retry-After"] = str(retry_after)
    return TooManyRequests(
        "Cannot evict pod as it would violate the pod's disruption budget.", details, headers=headers
    )


def _forbidden(name: str, why: str) -> Forbidden:
    details = {"name": name, "group": "policy", "kind": "poddisruptionbudgets"}
    return Forbidden(f'poddisruptionbudgets.policy "{name}" is forbidden: {why}', details)
