"""Checks of names and values."""

import pytest

from wherry.api import names
from wherry.api.intstr import IntOrStringError, scaled


def test_dots_in_a_label_get_their_own_message() -> None:
    assert names.is_dns1123_label("a.b") == ["must not contain dots"]


@pytest.mark.parametrize("value", ["a", "example.com/a", "A-b_c.d"])
def test_qualified_names(value: str) -> None:
    assert names.is_qualified_name(value) == []


def test_messages_carry_examples_and_pattern() -> None:
    assert names.is_dns1123_subdomain("A") == [
        "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
        "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
        "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
    ]
    assert names.is_qualified_name("/a")[0] == "prefix part must be non-empty"


@pytest.mark.parametrize(("value", "fine"), [("http", True), ("80", False), ("-a", False), ("a--b", False)])
def test_port_names(value: str, fine: bool) -> None:
    assert (names.is_port_name(value) == []) is fine


def test_percentages_scale_up_and_down() -> None:
    assert scaled("25%", 10, round_up=True) == 3
    assert scaled("25%", 10, round_up=False) == 2
    assert scaled(4, 10, round_up=True) == 4
    with pytest.raises(IntOrStringError):
        scaled("x", 10, round_up=True)
