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
