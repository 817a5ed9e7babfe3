"""The plugin MutatingAdmissionWebhook."""

from typing import Any

import orjson

from wherry.api import meta
from wherry.api import patch as patches
from wherry.api.errors import InternalError, StatusError
from wherry.api.resources import builtin
from wherry.api.schema import DecodeError, decode_patch
from wherry.api.schema.decode import go_kind
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.forms import Form, replace
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.apiserver.admission.rounds import Rounds
from wherry.apiserver.admission.webhooks.call import CallFailed, ask, counted
from wherry.apiserver.admission.webhooks.hooks import Hook, Hooks
from wherry.apiserver.admission.webhooks.metrics import ADMIT
from wherry.apiserver.webhookclient import WebhookClient

_ANNOTATIONS = "mutation.webhook.admission.k8s.io/"
_CONFIGURATIONS = builtin("admissionregistration.k8s.io", "v1", "mutatingwebhookconfigurations")


class MutatingAdmissionWebhook(Plugin):
    """Source of the rules: apiserver ``plugin/webhook/mutating``. Webhooks are asked one after the other; when one
    changes the object, all mutating plugins run again, and of the webhooks those with reinvocation policy IfNeeded."""

    name = "MutatingAdmissionWebhook"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context
        self._hooks = Hooks(context, _CONFIGURATIONS)
        self._client = WebhookClient(context.registry)

    def handles(self, operation: Operation) -> bool:
        return self._hooks.concern(operation)

    async def admit(self, operation: Operation) -> None:
        rounds = Rounds.of(operation, self.name)
        for index, hook in enumerate(self._hooks.all()):
            await self._run(hook, operation, rounds, index)
        rounds.finish(operation)

    async def _run(self, hook: Hook, operation: Operation, rounds: Rounds, index: int) -> None:
        form = await self._hooks.wanted(hook, operation)
        if form is None or not rounds.calls(operation, hook.uid):
            return
        changed, key = False, f"{_ANNOTATIONS}round_{operation.round}_index_{index}"
        try:
            changed = await self._ask(hook, operation, form, key)
        except CallFailed as error:
            if not hook.fails_open:
                raise error.refusal() from None
            operation.annotate(f"failed-open.{key}", hook.name)
        finally:
            called = {"configuration": hook.configuration, "webhook": hook.name, "mutated": changed}
            operation.annotate(key, orjson.dumps(called).decode())
        rounds.called(operation, hook.uid, changed=changed, willing=hook.reinvoked)

    async def _ask(self, hook: Hook, operation: Operation, form: Form, key: str) -> bool:
        """Ask a webhook and apply its patch; tell whether that changed the object."""
        with counted(self._context.webhooks, hook, ADMIT, operation):
            patch = _operations((await ask(self._client, hook, operation, form, mutating=True)).patch)
            if not patch:
                return False
            if form.obj is None:
                why = f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for this'
                raise InternalError.of(f"{why} operation")
            changed = await replace(self._context, operation, form, _patched(form.obj, patch))
            note = {
                "configuration": hook.configuration,
                "webhook": hook.name,
                "patch": [dict(sorted(one.items())) for one in patch],
                "patchType": "JSONPatch",
            }
            operation.annotate(f"patch.{key.partition('.')[2]}", orjson.dumps(note).decode(), detailed=True)
            return changed

    async def close(self) -> None:
        await self._client.close()


def _operations(patch: bytes) -> list[dict[str, Any]]:
    if not patch:
        return []
    try:
        found, _ = decode_patch(patch)
    except DecodeError as error:
        raise InternalError.of(error) from None
    if not isinstance(found, list | None):
        raise InternalError.of(f"json: cannot unmarshal {go_kind(found)} into Go value of type jsonpatch.Patch")
    return found or []


def _patched(obj: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        return patches.apply_json(meta.copy(obj), patch)
    except StatusError as error:
        raise InternalError.of(error.message) from None
