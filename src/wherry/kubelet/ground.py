"""What a pod's containers stand on: made in one go, or found where an earlier process left it."""

import asyncio

from wherry.api import meta
from wherry.kubelet import podspec, runtimeclass, sandboxes
from wherry.kubelet.services import NodeServices
from wherry.kubelet.starting import ContainerStarter, Ground
from wherry.kubelet.together import together
from wherry.kubelet.volumes.plugin import Context
from wherry.runtime.protocol import ContainerError


class GroundMaker:
    """Makes the network, the sandbox and the volumes of one pod. Methods raise ContainerError, OSError, MountFailed;
    called again after a failure they go on where they were."""

    def __init__(self, services: NodeServices, starter: ContainerStarter) -> None:
        self._services = services
        self._starter = starter
        self._sandbox_id = ""

    async def make(self, pod: meta.Object) -> Ground:
        """Make a new sandbox with all that belongs to it."""
        services, uid = self._services, meta.uid(pod)
        handler = await runtimeclass.handler_of(pod, services)
        self._sandbox_id = self._sandbox_id or sandboxes.new_id()
        previous = services.cache.pod(uid).sandbox()
        attempt = 0 if previous is None else int(previous.labels.get("io.kubernetes.sandbox.attempt") or 0) + 1
        await asyncio.to_thread(services.config.pod_directory(uid).mkdir, parents=True, exist_ok=True)
        if podspec.volumes_show_address(pod):
            namespace_path, addresses = await self._attach(pod)
            made = await self._set_up_volumes(pod, addresses)
            await self._run_sandbox(pod, namespace_path, attempt, handler)
        elif podspec.volumes_are_sure(pod):
            addresses, made = await together(self._attach_and_run(pod, attempt, handler), self._set_up_volumes(pod, ()))
        else:
            # A sandbox is made only when the volumes are there.
            (namespace_path, addresses), made = await together(self._attach(pod), self._set_up_volumes(pod, ()))
            await self._run_sandbox(pod, namespace_path, attempt, handler)
        ground, self._sandbox_id = Ground(self._sandbox_id, addresses, made), ""
        return ground

    async def find(self, pod: meta.Object) -> Ground:
        """Return what the pod's sandbox, which must be there, stands for; volumes are brought up to date."""
        sandbox = self._services.cache.pod(meta.uid(pod)).sandbox()
        assert sandbox is not None  # the plan would have asked for a new one
        addresses = tuple(sandboxes.addresses(pod, sandbox, self._services))
        mounts = await self._services.volumes.set_up(self._context(pod, addresses))
        return Ground(sandbox.id, addresses, mounts)

    async def refresh(self, pod: meta.Object, addresses: tuple[str, ...]) -> None:
        """Have the volumes follow what they show."""
        await self._services.volumes.refresh(self._context(pod, addresses))

    async def stop(self, pod: meta.Object) -> None:
        """Stop the pod's sandbox; the next one is a new one."""
        await sandboxes.stop(meta.uid(pod), self._services)
        self._sandbox_id = ""

    async def release(self) -> None:
        """Let go of the network and namespaces of a sandbox that was never completed."""
        if self._sandbox_id:
            await self._services.network.detach(self._sandbox_id)
            await self._services.runtime.stop_sandbox(self._sandbox_id)

    async def _run_sandbox(self, pod: meta.Object, namespace_path: str | None, attempt: int, handler: str) -> None:
        services = self._services
        try:
            async with services.starts:
                await sandboxes.run(
                    pod,
                    self._sandbox_id,
                    attempt=attempt,
                    namespace_path=namespace_path,
                    handler=handler,
                    services=services,
                )
        except (ContainerError, OSError):
            if not podspec.host_users(pod):
                # The network belongs to the user namespace, which went with the sandbox.
                await services.network.detach(self._sandbox_id)
            raise

    async def _attach_and_run(self, pod: meta.Object, attempt: int, handler: str) -> tuple[str, ...]:
        namespace_path, addresses = await self._attach(pod)
        await self._run_sandbox(pod, namespace_path, attempt, handler)
        return addresses

    async def _attach(self, pod: meta.Object) -> tuple[str | None, tuple[str, ...]]:
        return await sandboxes.attach_network(pod, self._sandbox_id, self._services)

    async def _set_up_volumes(self, pod: meta.Object, addresses: tuple[str, ...]) -> dict[str, str]:
        return await self._services.volumes.set_up(self._context(pod, addresses))

    def _context(self, pod: meta.Object, addresses: tuple[str, ...]) -> Context:
        services = self._services
        return Context(
            config=services.config,
            pod=pod,
            facts=self._starter.facts(pod, addresses),
            client=services.client,
            lookup=self._starter.lookup(pod),
            tokens=lambda audience, seconds: services.tokens.get(pod, audience, seconds),
        )
