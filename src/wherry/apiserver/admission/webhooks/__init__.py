"""Dynamic admission: the webhooks of MutatingWebhookConfigurations and ValidatingWebhookConfigurations.

`hooks` compiles configurations and tells which webhooks an operation concerns, `call` asks one of them, `mutating` and
`validating` are the plugins. Webhooks never see the objects that configure admission.
"""
