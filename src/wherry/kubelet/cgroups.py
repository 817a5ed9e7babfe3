"""Where a pod's cgroup is: below its QoS class, as kubelets lay it out."""

from wherry.api import meta
from wherry.kubelet import resources
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.qos import BEST_EFFORT, GUARANTEED, qos_class
from wherry.runtime.cgroups import Cgroups
from wherry.runtime.protocol import Resources

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


def make_classes(config: KubeletConfig, cgroups: Cgroups) -> None:
    """Make the parents of the QoS classes; best-effort pods together get the least CPU. Blocks."""
    for name in CLASSES.values():
        least = Resources(cpu_shares=resources.MIN_SHARES) if name == "besteffort" else Resources()
        cgroups.make(f"{config.cgroup_root}/{name}", least)
