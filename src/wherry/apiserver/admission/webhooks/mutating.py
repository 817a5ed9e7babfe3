"""The plugin MutatingAdmissionWebhook."""

from typing import Any

from wherry.api import meta
from wherry.api import patch as patches
from wherry.api.errors import InternalError, StatusError
from wherry.api.resources import builtin
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.forms import replace
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.apiserver.admission.rounds import Rounds
from wherry.apiserver.admission.webhooks.call import CallFailed, ask
from wherry.apiserver.admission.webhooks.hooks import Hook, Hooks
from wherry.apiserver.webhookclient import WebhookClient

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
        changed, key = False, f"round_{operation.round}_index_{index}"
        try:
            verdict = await ask(self._client, hook, operation, form, mutating=True)
            if verdict.patch:
                if form.obj is None:
                    why = (
                        f'admission webhook "{hook.name}" attempted to modify the object, which is not supported for '
                        "this operation"
                    )
                    raise InternalError.of(why)
                changed = await replace(self._context, operation, form, _patched(form.obj, verdict.patch))
        except CallFailed as error:
            if not hook.fails_open:
                raise error.refusal() from None
            operation.annotations[f"failed-open.mutation.webhook.admission.k8s.io/{key}"] = hook.name
        note = f'{{"configuration":"{hook.configuration}","webhook":"{hook.name}","mutated":{str(changed).lower()}}}'
        operation.annotations[f"mutation.webhook.admission.k8s.io/{key}"] = note
        rounds.called(operation, hook.uid, changed=changed, willing=hook.reinvoked)

    async def close(self) -> None:
        await self._client.close()


def _patched(obj: dict[str, Any], patch: list[dict[str, Any]]) -> dict[str, Any]:
    try:
        return patches.apply_json(meta.copy(obj), patch)
    except StatusError as error:
        raise InternalError.of(error.message) from None
