"""Kubeconfig files: from a context to a transport (client-go ``tools/clientcmd``)."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import orjson
import yaml

from wherry.client.http import HTTPTransport

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class KubeconfigError(Exception):
    """A kubeconfig cannot be used; the message says why."""


def default_paths() -> list[Path]:
    """Return the files of ``$KUBECONFIG``, else ``~/.kube/config``."""
    named = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return named or [Path.home() / ".kube" / "config"]


def read(paths: list[Path] | None = None) -> dict[str, Any]:
    """Return the merged configuration of `paths`; of entries with one name the first counts, missing files are skipped.

    File names in it are made absolute (relative ones are relative to their file). Raises KubeconfigError.
    """
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current-context": ""}
    for path in paths or default_paths():
        try:
            loaded = yaml.load(path.read_text(), Loader=_Loader) or {}
        except FileNotFoundError:
            continue
        except (OSError, yaml.YAMLError) as error:
            raise KubeconfigError(f"{path}: {error}") from error
        for plural, kind in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for entry in loaded.get(plural) or ():
                merged[plural].setdefault(entry["name"], _absolute(entry.get(kind) or {}, path.parent))
        merged["current-context"] = merged["current-context"] or loaded.get("current-context") or ""
    return merged


async def load(path: str | Path | None = None, *, context: str | None = None) -> HTTPTransport:
    """Return a transport for a context (None: the current one) of a kubeconfig (None: the default files).

    Credentials: client certificate, token, token file, basic, and exec plugins (run once, now). Raises KubeconfigError.
    """
    config = await asyncio.to_thread(read, [Path(path)] if path else None)
    name = context or config["current-context"]
    if name not in config["contexts"]:
        raise KubeconfigError(f'context "{name}" does not exist' if name else "no current context is set")
    chosen = config["contexts"][name]
    cluster = config["clusters"].get(chosen.get("cluster"))
    if not cluster or not cluster.get("server"):
        raise KubeconfigError(f'cluster "{chosen.get("cluster")}" of context "{name}" does not exist')
    user = config["users"].get(chosen.get("user")) or {}
    if user.get("exec"):
        user = {**user, **await _run_plugin(user["exec"])}
    headers = {}
    if user.get("username"):
        pair = f"{user['username']}:{user.get('password', '')}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    return await asyncio.to_thread(
        HTTPTransport,
        cluster["server"],
        ca=_data(cluster, "certificate-authority"),
        insecure=bool(cluster.get("insecure-skip-tls-verify")),
        server_name=cluster.get("tls-server-name"),
        cert=_data(user, "client-certificate"),
        key=_data(user, "client-key"),
        token=user.get("token"),
        token_file=user.get("tokenFile"),
        headers=headers,
    )


def _data(entry: dict[str, Any], name: str) -> str | None:
    inline = entry.get(f"{name}-data")
    return base64.b64decode(inline).decode() if inline else entry.get(name)


def _absolute(entry: dict[str, Any], folder: Path) -> dict[str, Any]:
    files = ("certificate-authority", "client-certificate", "client-key", "tokenFile")
    return {name: str(folder / value) if name in files and value else value for name, value in entry.items()}


async def _run_plugin(spec: dict[str, Any]) -> dict[str, Any]:
    api_version = spec.get("apiVersion", "client.authentication.k8s.io/v1")
    info = {"kind": "ExecCredential", "apiVersion": api_version, "spec": {"interactive": False}}
    extra = {entry["name"]: entry["value"] for entry in spec.get("env") or ()}
    try:
        process = await asyncio.create_subprocess_exec(
            spec["command"],
            *(spec.get("args") or ()),
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, **extra, "KUBERNETES_EXEC_INFO": orjson.dumps(info).decode()},
        )
        output, _ = await process.communicate()
        status = orjson.loads(output)["status"]
    except (OSError, ValueError, KeyError) as error:
        raise KubeconfigError(f"credential plugin {spec.get('command')}: {error}") from error
    found = {"token": status.get("token")}
    for name, member in (("client-certificate", "clientCertificateData"), ("client-key", "clientKeyData")):
        if status.get(member):
            found[f"{name}-data"] = base64.b64encode(status[member].encode()).decode()
    return found
