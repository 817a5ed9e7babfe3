"""Selectors of query strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import BadRequest
from wherry.apiserver.selectors import labels_match, parse_fields, parse_labels

NAMES = st.from_regex(r"[a-z]([a-z0-9]{0,5}[a-z])?", fullmatch=True)


@pytest.mark.parametrize(
    ("text", "labels", "expected"),
    [
        ("a=1", {"a": "1"}, True),
        ("a==1,b!=2", {"a": "1"}, True),
        ("a in (1,2)", {"a": "2"}, True),
        ("a notin (1,2)", {}, True),
        ("!a", {"a": ""}, False),
        ("a", {"a": ""}, True),
        ("a>3", {"a": "4"}, True),
        ("a<3", {"a": "x"}, False),
        ("in in (in)", {"in": "in"}, True),
        ("", {"a": "1"}, True),
    ],
)
def test_label_selectors(text: str, labels: dict[str, str], expected: bool) -> None:
    assert labels_match(parse_labels(text), labels) is expected


@pytest.mark.parametrize("text", ["=", ",a=b", "a=b,", "!a=b", "a in b", "a~b", "a in (b", "-=x", "a=b c"])
def test_a_malformed_label_selector_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_labels(text)


@given(NAMES, st.sets(NAMES, min_size=1))
def test_in_and_notin_are_opposites(key: str, values: set[str]) -> None:
    inside, outside = (parse_labels(f"{key} {op} ({','.join(values)})") for op in ("in", "notin"))
    for value in values | {"other-value"}:
        assert labels_match(inside, {key: value}) is not labels_match(outside, {key: value})


def test_field_selectors_unescape_values() -> None:
    (first, second) = parse_fields(r"a=b\,c\=d,e!=f")
    assert (first.field, first.equal, first.value) == ("a", True, "b,c=d")
    assert (second.field, second.equal, second.value) == ("e", False, "f")
