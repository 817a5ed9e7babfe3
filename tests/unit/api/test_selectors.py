"""Label and field selectors."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.selectors import fields, labels

LABELS = st.dictionaries(st.sampled_from("abc"), st.sampled_from(["", "x", "y", "7"]))


@pytest.mark.parametrize(
    ("text", "matching", "other"),
    [
        ("a=x,b!=y", {"a": "x"}, {"a": "x", "b": "y"}),
        ("a in (x, y)", {"a": "y"}, {}),
        ("a notin (x)", {}, {"a": "x"}),
        ("a", {"a": ""}, {}),
        ("!a", {}, {"a": ""}),
        ("a>5", {"a": "7"}, {"a": "x"}),
        ("a in (,x)", {"a": ""}, {"a": "y"}),
        ("", {}, None),
    ],
)
def test_selectors_match(text: str, matching: dict[str, str], other: dict[str, str] | None) -> None:
    selector = labels.parse(text)
    assert selector.matches(matching)
    assert other is None or not selector.matches(other)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",a=b", "found ',', expected: !, identifier, or 'end of string'"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("a IN (b)", "unable to parse requirement: found 'IN', expected: in, notin, =, ==, !=, gt, lt"),
        ("a=b,", "found '', expected: identifier after ','"),
    ],
)
def test_parse_errors_are_in_upstreams_words(text: str, message: str) -> None:
    with pytest.raises(labels.SelectorError) as caught:
        labels.parse(text)
    assert str(caught.value) == message


@given(LABELS, LABELS)
def test_a_set_matches_what_contains_it(wanted: dict[str, str], have: dict[str, str]) -> None:
    assert labels.from_set(wanted).matches(have) == (wanted.items() <= have.items())
    assert labels.parse(str(labels.from_set(wanted))).matches(have) == (wanted.items() <= have.items())


def test_label_selector_objects() -> None:
    assert not labels.from_selector(None).matches({})
    assert labels.from_selector({}).matches({"a": "b"})
    expressions = [{"key": "a", "operator": "In", "values": ["x"]}, {"key": "b", "operator": "DoesNotExist"}]
    selector = labels.from_selector({"matchExpressions": expressions})
    assert selector.matches({"a": "x"}) and not selector.matches({"a": "x", "b": ""})


def test_field_selectors() -> None:
    selector = fields.parse(r"metadata.name=a\,b,status.phase!=Running")
    assert selector.exact("metadata.name") == "a,b"
    assert selector.matches({"metadata.name": "a,b", "status.phase": "Pending"})
    with pytest.raises(fields.FieldSelectorError, match="can't understand"):
        fields.parse("metadata.name")


@given(st.text(max_size=8))
def test_escaping_is_undone(value: str) -> None:
    assert fields.unescape(fields.escape(value)) == value
