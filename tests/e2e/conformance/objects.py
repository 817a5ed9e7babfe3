"""A small valid object of every resource whose whole life conformance tests run through."""

import base64
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.cluster import IMAGE

Object = dict[str, Any]
SELECTOR = {"matchLabels": {"app": "x"}}


def pod_spec(**more: Any) -> Object:
    """A pod that sleeps, and ends at once when told to."""
    container = {"name": "c", "image": IMAGE, "command": ["sh", "-c", "trap exit TERM; sleep 1d & wait"]}
    return {"containers": [container], "terminationGracePeriodSeconds": 1} | more


def template(**more: Any) -> Object:
    return {"metadata": {"labels": {"app": "x"}}, "spec": pod_spec(**more)}


def _request() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "e2e-example")])
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return base64.b64encode(made.public_bytes(serialization.Encoding.PEM)).decode()


_EVENT = {
    "involvedObject": {"kind": "Pod", "name": "p", "namespace": "{ns}"},
    "reason": "R",
    "message": "m",
    "type": "Normal",
}
_JOB = {"template": template(restartPolicy="Never")}
_NEVER = template(nodeSelector={"no-such": "node"})
_CLAIM = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}, "storageClassName": "none"}
_VOLUME = {
    "accessModes": ["ReadWriteOnce"],
    "capacity": {"storage": "1Mi"},
    "hostPath": {"path": "/tmp"},
    "storageClassName": "none",
}
_POLICY = {
    "matchConstraints": {
        "resourceRules": [
            {"apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"]}
        ]
    },
    "failurePolicy": "Ignore",
}
_HOOK = {
    "name": "h.example.com",
    "clientConfig": {"service": {"namespace": "none", "name": "none", "path": "/x"}, "caBundle": ""},
    "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["nothings"]}],
    "sideEffects": "None",
    "admissionReviewVersions": ["v1"],
}
_NAMES = {"plural": "things", "singular": "thing", "kind": "Thing", "listKind": "ThingList"}
_SCHEMA = {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}}

OBJECTS: dict[str, Object] = {
    "v1/configmaps": {"data": {"a": "1"}},
    "v1/secrets": {"stringData": {"a": "1"}},
    "v1/podtemplates": {"template": template()},
    "v1/serviceaccounts": {},
    "v1/endpoints": {"subsets": [{"addresses": [{"ip": "10.0.0.1"}], "ports": [{"name": "http", "port": 80}]}]},
    "v1/services": {
        "spec": {"type": "LoadBalancer", "ports": [{"port": 80, "targetPort": 80}], "selector": {"app": "x"}}
    },
    "v1/limitranges": {"spec": {"limits": [{"type": "Container", "max": {"cpu": "10"}}]}},
    "v1/resourcequotas": {"spec": {"hard": {"cpu": "10"}}},
    "v1/persistentvolumeclaims": {"spec": _CLAIM},
    "v1/persistentvolumes": {"spec": _VOLUME},
    "v1/replicationcontrollers": {"spec": {"replicas": 1, "selector": {"app": "x"}, "template": _NEVER}},
    "v1/pods": {"spec": pod_spec(nodeSelector={"no-such": "node"})},
    "v1/events": _EVENT | {"source": {"component": "e2e"}},
    "events.k8s.io/v1/events": {
        "eventTime": "2026-01-02T03:04:05.000000Z",
        "reportingController": "e2e",
        "reportingInstance": "e2e-1",
        "action": "Do",
        "reason": "R",
        "type": "Normal",
        "note": "n",
        "regarding": {"kind": "Pod", "name": "p", "namespace": "{ns}"},
    },
    "apps/v1/controllerrevisions": {"revision": 3, "data": {"spec": {"template": {}}}},
    "apps/v1/daemonsets": {"spec": {"selector": SELECTOR, "template": _NEVER}},
    "apps/v1/deployments": {"spec": {"selector": SELECTOR, "template": _NEVER}},
    "apps/v1/replicasets": {"spec": {"selector": SELECTOR, "template": _NEVER}},
    "apps/v1/statefulsets": {"spec": {"selector": SELECTOR, "serviceName": "s", "template": _NEVER}},
    "batch/v1/jobs": {"spec": _JOB | {"suspend": True}},
    "batch/v1/cronjobs": {"spec": {"schedule": "0 0 1 1 *", "jobTemplate": {"spec": _JOB}}},
    "policy/v1/poddisruptionbudgets": {"spec": {"selector": SELECTOR, "minAvailable": 1}},
    "certificates.k8s.io/v1/certificatesigningrequests": {
        "spec": {
            "request": _request(),
            "signerName": "example.com/e2e",
            "usages": ["digital signature"],
            "expirationSeconds": 3600,
        }
    },
    "discovery.k8s.io/v1/endpointslices": {
        "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.0.0.1"]}],
        "ports": [{"port": 80}],
    },
    "networking.k8s.io/v1/ingresses": {"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80}}}}},
    "networking.k8s.io/v1/ingressclasses": {"spec": {"controller": "example.com/e2e"}},
    "networking.k8s.io/v1/servicecidrs": {"spec": {"cidrs": ["10.199.{n}.0/24"]}},
    "networking.k8s.io/v1/ipaddresses": {
        "spec": {"parentRef": {"resource": "services", "namespace": "none", "name": "none"}}
    },
    "node.k8s.io/v1/runtimeclasses": {"handler": "none"},
    "coordination.k8s.io/v1/leases": {"spec": {"holderIdentity": "e2e"}},
    "scheduling.k8s.io/v1/priorityclasses": {"value": 7},
    "storage.k8s.io/v1/csidrivers": {"spec": {"attachRequired": False}},
    "storage.k8s.io/v1/csinodes": {
        "spec": {"drivers": [{"name": "e2e.example.com", "nodeID": "n", "topologyKeys": ["k"]}]}
    },
    "storage.k8s.io/v1/csistoragecapacities": {"storageClassName": "none", "capacity": "1Gi"},
    "storage.k8s.io/v1/storageclasses": {"provisioner": "example.com/e2e"},
    "storage.k8s.io/v1/volumeattachments": {
        "spec": {"attacher": "e2e.example.com", "nodeName": "none", "source": {"persistentVolumeName": "none"}}
    },
    "storage.k8s.io/v1/volumeattributesclasses": {"driverName": "e2e.example.com", "parameters": {"iops": "1"}},
    "flowcontrol.apiserver.k8s.io/v1/flowschemas": {
        "spec": {
            "matchingPrecedence": 10000,
            "priorityLevelConfiguration": {"name": "global-default"},
            "rules": [
                {
                    "subjects": [{"kind": "User", "user": {"name": "nobody-{n}"}}],
                    "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
                }
            ],
        }
    },
    "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations": {
        "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 2, "limitResponse": {"type": "Reject"}}}
    },
    "admissionregistration.k8s.io/v1/validatingadmissionpolicies": {
        "spec": _POLICY | {"validations": [{"expression": "true"}]}
    },
    "admissionregistration.k8s.io/v1/validatingadmissionpolicybindings": {
        "spec": {"policyName": "none", "validationActions": ["Deny"]}
    },
    "admissionregistration.k8s.io/v1/mutatingadmissionpolicies": {
        "spec": _POLICY
        | {
            "reinvocationPolicy": "Never",
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": "Object{}"}}],
        }
    },
    "admissionregistration.k8s.io/v1/mutatingadmissionpolicybindings": {"spec": {"policyName": "none"}},
    "admissionregistration.k8s.io/v1/validatingwebhookconfigurations": {"webhooks": [_HOOK]},
    "admissionregistration.k8s.io/v1/mutatingwebhookconfigurations": {"webhooks": [_HOOK]},
    "apiextensions.k8s.io/v1/customresourcedefinitions": {
        "spec": {
            "group": "g{n}.example.com",
            "names": _NAMES,
            "scope": "Namespaced",
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": _SCHEMA}],
        }
    },
    "apiregistration.k8s.io/v1/apiservices": {
        "spec": {
            "group": "g{n}.example.com",
            "version": "v1",
            "groupPriorityMinimum": 10,
            "versionPriority": 10,
            "insecureSkipTLSVerify": True,
            "service": {"namespace": "none", "name": "none"},
        }
    },
    "rbac.authorization.k8s.io/v1/roles": {"rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]},
    "rbac.authorization.k8s.io/v1/clusterroles": {
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    },
    "autoscaling/v2/horizontalpodautoscalers": {
        "spec": {"maxReplicas": 2, "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "none"}}
    },
}

NAMES = {
    "networking.k8s.io/v1/ipaddresses": "10.198.7.{n}",
    "apiextensions.k8s.io/v1/customresourcedefinitions": "things.g{n}.example.com",
    "apiregistration.k8s.io/v1/apiservices": "v1.g{n}.example.com",
}
"""Where the name is not free."""

_CONDITION = {
    "type": "E2E",
    "status": "True",
    "reason": "Set",
    "message": "by e2e",
    "lastTransitionTime": "2026-01-02T03:04:05Z",
}

STATUSES: dict[str, Object] = {
    "v1/namespaces": {"conditions": [_CONDITION]},
    "v1/services": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1", "ipMode": "VIP"}]}},
    "v1/resourcequotas": {"hard": {"cpu": "8"}},
    "v1/persistentvolumeclaims": {"conditions": [_CONDITION]},
    "v1/persistentvolumes": {"reason": "E2E", "message": "by e2e"},
    "v1/replicationcontrollers": {"conditions": [_CONDITION]},
    "v1/pods": {"message": "by e2e", "reason": "E2E"},
    "apps/v1/daemonsets": {"conditions": [_CONDITION]},
    "apps/v1/deployments": {"conditions": [_CONDITION]},
    "apps/v1/replicasets": {"conditions": [_CONDITION]},
    "apps/v1/statefulsets": {"conditions": [_CONDITION]},
    "batch/v1/jobs": {"conditions": [_CONDITION]},
    "batch/v1/cronjobs": {"lastScheduleTime": "2026-01-02T03:04:05Z"},
    "policy/v1/poddisruptionbudgets": {"disruptedPods": {"p": "2026-01-02T03:04:05Z"}},
    "certificates.k8s.io/v1/certificatesigningrequests": {"conditions": [_CONDITION]},
    "networking.k8s.io/v1/ingresses": {"loadBalancer": {"ingress": [{"ip": "169.1.1.1"}]}},
    "networking.k8s.io/v1/servicecidrs": {"conditions": [_CONDITION]},
    "storage.k8s.io/v1/volumeattachments": {"attached": True},
    "flowcontrol.apiserver.k8s.io/v1/flowschemas": {"conditions": [_CONDITION]},
    "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations": {"conditions": [_CONDITION]},
    "admissionregistration.k8s.io/v1/validatingadmissionpolicies": {"conditions": [_CONDITION]},
    "apiextensions.k8s.io/v1/customresourcedefinitions": {"conditions": [_CONDITION]},
    "apiregistration.k8s.io/v1/apiservices": {"conditions": [_CONDITION]},
}
"""What a test writes into the status of each that has one."""


def sample(named: str, number: int, namespace: str) -> Object:
    """Return the `number`-th object of a resource, of `namespace` where the resource is namespaced."""

    def filled(value: Any) -> Any:
        if isinstance(value, str):
            return value.replace("{n}", str(number)).replace("{ns}", namespace)
        if isinstance(value, dict):
            return {filled(k): filled(v) for k, v in value.items()}
        return [filled(item) for item in value] if isinstance(value, list) else value

    name = NAMES.get(named, "e2e-{n}")
    meta = {"name": filled(name), "labels": {"e2e": namespace, "number": str(number)}}
    return {"metadata": meta, **filled(OBJECTS[named])}
