"""The check of volume types: restricted pods use only what is theirs or comes through a claim."""

from wherry.apiserver.admission.podsecurity.checks import (
    RESTRICTED,
    Check,
    Object,
    Version,
    Violation,
    named,
    plural,
    quoted,
)

_ALLOWED = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
_KNOWN = frozenset(
    {"hostPath", "gcePersistentDisk", "awsElasticBlockStore", "gitRepo", "nfs", "iscsi", "glusterfs", "rbd", "cinder"}
    | {"flexVolume", "cephfs", "flocker", "fc", "azureFile", "vsphereVolume", "quobyte", "azureDisk", "scaleIO"}
    | {"photonPersistentDisk", "portworxVolume", "storageos"}
)


def _types(meta: Object, spec: Object) -> Violation | None:
    bad, types = [], set()
    for volume in spec.get("volumes") or ():
        sources = {member for member, source in volume.items() if source is not None}
        if not sources & _ALLOWED:
            bad.append(volume["name"])
            types.add(next(iter(sources & _KNOWN), "unknown"))
    if not bad:
        return None
    verb, what = plural(len(bad), "uses", "use"), plural(len(types), "restricted volume type")
    detail = f"{named(bad, 'volume')} {verb} {what} {quoted(sorted(types))}"
    return Violation("restricted volume types", detail)


CHECKS = (Check("restrictedVolumes", RESTRICTED, (Version(0, _types, ("hostPathVolumes",)),)),)
