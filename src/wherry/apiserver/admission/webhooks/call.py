"""Asks one webhook: the AdmissionReview, what is wrong with an answer, and refusals in upstream's words."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import orjson

from wherry.api.errors import BadRequest, InternalError, StatusError, from_status
from wherry.apiserver import names
from wherry.apiserver.admission.forms import Form, request_of
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.admission.webhooks.hooks import Hook
from wherry.apiserver.webhookclient import WebhookClient, WebhookError

Object = dict[str, Any]

_KNOWN_VERSIONS = ("v1", "v1beta1")


class CallFailed(Exception):
    """A webhook could not be asked, or its answer made no sense."""

    def __init__(self, hook: Hook, why: str) -> None:
        super().__init__(f'failed calling webhook "{hook.name}": {why}')

    def refusal(self) -> InternalError:
        """Return the error for a webhook that does not fail open."""
        return InternalError.of(self)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook answered when it allowed the operation: a JSON patch, empty when it changes nothing."""

    patch: list[Object]


async def ask(client: WebhookClient, hook: Hook, operation: Operation, form: Form, *, mutating: bool) -> Verdict:
    """Ask a webhook. Raises StatusError when it refuses, CallFailed when nobody knows."""
    if operation.dry_run and hook.has_side_effects:
        raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
    version = next((v for v in hook.versions if v in _KNOWN_VERSIONS), None)
    if version is None:
        raise CallFailed(
            hook,
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)",
        )
    uid = names.new_uid()
    request = {"uid": uid, **request_of(operation, form), "object": form.obj, "oldObject": form.old}
    review = {"kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{version}", "request": request}
    try:
        answer = await client.post(hook.client, review, timeout=hook.timeout)
    except WebhookError as error:
        raise CallFailed(hook, f"failed to call webhook: {error}") from None
    response = _response(hook, answer, version, uid)
    operation.annotations.update(
        {f"{hook.name}/{key}": v for key, v in (response.get("auditAnnotations") or {}).items()}
    )
    operation.warnings.extend(response.get("warnings") or ())
    patch = _patch(hook, response, version) if mutating else []
    if not response.get("allowed"):
        raise _denied(hook, response.get("status"))
    return Verdict(patch)


def _invalid(hook: Hook, why: str) -> CallFailed:
    return CallFailed(hook, f"received invalid webhook response: {why}")


def _response(hook: Hook, answer: Object, version: str, uid: str) -> Object:
    wanted = f"admission.k8s.io/{version}"
    given = (answer.get("apiVersion") or "", answer.get("kind") or "")
    if version == "v1" and given != (wanted, "AdmissionReview"):
        raise _invalid(
            hook, f"expected webhook response of {wanted}, Kind=AdmissionReview, got {given[0]}, Kind={given[1]}"
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise _invalid(hook, "webhook response was absent")
    if version == "v1" and response.get("uid") != uid:
        raise _invalid(hook, f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    return response


def _patch(hook: Hook, response: Object, version: str) -> list[Object]:
    encoded, kind = response.get("patch"), response.get("patchType")
    if version == "v1":
        if encoded and not kind:
            raise CallFailed(
                hook, "received invalid webhook response: webhook returned response.patch but not response.patchType"
            )
        if kind and not encoded:
            raise CallFailed(
                hook, "received invalid webhook response: webhook returned response.patchType but not response.patch"
            )
    if not encoded or not response.get("allowed"):
        return []
    if (kind or "JSONPatch") != "JSONPatch":
        raise _invalid(hook, f'webhook returned invalid response.patchType of "{kind}"')
    try:
        patch = orjson.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError, TypeError) as error:
        raise CallFailed(hook, f"received undecodable patch in webhook response: {error}") from None
    return patch or []


def _denied(hook: Hook, status: Object | None) -> StatusError:
    found = dict(status or {})
    by, why = f'admission webhook "{hook.name}" denied the request', found.get("message") or found.get("reason")
    found["message"] = f"{by}: {why}" if why else f"{by} without explanation"
    found["code"] = max(found.get("code") or 0, BadRequest.code)
    found["status"] = "Failure"
    return from_status(found)
