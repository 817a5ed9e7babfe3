"""The default seccomp profile (``RuntimeDefault``): an allow-list that knows the container's capabilities.

The table in ``data/seccomp.json`` has the system calls that every container may make, those of one processor, and those
that a capability unlocks; they are the ones that the profiles of moby and containerd agree on.
"""

import base64
import contextlib
import functools
import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

_EPERM, _ENOSYS = 1, 38
_AF_VSOCK = 40
_NEW_NAMESPACES = 0x7E020000  # every CLONE_NEW… flag


@functools.cache
def _table() -> dict[str, Any]:
    return json.loads(resources.files("wherry.runtime").joinpath("data/seccomp.json").read_text())


def _allow(names: Sequence[str], *args: Mapping[str, object]) -> dict[str, object]:
    rule: dict[str, object] = {"names": list(names), "action": "SCMP_ACT_ALLOW"}
    return rule | {"args": list(args)} if args else rule


def default_profile(capabilities: Sequence[str], *, machine: str | None = None) -> dict[str, object]:
    """Return the OCI ``linux.seccomp`` object for a container that has `capabilities` (``CAP_…``).

    `machine` is a processor as uname(2) names it, by default this machine's.
    """
    table = _table()
    architecture = table["architectures"].get(machine or platform.machine(), {"names": [], "allow": ""})
    names = set(" ".join(table["allow"]).split()) | set(architecture["allow"].split())
    for capability in capabilities:
        names.update(table["capabilities"].get(capability, "").split())
    rules = [
        _allow(sorted(names)),
        _allow(["socket"], {"index": 0, "value": _AF_VSOCK, "op": "SCMP_CMP_NE"}),
        *(_allow(["personality"], {"index": 0, "value": n, "op": "SCMP_CMP_EQ"}) for n in table["personalities"]),
    ]
    if "CAP_SYS_ADMIN" in capabilities:
        rules.append(_allow(["clone", "clone3"]))
    else:
        # Where the flags stand among the arguments depends on the processor.
        masked = {
            "index": architecture.get("clone_flags", 0),
            "value": _NEW_NAMESPACES,
            "valueTwo": 0,
            "op": "SCMP_CMP_MASKED_EQ",
        }
        rules.append(_allow(["clone"], masked))
        # A filter cannot read the flags of clone3, which lie in memory; where it is missing libc falls back to clone.
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
    profile: dict[str, object] = {"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": _EPERM, "syscalls": rules}
    if architecture["names"]:
        profile["architectures"] = architecture["names"]
    return profile


class CompiledProfiles:
    """The filters that crun compiled, by profile, so that it compiles each once and not for every container.

    Compiling the default profile takes longer than everything else that starting a container does.
    """

    def __init__(self) -> None:
        self._filters: dict[str, str] = {}

    @staticmethod
    def _key(profile: Mapping[str, object]) -> str:
        return hashlib.sha256(json.dumps(profile, sort_keys=True).encode()).hexdigest()

    def annotations(self, profile: Mapping[str, object] | None) -> dict[str, str]:
        """Return what tells crun to take the compiled filter, nothing when there is none (yet)."""
        compiled = self._filters.get(self._key(profile)) if profile else None
        return {"run.oci.seccomp_bpf_data": compiled} if compiled else {}

    def learn(self, profile: Mapping[str, object], path: str) -> None:
        """Keep the filter that crun left at `path`, if it did."""
        key = self._key(profile)
        if key not in self._filters:
            with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                self._filters[key] = base64.b64encode(file.read()).decode()
