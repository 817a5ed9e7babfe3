"""@kubernetes/client-node: objects, watch, informer, patch, exec, logs, port-forward, custom objects."""

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.e2e.cluster import Cluster, Namespace

DIRECTORY = Path(__file__).with_name("javascript")
NODE = shutil.which("node")
INSTALLED = (DIRECTORY / "node_modules").exists()
pytestmark = [
    pytest.mark.e2e,
    pytest.mark.skipif(NODE is None, reason="needs Node.js 20 or newer"),
    pytest.mark.skipif(not INSTALLED, reason="needs the npm packages: call script/test, which installs them"),
]


def test_the_examples_of_the_javascript_client(boats: Cluster, served: Namespace) -> None:
    command = [NODE or "", str(DIRECTORY / "client.mjs"), served.name]
    done = subprocess.run(command, env=boats.environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.split() == ["objects", "watches", "informer", "streams", "forward", "customObjects"]
