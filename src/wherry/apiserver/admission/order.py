"""The admission plugins of a server in the order of upstream's ``AllOrderedPlugins``."""

from wherry.apiserver.admission.certificates import (
    CertificateApproval,
    CertificateSigning,
    CertificateSubjectRestriction,
)
from wherry.apiserver.admission.context import AdmissionContext
from wherry.apiserver.admission.defaultclass import DefaultIngressClass, DefaultStorageClass
from wherry.apiserver.admission.defaulttolerationseconds import DefaultTolerationSeconds
from wherry.apiserver.admission.limitranger import LimitRanger
from wherry.apiserver.admission.namespacelifecycle import NamespaceLifecycle
from wherry.apiserver.admission.nodedeclaredfeatures import NodeDeclaredFeatureValidator
from wherry.apiserver.admission.noderestriction import NodeRestriction
from wherry.apiserver.admission.plugin import Plugin
from wherry.apiserver.admission.podresize import PodResizeValidator
from wherry.apiserver.admission.podsecurity.admission import PodSecurity
from wherry.apiserver.admission.podtopologylabels import PodTopologyLabels
from wherry.apiserver.admission.policies.mutating import MutatingAdmissionPolicy
from wherry.apiserver.admission.policies.validating import ValidatingAdmissionPolicy
from wherry.apiserver.admission.priority import Priority
from wherry.apiserver.admission.resourcequota import ResourceQuota
from wherry.apiserver.admission.runtimeclass import RuntimeClass
from wherry.apiserver.admission.serviceaccount import ServiceAccount
from wherry.apiserver.admission.storageprotection import PersistentVolumeClaimResize, StorageObjectInUseProtection
from wherry.apiserver.admission.taintnodesbycondition import TaintNodesByCondition
from wherry.apiserver.admission.webhooks.mutating import MutatingAdmissionWebhook
from wherry.apiserver.admission.webhooks.validating import ValidatingAdmissionWebhook


def standard(context: AdmissionContext) -> list[Plugin]:
    """Return the plugins that are on by default and do something: those of features that are off are left out."""
    reader = context.registry
    return [
        NamespaceLifecycle(reader),
        LimitRanger(reader),
        ServiceAccount(reader),
        NodeRestriction(reader, context.authorizer),
        TaintNodesByCondition(),
        PodSecurity(reader),
        Priority(reader),
        DefaultTolerationSeconds(),
        DefaultStorageClass(reader),
        StorageObjectInUseProtection(),
        PersistentVolumeClaimResize(reader),
        RuntimeClass(reader),
        CertificateApproval(context.authorizer),
        CertificateSigning(context.authorizer),
        CertificateSubjectRestriction(),
        DefaultIngressClass(reader),
        PodTopologyLabels(reader),
        NodeDeclaredFeatureValidator(reader),
        PodResizeValidator(reader),
        MutatingAdmissionPolicy(context),
        MutatingAdmissionWebhook(context),
        ValidatingAdmissionPolicy(context),
        ValidatingAdmissionWebhook(context),
        ResourceQuota(context),
    ]
