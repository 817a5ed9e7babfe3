"""Which ids of the host the pods in user namespaces run as.

The rules: kubernetes.io/docs/concepts/workloads/pods/user-namespaces. Each such pod has a range of its own for as long
as its directory is there: the file ``pods/UID/userns`` keeps it, so that a restarted process gives nobody the same.
"""

import asyncio
import hashlib
import json
from pathlib import Path

from wherry.kubelet.config import KubeletConfig
from wherry.runtime.protocol import IDS

_RANGES = (1 << 31) // IDS


class HostIds:
    """Hands out ranges of 65536 ids."""

    def __init__(self, config: KubeletConfig) -> None:
        self._config = config
        self._lock = asyncio.Lock()

    async def of(self, uid: str) -> int:
        """Return the first id of a pod's range. Raises OSError."""
        async with self._lock:
            return await asyncio.to_thread(self._of, uid)

    def _of(self, uid: str) -> int:
        path = self._config.pod_directory(uid) / "userns"
        if (known := _read(path)) is not None:
            return known
        taken = {_read(found) for found in (self._config.root / "pods").glob("*/userns")}
        # Where it begins is the pod's own, so that the clusters of one machine rarely meet.
        number = int.from_bytes(hashlib.sha256(uid.encode()).digest()[:4], "big")
        free = (1 + (number + step) % (_RANGES - 1) for step in range(_RANGES - 1))
        first = next((each * IDS for each in free if each * IDS not in taken), None)
        if first is None:
            raise OSError("no range of user ids is free")
        mapping = [{"hostId": first, "containerId": 0, "length": IDS}]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({"uidMappings": mapping, "gidMappings": mapping}))
        return first


def _read(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_text())["uidMappings"][0]["hostId"])
    except (OSError, ValueError, LookupError):
        return None
