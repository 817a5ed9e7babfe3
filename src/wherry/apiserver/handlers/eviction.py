"""POST to ``pods/NAME/eviction``: deletion that respects PodDisruptionBudgets."""

from typing import Any

from wherry.api import meta
from wherry.api.errors import BadRequest, InternalError, NotFound, TooManyRequests
from wherry.api.resources import PODDISRUPTIONBUDGETS, PODS
from wherry.apiserver.api import Api
from wherry.apiserver.decode import decode
from wherry.apiserver.handlers.delete import delete_one
from wherry.apiserver.handlers.deletion import DeleteOptions
from wherry.apiserver.handlers.writing import change
from wherry.apiserver.query import dry_run
from wherry.apiserver.request import Made, Request
from wherry.util import clock

Object = dict[str, Any]

_MAX_DISRUPTED = 2000
_FINISHED = ("Succeeded", "Failed")


async def handle(api: Api, request: Request) -> Made:
    """Evict a pod. Raises TooManyRequests when a budget forbids it now."""
    dry = dry_run(request.params, "CreateOptions")
    served = PODS.subresources["eviction"]
    eviction = decode(
        request, api.schemas.of_subresource(served), api_version="policy/v1", kind="Eviction", options="CreateOptions"
    )
    name = eviction["metadata"].get("name") or request.name
    if name != request.name:
        raise BadRequest("name in URL does not match name in Eviction object")
    options = _options(eviction.get("deleteOptions") or {})
    pod = api.registry.get(PODS, request.namespace, name)
    if pod is None:
        raise NotFound.of("pods", name)
    dry = dry or bool((eviction.get("deleteOptions") or {}).get("dryRun"))
    if not _ignores_budgets(pod):
        await _spend(api, request, pod, dry)
    request.subresource = ""
    await delete_one(api, request, options, dry=dry)
    return Made({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201}, None, 201)


def _options(body: Object) -> DeleteOptions:
    conditions = body.get("preconditions") or {}
    return DeleteOptions(
        body.get("gracePeriodSeconds"),
        conditions.get("uid"),
        conditions.get("resourceVersion"),
        body.get("orphanDependents"),
        body.get("propagationPolicy"),
    )


def _ignores_budgets(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return phase in (*_FINISHED, "Pending") or meta.is_deleting(pod)


async def _spend(api: Api, request: Request, pod: Object, dry: bool) -> None:
    """Take one disruption from the budget that covers the pod. Raises TooManyRequests, InternalError."""
    budgets = [
        budget
        for budget in api.registry.list(PODDISRUPTIONBUDGETS, request.namespace)
        if selects((budget.get("spec") or {}).get("selector"), meta.labels(pod))
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
    name = budget["metadata"]["name"]
    inner = Request(
        "update", PODDISRUPTIONBUDGETS, request.namespace, name, "status", request.user, user_agent=request.user_agent
    )

    async def make(old: Object) -> Object:
        return _spent(old, pod["metadata"]["name"])

    await change(api, inner, make, dry=dry)


def _may_go_unready(budget: Object) -> bool:
    """An unready pod may always go, or when enough others are healthy, as the budget's policy says."""
    policy = (budget.get("spec") or {}).get("unhealthyPodEvictionPolicy")
    status = budget.get("status") or {}
    if policy == "AlwaysAllow":
        return True
    return status.get("currentHealthy", 0) >= status.get("desiredHealthy", 0) > 0


def _spent(budget: Object, pod: str) -> Object:
    name, status = budget["metadata"]["name"], dict(budget.get("status") or {})
    disrupted = dict(status.get("disruptedPods") or {})
    if status.get("observedGeneration", 0) < budget["metadata"].get("generation", 0):
        raise TooManyRequests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            {
                "causes": [
                    {
                        "reason": "DisruptionBudget",
                        "message": f"The disruption budget {name} is still being processed by the server.",
                    }
                ],
                "retryAfterSeconds": 10,
            },
            headers={"Retry-After": "10"},
        )
    allowed = status.get("disruptionsAllowed", 0)
    if allowed <= 0 or len(disrupted) > _MAX_DISRUPTED:
        healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
        raise TooManyRequests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            {
                "causes": [
                    {
                        "reason": "DisruptionBudget",
                        "message": f"The disruption budget {name} needs {desired} healthy pods "
                        f"and has {healthy} currently",
                    }
                ]
            },
        )
    disrupted[pod] = clock.timestamp()
    status.update(disruptionsAllowed=allowed - 1, disruptedPods=disrupted)
    return {**budget, "status": status}


def selects(selector: Object | None, labels: dict[str, str]) -> bool:
    """Tell whether a label selector object selects `labels`; an absent one selects nothing, an empty one all."""
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        value, values = labels.get(expression["key"]), expression.get("values") or ()
        match expression["operator"]:
            case "In":
                good = value is not None and value in values
            case "NotIn":
                good = value is None or value not in values
            case "Exists":
                good = value is not None
            case _:
                good = value is None
        if not good:
            return False
    return True
