"""What the server gives to its admission plugins."""

from dataclasses import dataclass, field

from wherry.apiserver.admission.checkmetrics import CheckMetrics
from wherry.apiserver.admission.webhooks.metrics import WebhookMetrics
from wherry.apiserver.attributes import Authorizer
from wherry.apiserver.decode import Schemas
from wherry.apiserver.registry import Registry


@dataclass(frozen=True, slots=True)
class AdmissionContext:
    """The parts that plugins may use; most need only `registry`, as a Reader."""

    registry: Registry
    schemas: Schemas
    authorizer: Authorizer
    webhooks: WebhookMetrics = field(default_factory=WebhookMetrics)
    checks: CheckMetrics = field(default_factory=CheckMetrics)
