"""Kinds outside the core: what is valid, what is not and in which words, and what an update may change."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from wherry.api import defaults, meta, schema, strategy, validation, warnings
from wherry.api.resources import TABLE, Resource

Object = dict[str, Any]

OBJECTS: list[Object] = list(yaml.safe_load_all((Path(__file__).parent / "objects.yaml").read_text()))
_SCHEMA = schema.load()
_EMPTY: tuple[Any, ...] = (None, "", 0, [], {})


def resource_of(obj: Object) -> Resource:
    resource = TABLE.for_object(obj["apiVersion"], obj["kind"])
    assert resource is not None
    return resource


def decoded(obj: Object) -> Object | None:
    """Return the object as a server sees it before its strategy; None when it cannot be decoded."""
    resource = resource_of(obj)
    out, _, error = _SCHEMA.for_resource(resource).conform(obj)
    if error or out is None:
        return None
    metadata = out.setdefault("metadata", {})
    metadata |= {"uid": "u", "creationTimestamp": "2020-01-01T00:00:00Z", "name": metadata.get("name", "n")}
    if resource.namespaced:
        metadata["namespace"] = "ns"
    defaults.default(resource, out)
    return out


def created(obj: Object) -> Object:
    out = decoded(obj)
    assert out is not None
    strategy.prepare_create(resource_of(obj), out)
    return out


def example(kind: str, number: int = 0) -> Object:
    return meta.copy([obj for obj in OBJECTS if obj["kind"] == kind][number])


def changed(obj: Object, path: str, value: Any) -> Object:
    """Return a copy with another value at a path like ``spec/rules/0/host``; None takes the member away."""
    out = meta.copy(obj)
    *steps, last = [int(step) if step.isdigit() else step for step in path.split("/")]
    holder: Any = out
    for step in steps:
        holder = holder[step] if isinstance(step, int) else holder.setdefault(step, {})
    if value is None:
        del holder[last]
    else:
        holder[last] = value
    return out


def wrong(obj: Object) -> list[str]:
    return [str(error) for error in validation.validate_create(resource_of(obj), created(obj))]


def wrong_update(obj: Object, path: str, value: Any, subresource: str = "") -> list[str]:
    resource = resource_of(obj)
    old = created(obj)
    new = decoded(changed(obj, path, value))
    assert new is not None
    for each in (old, new):
        each["metadata"]["resourceVersion"] = "1"
    strategy.prepare_update(resource, new, old, subresource)
    return [str(error) for error in validation.validate_update(resource, new, old, subresource)]


def paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from paths(value[key], (*path, key))


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: obj["kind"])
def test_a_full_object_is_valid(obj: Object) -> None:
    assert wrong(obj) == []


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: obj["kind"])
def test_a_full_status_is_valid(obj: Object) -> None:
    if "status" in resource_of(obj).subresources and obj.get("status"):
        assert wrong_update(obj, "status", obj["status"], "status") == []


@pytest.mark.parametrize("obj", OBJECTS, ids=lambda obj: obj["kind"])
def test_no_missing_or_empty_member_surprises_the_rules(obj: Object) -> None:
    resource = resource_of(obj)
    old = created(obj)
    for path in paths(obj):
        if path[0] in ("apiVersion", "kind") or path == ("metadata",):
            continue
        for value in _EMPTY:
            broken = decoded(_replaced(obj, path, value))
            if broken is None:
                continue
            again = meta.copy(broken)
            defaults.default(resource, again)
            assert again == broken, "defaulting is not repeatable"
            strategy.prepare_create(resource, broken)
            before = meta.copy(broken)
            validation.validate_create(resource, broken)
            validation.validate_update(resource, broken, old)
            for subresource in resource.subresources:
                validation.validate_update(resource, broken, old, subresource)
            warnings.for_object(resource, broken, old)
            assert broken == before, "validation changed the object"


def _replaced(obj: Object, path: tuple[Any, ...], value: Any) -> Object:
    out = meta.copy(obj)
    holder: Any = out
    for step in path[:-1]:
        holder = holder[step]
    if value is None:
        del holder[path[-1]]
    else:
        holder[path[-1]] = value
    return out


@pytest.mark.parametrize(
    ("kind", "path", "value", "error"),
    [
        ("Ingress", "spec/rules/0/host", "10.0.0.1", 'spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS'),
        ("Ingress", "spec/defaultBackend", {}, 'spec.defaultBackend: Invalid value: "": resource or service backend'),
        (
            "NetworkPolicy",
            "spec/ingress/0/from/1/ipBlock/except",
            ["10.0.0.0/8"],
            'spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
        ),
        ("ServiceCIDR", "spec/cidrs", ["10.0.0.0/8", "11.0.0.0/8"], "spec.cidrs: Invalid value: "),
        (
            "HorizontalPodAutoscaler",
            "spec/maxReplicas",
            1,
            "spec.maxReplicas: Invalid value: 1: must be greater than or equal to `minReplicas`",
        ),
        (
            "HorizontalPodAutoscaler",
            "spec/maxReplicas",
            -1,
            "spec.maxReplicas: Invalid value: -1: must be greater than or equal to 1",
        ),
        (
            "HorizontalPodAutoscaler",
            "spec/behavior/scaleUp",
            {"policies": [{"type": "Pods", "value": 1, "periodSeconds": 1}], "tolerance": "-1"},
            'spec.behavior.scaleUp.tolerance: Invalid value: "-1": must be greater than or equal to 0',
        ),
        (
            "HorizontalPodAutoscaler",
            "spec/metrics/0/pods",
            {"metric": {"name": "p"}, "target": {"type": "AverageValue", "averageValue": "1"}},
            "spec.metrics[0].pods: Forbidden: must populate the given metric source only",
        ),
        (
            "PodDisruptionBudget",
            "spec/maxUnavailable",
            "101%",
            'spec.maxUnavailable: Invalid value: "101%": must not be',
        ),
        ("CSIDriver", "spec/tokenRequests/0/expirationSeconds", 3, "spec.tokenRequests[0].expirationSeconds: Invalid"),
        ("PriorityClass", "metadata/name", "system-x", "metadata.name: Forbidden: priority class names with 'system-'"),
        (
            "Lease",
            "spec/leaseDurationSeconds",
            0,
            "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
        ),
        (
            "APIService",
            "spec/insecureSkipTLSVerify",
            True,
            "spec.insecureSkipTLSVerify: Invalid value: true: may not be",
        ),
        (
            "FlowSchema",
            "spec/matchingPrecedence",
            1,
            "spec.matchingPrecedence: Invalid value: 1: only the schema named",
        ),
        (
            "PriorityLevelConfiguration",
            "spec/limited/limitResponse/queuing/handSize",
            12,
            "spec.limited.limitResponse.queuing.handSize: Invalid value: 12: required entropy bits of deckSize 64 and "
            "handSize 12 should not be greater than 60",
        ),
        (
            "CertificateSigningRequest",
            "spec/signerName",
            "a/b",
            'spec.signerName: Invalid value: "a": should be a domain with at least two segments separated by dots',
        ),
        (
            "MutatingWebhookConfiguration",
            "webhooks/0/name",
            "a.b",
            'webhooks[0].name: Invalid value: "a.b": should be a domain with at least three segments separated by dots',
        ),
        (
            "ValidatingAdmissionPolicy",
            "spec/variables/0/name",
            "in",
            'spec.variables[0].name: Invalid value: "in": name is not a valid CEL identifier',
        ),
        (
            "MutatingAdmissionPolicy",
            "spec/mutations/0/jsonPatch/expression",
            "1",
            'spec.mutations[0].jsonPatch.expression: Invalid value: "1": must evaluate to list(JSONPatch) but got int',
        ),
        (
            "ResourceClaim",
            "spec/devices/config/0/requests",
            ["s/x"],
            "spec.devices.config[0].requests[0]: Invalid value:",
        ),
        (
            "ResourceSlice",
            "spec/devices/0/attributes/a",
            {},
            'spec.devices[0].attributes[a]: Invalid value: "": exactly one value must be specified',
        ),
    ],
)
def test_what_is_wrong_is_named(kind: str, path: str, value: Any, error: str) -> None:
    errors = wrong(changed(example(kind), path, value))
    assert any(each.startswith(error) for each in errors), errors


@pytest.mark.parametrize(
    ("kind", "path", "value", "error"),
    [
        ("EndpointSlice", "addressType", "IPv4", 'addressType: Invalid value: "IPv4": field is immutable'),
        ("IPAddress", "spec/parentRef/name", "c", "spec.parentRef: Invalid value: "),
        ("PriorityClass", "value", 6, "value: Forbidden: may not be changed in an update."),
        ("RuntimeClass", "handler", "other", 'handler: Invalid value: "other": field is immutable'),
        (
            "VolumeAttributesClass",
            "parameters",
            {"a": "c"},
            "parameters: Forbidden: updates to parameters are forbidden.",
        ),
        ("CSIDriver", "spec/volumeLifecycleModes", ["Persistent"], "spec.volumeLifecycleModes: Invalid value: "),
        ("ResourceClaim", "spec/devices/constraints", [], "spec: Invalid value: "),
        ("ResourceSlice", "spec/pool/name", "other", 'spec.pool.name: Invalid value: "other": field is immutable'),
        ("CSIStorageCapacity", "storageClassName", "y", 'storageClassName: Invalid value: "y": field is immutable'),
    ],
)
def test_what_may_not_change_is_named(kind: str, path: str, value: Any, error: str) -> None:
    errors = wrong_update(example(kind), path, value)
    assert any(each.startswith(error) for each in errors), errors


def test_a_csi_driver_on_a_node_may_only_change_how_much_it_attaches() -> None:
    node = example("CSINode")
    assert wrong_update(node, "spec/drivers/0/allocatable/count", 4) == []
    assert wrong_update(node, "spec/drivers/0/nodeID", "m")[0].startswith("spec.drivers: Invalid value: ")


def test_the_mandatory_priority_levels_cannot_be_changed() -> None:
    level = example("PriorityLevelConfiguration")
    level["metadata"]["name"] = "catch-all"
    assert [e.rpartition(": ")[2] for e in wrong(level)] == ["spec of 'catch-all' must equal the fixed value"]


def test_only_approval_decides_on_a_certificate_request() -> None:
    request = example("CertificateSigningRequest")
    decided = [{"type": "Approved", "status": "True"}]
    assert wrong_update(request, "status/conditions", decided, "approval") == []
    assert wrong_update(request, "status/conditions", decided, "status") == [
        'status.conditions: Forbidden: updates may not add a condition of type "Approved"'
    ]
    assert wrong_update(request, "status/conditions", decided) == []  # an update without subresource keeps the status


def test_a_decision_that_a_status_changes_is_shown_as_upstream_shows_it() -> None:
    request = example("CertificateSigningRequest")
    old = decoded(request)
    assert old is not None
    old["status"] = {"conditions": [{"type": "Approved", "status": "True", "reason": "R", "lastUpdateTime": "T"}]}
    new = meta.copy(old)
    new["status"]["conditions"][0]["message"] = "<m>"
    error = validation.validate_update(resource_of(request), new, old, "status")[-1]
    assert str(error).split("\n") == [
        'status.conditions: Forbidden: updates may not modify a condition of type "Approved"',
        "@@ -3,7 +3,7 @@",
        '   "Type": "Approved",',
        '   "Status": "True",',
        '   "Reason": "R",',
        '-  "Message": "",',
        r'+  "Message": "\u003cm\u003e",',
        '   "LastUpdateTime": "T",',
        '   "LastTransitionTime": null',
        "  }",
        "",
    ]


def test_conditions_of_a_certificate_request_are_dated() -> None:
    request = example("CertificateSigningRequest")
    resource, old = resource_of(request), created(request)
    new = decoded(changed(request, "status/conditions", [{"type": "Approved", "status": "True"}]))
    assert new is not None
    strategy.prepare_update(resource, new, old, "approval")
    (condition,) = new["status"]["conditions"]
    assert condition["lastUpdateTime"] == condition["lastTransitionTime"] != ""


def test_an_autoscaler_may_keep_a_target_of_no_group() -> None:
    autoscaler = changed(example("HorizontalPodAutoscaler"), "spec/scaleTargetRef/apiVersion", "v1")
    refused = 'spec.scaleTargetRef.apiVersion: Invalid value: "v1": apiVersion must specify API group'
    assert wrong(autoscaler) == [refused]
    assert wrong_update(autoscaler, "spec/maxReplicas", 9) == []
    assert wrong(changed(autoscaler, "spec/scaleTargetRef/kind", "ReplicationController")) == []


def test_the_topology_of_an_endpoint_becomes_its_node() -> None:
    resource, old = resource_of(example("EndpointSlice")), created(example("EndpointSlice"))
    old["endpoints"][0]["deprecatedTopology"] = {"kubernetes.io/hostname": "n"}
    new = meta.copy(old)
    new["endpoints"][0] |= {"addresses": ["2001:db8::2"]}
    del new["endpoints"][0]["nodeName"]
    strategy.prepare_update(resource, new, old)
    assert new["endpoints"][0]["nodeName"] == "n"
    assert "deprecatedTopology" not in new["endpoints"][0]


def test_the_status_of_a_device_goes_with_its_allocation() -> None:
    claim = example("ResourceClaim")
    resource, old = resource_of(claim), decoded(claim)
    assert old is not None
    new = meta.copy(old)
    del new["status"]["allocation"], new["status"]["reservedFor"]
    strategy.prepare_update(resource, new, old, "status")
    assert "devices" not in new["status"]


def test_deprecated_node_labels_are_warned_of_where_classes_select_nodes() -> None:
    zone, instead = "failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"
    text = f'deprecated since v1.17; use "{instead}" instead'
    cases: list[tuple[Object, str]] = [
        (
            {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "scheduling": {"nodeSelector": {zone: "a"}}},
            f"scheduling.nodeSelector: {text}",
        ),
        (
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "StorageClass",
                "allowedTopologies": [{"matchLabelExpressions": [{"key": zone, "values": ["a"]}]}],
            },
            f"allowedTopologies[0].matchLabelExpressions[0].key: {text}",
        ),
        (
            {
                "apiVersion": "storage.k8s.io/v1",
                "kind": "CSIStorageCapacity",
                "nodeTopology": {"matchExpressions": [{"key": zone, "operator": "Exists"}]},
            },
            f"nodeTopology.matchExpressions[0].key: {zone} is {text}",
        ),
    ]
    for obj, expected in cases:
        assert warnings.for_object(resource_of(obj), {"metadata": {}, **obj}) == [expected]
