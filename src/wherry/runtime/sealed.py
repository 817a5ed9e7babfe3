"""The OCI runtime's program as a sealed copy in memory.

So that no container can overwrite the host's runtime through ``/proc/self/exe`` (CVE-2019-5736), crun copies itself on
each call and starts again from the copy, which costs more than most of what it is called for. From a copy that is
sealed already it sees that there is nothing to fear and goes on at once.
"""

import contextlib
import fcntl
import os
import subprocess

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class SealedProgram:
    """A copy of a program that lasts as long as this object. `path` is a link to it and ends in the program's name.

    Where the kernel lets nothing run from memory, `path` is the program itself. Blocks briefly.
    """

    def __init__(self, program: str, directory: str) -> None:
        self.path = program
        self._descriptor = os.memfd_create(os.path.basename(program), os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
        try:
            link = self._copy(program, directory)
            subprocess.run([link, "--version"], check=True, stdin=subprocess.DEVNULL, capture_output=True)
            self.path = link
        except (OSError, subprocess.CalledProcessError):
            self.close()

    def _copy(self, program: str, directory: str) -> str:
        with open(program, "rb") as source:
            length = os.fstat(source.fileno()).st_size
            while length > 0 and (sent := os.sendfile(self._descriptor, source.fileno(), None, length)):
                length -= sent
        os.fchmod(self._descriptor, 0o555)
        fcntl.fcntl(self._descriptor, fcntl.F_ADD_SEALS, _SEALS)
        os.makedirs(directory, mode=0o711, exist_ok=True)
        link = f"{directory}/{os.path.basename(program)}"
        temporary = f"{link}.new"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        os.symlink(f"/proc/{os.getpid()}/fd/{self._descriptor}", temporary)
        os.replace(temporary, link)
        return link

    def close(self) -> None:
        """Let go of the copy."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
