"""DELETE of one object."""

from collections.abc import Mapping
from typing import Any

from wherry.api import protobuf, schema
from wherry.api.errors import BadRequest, Forbidden, Invalid
from wherry.api.field import FieldError, invalid, not_supported
from wherry.api.resources import PODS, builtin
from wherry.api.schema import DecodeError
from wherry.api.validation.priorityclass import SYSTEM
from wherry.apiserver.admission.plugin import DELETE
from wherry.apiserver.api import Api, operation
from wherry.apiserver.decode import PROTOBUF, media_type
from wherry.apiserver.handlers.deletion import DeleteOptions, Outcome, answers_with_object, delete, grace_period
from wherry.apiserver.query import boolean, dry_run_errors, integer, values
from wherry.apiserver.request import Made, Request, Stored

Object = dict[str, Any]

_JOBS = builtin("batch", "v1", "jobs")
_PRIORITY_CLASSES = builtin("scheduling.k8s.io", "v1", "priorityclasses")
_JOB_WARNING = (
    "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set "
    "propagationPolicy=Orphan to suppress this warning"
)

_SCHEME = "k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:30"
_IGNORE = "ignoreStoreReadErrorWithClusterBreakingPotential"
_SYSTEM_CLASS = "this is a system priority class and cannot be deleted"


async def handle(api: Api, request: Request) -> Stored | Made:
    """Delete an object, or mark it when something must happen before."""
    options, dry = read_options(request)
    if request.resource is _PRIORITY_CLASSES and request.name in SYSTEM:
        message = f'{request.resource.group_resource} "{request.name}" is forbidden: {_SYSTEM_CLASS}'
        raise Forbidden(message, {"name": request.name, "group": "scheduling.k8s.io", "kind": "priorityclasses"})
    if request.resource is _JOBS and options.policy is None and options.orphan is None:
        request.warnings.append(_JOB_WARNING)
    outcome = await delete_one(api, request, options, dry=dry)
    code = 202 if not outcome.deleted and options.orphan is False else 200
    return answer(request, outcome, code)


async def delete_one(api: Api, request: Request, options: DeleteOptions, *, dry: bool) -> Outcome:
    """Delete the object that `request` names, with admission."""

    async def check(old: Object) -> None:
        asked = operation(request, DELETE, old=old, dry_run=dry)
        if request.verb == "deletecollection":
            asked.name = ""  # the request names none
        begins = request.resource is PODS and not old["metadata"].get("deletionTimestamp")
        asked.options = options.told(grace_period(old, options) if begins else options.grace)
        await api.admission.admit(asked)
        await api.admission.validate(asked)

    return await delete(api, request, options, dry=dry, check=check)


def answer(request: Request, outcome: Outcome, code: int = 200) -> Stored | Made:
    """Return the object, or the Status of kinds that answer so once an object is gone."""
    resource = request.resource
    if outcome.deleted and not answers_with_object(resource):
        details = {
            "name": request.name,
            "group": resource.group,
            "kind": resource.plural,
            "uid": outcome.obj["metadata"].get("uid"),
        }
        status = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Success",
            "details": {k: v for k, v in details.items() if v},
        }
        return Made(status, None, code)
    if outcome.record is not None:
        return Stored(outcome.record, resource, code)
    return Made(outcome.obj, resource, code)


def read_options(request: Request) -> tuple[DeleteOptions, bool]:
    """Return the options of the body, or else of the query, and whether it is a dry run. Raises BadRequest, Invalid."""
    body = _body(request)
    if body is None:
        body = _of_query(request.params)
    return options_of(body), bool(body.get("dryRun"))


def _of_query(params: Mapping[str, str]) -> Object:
    """Return the options that a query says, a precondition being a parameter of its own. Raises BadRequest."""
    options: Object = {name: boolean(params, name) for name in ("orphanDependents", _IGNORE) if name in params}
    options["gracePeriodSeconds"] = integer(params, "gracePeriodSeconds")
    options["propagationPolicy"] = params.get("propagationPolicy")
    options["dryRun"] = values(params, "dryRun")
    conditions = {name: params[name] for name in ("uid", "resourceVersion") if params.get(name)}
    return {**options, "preconditions": conditions} if conditions else options


def options_of(body: Object) -> DeleteOptions:
    """Return what DeleteOptions say, checked. Raises Invalid."""
    conditions = body.get("preconditions") or {}
    options = DeleteOptions(
        body.get("gracePeriodSeconds"),
        conditions.get("uid"),
        conditions.get("resourceVersion"),
        body.get("orphanDependents"),
        body.get("propagationPolicy"),
    )
    dry = body.get("dryRun") or []
    errors = _errors(options, dry) + (_ignoring_errors(body) if body.get(_IGNORE) else [])
    if errors:
        raise Invalid.of("DeleteOptions", "", errors, "meta.k8s.io")
    if options.grace is not None and options.grace < 0:
        options.grace = 1
    return options


def _body(request: Request) -> Object | None:
    if request.given is not None:
        return request.given
    if not request.body:
        return None
    try:
        media = media_type(request.content_type)
        if media == PROTOBUF:
            content = protobuf.decode(request.body, schema.load())
        else:
            content, _ = schema.decode_body(request.body, media)
    except (DecodeError, protobuf.ProtobufError) as error:
        raise BadRequest(str(error)) from None
    if (content.get("apiVersion") or "").count("/") > 1:
        raise BadRequest(f"unexpected GroupVersion string: {content['apiVersion']}")
    kind = content.get("kind") or "DeleteOptions"
    if kind != "DeleteOptions":
        version = content.get("apiVersion") or "meta.k8s.io/v1"
        raise BadRequest(f'no kind "{kind}" is registered for version "{version}" in scheme "{_SCHEME}"')
    options, _, wrong = schema.load().for_kind("v1", "DeleteOptions").conform(content)
    if wrong is not None:
        raise BadRequest(str(wrong))
    return options


def _errors(options: DeleteOptions, dry: list[Any]) -> list[FieldError]:
    errors: list[FieldError] = []
    if options.policy is not None and options.orphan is not None:
        errors.append(
            invalid("propagationPolicy", options.policy, "orphanDependents and deletionPropagation cannot be both set")
        )
    if options.policy not in (None, "Foreground", "Background", "Orphan"):
        known = ("Foreground", "Background", "Orphan", "nil")
        errors.append(not_supported("propagationPolicy", options.policy, known, ordered=True))
    return errors + dry_run_errors(dry)


def _ignoring_errors(body: Object) -> list[FieldError]:
    """To delete what cannot be read (which is behind a gate that is off) goes with no other option."""
    others = ("dryRun", "propagationPolicy", "orphanDependents", "gracePeriodSeconds", "preconditions")
    return [
        invalid(_IGNORE, True, f"cannot be set together with .{name}")
        for name in others
        if body.get(name) is not None and body[name] != []
    ]
