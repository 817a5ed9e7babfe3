"""A program runs from memory under its own name."""

import os
import subprocess
from pathlib import Path

import pytest

from wherry.runtime.sealed import SealedProgram


def test_a_copy_runs_and_nobody_can_write_to_it(tmp_path: Path) -> None:
    program = SealedProgram("/usr/bin/env", str(tmp_path))
    try:
        assert os.path.basename(program.path) == "env"
        done = subprocess.run([program.path, "echo", "here"], capture_output=True, text=True, check=True)
        assert done.stdout == "here\n"
        if program.path.startswith(str(tmp_path)):
            with pytest.raises(OSError):
                os.truncate(program.path, 0)
    finally:
        program.close()


def test_where_nothing_runs_from_memory_the_program_itself_is_used(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("not a program")
    assert SealedProgram(str(plain), str(tmp_path / "links")).path == str(plain)
