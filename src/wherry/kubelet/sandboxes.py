"""A pod's sandbox: its cgroup, network and namespaces, made and removed."""

import secrets
from collections.abc import Sequence
from dataclasses import replace

from wherry.api import meta
from wherry.kubelet import cgroups, hosts, labels, podspec, resources
from wherry.kubelet.config import KubeletConfig
from wherry.kubelet.services import NodeServices
from wherry.kubelet.together import together
from wherry.network.protocol import AttachOptions, PortMapping
from wherry.runtime.protocol import ContainerError, SandboxConfig, SandboxStatus, UserNamespace
from wherry.util import clock


async def attach_network(
    pod: meta.Object, sandbox_id: str, services: NodeServices
) -> tuple[str | None, tuple[str, ...]]:
    """Return the file of the pod's network namespace (None: the host's) and its addresses."""
    if podspec.host_network(pod):
        return None, (services.config.address,)
    sysctls = {k: v for k, v in sysctls_of(pod).items() if k.startswith("net.")}
    space = await user_namespace(pod, sandbox_id, services)
    given = "" if space is None else space.network
    options = AttachOptions(port_mappings=host_ports(pod), sysctls=sysctls, namespace=given)
    attachment = await services.network.attach(sandbox_id, options)
    return attachment.namespace_path, tuple(attachment.addresses)


async def user_namespace(pod: meta.Object, sandbox_id: str, services: NodeServices) -> UserNamespace | None:
    """Return the user namespace of a sandbox, made when it is not there; None for a pod with the host's users.

    Raises ContainerError, OSError.
    """
    if podspec.host_users(pod):
        return None
    if not services.runtime.user_namespaces:
        raise ContainerError('the handler "" of the runtime does not support user namespaces')
    return await services.runtime.make_user_namespace(sandbox_id, await services.host_ids.of(meta.uid(pod)))


def sysctls_of(pod: meta.Object) -> dict[str, str]:
    """Return the sysctls that a pod asks for."""
    asked = (pod["spec"].get("securityContext") or {}).get("sysctls") or ()
    return {entry["name"].replace("/", "."): entry["value"] for entry in asked}


def host_ports(pod: meta.Object) -> tuple[PortMapping, ...]:
    """Return the host ports that a pod's containers ask for."""
    return tuple(
        PortMapping(port["hostPort"], port["containerPort"], port.get("protocol") or "TCP", port.get("hostIP") or "")
        for kind, container in podspec.every_container(pod)
        if kind == podspec.REGULAR or podspec.is_sidecar(container)
        for port in container.get("ports") or ()
        if port.get("hostPort")
    )


def new_id() -> str:
    """Return an id for a sandbox or container."""
    return secrets.token_hex(32)


async def run(
    pod: meta.Object, sandbox_id: str, *, attempt: int, namespace_path: str | None, handler: str, services: NodeServices
) -> None:
    """Start a sandbox whose network is there, with the pod's limits, and record it. Raises ContainerError, OSError."""
    config = services.config
    log_directory = config.log_directory(meta.namespace(pod), meta.name(pod), meta.uid(pod))
    name, _ = hosts.hostname(pod, node_hostname=services.hostname, cluster_domain=config.cluster_domain)
    marks = labels.of_sandbox(pod, attempt=attempt)
    await services.runtime.run_sandbox(
        SandboxConfig(
            id=sandbox_id,
            hostname=name,
            labels=marks,
            network_namespace=namespace_path,
            host_pid=bool(pod["spec"].get("hostPID")),
            host_ipc=bool(pod["spec"].get("hostIPC")),
            share_process_namespace=bool(pod["spec"].get("shareProcessNamespace")),
            sysctls={k: v for k, v in sysctls_of(pod).items() if not k.startswith("net.")},
            cgroup_parent=cgroups.pod_cgroup(pod, config),
            log_directory=str(log_directory),
            resources=replace(resources.pod_level_resources(pod), pids_limit=_pids_limit(config)),
            host_id=None if podspec.host_users(pod) else await services.host_ids.of(meta.uid(pod)),
            handler=handler,
        )
    )
    services.cache.put_sandbox(
        SandboxStatus(
            id=sandbox_id, ready=True, labels=marks, created_at=clock.seconds(), network_namespace=namespace_path
        )
    )


def _pids_limit(config: KubeletConfig) -> int | None:
    return config.pod_pids_limit if config.pod_pids_limit > 0 else None


def addresses(pod: meta.Object, sandbox: SandboxStatus, services: NodeServices) -> Sequence[str]:
    """Return the addresses of a sandbox that runs already."""
    if podspec.host_network(pod):
        return (services.config.address,)
    return next((tuple(a.addresses) for a in services.network.attachments() if a.sandbox_id == sandbox.id), ())


async def stop(uid: str, services: NodeServices) -> None:
    """Stop a pod's sandboxes and release their network; their exited containers stay known."""
    for sandbox in list(services.cache.pod(uid).sandboxes.values()):
        await services.runtime.stop_sandbox(sandbox.id)
        await services.network.detach(sandbox.id)
        services.cache.put_sandbox(
            SandboxStatus(
                id=sandbox.id, ready=False, labels=sandbox.labels, created_at=sandbox.created_at, network_namespace=None
            )
        )


async def remove_container(uid: str, container_id: str, services: NodeServices) -> None:
    """Remove a container that does not run, with its root."""
    await services.runtime.remove_container(container_id)
    await services.images.unmount(container_id)
    services.cache.drop_container(container_id)


async def remove(uid: str, services: NodeServices) -> None:
    """Remove all that the runtime has of a pod whose containers have ended."""
    await stop(uid, services)
    pod = services.cache.pod(uid)
    await together(*(remove_container(uid, cid, services) for cid in list(pod.containers)))
    for sandbox_id in list(pod.sandboxes):
        await services.runtime.remove_sandbox(sandbox_id)
        services.cache.drop_sandbox(uid, sandbox_id)
    services.cache.drop_pod(uid)
