"""Validation names the field and the reason in Kubernetes' words."""

import copy
from typing import Any

import pytest

from wherry.api import defaults, meta, strategy, validation
from wherry.api.gojson import syntax_error
from wherry.api.resources import (
    CONFIGMAPS,
    CRONJOBS,
    DEPLOYMENTS,
    NODES,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    SECRETS,
    SERVICES,
    STATEFULSETS,
    TABLE,
    Resource,
)
from wherry.api.validation import metadata
from wherry.api.validation.cron import schedule_error
from wherry.api.validation.jobs import count_indexes
from wherry.api.validation.pod_spec import pod_annotations

_TOLERATIONS = "scheduler.alpha.kubernetes.io/tolerations"


def made(resource: Resource, **members: Any) -> dict:
    obj = {"metadata": {"name": "x", "namespace": "n", "uid": "u", "resourceVersion": "1"}, **meta.copy(members)}
    defaults.default(resource, obj)
    strategy.prepare_create(resource, obj)
    return obj


def pod(container: dict | None = None, **spec: Any) -> dict:
    containers = [{"name": "c", "image": "i:1", **(container or {})}]
    return made(PODS, spec={"containers": containers, "serviceAccountName": "default", **spec})


def wrong(resource: Resource, obj: dict) -> list[str]:
    return [str(e) for e in validation.validate_create(resource, obj)]


def test_a_plain_pod_is_valid() -> None:
    assert wrong(PODS, pod()) == []


@pytest.mark.parametrize(
    ("container", "spec", "error"),
    [
        ({"image": ""}, {}, "spec.containers[0].image: Required value"),
        (
            {"image": " i"},
            {},
            'spec.containers[0].image: Invalid value: " i": must not have leading or trailing whitespace',
        ),
        (
            {"volumeMounts": [{"name": "v", "mountPath": "/a"}]},
            {},
            'spec.containers[0].volumeMounts[0].name: Not found: "v"',
        ),
        (
            {"livenessProbe": {"tcpSocket": {"port": 1}, "exec": {"command": ["x"]}}},
            {},
            "spec.containers[0].livenessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type",
        ),
        (
            {"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}},
            {},
            "spec.containers[0].lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than "
            "terminationGracePeriodSeconds (30)",
        ),
        (
            {"resources": {"limits": {"a.b/c": "2"}, "requests": {"a.b/c": "1"}}},
            {},
            'spec.containers[0].resources.requests: Invalid value: "1": must be equal to a.b/c limit of 2',
        ),
        (
            {"resources": {"requests": {"a.b/c": "1"}}},
            {},
            "spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources",
        ),
        (
            {"securityContext": {"allowPrivilegeEscalation": False, "privileged": True}},
            {},
            'spec.containers[0].securityContext: Invalid value: {"allowPrivilegeEscalation":false,"privileged":true}: '
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true",
        ),
        (
            {},
            {"activeDeadlineSeconds": 0},
            "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive",
        ),
        (
            {},
            {"dnsPolicy": "None"},
            "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None",
        ),
        (
            {},
            {"tolerations": [{"key": "a", "operator": "Around"}]},
            'spec.tolerations[0].operator: Unsupported value: "Around": supported values: "Equal", "Exists"',
        ),
        (
            {},
            {"volumes": [{"name": "v", "emptyDir": {}, "hostPath": {"path": "/"}}]},
            "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type",
        ),
        (
            {},
            {"hostUsers": False, "hostNetwork": True},
            "spec.hostNetwork: Forbidden: when `hostUsers` is false",
        ),
        (
            {},
            {"topologySpreadConstraints": [{"maxSkew": 0, "topologyKey": "k", "whenUnsatisfiable": "DoNotSchedule"}]},
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
    ],
)
def test_pod_errors(container: dict, spec: dict, error: str) -> None:
    assert error in wrong(PODS, pod(container, **spec))


def changed(old: dict, *, subresource: str = "", **spec: Any) -> list[str]:
    new = meta.copy(old)
    new["spec"].update(spec)
    return [str(e) for e in validation.validate_update(PODS, new, old, subresource)]


def test_the_image_and_a_shorter_deadline_are_all_that_changes_in_a_pod() -> None:
    old = pod(activeDeadlineSeconds=100)
    image = [{**old["spec"]["containers"][0], "image": "i:2"}]
    assert changed(old, containers=image, activeDeadlineSeconds=50) == []
    assert "must be less than or equal to previous value" in changed(old, activeDeadlineSeconds=200)[0]
    assert changed(old, hostname="h")[0].startswith("spec: Forbidden: pod updates may not change fields other than")


def test_tolerations_may_only_be_added() -> None:
    toleration = {"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 1}
    old = pod(tolerations=[toleration])
    added = {"key": "b", "operator": "Exists"}
    assert changed(old, tolerations=[{**toleration, "tolerationSeconds": 9}, added]) == []
    assert "existing toleration can not be modified" in changed(old, tolerations=[added])[0]


def test_a_gated_pod_may_be_told_more_narrowly_where_to_run() -> None:
    old = pod(schedulingGates=[{"name": "g"}], nodeSelector={"a": "b"})
    assert changed(old, nodeSelector={"a": "b", "c": "d"}, schedulingGates=[]) == []
    assert "only additions to spec.nodeSelector are allowed" in changed(old, nodeSelector={"a": "x"})[0]


def test_an_ended_container_stays_ended() -> None:
    old = pod(restartPolicy="Never")
    ended = {"name": "c", "state": {"terminated": {"exitCode": 1}}}
    old["status"]["containerStatuses"] = [ended]
    new = meta.copy(old)
    new["status"]["containerStatuses"][0]["state"] = {"running": {}}
    errors = [str(e) for e in validation.validate_update(PODS, new, old, "status")]
    assert errors == ["status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state"]


@pytest.mark.parametrize(
    ("own", "code", "refused"),
    [
        ({"restartPolicy": "OnFailure"}, 1, False),
        ({"restartPolicy": "OnFailure"}, 0, True),
        ({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [7]}}]}, 7, False),
        ({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In", "values": [7]}}]}, 8, True),
        ({"restartPolicyRules": [{"action": "RestartAllContainers"}]}, 0, False),
    ],
)
def test_a_container_with_a_policy_or_rules_of_its_own_may_run_again(own: dict, code: int, refused: bool) -> None:
    old = pod(own, restartPolicy="Never")
    name = old["spec"]["containers"][0]["name"]
    old["status"]["containerStatuses"] = [{"name": name, "state": {"terminated": {"exitCode": code}}}]
    new = meta.copy(old)
    new["status"]["containerStatuses"][0]["state"] = {"running": {}}
    assert bool(validation.validate_update(PODS, new, old, "status")) is refused


def test_metadata_errors_of_an_update_are_told_by_the_kind_and_by_every_kind() -> None:
    old = made(CONFIGMAPS)
    new = meta.copy(old)
    new["metadata"]["labels"] = {"a b": "c"}
    assert len(validation.validate_update(CONFIGMAPS, new, old)) == 4


def test_an_immutable_config_map_stays_as_it_is() -> None:
    old = made(CONFIGMAPS, data={"a": "1"}, immutable=True)
    new = meta.copy(old)
    new["data"]["a"] = "2"
    errors = [str(e) for e in validation.validate_update(CONFIGMAPS, new, old)]
    assert errors == ["data: Forbidden: field is immutable when `immutable` is set"]


def test_too_much_data_is_refused_without_a_field() -> None:
    obj = made(CONFIGMAPS, data={"a": "x" * (1024 * 1024 + 1)})
    assert wrong(CONFIGMAPS, obj) == ["[]: Too long: may not be more than 1048576 bytes"]


def test_mounts_of_a_stateful_set_may_name_its_claims() -> None:
    claim = {
        "metadata": {"name": "d"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
    }
    container = {"name": "c", "image": "i", "volumeMounts": [{"name": "d", "mountPath": "/d"}]}
    obj = made(
        STATEFULSETS,
        spec={
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [claim],
        },
    )
    assert wrong(STATEFULSETS, obj) == []


def test_a_deployment_that_can_neither_surge_nor_shrink_is_refused() -> None:
    obj = made(
        DEPLOYMENTS,
        spec={
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}},
            "strategy": {"rollingUpdate": {"maxSurge": "0%", "maxUnavailable": 0}},
        },
    )
    path = "spec.strategy.rollingUpdate.maxUnavailable"
    assert wrong(DEPLOYMENTS, obj) == [f"{path}: Invalid value: 0: may not be 0 when `maxSurge` is 0"]


def test_a_claim_grows_only_when_it_is_bound() -> None:
    spec = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    old = made(PERSISTENTVOLUMECLAIMS, spec=spec)
    new = meta.copy(old)
    new["spec"]["resources"]["requests"]["storage"] = "2Gi"
    assert "spec is immutable" in str(validation.validate_update(PERSISTENTVOLUMECLAIMS, new, old)[0])
    old["status"]["phase"] = "Bound"
    assert validation.validate_update(PERSISTENTVOLUMECLAIMS, new, old) == []


def test_the_cluster_ip_of_a_service_stays() -> None:
    spec = {"ports": [{"port": 80}], "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1"], "ipFamilies": ["IPv4"]}
    old = made(SERVICES, spec=spec)
    new = meta.copy(old)
    new["spec"] |= {"clusterIP": "10.0.0.2", "clusterIPs": ["10.0.0.2"]}
    errors = [str(e) for e in validation.validate_update(SERVICES, new, old)]
    assert errors == ['spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set']


@pytest.mark.parametrize(
    ("schedule", "error"),
    [
        ("*/5 * * * MON-FRI", ""),
        ("@hourly", ""),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
        ("x * * * *", 'failed to parse int from x: strconv.Atoi: parsing "x": invalid syntax'),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("@never", "unrecognized descriptor: @never"),
    ],
)
def test_schedules(schedule: str, error: str) -> None:
    assert schedule_error(schedule) == error


def test_a_cron_job_with_a_long_name_is_refused() -> None:
    job = {"template": {"spec": {"containers": [{"name": "c", "image": "i"}], "restartPolicy": "Never"}}}
    obj = made(CRONJOBS, spec={"schedule": "@daily", "jobTemplate": {"spec": job}})
    assert wrong(CRONJOBS, obj) == []
    obj["metadata"]["name"] = "x" * 53
    assert "must be no more than 52" in wrong(CRONJOBS, obj)[0]


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("{}", None),
        ("no", "invalid character 'o' in literal null (expecting 'u')"),
        ("", "unexpected end of JSON input"),
        ('{"a"}', "invalid character '}' after object key"),
        ("[1,]", "invalid character ']' looking for beginning of value"),
        ("{}x", "invalid character 'x' after top-level value"),
        ("{a}", "invalid character 'a' looking for beginning of object key string"),
    ],
)
def test_json_errors_are_gos(text: str, error: str | None) -> None:
    assert syntax_error(text) == error


def test_a_docker_config_that_is_no_json_is_redacted() -> None:
    obj = made(SECRETS, type="kubernetes.io/dockerconfigjson", stringData={".dockerconfigjson": "no"})
    assert wrong(SECRETS, obj) == [
        'data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": '
        "invalid character 'o' in literal null (expecting 'u')"
    ]


@pytest.mark.parametrize(
    ("text", "count", "error"),
    [
        ("0,2-4", 4, ""),
        ("", 0, ""),
        ("3-1", 0, "non-increasing order, previous: 3, current: 1"),
        ("9", 0, 'too large index: "9"'),
        ("x", 0, 'cannot convert string to integer for index: "x"'),
    ],
)
def test_indexes_of_a_job(text: str, count: int, error: str) -> None:
    assert count_indexes(text, 5) == (count, error)


def test_every_rule_is_of_a_known_resource() -> None:
    assert set(validation._TABLE) <= {(r.group, r.plural) for r in TABLE}


def test_owners_of_odd_versions_and_long_managers_are_refused() -> None:
    owner = {"apiVersion": "a/b/c", "kind": "K", "name": "n", "uid": "u"}
    assert [str(e) for e in metadata.owner_references([owner], "o")] == [
        'o.apiVersion: Invalid value: "a/b/c": version must not be empty'
    ]
    entries = [{"manager": "m" * 129}, {"manager": "\a", "subresource": "s" * 257}, {"manager": "m"}]
    assert [str(e) for e in metadata.managed_fields(entries, "f")] == [
        "f[0].manager: Too long: may not be more than 128 bytes",
        'f[1].manager: Invalid value: "\\u0007": invalid character U+0007 (at position 0)',
        "f[1].subresource: Too long: may not be more than 256 bytes",
    ]


@pytest.mark.parametrize(
    ("features", "told"),
    [
        (["Alpha", "Beta/sub1"], []),
        (["B", "A", "A"], ['[1]: Invalid value: "A": list must be sorted', '[2]: Duplicate value: "A"']),
        (["a"], ['[0]: Invalid value: "a": invalid feature name "a": must start with an UpperCamelCase segment']),
    ],
)
def test_nodes_declare_features_in_order(features: list[str], told: list[str]) -> None:
    old = {"metadata": {"name": "n", "uid": "u", "resourceVersion": "1"}, "spec": {}}
    node = {**old, "status": {"declaredFeatures": features}}
    found = [f"{e.field}: {e.text}" for e in validation.validate_update(NODES, node, old, "status")]
    assert len(found) == len(told)
    assert all(f"status.declaredFeatures{text}" in error for text, error in zip(told, found, strict=True)), found


@pytest.mark.parametrize(
    ("text", "field", "detail"),
    [
        ("x", "metadata.annotations", "invalid character 'x' looking for beginning of value"),
        ("{}", "metadata.annotations", "cannot unmarshal object into Go value of type []core.Toleration"),
        ('[{"Operator":"Never"}]', f"metadata.annotations.{_TOLERATIONS}[0].operator", "operator must be Exists"),
    ],
)
def test_tolerations_in_an_annotation_are_checked(text: str, field: str, detail: str) -> None:
    errors = pod_annotations({_TOLERATIONS: text}, {}, "metadata.annotations")
    assert errors[0].field == field and detail in errors[0].text


def _with_init(cpu: str, **members: Any) -> dict:
    made_pod = pod(initContainers=[{"name": "i", "image": "i:1", "resources": {"requests": {"cpu": cpu}}, **members}])
    return {**made_pod, "status": {"qosClass": "Burstable"}}


def test_init_containers_are_resized_but_not_restarted_for_it() -> None:
    old, new = _with_init("1"), _with_init("2")
    assert validation.validate_update(PODS, new, old, "resize") == []
    other = _with_init("1", workingDir="/x")
    errors = validation.validate_update(PODS, other, old, "resize")
    detail = "only cpu and memory resources for init or sidecar containers are mutable"
    assert [str(e) for e in errors] == [f"spec.initContainers[0]: Forbidden: {detail}"]
    policy = {"resizePolicy": [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]}
    assert wrong(PODS, _with_init("1", **policy))[0].startswith("spec.initContainers[0].resizePolicy: Invalid value")
    assert wrong(PODS, _with_init("1", restartPolicy="Always", **policy)) == []


def test_an_ephemeral_container_has_no_lifecycle_not_even_an_empty_one() -> None:
    old, new = pod(), pod(ephemeralContainers=[{"name": "e", "image": "i:1", "lifecycle": {}}])
    errors = validation.validate_update(PODS, new, old, "ephemeralcontainers")
    assert [e.field for e in errors] == ["spec.ephemeralContainers[0].lifecycle"]


def test_a_resize_keeps_the_containers_and_the_resources_of_the_pod() -> None:
    old = _with_init("1")
    fewer = copy.deepcopy(old)
    del fewer["spec"]["initContainers"]
    renamed = copy.deepcopy(old)
    renamed["spec"]["initContainers"][0]["name"] = "j"
    of_pod = {**old, "spec": {**old["spec"], "resources": {"requests": {"cpu": "3"}}}}
    running = {"name": "c", "state": {"running": {}}}
    cases = [
        (fewer, old, "spec.initContainers: Forbidden: initContainers may not be added or removed on resize"),
        (
            renamed,
            old,
            "spec.initContainers[0].name: Forbidden: initContainers may not be renamed",
        ),
        (old, of_pod, "spec.resources: Forbidden: pod-level resources cannot be removed"),
        (
            old,
            {**old, "status": {**old["status"], "containerStatuses": [running]}},
            "spec: Forbidden: Pod running on node without support for resize",
        ),
    ]
    for new, was, error in cases:
        assert any(error in str(e) for e in validation.validate_update(PODS, new, was, "resize"))
        resized = copy.deepcopy(new)
        strategy.prepare_update(PODS, resized, was, "resize")
        assert any(error in str(e) for e in validation.validate_update(PODS, resized, was, "resize"))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        ({"podIPs": [{"ip": "1.1.1.1"}, {"ip": "x"}]}, "status.podIPs[1]: Invalid value"),
        ({"podIPs": [{"ip": "1.1.1.1"}, {"ip": "1.1.1.2"}]}, "may specify no more than one IP for each IP family"),
        (
            {"containerStatuses": [{"name": "c", "user": {"linux": {"uid": -1, "gid": 0}}}]},
            "status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 2147483647",
        ),
        (
            {"containerStatuses": [{"name": "c", "allocatedResourcesStatus": [{"name": "x/y"}]}]},
            'status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: "x/y": '
            "must match one of the container's resource requests",
        ),
        (
            {
                "initContainerStatuses": [
                    {"name": "gone", "allocatedResourcesStatus": [{"name": "x/y", "resources": [{"resourceID": "1"}]}]}
                ]
            },
            'status.initContainerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: ""',
        ),
        (
            {"ephemeralContainerStatuses": [{"name": "e", "allocatedResourcesStatus": [{"name": "x/y"}]}]},
            "status.ephemeralContainerStatuses[0].allocatedResourcesStatus: Forbidden: must not be specified",
        ),
    ],
)
def test_the_status_of_a_pod_is_checked(status: dict, error: str) -> None:
    new, old = {**pod(), "status": status}, {**pod(), "status": {}}
    assert any(error in str(e) for e in validation.validate_update(PODS, new, old, "status"))


def test_a_key_of_matching_labels_may_be_selected_as_long_as_the_pod_lacks_the_label() -> None:
    spread = {"maxSkew": 1, "topologyKey": "any key", "whenUnsatisfiable": "DoNotSchedule", "matchLabelKeys": ["a"]}
    assert wrong(PODS, pod(topologySpreadConstraints=[{**spread, "labelSelector": {"matchLabels": {"a": "1"}}}])) == []
    merged = {"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "a", "operator": "In", "values": ["1"]}]}
    assert wrong(PODS, pod(topologySpreadConstraints=[{**spread, "labelSelector": merged}])) == [
        'spec.topologySpreadConstraints[0][0]: Invalid value: "a": exists in both matchLabelKeys and labelSelector'
    ]


@pytest.mark.parametrize(
    ("resources", "more", "error"),
    [
        ({"claims": []}, {}, "spec.resources.claims: Forbidden: claims cannot be set for Resources at pod-level"),
        (
            {"limits": {"cpu": "1"}},
            {"os": {"name": "windows"}},
            "spec.resources: Forbidden: may not be set for a",
        ),
        (
            {"limits": {"cpu": "1", "hugepages-2Mi": "2Mi"}},
            {},
            'spec.resources.limits[hugepages-2Mi]: Invalid value: "2Mi": '
            "must be greater than or equal to aggregate container limits of 4Mi",
        ),
    ],
)
def test_what_a_pod_asks_for_as_a_whole_is_checked(resources: dict, more: dict, error: str) -> None:
    container = {"resources": {"limits": {"cpu": "1", "hugepages-2Mi": "4Mi"}}}
    assert any(e.startswith(error) for e in wrong(PODS, pod(container, resources=resources, **more)))


def test_the_taints_of_a_node_are_checked_as_those_of_a_new_one_and_of_a_changed_one() -> None:
    old, new = made(NODES), made(NODES, spec={"taints": [{"key": "a", "effect": "Never"}]})
    for subresource, times in (("", 2), ("status", 1)):
        found = [e.field for e in validation.validate_update(NODES, new, old, subresource)]
        assert found.count("metadata.taints[0].effect") == times


def test_the_configuration_of_a_node_names_a_whole_config_map() -> None:
    source = {"configMap": {"namespace": "n", "name": "c", "uid": "u"}}
    new = {**made(NODES, spec={"configSource": source}), "status": {"config": {"active": source, "assigned": {}}}}
    found = [str(e) for e in validation.validate_update(NODES, new, made(NODES), "status")]
    at = "configMap.kubeletConfigKey: Required value: kubeletConfigKey must be set"
    assert [e for e in found if "onfig" in e] == [
        "spec.configSource.configMap.uid: Forbidden: uid must not be set in spec",
        f"spec.configSource.{at}",
        "status.config.assigned: Invalid value: {}: exactly one reference subfield must be non-nil",
        "status.config.active.configMap.resourceVersion: Required value: resourceVersion must be set in status",
        f"status.config.active.{at}",
    ]
