"""What ``/version`` says: the Kubernetes version that the server speaks."""

import hashlib
import platform
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

_PATCHES = {"1.36": "v1.36.2"}
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


def version_info(kubernetes: str) -> dict[str, Any]:
    """Return version.Info for a Kubernetes version like ``1.36``."""
    major, minor = kubernetes.split(".")[:2]
    return {
        "major": major,
        "minor": minor,
        "emulationMajor": major,
        "emulationMinor": minor,
        "minCompatibilityMajor": major,
        "minCompatibilityMinor": str(int(minor) - 1),
        "gitVersion": _PATCHES.get(kubernetes, f"v{kubernetes}.0"),
        "gitCommit": _build(),
        "gitTreeState": "clean",
        "buildDate": datetime.fromtimestamp(Path(__file__).stat().st_mtime, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "goVersion": f"python{platform.python_version()}",
        "compiler": platform.python_implementation().lower(),
        "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
    }


@cache
def _build() -> str:
    """Return what tells this build from others in place of a commit: a digest of the list of its files."""
    try:
        listed = metadata.distribution("wherry").read_text("RECORD") or ""
    except metadata.PackageNotFoundError:
        listed = ""
    return hashlib.sha1(listed.encode(), usedforsecurity=False).hexdigest()
