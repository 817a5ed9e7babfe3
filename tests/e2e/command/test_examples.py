"""The examples, as their users run them."""

import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

EXAMPLES = Path(__file__).parents[3] / "examples"


def test_the_article_s_web_project_runs_through_outages(tmp_path: Path) -> None:
    done = subprocess.run([EXAMPLES / "k8s-web/run"], capture_output=True, text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    assert done.stdout.strip().splitlines()[-1].startswith("k8s-web: ok")
