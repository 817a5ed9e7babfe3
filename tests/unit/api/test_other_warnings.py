"""Warnings about Services and about addresses and blocks in other kinds."""

from typing import Any

import pytest

from wherry.api import warnings
from wherry.api.resources import TABLE
from wherry.api.warnings.addresses import for_cidr


def _of(kind: str, obj: dict[str, Any], version: str = "v1") -> list[str]:
    resource = TABLE.for_object(version, kind)
    assert resource is not None
    return warnings.for_object(resource, {"metadata": {}, **obj})


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        (
            {"type": "ClusterIP", "clusterIP": "None", "externalIPs": ["1.2.3.4"], "loadBalancerIP": "1.2.3.4"},
            [
                "spec.loadBalancerIP is ignored for headless services",
                "spec.externalIPs is ignored for headless services",
                "spec.SessionAffinity is ignored for headless services",
            ],
        ),
        ({"type": "NodePort", "externalIPs": ["1.2.3.4"]}, ["spec.externalIPs is deprecated"]),
        (
            {"type": "ExternalName", "externalIPs": ["1.2.3.4"], "externalName": "a.b"},
            ['spec.externalIPs is ignored when spec.type is "ExternalName"'],
        ),
        (
            {"type": "ClusterIP", "externalName": "a.b", "trafficDistribution": "PreferClose"},
            [
                'spec.externalName is ignored when spec.type is not "ExternalName"',
                'spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"',
            ],
        ),
    ],
)
def test_members_that_a_service_does_not_use(spec: dict[str, Any], expected: list[str]) -> None:
    assert _of("Service", {"spec": spec}) == expected


@pytest.mark.parametrize(
    ("value", "detail"),
    [
        ("2001:db8:0::/64", 'should be in RFC 5952 canonical format ("2001:db8::/64")'),
        ("10.0.0.5/8", 'is ambiguous in this context (should be "10.0.0.0/8" or "10.0.0.5/32"?)'),
    ],
)
def test_blocks_that_are_not_canonical(value: str, detail: str) -> None:
    assert [w.endswith(f'CIDR value "{value}" {detail}') for w in for_cidr(value, "p")] == [True]
    assert for_cidr("10.0.0.0/8", "p") == []


def test_blocks_of_network_policies_and_nodes_are_looked_at() -> None:
    block = {"cidr": "2001:DB8::/32", "except": ["2001:db8:0:0::/64"]}
    policy = _of("NetworkPolicy", {"spec": {"egress": [{"to": [{"ipBlock": block}]}]}}, "networking.k8s.io/v1")
    assert [w.partition(": ")[0] for w in policy] == [
        "spec.egress[0].to[0].ipBlock.cidr", "spec.egress[0].to[0].ipBlock.except[0]",
    ]  # fmt: skip
    node = _of("Node", {"spec": {"externalID": "x", "configSource": {}, "podCIDRs": ["2001:DB8::/64"]}})
    assert [w.partition(": ")[0] for w in node] == ["spec.configSource", "spec.externalID", "spec.podCIDRs[0]"]
