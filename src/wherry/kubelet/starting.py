"""Starting one container: its image, environment, configuration, hook."""

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from wherry.api import meta
from wherry.api.resources import Resource
from wherry.images.protocol import Ids, Image, ImageError
from wherry.kubelet import downward, envfile, hosts, podlogs, podspec, pulling, sandboxes
from wherry.kubelet.containers import Inputs, make_config
from wherry.kubelet.env import ConfigError, make_environment
from wherry.kubelet.plan import Start
from wherry.kubelet.services import NodeServices
from wherry.kubelet.volumes.image import default_policy
from wherry.kubelet.volumes.plugin import VolumeError
from wherry.kubelet.words import said
from wherry.runtime.protocol import CREATED, RUNNING, ContainerError

log = logging.getLogger(__name__)

VOLUME_ROOT = "volume-"
"""Begins the key of a root that a volume shows; the others are ids of containers."""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a pod's containers stand on: its sandbox, addresses and volumes."""

    sandbox_id: str
    addresses: tuple[str, ...]
    mounts: Mapping[str, str]


class StartFailed(Exception):
    """There is no container to start; `reason` and the message are its waiting state's."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class EndedAtStart(Exception):
    """The container is there and has ended without having run: a program that does not exist, for one. It counts as
    one that failed, with exit code 128 and the reason StartError."""


class ContainerStarter:
    """Starts the containers of one pod."""

    def __init__(self, services: NodeServices) -> None:
        self._services = services

    async def image(self, pod: meta.Object, container: podspec.Container) -> Image | None:
        """Return a container's image when nothing is to be pulled for it. Raises pulling.NotReady."""
        reference = container["image"]
        policy = container.get("imagePullPolicy") or default_policy(reference)
        return await self._services.puller.present(pod, container=container["name"], reference=reference, policy=policy)

    async def pull(self, pod: meta.Object, container: podspec.Container) -> Image:
        """Fetch a container's image. Raises pulling.NotReady; cancellable."""
        reference = container["image"]
        return await self._services.puller.pull(
            pod,
            container=container["name"],
            reference=reference,
            credentials=lambda: self._credentials(pod, reference),
        )

    async def _credentials(self, pod: meta.Object, reference: str) -> list[Any]:
        names = [ref.get("name") or "" for ref in pod["spec"].get("imagePullSecrets") or ()]
        return list(await pulling.pull_credentials(reference, names, self.lookup(pod)))

    def lookup(self, pod: meta.Object) -> pulling.Lookup:
        """Return a function that finds objects as this pod sees them."""

        async def find(resource: Resource, name: str) -> meta.Object | None:
            namespace = meta.namespace(pod) if resource.namespaced else ""
            return await self._services.objects.get(resource, namespace, name, user=meta.uid(pod))

        return find

    def facts(self, pod: meta.Object, addresses: tuple[str, ...]) -> downward.Facts:
        """Return the node's facts for the downward API."""
        config = self._services.config
        return downward.Facts(
            node_name=config.node_name,
            host_ips=(config.address,),
            pod_ips=addresses,
            allocatable=self._services.allocatable,
        )

    async def release_images(self, pod: meta.Object) -> None:
        """Unmount the images that a pod's volumes show."""
        for volume in pod["spec"].get("volumes") or ():
            if volume.get("image"):
                await self._services.images.unmount(_volume_key(meta.uid(pod), volume["name"]))

    async def start(
        self, pod: meta.Object, start: Start, image: Image, ground: Ground, *, volume_images: Mapping[str, Image]
    ) -> str:
        """Create and start a container and return its id. Raises StartFailed, EndedAtStart."""
        services, name = self._services, start.container["name"]
        if start.after is not None and start.after.state == CREATED:
            await sandboxes.remove_container(meta.uid(pod), start.after.id, services)
        container_id = sandboxes.new_id()
        created = False
        try:
            roots = await self._image_roots(pod, volume_images)
            ground = replace(ground, mounts={**ground.mounts, **roots})
            log_path = await self._create(pod, start, image, ground, container_id)
            created = True
            services.events.normal(pod, "Created", "Container created", container=name)
            await services.runtime.start_container(container_id)
        except (ConfigError, VolumeError, ValueError) as error:
            raise await self._failed(pod, name, container_id, "CreateContainerConfigError", str(error)) from error
        except ContainerError as error:
            if created:
                services.events.warning(pod, "Failed", f"Error: {error}", container=name)
                await services.cache.refresh(container_id)
                raise EndedAtStart(str(error)) from error
            reason = error.reason if error.reason != "RunContainerError" else "CreateContainerError"
            raise await self._failed(pod, name, container_id, reason, str(error)) from error
        except (ImageError, OSError) as error:
            raise await self._failed(pod, name, container_id, "CreateContainerError", said(error)) from error
        services.events.normal(pod, "Started", "Container started", container=name)
        await services.cache.refresh(container_id)
        await self._link(pod, name, container_id, log_path)
        return container_id

    async def _link(self, pod: meta.Object, name: str, container_id: str, log_path: str) -> None:
        try:
            config = self._services.config
            await asyncio.to_thread(podlogs.link, config, pod, container=name, container_id=container_id, log=log_path)
        except OSError as error:
            log.warning("cannot link the log of container %s: %s", container_id, error)

    async def _image_roots(self, pod: meta.Object, images: Mapping[str, Image]) -> dict[str, str]:
        """Return the mounted roots of image volumes by their names."""
        mount = self._services.images.mount
        return {name: await mount(image.id, _volume_key(meta.uid(pod), name)) for name, image in images.items()}

    async def _create(self, pod: meta.Object, start: Start, image: Image, ground: Ground, container_id: str) -> str:
        """Create a container and return the path of its log."""
        services, container = self._services, start.container
        facts = self.facts(pod, ground.addresses)
        environment, invalid = await make_environment(
            pod,
            container,
            lookup=self.lookup(pod),
            services=services.services.list(),
            facts=facts,
            files=lambda ref: envfile.value_of(ref, ground.mounts),
        )
        if invalid:
            text = (
                f"Keys [{', '.join(invalid)}] from the EnvFrom were skipped since they are considered "
                "invalid environment variable names."
            )
            services.events.warning(pod, "InvalidEnvironmentVariableNames", text, container=container["name"])
        space = await sandboxes.user_namespace(pod, ground.sandbox_id, services)
        ids = None if space is None else Ids(space.user, space.host_id)
        rootfs = await services.images.mount(image.id, container_id, ids=ids)
        resolv, host_hosts = await asyncio.to_thread(_host_files, pod, services)
        config = await make_config(
            pod,
            container,
            Inputs(
                config=services.config,
                store=services.images,
                image=image,
                rootfs=rootfs,
                container_id=container_id,
                restart_count=start.restart_count,
                mounts=ground.mounts,
                environment=environment,
                addresses=ground.addresses,
                hostname=hosts.hostname(
                    pod, node_hostname=services.hostname, cluster_domain=services.config.cluster_domain
                ),
                node_memory=services.node_memory,
                host_resolv_conf=resolv,
                host_hosts=host_hosts,
                processes_of=self._target(pod, container),
            ),
        )
        await services.runtime.create_container(ground.sandbox_id, config)
        return config.log_path

    def _target(self, pod: meta.Object, container: podspec.Container) -> str:
        """Return the id of the container whose processes an ephemeral container shall see. Raises ConfigError."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        target = self._services.cache.pod(meta.uid(pod)).latest(name)
        if target is None or target.state != RUNNING:
            raise ConfigError(f"unable to find target container {name}")
        return target.id

    async def _failed(self, pod: meta.Object, name: str, container_id: str, reason: str, message: str) -> StartFailed:
        self._services.events.warning(pod, "Failed", f"Error: {message}", container=name)
        try:
            await sandboxes.remove_container(meta.uid(pod), container_id, self._services)
        except (ContainerError, OSError) as error:
            log.warning("cannot remove container %s: %s", container_id, error)
        return StartFailed(reason, message)


def _host_files(pod: meta.Object, services: NodeServices) -> tuple[str, str]:
    resolv = hosts.read_text(services.config.resolv_conf)
    return resolv, hosts.read_text(hosts.HOST_FILE) if podspec.host_network(pod) else ""


def _volume_key(uid: str, volume: str) -> str:
    return f"{VOLUME_ROOT}{uid}-{volume}"
