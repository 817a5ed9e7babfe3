"""Trust anchors out of ClusterTrustBundles, for projected volumes."""

from typing import Any

from wherry.api.resources import TABLE
from wherry.kubelet.volumes.plugin import Context, VolumeError


async def certificates(source: dict[str, Any], context: Context) -> bytes:
    """Return the PEM certificates that a ``clusterTrustBundle`` source names, each once. Raises VolumeError."""
    resource = TABLE.find("certificates.k8s.io", "v1beta1", "clustertrustbundles")
    if resource is None:
        raise VolumeError("ClusterTrustBundles are not served")
    if name := source.get("name"):
        found = await context.lookup(resource, name)
        bundles = [found] if found else []
    else:
        selector = _selector(source.get("labelSelector") or {})
        listed = await context.client.list(
            resource, labelSelector=selector, fieldSelector=f"spec.signerName={source.get('signerName') or ''}"
        )
        bundles = listed.get("items") or []
    blocks = {block for bundle in bundles for block in _blocks(bundle["spec"].get("trustBundle") or "")}
    if not blocks and not source.get("optional"):
        raise VolumeError(f"no trust bundle for {name or source.get('signerName')!r}")
    return "".join(sorted(blocks)).encode()


def _blocks(text: str) -> list[str]:
    end = "-----END CERTIFICATE-----"
    parts = text.split(end)[:-1]
    return [part[part.index("-----BEGIN") :] + end + "\n" for part in parts if "-----BEGIN" in part]


def _selector(selector: dict[str, Any]) -> str:
    terms = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for entry in selector.get("matchExpressions") or ():
        key, values = entry["key"], ",".join(entry.get("values") or ())
        words = {
            "In": f"{key} in ({values})",
            "NotIn": f"{key} notin ({values})",
            "Exists": key,
            "DoesNotExist": f"!{key}",
        }
        terms.append(words[entry["operator"]])
    return ",".join(terms)
