"""Variables out of files that an earlier container wrote into a volume (``fileKeyRef``).

The syntax is that of kubernetes.io/docs/tasks/inject-data-application/define-environment-variable-via-file: lines of
``NAME='value'``, values between single quotes and literal, over several lines too; comments and blank lines between.
"""

import asyncio
import os
import re
import stat
from collections.abc import Mapping
from typing import Any

from wherry.kubelet.env import ConfigError
from wherry.kubelet.volumes import subpath
from wherry.kubelet.volumes.plugin import VolumeError
from wherry.kubelet.words import said

_LONGEST = 1 << 20
_NOTHING = re.compile(r"[ \t]*(?:#[^\n]*)?(?:\n|\Z)")
_VARIABLE = re.compile(r"[ \t]*([^\s='#][^\s=']*)[ \t]*=[ \t]*'([^']*)'[ \t\r]*(?:\n|\Z)")


class EnvFileError(ValueError):
    """The file does not follow the syntax; the message names the line."""


def parse(text: str) -> dict[str, str]:
    """Return the variables of a file. Raises EnvFileError."""
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        if (match := _VARIABLE.match(text, at)) is not None:
            found[match[1]] = match[2]
        elif (match := _NOTHING.match(text, at)) is None:
            line = text.count("\n", 0, at) + 1
            raise EnvFileError(f"invalid environment variable format at line {line}: want NAME='value'")
        at = match.end()
    return found


async def value_of(ref: Mapping[str, Any], mounts: Mapping[str, str]) -> str | None:
    """Return what a ``fileKeyRef`` names, None for an optional one that is not there.

    `mounts` are the host paths of the pod's volumes. Raises ConfigError.
    """
    path, key = str(ref.get("path") or ""), str(ref.get("key") or "")
    try:
        text = await asyncio.to_thread(_read, mounts[ref["volumeName"]], path)
        found = parse(text).get(key)
    except FileNotFoundError as error:
        if ref.get("optional"):
            return None
        raise ConfigError(f'environment variable file "{path}" not found') from error
    except (EnvFileError, VolumeError, OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"couldn't parse env file: {said(error)}") from error
    if found is None and not ref.get("optional"):
        raise ConfigError(f'environment variable key "{key}" not found in file "{path}"')
    return found


def _read(volume: str, path: str) -> str:
    """Read a file of a volume, whose links may lead nowhere else."""
    descriptor = subpath.open_beneath(volume, path)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):  # a pipe would keep who opens it waiting
            raise EnvFileError("not a regular file")
        with open(f"/proc/self/fd/{descriptor}", "rb") as file:
            content = file.read(_LONGEST + 1)
    finally:
        os.close(descriptor)
    if len(content) > _LONGEST:
        raise EnvFileError(f"the file is longer than {_LONGEST} bytes")
    return content.decode()
