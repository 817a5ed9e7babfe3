"""Selectors of query strings."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.errors import BadRequest
from wherry.apiserver.selectors import LabelSelector, parse_fields, parse_labels

NAMES = st.from_regex(r"[a-z]([a-z0-9]{0,5}[a-z])?", fullmatch=True)


def _match(selector: LabelSelector, labels: dict[str, str]) -> bool:
    return all(requirement.matches(labels) for requirement in selector)


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
    assert _match(parse_labels(text), labels) is expected


@pytest.mark.parametrize("text", ["=", ",a=b", "a=b,", "!a=b", "a in b", "a~b", "a in (b", "-=x", "a=b c"])
def test_a_malformed_label_selector_is_refused(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_labels(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a>x", "values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value must be an integer"),
        (
            f"a>{1 << 63}",
            f"values[0]: Invalid value: \"{1 << 63}\": for 'Gt', 'Lt' operators, the value must be an integer",
        ),
        ('a="1"', r'values[0][a]: Invalid value: "\"1\"": a valid label must be an empty string or consist of'),
    ],
)
def test_a_bad_value_is_refused_in_the_words_of_the_requirement(text: str, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_labels(text)
    assert message in str(caught.value)


@given(NAMES, st.sets(NAMES, min_size=1))
def test_in_and_notin_are_opposites(key: str, values: set[str]) -> None:
    inside, outside = (parse_labels(f"{key} {op} ({','.join(values)})") for op in ("in", "notin"))
    for value in values | {"other-value"}:
        assert _match(inside, {key: value}) is not _match(outside, {key: value})


def test_field_selectors_unescape_values() -> None:
    (first, second) = parse_fields(r"a=b\,c\=d,e!=f")
    assert (first.field, first.operator == "=", first.value) == ("a", True, "b,c=d")
    assert (second.field, second.operator == "=", second.value) == ("e", False, "f")
