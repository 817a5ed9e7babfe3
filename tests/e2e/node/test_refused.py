"""Pods that cannot start: what their containers wait for, and the event that says why."""

from typing import Any

import pytest

from tests.e2e.cluster import IMAGE
from tests.e2e.conformance.world import World, eventually

_PICTURE = [{"name": "v", "image": {"reference": IMAGE}}]
_NO_PICTURE = [{"name": "v", "image": {"reference": "wherry.local/none:1", "pullPolicy": "Never"}}]
_CREATING = "ContainerCreating"
_SANDBOX = "FailedCreatePodSandBox"


def _mounted(**more: Any) -> dict[str, Any]:
    return {"volumeMounts": [{"name": "v", "mountPath": "/v", **more}]}


def _secured(**context: Any) -> dict[str, Any]:
    return {"securityContext": context}


REFUSED: dict[str, tuple[dict[str, Any], str, str, str]] = {
    "an unknown runtime handler": (
        {"runtimeClassName": "CLASS"},
        _CREATING,
        _SANDBOX,
        'Failed to create pod sandbox: failed to get sandbox runtime: no runtime for "unheard-of" is configured',
    ),
    "a full name that is too long": (
        {"hostname": "h" * 63, "subdomain": "sub", "setHostnameAsFQDN": True},
        _CREATING,
        _SANDBOX,
        "Failed to create pod sandbox: failed to construct FQDN from pod hostname and cluster domain, FQDN ",
    ),
    "a value that a sysctl does not take": (
        _secured(sysctls=[{"name": "net.ipv4.tcp_syncookies", "value": "some"}]),
        _CREATING,
        _SANDBOX,
        "Failed to create pod sandbox: write sysctl net.ipv4.tcp_syncookies=some: invalid argument",
    ),
    "a seccomp profile that is not there": (
        {"container": _secured(seccompProfile={"type": "Localhost", "localhostProfile": "no.json"})},
        "CreateContainerError",
        "Failed",
        'Error: cannot load seccomp profile "/var/lib/wherry/',
    ),
    "a part of an image that is not there": (
        {"container": _mounted(subPath="none"), "volumes": _PICTURE},
        "CreateContainerError",
        "Failed",
        'Error: ImageVolumeMountFailed: failed to ensure image subpath "none" in ',
    ),
    "a name that no image can have": (
        {"container": {"image": "wherry.local/UPPER"}},
        "InvalidImageName",
        "InspectFailed",
        'Failed to apply default image tag "wherry.local/UPPER": couldn\'t parse image name "wherry.local/UPPER": '
        "invalid reference format: repository name (",
    ),
    "an image volume whose image is not there": (
        {"container": _mounted(), "volumes": _NO_PICTURE},
        "ErrImageNeverPull",
        "ErrImageNeverPull",
        'Container image "wherry.local/none:1" is not present with pull policy of Never',
    ),
}


@pytest.mark.parametrize("title", REFUSED)
def test_what_cannot_start_waits_and_an_event_says_why(world: World, title: str) -> None:
    spec, waiting, reason, message = REFUSED[title]
    name, classes = f"refused-{list(REFUSED).index(title)}", "/apis/node.k8s.io/v1/runtimeclasses"
    spec = dict(spec)
    if "runtimeClassName" in spec:
        spec["runtimeClassName"] = f"{world.ns}-unheard-of"
        world.api.create(classes, {"metadata": {"name": spec["runtimeClassName"]}, "handler": "unheard-of"})
    try:
        world.pod(name, **spec)

        def said() -> bool:
            found = world.api.get(f"{world.core}/events", fieldSelector=f"involvedObject.name={name}")["items"]
            return any(e["reason"] == reason and e["message"].startswith(message) for e in found)

        eventually(said, f"the event {reason}: {message}")
        pod = world.api.wait(f"{world.core}/pods/{name}", lambda pod: pod["status"].get("containerStatuses"))
        assert pod["status"]["phase"] == "Pending"
        assert pod["status"]["containerStatuses"][0]["state"]["waiting"]["reason"] == waiting
        world.api.delete(f"{world.core}/pods/{name}")
        world.api.gone(f"{world.core}/pods/{name}")
    finally:
        if "runtimeClassName" in spec:
            world.api.delete(f"{classes}/{spec['runtimeClassName']}")
