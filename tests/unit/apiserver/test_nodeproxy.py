"""What a client hears of a kubelet that refuses."""

import pytest

from wherry.apiserver.nodeproxy import log_error


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
