"""image volumes: the content of an OCI image, read-only."""

from wherry.kubelet.volumes.plugin import Context, Volume


class ImageVolume:
    """The root of an image, pulled by its policy as a container's image is."""

    source = "image"
    dynamic = False

    async def set_up(self, volume: Volume, context: Context) -> str:
        """Make the image present and return its root. Raises VolumeError."""
        source = volume[self.source]
        reference = source.get("reference") or ""
        policy = source.get("pullPolicy") or default_policy(reference)
        return await context.image_root(volume["name"], reference, policy)


def default_policy(reference: str) -> str:
    """Return Always for the tag ``latest`` or none, IfNotPresent for others, as the API defaults it."""
    if "@" in reference:
        return "IfNotPresent"
    _, colon, tag = reference.rpartition("/")[2].partition(":")
    return "IfNotPresent" if colon and tag != "latest" else "Always"
