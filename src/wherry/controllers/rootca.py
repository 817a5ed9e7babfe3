"""The root CA publisher: the ConfigMap ``kube-root-ca.crt`` in every namespace.

Watches namespaces and the ConfigMaps of that name. Writes ConfigMaps. Guarantees that each active namespace has the
certificate authority that pods verify the API server with, and that changes to it are undone. Does nothing when the
cluster has no authority to publish.
"""

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import CONFIGMAPS, NAMESPACES
from wherry.controllers.controller import Controller, is_namespace_terminating

_NAME = "kube-root-ca.crt"
_DESCRIPTION = {
    "kubernetes.io/description": (
        "Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the "
        "internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of "
        "Kubernetes clusters."
    )
}


def plan(namespace: Object | None, current: Object | None, *, ca: str) -> Object | None:
    """Return the ConfigMap to write, None when the current one is right."""
    if namespace is None or meta.is_deleting(namespace) or not ca:
        return None
    if current is None:
        metadata: Object = {"name": _NAME, "namespace": meta.name(namespace), "annotations": _DESCRIPTION}
        return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata, "data": {"ca.crt": ca}}
    annotations = {**meta.annotations(current), **_DESCRIPTION}
    if current.get("data") == {"ca.crt": ca} and meta.annotations(current) == annotations:
        return None
    return {**current, "metadata": {**current["metadata"], "annotations": annotations}, "data": {"ca.crt": ca}}


class RootCAController(Controller):
    name = "root-ca-cert-publisher"

    def register(self) -> None:
        self._namespaces = self.watch(NAMESPACES)
        self._configs = self.watch(
            CONFIGMAPS, lambda config: (meta.namespace(config),), field_selector=f"metadata.name={_NAME}"
        )

    async def reconcile(self, key: str) -> float | None:
        current = self._configs.lister.get(f"{key}/{_NAME}")
        wanted = plan(self._namespaces.lister.get(key), current, ca=self.settings.root_ca)
        if wanted is None:
            return None
        try:
            if current is None:
                answer = await self.client.create(CONFIGMAPS, wanted)
            else:
                answer = await self.client.update(CONFIGMAPS, wanted)
        except errors.NotFound:
            return None
        except errors.StatusError as error:
            if is_namespace_terminating(error):
                return None
            raise
        self.wrote(key, CONFIGMAPS, answer)
        return None
