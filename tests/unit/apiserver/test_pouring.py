"""Following a body in chunks."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.apiserver.pouring import Frames


@given(st.lists(st.binary(min_size=1, max_size=40)), st.lists(st.integers(0, 300)), st.sampled_from(["%x", "%X;a=b"]))
def test_a_body_is_complete_with_its_last_byte_and_not_before(texts: list[bytes], cuts: list[int], size: str) -> None:
    chunks = [(size % len(text)).encode() + b"\r\n" + text + b"\r\n" for text in [*texts, b""]]
    body = b"".join(chunks)
    frames, at = Frames(), 0
    for cut in sorted({min(cut, len(body) - 1) for cut in cuts}):
        frames.follow(body[at:cut])
        at = cut
        assert not frames.complete
    frames.follow(body[at:])
    assert frames.complete


def test_what_is_no_size_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        Frames().follow(b"HTTP/1.1 500\r\n")
