"""The plugin ValidatingAdmissionWebhook."""

import asyncio

from wherry.api.errors import StatusError
from wherry.api.resources import builtin
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.forms import Form
from wherry.apiserver.admission.plugin import Operation, Plugin
from wherry.apiserver.admission.webhooks.call import CallFailed, ask, counted
from wherry.apiserver.admission.webhooks.hooks import Hook, Hooks
from wherry.apiserver.admission.webhooks.metrics import VALIDATING
from wherry.apiserver.webhookclient import WebhookClient

_FAILED_OPEN = "failed-open.validating.webhook.admission.k8s.io/"
_CONFIGURATIONS = builtin("admissionregistration.k8s.io", "v1", "validatingwebhookconfigurations")


class ValidatingAdmissionWebhook(Plugin):
    """Source of the rules: apiserver ``plugin/webhook/validating``. All webhooks are asked side by side; of several
    refusals the one of the first webhook is given."""

    name = "ValidatingAdmissionWebhook"

    def __init__(self, context: AdmissionContext) -> None:
        self._context = context
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
            tasks = [group.create_task(self._ask(at, *one, operation)) for at, one in enumerate(chosen)]
        for task in tasks:
            refusal = task.result()
            if refusal is not None:
                raise refusal

    async def _ask(self, index: int, hook: Hook, form: Form, operation: Operation) -> StatusError | None:
        try:
            with counted(self._context.webhooks, hook, VALIDATING, operation):
                await ask(self._client, hook, operation, form, mutating=False)
        except CallFailed as error:
            if not hook.fails_open:
                return error.refusal()
            operation.annotate(f"{_FAILED_OPEN}round_0_index_{index}", hook.name)
        except StatusError as error:
            return error
        return None

    async def close(self) -> None:
        await self._client.close()
