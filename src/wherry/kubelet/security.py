"""Security contexts: who a container runs as and what it may do (core/v1 SecurityContext, PodSecurityContext)."""

import errno
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wherry.api import meta
from wherry.images.protocol import Image, ImageError, ImageStore, User
from wherry.kubelet.env import ConfigError
from wherry.kubelet.podspec import Container
from wherry.runtime.defaults import (
    ALL_CAPABILITIES,
    DEFAULT_CAPABILITIES,
    DEFAULT_MASKED_PATHS,
    DEFAULT_READ_ONLY_PATHS,
    DEFAULT_SECCOMP,
)
from wherry.runtime.protocol import ContainerError


@dataclass(frozen=True, slots=True, kw_only=True)
class Security:
    """The security members of a container's runtime configuration."""

    capabilities: Sequence[str]
    privileged: bool
    read_only_rootfs: bool
    no_new_privileges: bool
    masked_paths: Sequence[str]
    read_only_paths: Sequence[str]
    seccomp: Mapping[str, object] | None
    apparmor_profile: str


def effective(pod: meta.Object, container: Container, name: str) -> Any:
    """Return a member of the container's security context, or of the pod's where the container says nothing."""
    own = (container.get("securityContext") or {}).get(name)
    return own if own is not None else (pod["spec"].get("securityContext") or {}).get(name)


def security_of(pod: meta.Object, container: Container, *, seccomp_root: Path) -> Security:
    """Return what a container may do. Raises ContainerError for a seccomp profile that cannot be read."""
    context = container.get("securityContext") or {}
    privileged = bool(context.get("privileged"))
    unmasked = privileged or context.get("procMount") == "Unmasked"
    apparmor = effective(pod, container, "appArmorProfile") or {}
    return Security(
        capabilities=ALL_CAPABILITIES if privileged else capabilities(context.get("capabilities") or {}),
        privileged=privileged,
        read_only_rootfs=bool(context.get("readOnlyRootFilesystem")),
        no_new_privileges=context.get("allowPrivilegeEscalation") is False and not privileged,
        masked_paths=() if unmasked else DEFAULT_MASKED_PATHS,
        read_only_paths=() if unmasked else DEFAULT_READ_ONLY_PATHS,
        seccomp=None if privileged else _seccomp(effective(pod, container, "seccompProfile"), seccomp_root),
        apparmor_profile=apparmor.get("localhostProfile") or "" if apparmor.get("type") == "Localhost" else "",
    )


def capabilities(change: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the default set with ``add`` and ``drop`` applied; ALL stands for every one, and adding wins."""
    add = {_capability(name) for name in change.get("add") or ()}
    drop = {_capability(name) for name in change.get("drop") or ()}
    base = set(ALL_CAPABILITIES) if "CAP_ALL" in add else set(DEFAULT_CAPABILITIES)
    if "CAP_ALL" in drop:
        base = set(ALL_CAPABILITIES) if "CAP_ALL" in add else set()
    found = (base - drop) | (add - {"CAP_ALL"})
    return [name for name in ALL_CAPABILITIES if name in found]


def _capability(name: str) -> str:
    upper = name.upper()
    return upper if upper.startswith("CAP_") else f"CAP_{upper}"


def _seccomp(profile: Mapping[str, Any] | None, root: Path) -> Mapping[str, object] | None:
    kind = (profile or {}).get("type") or "Unconfined"
    if kind == "Unconfined":
        return None
    if kind == "RuntimeDefault":
        return DEFAULT_SECCOMP
    path = root / str((profile or {}).get("localhostProfile") or "")
    try:
        if not path.resolve().is_relative_to(root.resolve()):
            raise _unusable(f'cannot load seccomp profile "{path}": it lies outside {root}')
        found = json.loads(path.read_text())
    except OSError as error:
        why = f"open {path}: {os.strerror(error.errno or errno.EIO).lower()}"
        raise _unusable(f'cannot load seccomp profile "{path}": {why}') from error
    except ValueError as error:
        raise _unusable(f'decoding seccomp profile failed "{path}": {error}') from error
    if not isinstance(found, dict):
        raise _unusable(f'decoding seccomp profile failed "{path}": not an object')
    return found


def _unusable(message: str) -> ContainerError:
    return ContainerError(message, reason="CreateContainerError")


async def resolve_user(
    pod: meta.Object, container: Container, image: Image, rootfs: str, store: ImageStore
) -> tuple[User, Sequence[int]]:
    """Return the user of a container and all its supplementary groups.

    Raises ConfigError where runAsNonRoot forbids the user or the image lacks it.
    """
    run_as = effective(pod, container, "runAsUser")
    group = effective(pod, container, "runAsGroup")
    if effective(pod, container, "runAsNonRoot"):
        _check_non_root(pod, container, run_as, image)
    name = str(run_as) if run_as is not None else image.user
    if group is not None:
        name = f"{name.partition(':')[0] or '0'}:{group}"
    try:
        user = await store.resolve_user(rootfs, name)
    except ImageError as error:
        raise ConfigError(str(error)) from error
    context = pod["spec"].get("securityContext") or {}
    groups = list(context.get("supplementalGroups") or ())
    if context.get("fsGroup") is not None:
        groups.append(context["fsGroup"])
    if context.get("supplementalGroupsPolicy") != "Strict":
        groups += user.additional_gids
    return user, [user.gid, *(g for g in dict.fromkeys(groups) if g != user.gid)]


def _check_non_root(pod: meta.Object, container: Container, run_as: int | None, image: Image) -> None:
    where = f'(pod: "{meta.name(pod)}_{meta.namespace(pod)}({meta.uid(pod)})", container: {container["name"]})'
    if run_as is not None:
        if run_as == 0:
            raise ConfigError(f"container's runAsUser breaks non-root policy {where}")
        return
    user = image.user.partition(":")[0]
    if user in ("", "0"):
        raise ConfigError(f"container has runAsNonRoot and image will run as root {where}")
    if not user.isdigit():
        text = f"container has runAsNonRoot and image has non-numeric user ({user}), cannot verify user is non-root"
        raise ConfigError(f"{text} {where}")
