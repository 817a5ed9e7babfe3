"""What a client hears of a kubelet that refuses."""

import pytest

from wherry.api.errors import BadRequest
from wherry.apiserver.nodeproxy import log_error, log_errors
from wherry.apiserver.query import parse_query


@pytest.mark.parametrize(
    ("status", "text", "reason", "message"),
    [
        (400, 'previous terminated container "c" in pod "p" not found', "BadRequest", None),
        (404, "pod", "NotFound", "the server could not find the requested resource ( pods/log p)"),
        (500, "broken", "InternalError", "Internal error occurred: broken"),
        (
            418,
            "tea",
            None,
            "the server responded with the status code 418 but did not return more information ( pods/log p)",
        ),
    ],
)
def test_an_answer_that_is_no_log_becomes_a_status(status: int, text: str, reason: str | None, message: str) -> None:
    found = log_error("p", status, text).to_status()
    assert (found["code"], found.get("reason"), found["message"]) == (status, reason, message or text)


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("tailLines=0&limitBytes=1&sinceSeconds=1&sinceTime=", ["at most one of `sinceTime` or `sinceSeconds` may be"]),
        ("tailLines=-1&limitBytes=0&sinceSeconds=0", ["equal to 0", "than 0", "than 0"]),
        ("stream=Stdout", ["stream: Forbidden: may not be specified"]),
        ("sinceTime=2024-01-01T00:00:00Z&tailLines=5&follow=true", []),
    ],
)
def test_options_of_logs_are_refused_in_order(query: str, told: list[str]) -> None:
    found = [f"{e.field}: {e.text}" for e in log_errors(parse_query(query))]
    assert len(found) == len(told)
    assert all(text in error for text, error in zip(told, found, strict=True)), found


def test_a_time_that_is_none_is_refused_in_gos_words() -> None:
    with pytest.raises(
        BadRequest, match='parsing time "foo" as "2006-01-02T15:04:05Z07:00": cannot parse "foo" as "2006"'
    ):
        log_errors(parse_query("sinceTime=foo"))
