"""ServiceAccount: every pod runs as a service account that exists, and gets its token."""

from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from operator import is_not
from typing import Any

from wherry.api.podreferences import references
from wherry.api.resources import PODS, SERVICEACCOUNTS
from wherry.apiserver.admission.namespacelifecycle import forbidden
from wherry.apiserver.admission.plugin import CREATE, UPDATE, Operation, Plugin
from wherry.apiserver.attributes import Reader
from wherry.apiserver.names import settled
from wherry.util import clock

Object = dict[str, Any]

TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"
_VOLUME_PREFIX = "kube-api-access-"
_MIRROR = "kubernetes.io/config.mirror"
_ENFORCE_MOUNTABLE = "kubernetes.io/enforce-mountable-secrets"
_CONTAINER_LABELS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}
_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_ATTEMPTS, _INTERVAL = 9, 0.1


class ServiceAccount(Plugin):
    """Source of the rules: Kubernetes ``plugin/pkg/admission/serviceaccount``.

    The service account ``default`` may be on its way in a new namespace: it is waited for, a second at most.
    """

    name = "ServiceAccount"
    resources = (PODS,)
    operations = frozenset({CREATE, UPDATE})

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def handles(self, operation: Operation) -> bool:
        return operation.subresource == ("" if operation.operation == CREATE else "ephemeralcontainers")

    def admit(self, operation: Operation) -> Awaitable[None] | None:
        pod = operation.obj
        if operation.operation != CREATE or pod is None:
            return None
        spec = pod["spec"]
        if _MIRROR in (pod["metadata"].get("annotations") or {}):
            _check_mirror(operation, spec)
            return None
        name = spec.get("serviceAccountName") or "default"
        spec["serviceAccountName"] = spec["serviceAccount"] = name

        def prepare(account: Object, spec: Object) -> None:
            _give(account, spec)
            _check_secrets(operation, account, spec)

        return self._with_account(operation, spec, prepare)

    def validate(self, operation: Operation) -> Awaitable[None] | None:
        pod = operation.obj
        if pod is None:
            return None
        spec = pod["spec"]
        if operation.operation == CREATE and _MIRROR in (pod["metadata"].get("annotations") or {}):
            _check_mirror(operation, spec)
            return None

        return self._with_account(operation, spec, partial(_check_secrets, operation))

    def _with_account(
        self, operation: Operation, spec: Object, act: Callable[[Object, Object], None]
    ) -> Awaitable[None] | None:
        """Do something with the account of a pod, at once where it is there."""
        name = spec.get("serviceAccountName") or "default"
        found = self._reader.get(SERVICEACCOUNTS, operation.namespace, name)
        if found is None:
            return self._wait(operation, name, lambda account: act(account, spec))
        act(found, spec)
        return None

    async def _wait(self, operation: Operation, name: str, act: Callable[[Object], None]) -> None:
        for _ in range(_ATTEMPTS if name == "default" else 0):
            await clock.sleep(_INTERVAL)
            found = self._reader.get(SERVICEACCOUNTS, operation.namespace, name)
            if found is not None:
                act(found)
                return
        why = f'error looking up service account {operation.namespace}/{name}: serviceaccount "{name}" not found'
        raise forbidden(operation.resource, operation.name, why)


def _give(account: Object, spec: Object) -> None:
    """Give a pod what its account has for it."""
    if _wants_token(account, spec):
        _mount_token(spec, account)
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = [dict(ref) for ref in account["imagePullSecrets"]]


def _wants_token(account: Object, spec: Object) -> bool:
    for holder in (spec, account):
        if holder.get("automountServiceAccountToken") is not None:
            return bool(holder["automountServiceAccountToken"])
    return True


def _mount_token(spec: Object, account: Object) -> None:
    volumes = spec.get("volumes") or []
    existing = next((v["name"] for v in volumes if v["name"].startswith(_VOLUME_PREFIX)), None)
    # Pods that are made alike stay alike: their specs are kept once (`wherry.api.newpods`).
    name = existing or settled(_VOLUME_PREFIX, account["metadata"]["uid"])
    mount = {"name": name, "readOnly": True, "mountPath": TOKEN_PATH}
    mounted = False
    for kind in ("initContainers", "containers"):
        given = spec.get(kind)
        if given:
            spec[kind] = made = [_mounting(container, mount) for container in given]
            mounted = mounted or any(map(is_not, made, given))
    if mounted and existing is None:
        spec["volumes"] = [*volumes, _token_volume(name)]


def _mounting(container: Object, mount: Object) -> Object:
    """Return a container with the token's mount, unless it mounts something there itself."""
    mounts = container.get("volumeMounts") or ()
    for given in mounts:
        if given.get("mountPath") == TOKEN_PATH:
            return container
    return {**container, "volumeMounts": [*mounts, mount]}


_NAMESPACE = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
_PROJECTED = {
    "sources": [
        {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [_NAMESPACE]}},
    ],
    "defaultMode": 0o644,
}
"""Shared by all pods, of which memory holds many; it is whole, so that defaulting has nothing to change in it."""


def _token_volume(name: str) -> Object:
    return {"name": name, "projected": _PROJECTED}


def _check_mirror(operation: Operation, spec: Object) -> None:
    if spec.get("serviceAccountName"):
        raise forbidden(operation.resource, operation.name, "a mirror pod may not reference service accounts")
    if "secrets" in references(spec):
        raise forbidden(operation.resource, operation.name, "a mirror pod may not reference secrets")
    for volume in spec.get("volumes") or ():
        for source in (volume.get("projected") or {}).get("sources") or ():
            if source.get("serviceAccountToken"):
                why = "a mirror pod may not use ServiceAccountToken volume projections"
                raise forbidden(operation.resource, operation.name, why)


def _check_secrets(operation: Operation, account: Object, spec: Object) -> None:
    annotations = account["metadata"].get("annotations")
    if annotations and annotations.get(_ENFORCE_MOUNTABLE) in _TRUE:
        why = _foreign_secret(operation.operation, account, spec)
        if why:
            name = account["metadata"]["name"]
            why = f"{why} is not allowed because service account {name} does not reference that "
            why += "imagePullSecret" if why.startswith("imagePullSecrets") else "secret"
            raise forbidden(operation.resource, operation.name, why)


def _foreign_secret(verb: str, account: Object, spec: Object) -> str | None:
    """Return where a pod mentions a secret that its account does not list: a new pod, or its ephemeral containers."""
    mountable = {ref.get("name") for ref in account.get("secrets") or ()}
    is_new = verb == CREATE
    for volume in spec.get("volumes") or () if is_new else ():
        secret = (volume.get("secret") or {}).get("secretName")
        if secret and secret not in mountable:
            return f'volume with secret.secretName="{secret}"'
    for field, label in _CONTAINER_LABELS.items():
        for container in spec.get(field) or () if is_new != (field == "ephemeralContainers") else ():
            for where, secret in _secrets_of_variables(container):
                if secret not in mountable:
                    return f'{label} {container["name"]} with {where} referencing secret.secretName="{secret}"'
    pullable = {ref.get("name") for ref in account.get("imagePullSecrets") or ()}
    for i, ref in enumerate(spec.get("imagePullSecrets") or () if is_new else ()):
        if ref.get("name") not in pullable:
            return f'imagePullSecrets[{i}].name="{ref.get("name", "")}"'
    return None


def _secrets_of_variables(container: Object) -> Iterator[tuple[str, str]]:
    for variable in container.get("env") or ():
        ref = (variable.get("valueFrom") or {}).get("secretKeyRef")
        if ref:
            yield f"envVar {variable['name']}", ref.get("name", "")
    for source in container.get("envFrom") or ():
        if source.get("secretRef"):
            yield "envFrom", source["secretRef"].get("name", "")
