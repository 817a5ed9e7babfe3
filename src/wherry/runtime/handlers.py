"""The programs that run containers, by handler: what a RuntimeClass chooses among.

The handlers ``""`` and ``crun`` are crun, from a sealed copy; others are what the machine's administrator named.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from wherry.runtime import processes, spawn
from wherry.runtime.protocol import ContainerError
from wherry.runtime.sealed import SealedProgram

DEFAULT, CRUN = "", "crun"


@dataclass(frozen=True, slots=True)
class Program:
    """A program that follows the command line of runc: a path, or a name to look for, and its global options."""

    path: str
    args: Sequence[str] = ()


class Handlers:
    """The command of each handler, with a directory of its own for the program's state below `run_dir`."""

    def __init__(self, run_dir: str, programs: Mapping[str, Program]) -> None:
        self._run_dir = run_dir
        self._programs = {**programs, DEFAULT: Program(CRUN, ("--cgroup-manager=cgroupfs",))}
        self._programs.setdefault(CRUN, self._programs[DEFAULT])
        self._commands: dict[str, list[str]] = {}
        self._sealed: SealedProgram | None = None

    def prepare(self) -> None:
        """Find the programs. Blocks. Raises ContainerError when one is not installed."""
        for handler, program in self._programs.items():
            path = shutil.which(program.path, path=spawn.environment()["PATH"])
            if path is None:
                where = f" (the runtime of handler {handler!r})" if handler else ""
                raise ContainerError(f"{program.path} is not installed{where}")
            if handler == DEFAULT:
                self._sealed = SealedProgram(path, f"{self._run_dir}/bin")
                path = self._sealed.path
            elif program == self._programs[DEFAULT]:
                path = self._commands[DEFAULT][0]
            self._commands[handler] = [path, f"--root={self.root(handler)}", *program.args]

    def close(self) -> None:
        """Let go of the sealed copy."""
        if self._sealed is not None:
            self._sealed.close()

    def names(self) -> list[str]:
        """Return the handlers, the default one (``""``) first."""
        return sorted(self._programs)

    def roots(self) -> Iterator[str]:
        """Iterate over the directories of the programs' state."""
        yield from {self.root(handler) for handler in self._programs}

    def root(self, handler: str) -> str:
        """Return where the program of a handler keeps what it knows of its containers."""
        shared = self._programs.get(handler, self._programs[DEFAULT]) == self._programs[DEFAULT]
        return f"{self._run_dir}/crun" if shared else f"{self._run_dir}/runtimes/{handler}"

    def command(self, handler: str) -> list[str]:
        """Return a handler's program with its global options.

        Of a handler that is not configured any more, containers may still run: they can be killed without their
        program, and the default one finds nothing of theirs.
        """
        return self._commands.get(handler) or self._commands[DEFAULT]

    def kill_all(self) -> None:
        """Kill every call of a program that goes on. Blocks."""
        for path, root, *_ in self._commands.values():
            processes.kill_all(path.rpartition("/")[2], root)
