"""Kubeconfig files: write one for a component, merge a context into the user's as kind and k3d do.

The user's file keeps every other entry, gets mode 0600, and is locked as kubectl locks it (``config.lock``).
"""

import base64
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from wherry.cluster.config import ClusterConfig, ClusterError
from wherry.cluster.files import KeyPair, write_private

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def user_path() -> Path:
    """Return the file that kubectl would change: the first of ``$KUBECONFIG``, else ``~/.kube/config``.

    Under sudo this is the file of the user who called it.
    """
    named = [part for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    if named:
        return Path(named[0])
    return _home() / ".kube" / "config"


def entries(
    config: ClusterConfig, authority: Path, client: KeyPair, *, server: str | None = None, embed: bool = True
) -> dict[str, Any]:
    """Return a kubeconfig with one context, the client's certificate inside or (not `embed`) as files."""
    name = config.context
    inside = {
        "client-certificate-data": _encoded(client.certificate),
        "client-key-data": _encoded(client.key),
    }
    files = {"client-certificate": str(client.certificate), "client-key": str(client.key)}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {
                "name": name,
                "cluster": {
                    "certificate-authority-data": _encoded(authority),
                    "server": server or config.server_url,
                },
            }
        ],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
        "users": [
            {"name": name, "user": inside if embed else files},
        ],
    }


def write(path: Path, content: dict[str, Any]) -> None:
    """Write a kubeconfig that only its owner may read."""
    write_private(path, dump(content).encode())


def dump(content: dict[str, Any]) -> str:
    """Return a kubeconfig as YAML."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False)


def merge(path: Path, new: dict[str, Any]) -> None:
    """Put the entries of `new` into the kubeconfig at `path` and make its context the current one.

    Raises ClusterError when the file is not a kubeconfig; it is then unchanged.
    """
    with _locked(path):
        content = _read(path)
        for section in ("clusters", "contexts", "users"):
            names = {entry["name"] for entry in new[section]}
            kept = [entry for entry in content.get(section) or [] if entry.get("name") not in names]
            content[section] = kept + new[section]
        content["current-context"] = new["current-context"]
        _replace(path, content)


def remove(path: Path, context: str) -> None:
    """Take a context with its cluster and user out of the kubeconfig at `path`; others stay."""
    if not path.exists():
        return
    with _locked(path):
        content = _read(path)
        for section in ("clusters", "contexts", "users"):
            content[section] = [e for e in content.get(section) or [] if e.get("name") != context]
        if content.get("current-context") == context:
            content["current-context"] = ""
        _replace(path, content)


def _read(path: Path) -> dict[str, Any]:
    empty: dict[str, Any] = {"apiVersion": "v1", "kind": "Config", "preferences": {}}
    try:
        content = yaml.load(path.read_text(), Loader=_Loader)
    except FileNotFoundError:
        return empty
    except yaml.YAMLError as error:
        raise ClusterError(f"{path} is not YAML; mend it or set KUBECONFIG to another file") from error
    if content is None:
        return empty
    if not isinstance(content, dict):
        raise ClusterError(f"{path} is not a kubeconfig; mend it or set KUBECONFIG to another file")
    return content


def _replace(path: Path, content: dict[str, Any]) -> None:
    write_private(path, dump(content).encode())
    _give_to_caller(path)


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    if not path.parent.exists():
        path.parent.mkdir(parents=True, mode=0o700)
        _give_to_caller(path.parent)
    lock = path.with_name(path.name + ".lock")
    try:
        descriptor = os.open(lock, os.O_CREAT | os.O_EXCL, 0)
    except FileExistsError as error:
        raise ClusterError(f"{path} is locked by another program; if none runs, remove {lock}") from error
    try:
        yield
    finally:
        os.close(descriptor)
        lock.unlink(missing_ok=True)


def _home() -> Path:
    user = os.environ.get("SUDO_USER")
    return Path(os.path.expanduser(f"~{user}")) if user else Path.home()


def _give_to_caller(path: Path) -> None:
    uid, gid = os.environ.get("SUDO_UID"), os.environ.get("SUDO_GID")
    if os.geteuid() == 0 and uid and gid:
        os.chown(path, int(uid), int(gid))


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
