"""What ``/version`` says: the Kubernetes version that the server speaks."""

import platform
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
        "gitCommit": "",
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "",
        "compiler": "",
        "platform": f"linux/{_MACHINES.get(platform.machine(), platform.machine())}",
    }
