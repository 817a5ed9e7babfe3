"""Warnings about parts of pods that get in each other's way."""

from typing import Any

import pytest

from wherry.api.warnings.podparts import overlapping_paths, port_warnings
from wherry.api.warnings.pods import for_given, for_template

AT = "spec.containers[1].ports[0]"
FIRST = "spec.containers[0].ports[0]"


@pytest.mark.parametrize(
    ("one", "other", "warnings"),
    [
        ({}, {}, [f"{AT}: duplicate port definition with {FIRST}"]),
        ({"hostPort": 80}, {"hostPort": 81}, []),
        ({"hostPort": 80}, {}, [f"{AT}: overlapping port definition with {FIRST}"]),
        (
            {"hostPort": 80, "hostIP": "10.0.0.1"},
            {"hostPort": 80},
            [f"{AT}: dangerously ambiguous port definition with {FIRST}"],
        ),
        (
            {"containerPort": 81, "name": "a"},
            {"name": "a"},
            [
                f'{AT}: duplicate port name "a" with {FIRST}, '
                f"services and probes that select ports by name will use {FIRST}"
            ],
        ),
    ],
)
def test_ports_of_two_containers(one: dict[str, Any], other: dict[str, Any], warnings: list[str]) -> None:
    port = {"containerPort": 80, "protocol": "TCP"}
    spec = {"containers": [{"ports": [{**port, **one}]}, {"ports": [{**port, **other}]}]}
    assert port_warnings(spec, "spec") == warnings


def test_files_of_one_volume() -> None:
    items = {"items": [{"path": "a"}, {"path": "a/b"}, {"path": "ab"}]}
    found = overlapping_paths({"name": "v", "secret": {"secretName": "s", **items}})
    assert found == ['volume "v" (Secret "s"): overlapping paths: "a/b" with "a"']
    sources = [{"configMap": {"name": "c", "items": [{"path": "t"}]}}, {}, {"serviceAccountToken": {"path": "t/x"}}]
    assert overlapping_paths({"name": "v", "projected": {"sources": sources}}) == [
        'volume "v" (Projected) has no sources provided',
        'volume "v" (Projected): overlapping paths: "t/x" (ServiceAccountToken) with "t" (ConfigMap "c")',
    ]


@pytest.mark.parametrize(
    ("annotation", "pod", "container", "told"),
    [
        ("unconfined", None, None, True),
        ("unconfined", "Unconfined", None, False),
        ("unconfined", "RuntimeDefault", None, True),
        ("unconfined", None, "Unconfined", False),
        ("nonsense", None, None, True),
        (None, "Unconfined", None, False),
    ],
)
def test_annotations_of_apparmor_that_no_field_says(
    annotation: str | None, pod: str | None, container: str | None, told: bool
) -> None:
    def context(kind: str | None) -> dict[str, Any]:
        return {"securityContext": {"appArmorProfile": {"type": kind}}} if kind else {}

    key = "container.apparmor.security.beta.kubernetes.io/c"
    metadata = {"annotations": {key: annotation}} if annotation else {}
    template = {"metadata": metadata, "spec": {**context(pod), "containers": [{"name": "c", **context(container)}]}}
    text = f'metadata.annotations[{key}]: deprecated since v1.30; use the "appArmorProfile" field instead'
    assert for_given(template) == [text] * told
    assert [w for w in for_template(template, "t") if "v1.30" in w] == [f"t.{text}"] * told


def test_empty_and_repeated_names_of_pull_secrets() -> None:
    template = {"spec": {"imagePullSecrets": [{"name": ""}, {}], "containers": []}}
    assert for_template(template, "spec.template") == [
        'spec.template.spec.imagePullSecrets[1].name: duplicate name ""',
        'spec.template.spec.imagePullSecrets[0].name: invalid empty name ""',
        'spec.template.spec.imagePullSecrets[1].name: invalid empty name ""',
    ]


def test_a_variable_that_is_only_itself_hides_the_older_one() -> None:
    env = [{"name": "A", "value": "x"}, {"name": "A", "value": "$(A)"}, {"name": "A", "value": "$(A)y"}]
    found = for_template({"spec": {"containers": [{"name": "c", "env": env}]}}, "template")
    assert [w.partition(":")[0] for w in found] == ["template.spec.containers[0].env[1]"]


def test_addresses_of_name_servers_that_are_not_canonical() -> None:
    spec = {"dnsConfig": {"nameservers": ["2001:db8:0:0::2"]}, "hostAliases": [{"ip": "2001:DB8::1"}]}
    assert for_template({"spec": spec}, "template") == [
        'template.spec.dnsConfig.nameservers[0]: IPv6 address "2001:db8:0:0::2" should be in RFC 5952 canonical format'
        ' ("2001:db8::2")',
        'template.spec.hostAliases[0].ip: IPv6 address "2001:DB8::1" should be in RFC 5952 canonical format'
        ' ("2001:db8::1")',
    ]
