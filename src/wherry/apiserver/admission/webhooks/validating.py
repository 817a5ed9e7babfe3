"""The plugin ValidatingAdmissionWebhook."""

import asyncio

from wherry.api.errors import StatusError
from wherry.api.resources import builtin
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.forms import Form
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.apiserver.admission.webhooks.call import CallFailed, ask
from wherry.apiserver.admission.webhooks.hooks import Hook, Hooks
from wherry.apiserver.webhookclient import WebhookClient

_CONFIGURATIONS = builtin("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")


class ValidatingAdmissionWebhook(Plugin):
    """Source of the rules: apiserver ``plugin/webhook/validating``. All webhooks are asked side by side; of several
    refusals the one of the first webhook is given."""

    name = "ValidatingAdmissionWebhook"

    def __init__(self, context: AdmissionContext) -> None:
        self._hooks = Hooks(context, _CONFIGURATIONS)
        self._client = WebhookClient(context.registry)

    def handles(self, operation: Operation) -> bool:
        return self._hooks.concern(operation)

    async def validate(self, operation: Operation) -> None:
        chosen = []
        for hook in self._hooks.all():
            form = await self._hooks.wanted(hook, operation)
            if form is not None:
                chosen.append((hook, form))
        if not chosen:
            return
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._ask(hook, operation, form)) for hook, form in chosen]
        for task in tasks:
            refusal = task.result()
            if refusal is not None:
                raise refusal

    async def _ask(self, hook: Hook, operation: Operation, form: Form) -> StatusError | None:
        try:
            await ask(self._client, hook, operation, form, mutating=False)
        except CallFailed as error:
            if not hook.fails_open:
                return error.refusal()
            key = f"failed-open.validating.webhook.admission.k8s.io/{hook.uid}"
            operation.annotations[key] = hook.name
        except StatusError as error:
            return error
        return None

    async def close(self) -> None:
        await self._client.close()
