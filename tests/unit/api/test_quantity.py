"""Quantities: canonical text, arithmetic, errors."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.api.quantity import QuantityError, canonical, of, parse, round_up_milli

NUMBERS = st.fractions(min_value=0, max_value=10**12, max_denominator=1000).map(lambda n: round(n, 3))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1000m", "1"), ("0.5", "500m"), ("1024Mi", "1Gi"), ("1.5Gi", "1536Mi"), ("1000", "1k"), ("00", "0"),
        ("1.0", "1"), ("+1", "+1"), ("1e3", "1e3"), ("0.1Gi", "107374182400m"),
        ("9999999999999999999Gi", str(2**63 - 1)),
    ],
)  # fmt: skip
def test_canonical_text_is_what_the_api_shows(text: str, shown: str) -> None:
    assert canonical(text) == shown


@pytest.mark.parametrize("text", ["", "abc", "1GiB", "1K", "1ee", "--1", "1 2"])
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(QuantityError):
        parse(text)


def test_rounding_to_thousandths_goes_away_from_zero() -> None:
    assert round_up_milli("1n") == "1m"
    assert round_up_milli("-1u") == "-1m"
    assert round_up_milli("1Gi") == "1Gi"


@given(NUMBERS)
def test_canonical_text_keeps_the_value(number: Fraction) -> None:
    assert parse(of(number)).value == number
    assert canonical(of(number)) == canonical(canonical(of(number)))


@given(NUMBERS, NUMBERS)
def test_sums_are_exact(one: Fraction, other: Fraction) -> None:
    assert parse(str(parse(of(one)) + parse(of(other)))).value == one + other
