"""Reading logs in the CRI format."""

from pathlib import Path

import pytest

from wherry.kubelet.server.logs import Formatter, LogOptions, tail_offset

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
    return b"".join(map(formatter.block, LINES))


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
        assert Formatter(LogOptions()).block(b"".join(lines)) == b"".join(map(one_by_one.block, lines))
    assert Formatter(LogOptions()).block(line * 2) == b"a F b stdout F c\rd \xff\n" * 2


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
    assert path.read_bytes()[tail_offset(path, 3) :].count(b"\n") == 3
