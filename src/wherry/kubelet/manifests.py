"""Static pods as files: each file of a directory that does not begin with a dot is the manifest of one Pod.

A static pod is the node's own (kubernetes.io/docs/tasks/configure-pod-container/static-pod): its name ends with the
node's, its UID is a hash of what the file says, so that a changed file is another pod, and it may refer to no other
object of the API.
"""

import hashlib
import json
import logging
from functools import cache
from pathlib import Path

from wherry.api import defaults, meta, schema, validation
from wherry.api.podreferences import references
from wherry.api.resources import PODS
from wherry.kubelet import podspec
from wherry.util import clock

log = logging.getLogger(__name__)

_TOLERATION = {"operator": "Exists", "effect": "NoExecute"}


class ManifestError(Exception):
    """A file is not the manifest of a pod that could be static."""


class Manifests:
    """Reads one directory, again and again; a file is decoded only when it changed."""

    def __init__(self, directory: Path, node_name: str) -> None:
        self.directory = directory
        self._node_name = node_name
        self._known: dict[Path, tuple[bytes, meta.Object | None]] = {}

    def read(self) -> dict[str, meta.Object]:
        """Return the pods of all files by their keys; what is wrong with a file is logged once. Blocks."""
        found: dict[Path, tuple[bytes, meta.Object | None]] = {}
        for path in sorted(self.directory.iterdir()):
            if path.name.startswith("."):
                continue
            try:
                raw = path.read_bytes()
            except OSError as error:
                if path.is_file():
                    log.warning("cannot read the manifest %s: %s", path, error)
                continue
            known = self._known.get(path)
            found[path] = known if known is not None and known[0] == raw else (raw, self._parse(path, raw))
        self._known = found
        return {meta.key_of(pod): pod for _, pod in reversed(found.values()) if pod is not None}

    def _parse(self, path: Path, raw: bytes) -> meta.Object | None:
        try:
            return make_pod(raw, str(path), node_name=self._node_name)
        except (ManifestError, schema.DecodeError) as error:
            log.warning("cannot process the manifest %s: %s", path, error)
            return None


def make_pod(raw: bytes, path: str, *, node_name: str) -> meta.Object:
    """Return the static pod of a manifest. Raises ManifestError, DecodeError."""
    obj, _ = schema.decode_body(raw, "application/yaml")
    if (obj.get("apiVersion"), obj.get("kind")) != ("v1", "Pod"):
        raise ManifestError(f"it is a {obj.get('kind') or 'document without a kind'}, not a Pod of v1")
    pod, _, error = _pods().conform(obj)
    if error:
        raise ManifestError(str(error))
    data = pod["metadata"]
    data["name"] = f"{data.get('name') or data.get('generateName') or ''}-{node_name.lower()}"
    data["namespace"] = data.get("namespace") or "default"
    text = json.dumps([node_name, path, pod], sort_keys=True)
    data["uid"] = hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
    pod["spec"]["nodeName"] = node_name
    pod["spec"]["tolerations"] = [*(pod["spec"].get("tolerations") or ()), _TOLERATION]
    pod.pop("status", None)
    defaults.default(PODS, pod)
    if problems := validation.validate_create(PODS, pod):
        raise ManifestError("; ".join(map(str, problems)))
    if found := _references(pod):
        raise ManifestError(f"a static pod cannot refer to {', '.join(found)}")
    data["annotations"] = meta.annotations(pod) | {
        podspec.CONFIG_HASH: data["uid"],
        podspec.CONFIG_SEEN: clock.timestamp(),
        podspec.CONFIG_SOURCE: "file",
    }
    return pod


def _references(pod: meta.Object) -> list[str]:
    """Return the kinds of objects that a pod refers to, which a static one must not."""
    volumes = pod["spec"].get("volumes") or ()
    tokens = any(s.get("serviceAccountToken") for v in volumes for s in (v.get("projected") or {}).get("sources") or ())
    found = ["serviceaccounts"] if pod["spec"].get("serviceAccountName") or tokens else []
    found += references(pod["spec"])
    return found + (["resourceclaims"] if pod["spec"].get("resourceClaims") else [])


@cache
def _pods() -> schema.TypeSchema:
    return schema.load().for_resource(PODS)
