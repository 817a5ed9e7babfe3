"""From a container of a pod's spec to what the runtime is told."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherry.api import meta
from wherry.images.protocol import Image, ImageStore
from wherry.kubelet import hosts, labels, podspec, resources, security
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.env import ConfigError
from wherry.kubelet.expansion import expand, unknown_references
from wherry.kubelet.podspec import Container
from wherry.kubelet.volumes import subpath
from wherry.kubelet.volumes.plugin import VolumeError
from wherry.kubelet.words import said
from wherry.runtime.protocol import ContainerConfig, ContainerError, Device, Mount

_PROPAGATION = {"": "private", "None": "private", "HostToContainer": "rslave", "Bidirectional": "rshared"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """What a container's configuration is made of beside pod and container. `mounts` are the volumes' host paths by
    name, `environment` the variables in their order, `addresses` the pod's, `processes_of` the running container that
    an ephemeral container targets."""

    config: KubeletConfig
    store: ImageStore
    image: Image
    rootfs: str
    container_id: str
    restart_count: int
    mounts: Mapping[str, str]
    environment: Mapping[str, str]
    addresses: Sequence[str]
    hostname: tuple[str, str]
    node_memory: int
    host_resolv_conf: str = ""
    host_hosts: str = ""
    processes_of: str = ""


async def make_config(pod: meta.Object, container: Container, inputs: Inputs) -> ContainerConfig:
    """Return the runtime configuration of a container, with the files it needs made.

    Raises ConfigError, VolumeError, ContainerError, OSError.
    """
    user, groups = await security.resolve_user(pod, container, inputs.image, inputs.rootfs, inputs.store)
    allowed = security.security_of(pod, container, seccomp_root=inputs.config.root / "seccomp")
    env = _merge_environment(inputs.image.env, inputs.environment)
    env.setdefault("HOME", user.home or "/")
    mounts = await asyncio.to_thread(_make_mounts, pod, container, inputs)
    log_name = f"{container['name']}/{inputs.restart_count}.log"
    log_directory = inputs.config.log_directory(meta.namespace(pod), meta.name(pod), meta.uid(pod))
    who = f"{user.uid}:{user.gid}:{','.join(map(str, groups))}"
    lifecycle = container.get("lifecycle") or {}
    return ContainerConfig(
        id=inputs.container_id,
        name=container["name"],
        rootfs=inputs.rootfs,
        args=command_line(container, inputs.image, inputs.environment),
        env=tuple(env.items()),
        cwd=container.get("workingDir") or inputs.image.working_dir or "/",
        log_path=str(log_directory / log_name),
        labels=labels.of_container(
            pod,
            container,
            restart_count=inputs.restart_count,
            image=shown_name(inputs.image, container["image"]),
            image_id=shown_id(inputs.image),
            user=who,
        ),
        mounts=mounts,
        devices=_block_devices(container, inputs),
        uid=user.uid,
        gid=user.gid,
        additional_gids=tuple(groups),
        capabilities=allowed.capabilities,
        privileged=allowed.privileged,
        read_only_rootfs=allowed.read_only_rootfs,
        no_new_privileges=allowed.no_new_privileges,
        masked_paths=allowed.masked_paths,
        read_only_paths=allowed.read_only_paths,
        seccomp=allowed.seccomp,
        apparmor_profile=allowed.apparmor_profile,
        resources=resources.container_resources(pod, container, node_memory=inputs.node_memory),
        tty=bool(container.get("tty")),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        stop_signal=lifecycle.get("stopSignal") or inputs.image.stop_signal or "SIGTERM",
        processes_of=inputs.processes_of,
    )


def shown_name(image: Image, reference: str) -> str:
    """Return the full name under which the image of `reference` is shown in a status."""
    wanted = reference.partition("@")[0]
    if ":" not in wanted.rpartition("/")[2]:
        wanted += ":latest"
    return next((tag for tag in image.tags if tag == wanted or tag.endswith("/" + wanted)), reference)


def shown_id(image: Image) -> str:
    """Return the ``imageID`` of a status: a repository digest where the image came from a registry."""
    return image.digests[0] if image.digests else image.id


def command_line(container: Container, image: Image, variables: Mapping[str, str]) -> list[str]:
    """Return the argv: ``command`` replaces the image's entrypoint and its command, ``args`` only the latter.

    Raises ConfigError when nothing is left to run.
    """
    command = [expand(word, variables) for word in container.get("command") or ()]
    args = [expand(word, variables) for word in container.get("args") or ()]
    if command:
        words = command + args
    else:
        words = [*image.entrypoint, *(args or image.command)]
    if not words:
        raise ConfigError("no command specified")
    return words


def _merge_environment(of_image: Sequence[str], of_container: Mapping[str, str]) -> dict[str, str]:
    merged = {name: value for name, _, value in (entry.partition("=") for entry in of_image)}
    return {**merged, **of_container}


def _make_mounts(pod: meta.Object, container: Container, inputs: Inputs) -> list[Mount]:
    directory = inputs.config.pod_directory(meta.uid(pod))
    mounts = [
        _volume_mount(pod, container, index, mount, inputs, directory)
        for index, mount in enumerate(container.get("volumeMounts") or ())
    ]
    taken = {os.path.normpath(mount.destination) for mount in mounts}
    return mounts + [m for m in _managed_files(pod, container, inputs, directory) if m.destination not in taken]


def _volume_mount(
    pod: meta.Object, container: Container, index: int, mount: dict[str, Any], inputs: Inputs, directory: Path
) -> Mount:
    name = mount["name"]
    if name not in inputs.mounts:
        raise VolumeError(f'cannot find volume "{name}" to mount into container "{container["name"]}"')
    source = inputs.mounts[name]
    if part := _sub_path(mount, inputs.environment):
        target = directory / "volume-subpaths" / name / container["name"] / str(index)
        of_image = name in podspec.image_volumes(pod)
        try:
            source = subpath.bind(source, part, str(target), make=not of_image)
        except (VolumeError, OSError) as error:
            if of_image:
                text = f'ImageVolumeMountFailed: failed to ensure image subpath "{part}" in "{source}": {said(error)}'
                raise ContainerError(text, reason="CreateContainerError") from error
            text = (
                f'failed to prepare subPath for volumeMount "{name}" of container "{container["name"]}": {said(error)}'
            )
            raise ConfigError(text) from error
    destination = mount["mountPath"]
    return Mount(
        source=source,
        destination=destination if destination.startswith("/") else f"/{destination}",
        read_only=bool(mount.get("readOnly")) or name in podspec.image_volumes(pod),
        recursive_read_only=mount.get("recursiveReadOnly") in ("Enabled", "IfPossible"),
        propagation=_PROPAGATION[mount.get("mountPropagation") or ""],
        mapped=name not in podspec.image_volumes(pod),
    )


def _sub_path(mount: dict[str, Any], variables: Mapping[str, str]) -> str:
    """Return the part of the volume that is mounted. Raises ConfigError when it cannot be within the volume."""
    path = mount.get("subPath") or ""
    if expression := mount.get("subPathExpr"):
        if missing := unknown_references(expression, variables):
            raise ConfigError(f"missing value for {missing[0]!r} in subPathExpr".replace("'", '"'))
        path = expand(expression, variables)
    if os.path.isabs(path):
        raise ConfigError(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise ConfigError(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def _managed_files(pod: meta.Object, container: Container, inputs: Inputs, directory: Path) -> list[Mount]:
    name, domain = inputs.hostname
    own = directory / "containers" / container["name"]
    own.mkdir(parents=True, exist_ok=True)
    mounts = []
    hosts_text = hosts.hosts_file(
        pod, addresses=inputs.addresses, name=name, domain=domain, host_hosts=inputs.host_hosts
    )
    resolv_text = hosts.resolv_conf(pod, inputs.config, inputs.host_resolv_conf)
    for file, text, destination in (
        ("etc-hosts", hosts_text, "/etc/hosts"),
        ("resolv.conf", resolv_text, "/etc/resolv.conf"),
    ):
        path = directory / file
        # Containers have the file open already: it is written in place, and only when it changes.
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
            path.chmod(0o644)
        mounts.append(Mount(source=str(path), destination=destination))
    message = termination_file(inputs.config, meta.uid(pod), container["name"], inputs.container_id)
    message.touch()
    message.chmod(0o666)
    destination = container.get("terminationMessagePath") or "/dev/termination-log"
    mounts.append(Mount(source=str(message), destination=destination))
    return mounts


def termination_file(config: KubeletConfig, uid: str, container: str, container_id: str) -> Path:
    """Return the host file that an attempt's termination message is written to."""
    return config.pod_directory(uid) / "containers" / container / container_id[:16]


def _block_devices(container: Container, inputs: Inputs) -> list[Device]:
    return [
        Device(host_path=inputs.mounts[device["name"]], container_path=device["devicePath"])
        for device in container.get("volumeDevices") or ()
        if device["name"] in inputs.mounts
    ]
