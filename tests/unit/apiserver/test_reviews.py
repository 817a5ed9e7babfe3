"""What an access review may ask for."""

from typing import Any

import pytest

from wherry.api.errors import BadRequest, Invalid
from wherry.apiserver import continuation
from wherry.apiserver.authz import reviews


class NeverAsked:
    async def authorize(self, attributes: Any) -> Any:
        raise AssertionError(attributes)


@pytest.mark.parametrize(
    ("selector", "requirement", "error"),
    [
        ("labelSelector", {"key": "a", "operator": "Exists", "values": ["b"]}, "requirements[0].values: Forbidden"),
        ("labelSelector", {"key": "", "operator": "New"}, "requirements[0].key: Invalid value"),
        (
            "labelSelector",
            {"key": "a", "operator": "In", "values": ["b c"]},
            "requirements[0].values[0]: Invalid value",
        ),
        ("fieldSelector", {"operator": "New"}, "requirements[0].key: Required value: must be specified"),
    ],
)
def test_requirements_of_selectors_are_checked(selector: str, requirement: dict[str, Any], error: str) -> None:
    spec = {"user": "u", "resourceAttributes": {selector: {"requirements": [requirement]}}}
    with pytest.raises(Invalid, match=f"spec.resourceAttributes.{selector}") as caught:
        reviews.review_subject(NeverAsked(), {"spec": spec})  # type: ignore[arg-type]
    assert error in str(caught.value)


def test_a_continue_token_that_is_none_is_refused_in_upstreams_words() -> None:
    with pytest.raises(BadRequest, match=r"^invalid continue token: continue key is not valid: "):
        continuation.decode("x")
