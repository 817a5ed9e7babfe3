"""image volumes: the content of an OCI image, read-only.

Their images are fetched as containers' images are, by those containers that mount them, and fail as theirs do; so no
plugin sets them up before.
"""

from collections.abc import Iterator

from wherry.api import meta
from wherry.kubelet import podspec
from wherry.kubelet.podspec import Container
from wherry.kubelet.volumes.plugin import Volume

SOURCE = "image"


def mounted(pod: meta.Object, container: Container) -> Iterator[tuple[str, Container]]:
    """Yield the name of each image volume that a container mounts, and what stands for its image in a pull."""
    wanted = {mount["name"] for mount in container.get("volumeMounts") or ()}
    for volume in pod["spec"].get("volumes") or ():
        if volume["name"] in wanted and volume["name"] in podspec.image_volumes(pod):
            yield volume["name"], _to_pull(volume)


def _to_pull(volume: Volume) -> Container:
    source = volume[SOURCE]
    reference = source.get("reference") or ""
    return {"name": "", "image": reference, "imagePullPolicy": source.get("pullPolicy") or default_policy(reference)}


def default_policy(reference: str) -> str:
    """Return Always for the tag ``latest`` or none, IfNotPresent for others, as the API defaults it."""
    if "@" in reference:
        return "IfNotPresent"
    _, colon, tag = reference.rpartition("/")[2].partition(":")
    return "IfNotPresent" if colon and tag != "latest" else "Always"
