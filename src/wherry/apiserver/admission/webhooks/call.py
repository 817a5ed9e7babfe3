"""Asks one webhook: the AdmissionReview, what is wrong with an answer, and refusals in upstream's words."""

import base64
import binascii
import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from wherry.api.errors import BadRequest, InternalError, StatusError, from_status
from wherry.apiserver import names
from wherry.apiserver.admission.forms import Form, request_of
from wherry.apiserver.admission.plugin import Operation
from wherry.apiserver.admission.webhooks.hooks import Hook
from wherry.apiserver.admission.webhooks.metrics import CALLING_ERROR, NO_ERROR, SERVER_ERROR, WebhookMetrics
from wherry.apiserver.webhookclient import NoClient, WebhookClient, WebhookError
from wherry.util import clock

Object = dict[str, Any]

_KNOWN_VERSIONS = ("v1", "v1beta1")
_OTHER_VERSIONS = {"v1": ("admission.k8s.io/v1beta1",), "v1beta1": ("admission.k8s.io/v1",)}
_NOT_IN_BASE64 = re.compile(r"[^A-Za-z0-9+/=]")


class CallFailed(Exception):
    """A webhook could not be asked, or its answer made no sense. `code` is what upstream counts it as."""

    def __init__(self, hook: Hook, why: str, code: int = 503) -> None:
        super().__init__(f'failed calling webhook "{hook.name}": {why}')
        self.code = code

    def refusal(self) -> InternalError:
        """Return the error for a webhook that does not fail open."""
        return InternalError.of(self)


class Denied(Exception):
    """A webhook has refused; `error` is what the client is told."""

    def __init__(self, error: StatusError) -> None:
        super().__init__(error.message)
        self.error = error


@contextlib.contextmanager
def counted(metrics: WebhookMetrics, hook: Hook, step: str, operation: Operation) -> Iterator[None]:
    """Count the call of a webhook and what came of it. A refusal goes on as the StatusError that it is."""
    started, code, error_type = clock.monotonic(), 200, ""
    try:
        yield
    except CallFailed as failure:
        code, error_type = failure.code, "" if hook.fails_open else CALLING_ERROR
        if hook.fails_open:
            metrics.failed_open(hook.name, step)
        raise
    except Denied as refusal:
        code, error_type = refusal.error.status_code, NO_ERROR
        raise refusal.error from None
    except StatusError:
        code, error_type = 0, SERVER_ERROR
        raise
    finally:
        seconds = clock.monotonic() - started
        metrics.called(hook.name, step, operation.operation, seconds=seconds, code=code, error_type=error_type)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a webhook answered when it allowed the operation: a JSON patch as it was sent, empty for none."""

    patch: bytes


async def ask(client: WebhookClient, hook: Hook, operation: Operation, form: Form, *, mutating: bool) -> Verdict:
    """Ask a webhook. Raises Denied when it refuses, CallFailed when nobody knows, BadRequest in a dry run."""
    if operation.dry_run and hook.has_side_effects:
        raise BadRequest(f'admission webhook "{hook.name}" does not support dry run')
    version = next((v for v in hook.versions if v in _KNOWN_VERSIONS), None)
    if version is None:
        raise CallFailed(
            hook,
            "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)",
            BadRequest.code,
        )
    uid = names.new_uid()
    request = {"uid": uid, **request_of(operation, form), "object": form.obj, "oldObject": form.old}
    review = {"kind": "AdmissionReview", "apiVersion": f"admission.k8s.io/{version}", "request": request}
    try:
        answer = await client.post(hook.client, review, timeout=hook.timeout)
    except NoClient as error:
        raise CallFailed(hook, f"could not get REST client: {error}", error.code) from None
    except WebhookError as error:
        raise CallFailed(hook, f"failed to call webhook: {error}", error.code) from None
    response, patch = _response(hook, answer, version, uid, mutating=mutating)
    for key, value in (response.get("auditAnnotations") or {}).items():
        operation.annotate(f"{hook.name}/{key}", value)
    operation.warnings.extend(response.get("warnings") or ())
    if not response.get("allowed"):
        raise Denied(_refusal(hook, response.get("status")))
    return Verdict(patch)


def _response(hook: Hook, answer: Object, version: str, uid: str, *, mutating: bool) -> tuple[Object, bytes]:
    """Return the response of an answer and its patch, decoded once (apiserver ``request.VerifyAdmissionResponse``)."""
    given = answer.get("apiVersion") or "", answer.get("kind") or ""
    if given[1] == "AdmissionReview" and given[0] in _OTHER_VERSIONS[version]:
        theirs = given[0].rpartition("/")[2]
        raise CallFailed(
            hook,
            f"failed to call webhook: converting ({theirs}.AdmissionReview) to ({version}.AdmissionReview): "
            "unknown conversion",
        )
    response = answer.get("response")
    if not isinstance(response, dict):
        raise _invalid(hook, "webhook response was absent")
    patch = _decoded(hook, response.get("patch") or "")
    if version == "v1":
        if response.get("uid") != uid:
            raise _invalid(hook, f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
        if given != ("admission.k8s.io/v1", "AdmissionReview"):
            shown = given[0] if "/" in given[0] else f"/{given[0]}"
            wanted = "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview"
            raise _invalid(hook, f"{wanted}, got {shown}, Kind={given[1]}")
        wrong = _wrong_patch(patch, response.get("patchType"), mutating=mutating)
        if wrong:
            raise _invalid(hook, wrong)
        if mutating and response.get("patchType") not in (None, "JSONPatch"):
            raise CallFailed(hook, f'unsupported patch type "{response["patchType"]}"')
    return response, patch


def _invalid(hook: Hook, why: str) -> CallFailed:
    return CallFailed(hook, f"received invalid webhook response: {why}")


def _wrong_patch(patch: bytes, kind: str | None, *, mutating: bool) -> str:
    if not mutating:
        if patch:
            return "validating webhook may not return response.patch"
        return "validating webhook may not return response.patchType" if kind is not None else ""
    if patch and kind is None:
        return "webhook returned response.patch but not response.patchType"
    if not patch and kind is not None:
        return "webhook returned response.patchType but not response.patch"
    return 'webhook returned invalid response.patchType of ""' if kind == "" else ""


def _decoded(hook: Hook, encoded: Any) -> bytes:
    try:
        return base64.b64decode(encoded, validate=True)
    except (binascii.Error, ValueError, TypeError):
        bad = _NOT_IN_BASE64.search(encoded) if isinstance(encoded, str) else None
        at = bad.start() if bad else len(str(encoded)) // 4 * 4
        raise CallFailed(hook, f"failed to call webhook: illegal base64 data at input byte {at}") from None


def _refusal(hook: Hook, status: Object | None) -> StatusError:
    found = dict(status or {})
    by, why = f'admission webhook "{hook.name}" denied the request', found.get("message") or found.get("reason")
    found["message"] = f"{by}: {why}" if why else f"{by} without explanation"
    found["code"] = max(found.get("code") or 0, BadRequest.code)
    found["status"] = "Failure"
    return from_status(found)
