"""The labels by which sandboxes and containers are found again after a restart, as kubelets set them on CRI objects."""

import hashlib
import json
from typing import Any

from wherry.api import meta

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"
POD_GRACE = "io.kubernetes.pod.terminationGracePeriod"
CONTAINER_NAME = "io.kubernetes.container.name"
CONTAINER_HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
MESSAGE_PATH = "io.kubernetes.container.terminationMessagePath"
MESSAGE_POLICY = "io.kubernetes.container.terminationMessagePolicy"
IMAGE = "io.kubernetes.container.image"
IMAGE_ID = "io.kubernetes.container.imageID"
USER = "io.kubernetes.container.user"
ATTEMPT = "io.kubernetes.sandbox.attempt"


def of_sandbox(pod: meta.Object, *, attempt: int) -> dict[str, str]:
    """Return the labels of a pod's sandbox."""
    return {
        POD_NAME: meta.name(pod),
        POD_NAMESPACE: meta.namespace(pod),
        POD_UID: meta.uid(pod),
        ATTEMPT: str(attempt),
    }


def of_container(
    pod: meta.Object, container: dict[str, Any], *, restart_count: int, image: str, image_id: str, user: str
) -> dict[str, str]:
    """Return the labels of a container; `image` and `image_id` are for the status, `user` is ``uid:gid:gid,gid``."""
    found = {
        POD_NAME: meta.name(pod),
        POD_NAMESPACE: meta.namespace(pod),
        POD_UID: meta.uid(pod),
        CONTAINER_NAME: container["name"],
        CONTAINER_HASH: container_hash(container),
        RESTART_COUNT: str(restart_count),
        MESSAGE_PATH: container.get("terminationMessagePath") or "/dev/termination-log",
        MESSAGE_POLICY: container.get("terminationMessagePolicy") or "File",
        IMAGE: image,
        IMAGE_ID: image_id,
        USER: user,
    }
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    if grace is not None:
        found[POD_GRACE] = str(grace)
    return found


def container_hash(container: dict[str, Any]) -> str:
    """Hash the fields of a container whose change means a restart: its name and image, as kubelets do."""
    text = json.dumps([container["name"], container["image"]])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def restart_count(labels: "dict[str, str] | Any") -> int:
    """Return the attempt that a container's labels name, 0 when they name none."""
    return int(labels.get(RESTART_COUNT) or 0)
