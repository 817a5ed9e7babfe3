"""The examples, as their users run them.

`WHERRY_EXAMPLES=all` runs every one; without it, only the one that goes through outages of every process.
"""

import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[3] / "examples"
_LONG = pytest.mark.skipif(
    os.environ.get("WHERRY_EXAMPLES") != "all", reason="takes minutes, most of them for its images: WHERRY_EXAMPLES=all"
)


@pytest.mark.parametrize(
    "example",
    [
        "k8s-web",
        pytest.param("rent", marks=_LONG),
        pytest.param("flant-small-projects", marks=_LONG),
        pytest.param("local-files", marks=_LONG),
        pytest.param("otter", marks=_LONG),
    ],
)
def test_a_real_project_runs_from_its_own_manifests(example: str) -> None:
    done = subprocess.run([EXAMPLES / example / "run"], capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1].startswith(f"{example}: ok")
