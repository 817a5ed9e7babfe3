"""Reading logs in the CRI format."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wherry.kubelet.server.logformat import Formatter, LogOptions
from wherry.kubelet.server.logs import tail_offset

LINES = [
    b"2026-01-01T00:00:01.100000000Z stdout F one\n",
    b"2026-01-01T00:00:02.200000000+00:00 stderr F two\n",
    b"2026-01-01T00:00:03.300000000Z stdout P par\n",
    b"2026-01-01T00:00:03.400000000Z stdout F tial\n",
    b"2026-01-01T00:00:04.500000000Z stdout F four\n",
]

HIDDEN = [b"2026-01-01T00:00:05.1+00:00 stdout P a F b\n", b"2026-01-01T00:00:05.1+00:00 stdout F c\n"]


def read(**options: object) -> bytes:
    formatter = Formatter(LogOptions(**options))  # type: ignore[arg-type]
    return b"".join(formatter.block([line]) for line in LINES)


def test_a_block_reads_as_its_lines_do() -> None:
    line = b"2026-01-01T00:00:05.1+00:00 stdout F a F b stdout F c\rd \xff\n"
    for lines in (
        LINES,
        [line] * 3,
        [*LINES, line, b"broken\n", line],
        [b"2026-01-01T00:00:06Z stdout F \n", line],
        HIDDEN,
    ):
        one_by_one = Formatter(LogOptions())
        assert Formatter(LogOptions()).block(lines) == b"".join(one_by_one.block([line]) for line in lines)
    assert Formatter(LogOptions()).block([line] * 2) == b"a F b stdout F c\rd \xff\n" * 2


@given(
    st.lists(
        st.tuples(
            st.sampled_from([b"2026-01-01T00:00:05.123456789+01:00", b"2026-01-01T00:00:05.1Z", b"x"]),
            st.sampled_from([b"stdout", b"stderr", b"stdin"]),
            st.sampled_from([b"F", b"P"]),
            st.sampled_from([b"", b"a", b" F b", b"c\rd", b"2026-01-01T00:00:05.123456789+01:00 stdout F e"]),
        )
    ),
    st.integers(1, 9),
)
def test_runs_of_lines_read_as_their_texts(lines: list[tuple[bytes, bytes, bytes, bytes]], blocks: int) -> None:
    texts = [text + b"\n" * (tag == b"F") for _, stream, tag, text in lines if stream != b"stdin"]
    formatter = Formatter(LogOptions())
    step = len(lines) // blocks + 1
    pieces = [lines[at : at + step] for at in range(0, len(lines), step)]
    read = [formatter.block([b" ".join(line) + b"\n" for line in piece]) for piece in pieces]
    assert b"".join(read) == b"".join(texts)


def test_parts_of_a_line_are_joined() -> None:
    assert read() == b"one\ntwo\npartial\nfour\n"


def test_time_stamps_stand_before_whole_lines() -> None:
    assert read(timestamps=True).splitlines()[2] == b"2026-01-01T00:00:03.300000000Z partial"


def test_lines_before_the_time_are_left_out() -> None:
    assert read(since=1767225603.0) == b"partial\nfour\n"


def test_bytes_are_limited() -> None:
    assert read(limit=6) == b"one\ntw"


def test_streams_can_be_told_apart() -> None:
    assert read(stream="Stderr") == b"two\n"


@pytest.mark.parametrize(("count", "rest"), [(0, 0), (1, 1), (2, 3), (3, 4), (4, 5), (9, 5)])
def test_tail_counts_whole_lines(tmp_path: Path, count: int, rest: int) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(LINES))
    assert path.read_bytes()[tail_offset(path, count) :] == b"".join(LINES[len(LINES) - rest :])


def test_tail_of_a_long_log_reads_only_its_end(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(b"2026-01-01T00:00:01.1Z stdout F line %d\n" % n for n in range(20_000)))
    for lines in (3, 15_000, 19_999, 20_000):
        assert path.read_bytes()[tail_offset(path, lines) :].count(b"\n") == lines


def test_tail_leaves_out_a_line_that_is_being_written(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    path.write_bytes(b"".join(LINES) + b"2026-01-01T00:00:0")
    assert path.read_bytes()[tail_offset(path, 1) :].startswith(LINES[-1])


def test_a_time_stamp_stands_where_a_line_begins_whatever_its_stream() -> None:
    formatter = Formatter(LogOptions(timestamps=True))
    lines = [b"2026-01-01T00:00:01Z stdout P a\n", b"2026-01-01T00:00:02Z stderr F b\n", LINES[0]]
    assert formatter.block(lines) == b"2026-01-01T00:00:01Z ab\n2026-01-01T00:00:01.100000000Z one\n"
