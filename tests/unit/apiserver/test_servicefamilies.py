"""The IP families of a Service."""

from typing import Any

import pytest

from wherry.apiserver.strategies.servicefamilies import default_families

SINGLE = {"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4"]}
BOTH = {"ipFamilyPolicy": "RequireDualStack", "ipFamilies": ["IPv4", "IPv6"]}


@pytest.mark.parametrize(
    ("spec", "old", "configured", "wanted"),
    [
        ({}, {}, ["IPv4"], SINGLE),
        ({"type": "ExternalName"}, {}, ["IPv4"], {}),
        ({"ipFamilyPolicy": "PreferDualStack"}, {}, ["IPv4"], {"ipFamilies": ["IPv4"]}),
        ({"ipFamilyPolicy": "PreferDualStack"}, {}, ["IPv4", "IPv6"], {"ipFamilies": ["IPv4", "IPv6"]}),
        ({"clusterIP": "None", "clusterIPs": ["None"]}, {}, ["IPv4"], BOTH),
        ({"clusterIP": "None", "clusterIPs": ["None"], "selector": {"a": "b"}}, {}, ["IPv4"], SINGLE),
        ({"ipFamilyPolicy": "SingleStack", "ipFamilies": ["IPv4", "IPv6"]}, BOTH, ["IPv4", "IPv6"], SINGLE),
    ],
)
def test_what_is_left_open_follows_from_the_rest(
    spec: dict[str, Any], old: dict[str, Any], configured: list[str], wanted: dict[str, Any]
) -> None:
    assert default_families(spec, old, configured) == []
    assert {**spec, **wanted} == spec


@pytest.mark.parametrize(
    ("spec", "old", "error"),
    [
        ({"ipFamilies": ["IPv6"]}, {}, 'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster'),
        (
            {"clusterIP": "fd00::1", "clusterIPs": ["fd00::1"]},
            {},
            'spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster',
        ),
        (
            {"ipFamilies": ["IPv4", "IPv6"]},
            {},
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or 'PreferDualStack' when "
            "multiple IP families are specified",
        ),
        (
            {"ipFamilies": ["IPv4"], "ipFamilyPolicy": "PreferDualStack"},
            BOTH,
            'spec.ipFamilyPolicy: Invalid value: "PreferDualStack": '
            "must be 'SingleStack' to release the secondary IP family",
        ),
        ({"ipFamilies": ["IPv4", "IPv4"]}, {}, 'spec.ipFamilies[1]: Duplicate value: "IPv4"'),
    ],
)
def test_families_that_do_not_fit_are_refused(spec: dict[str, Any], old: dict[str, Any], error: str) -> None:
    assert [str(e) for e in default_families(spec, old, ["IPv4"])] == [error]
