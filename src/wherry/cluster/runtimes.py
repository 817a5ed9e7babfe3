"""The file ``runtimes.yaml`` of a cluster: which programs run the containers of which RuntimeClass handlers.

Kubernetes leaves this to each container runtime (containerd's ``runtimes``, CRI-O's ``runtime_path``). Here it is::

    handlers:
      runc: {path: /usr/sbin/runc}
      sandboxed: {path: runsc, args: [--platform=systrap]}

Any program that follows the command line of runc can be named. ``crun`` is there without being named.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wherry.api import schema
from wherry.cluster.config import ClusterError
from wherry.runtime.handlers import Program


def load(path: Path) -> dict[str, Program]:
    """Return the programs by handler, none where there is no file. Raises ClusterError."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        handlers = _only(schema.decode_body(raw, "application/yaml")[0], {"handlers"}).get("handlers") or {}
        return {name: _program(_only(entry, {"path", "args"})) for name, entry in _only(handlers, None).items()}
    except (schema.DecodeError, TypeError, ValueError, KeyError) as error:
        raise ClusterError(f"{path} cannot be followed: {error}") from error


def _program(entry: Mapping[str, Any]) -> Program:
    if not isinstance(entry.get("path"), str) or not entry["path"]:
        raise ValueError("a handler needs a path")
    args = entry.get("args") or []
    if not isinstance(args, list) or not all(isinstance(arg, str) for arg in args):
        raise ValueError("args must be a list of strings")
    return Program(entry["path"], tuple(args))


def _only(value: Any, known: set[str] | None) -> Mapping[str, Any]:
    """Return `value`, which must be an object with no members but those `known`."""
    if not isinstance(value, dict):
        raise TypeError(f"{value!r} is no object")
    if known is not None and (unknown := set(value) - known):
        raise ValueError(f'unknown field "{min(unknown)}"')
    return value
