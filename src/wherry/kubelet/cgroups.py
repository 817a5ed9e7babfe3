"""Where a pod's cgroup is: below its QoS class, as kubelets lay it out."""

import os

from wherry.api import meta
from wherry.kubelet import resources
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.qos import BEST_EFFORT, GUARANTEED, qos_class
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.protocol import Resources

_DEFAULT_SHARES = 2598  # what the default weight of version 2 comes to; the default of version 1, 1024, is less
CLASSES = {BEST_EFFORT: "besteffort", "Burstable": "burstable"}


def pod_cgroup(pod: meta.Object, config: KubeletConfig) -> str:
    """Return the cgroup path of a pod: ``ROOT/burstable/podUID``; guaranteed pods lie directly below ROOT."""
    quality = qos_class(pod)
    parent = config.cgroup_root if quality == GUARANTEED else f"{config.cgroup_root}/{CLASSES[quality]}"
    return f"{parent}/pod{meta.uid(pod)}"


def remove(uid: str, config: KubeletConfig, cgroups: Cgroups) -> None:
    """Remove the cgroup of the pod with that UID, wherever its class put it. Blocks."""
    for parent in (config.cgroup_root, *(f"{config.cgroup_root}/{name}" for name in CLASSES.values())):
        cgroups.remove(f"{parent}/pod{uid}")


def make_classes(config: KubeletConfig, cgroups: Cgroups, *, milli_cpu: int) -> None:
    """Make the parents of the QoS classes on a node with that much CPU. Blocks.

    All pods together weigh as much against what else runs as the node has CPU, and no less than a group has by default:
    a busy host else starves them. Among them, best-effort pods together get the least.
    """
    whole = Resources(cpu_shares=max(resources.cpu_shares(milli_cpu), _DEFAULT_SHARES))
    for path in (os.path.dirname(config.cgroup_root), config.cgroup_root):
        if path != "/":
            cgroups.make(path, whole)
    for name in CLASSES.values():
        least = Resources(cpu_shares=resources.MIN_SHARES) if name == "besteffort" else Resources()
        cgroups.make(f"{config.cgroup_root}/{name}", least)
