"""The file that names the programs of runtime handlers."""

from pathlib import Path

import pytest

from wherry.cluster import runtimes
from wherry.cluster.config import ClusterError
from wherry.runtime.handlers import Program


def test_handlers_name_programs_and_no_file_names_none(tmp_path: Path) -> None:
    path = tmp_path / "runtimes.yaml"
    assert runtimes.load(path) == {}
    path.write_text("handlers:\n  runc: {path: /usr/sbin/runc}\n  other: {path: runsc, args: [--debug]}\n")
    assert runtimes.load(path) == {"runc": Program("/usr/sbin/runc"), "other": Program("runsc", ("--debug",))}


@pytest.mark.parametrize(
    "text",
    ["handlers: [runc]", "handler: {}", "handlers: {runc: {}}", "handlers: {runc: {path: runc, args: -x}}", "["],
)
def test_a_file_that_cannot_be_followed_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "runtimes.yaml"
    path.write_text(text)
    with pytest.raises(ClusterError, match=r"runtimes\.yaml cannot be followed: "):
        runtimes.load(path)
