"""The resource claim controller: claims of devices for pods, and their release.

Watches pods, ResourceClaimTemplates and ResourceClaims. Makes the claims that pods ask for by template, owned by their
pods, and writes their names into the pods' status. Takes pods that have ended out of ``reservedFor``, gives up the
allocation of a claim that nobody uses any more, and deletes the claims of pods that have ended. Guarantees that a pod
has one claim for each of its entries. Allocates nothing: that is the scheduler's part.
"""

from collections.abc import Iterable, Sequence

from wherry.api import errors, meta
from wherry.api.meta import Object
from wherry.api.resources import PODS, builtin
from wherry.client.cache import by_controller_uid
from wherry.client.client import STRATEGIC_PATCH
from wherry.client.events import WARNING
from wherry.controllers import pods as podutil
from wherry.controllers.controller import Controller
from wherry.controllers.refs import CONTROLLER

_CLAIMS = builtin("resource.k8s.io", "v1", "resourceclaims")
_TEMPLATES = builtin("resource.k8s.io", "v1", "resourceclaimtemplates")
_FOR_ENTRY = "resource.kubernetes.io/pod-claim-name"
_FINALIZER = "resource.kubernetes.io/delete-protection"
_CLAIM_KEY = "claim:"
_BY_TEMPLATE = "claim template"
_BY_USER = "user"
_LONGEST_PREFIX = 63 - 5 - 1


def has_ended(pod: Object) -> bool:
    """Tell whether the pod needs its devices no longer: it finished, or goes without ever having had a node."""
    return podutil.is_finished(pod) or (meta.is_deleting(pod) and not pod["spec"].get("nodeName"))


def templated(pod: Object) -> dict[str, str]:
    """Return the template of each entry of ``spec.resourceClaims`` that names one."""
    entries = pod["spec"].get("resourceClaims") or ()
    return {
        entry["name"]: entry["resourceClaimTemplateName"] for entry in entries if entry.get("resourceClaimTemplateName")
    }


def new_claim(pod: Object, entry: str, template: Object) -> Object:
    """Return the claim to create for one entry of a pod."""
    found = (template["spec"].get("metadata")) or {}
    md: Object = {
        "generateName": f"{meta.name(pod)}-{entry}"[:_LONGEST_PREFIX] + "-",
        "namespace": meta.namespace(pod),
        "annotations": {**(found.get("annotations") or {}), _FOR_ENTRY: entry},
        "ownerReferences": [meta.controller_ref(pod)],
    }
    if found.get("labels"):
        md["labels"] = dict(found["labels"])
    spec = meta.copy(template["spec"].get("spec") or {})
    return {"kind": _CLAIMS.kind, "apiVersion": _CLAIMS.api_version, "metadata": md, "spec": spec}


def statuses(pod: Object, made: dict[str, str]) -> list[Object] | None:
    """Return ``status.resourceClaimStatuses`` with the claims of the entries, None when it is right."""
    old = (pod.get("status") or {}).get("resourceClaimStatuses") or []
    new = [{"name": entry, "resourceClaimName": name} for entry, name in made.items()]
    return None if sorted(old, key=str) == sorted(new, key=str) else new


def released(claim: Object, users: Sequence[Object]) -> Object | None:
    """Return the status of a claim that only `users` (of ``reservedFor``) still need, None when it is right."""
    status = claim.get("status") or {}
    reserved = status.get("reservedFor") or []
    if len(users) == len(reserved) and (reserved or not meta.is_deleting(claim) or not status.get("allocation")):
        return None
    new = {name: value for name, value in status.items() if name != "reservedFor"}
    if users:
        return {**new, "reservedFor": list(users)}
    return {name: value for name, value in new.items() if name not in ("allocation", "devices")}


class ResourceClaimController(Controller):
    name = "resource-claim-controller"
    component = "resource_claim"

    def register(self) -> None:
        self._pods = self.watch(PODS, self._of_pod)
        self._pods.add_index(_BY_TEMPLATE, _template_keys)
        self._templates = self.watch(_TEMPLATES, self._using)
        self._claims = self.watch(_CLAIMS, _claim_keys)
        self._claims.add_index(CONTROLLER, by_controller_uid)
        self._claims.add_index(_BY_USER, _user_uids)

    def _of_pod(self, pod: Object) -> Iterable[str]:
        if not pod["spec"].get("resourceClaims"):
            return
        yield meta.key_of(pod)
        if has_ended(pod) or self._pods.lister.get(meta.key_of(pod)) is None:
            for claim in self._claims.lister.list(meta.namespace(pod)):
                if any(
                    user.get("uid") == meta.uid(pod) for user in (claim.get("status") or {}).get("reservedFor") or ()
                ):
                    yield _CLAIM_KEY + meta.key_of(claim)
            for claim in self._claims.lister.by_index(CONTROLLER, meta.uid(pod)):
                yield _CLAIM_KEY + meta.key_of(claim)

    def _using(self, template: Object) -> Iterable[str]:
        return [meta.key_of(pod) for pod in self._pods.lister.by_index(_BY_TEMPLATE, meta.key_of(template))]

    async def reconcile(self, key: str) -> float | None:
        try:
            if key.startswith(_CLAIM_KEY):
                claim = self._claims.lister.get(key.removeprefix(_CLAIM_KEY))
                if claim is not None:
                    await self._reconcile_claim(key, claim)
                return None
            pod = self._pods.lister.get(key)
            if pod is not None and not meta.is_deleting(pod) and not has_ended(pod) and templated(pod):
                await self._reconcile_pod(key, pod)
        except errors.NotFound:
            return None
        return None

    async def _reconcile_pod(self, key: str, pod: Object) -> None:
        owned = {
            meta.annotations(c).get(_FOR_ENTRY): c for c in self._claims.lister.by_index(CONTROLLER, meta.uid(pod))
        }
        made: dict[str, str] = {}
        for entry, template_name in templated(pod).items():
            claim = owned.get(entry)
            if claim is None:
                claim = await self._create(key, pod, entry, template_name)
            made[entry] = meta.name(claim)
        wanted = statuses(pod, made)
        if wanted is not None:
            await self.client.patch(
                PODS,
                meta.name(pod),
                {"metadata": {"uid": meta.uid(pod)}, "status": {"resourceClaimStatuses": wanted}},
                meta.namespace(pod),
                content_type=STRATEGIC_PATCH,
                subresource="status",
            )

    async def _create(self, key: str, pod: Object, entry: str, template_name: str) -> Object:
        template = self._templates.lister.get(f"{meta.namespace(pod)}/{template_name}")
        try:
            if template is None:
                raise errors.NotFound.of("resourceclaimtemplate.resource.k8s.io", template_name)
            return self.wrote(key, _CLAIMS, await self.client.create(_CLAIMS, new_claim(pod, entry, template)))
        except errors.StatusError as error:
            text = f"PodResourceClaim {entry}: {error}"
            self.recorder.event(pod, WARNING, "FailedResourceClaimCreation", text)
            raise

    async def _reconcile_claim(self, key: str, claim: Object) -> None:
        reserved = (claim.get("status") or {}).get("reservedFor") or []
        users = [user for user in reserved if await self._is_used(claim, user)]
        status = released(claim, users)
        if status is not None:
            claim = self.wrote(key, _CLAIMS, await self.client.update_status(_CLAIMS, {**claim, "status": status}))
        finalizers = claim["metadata"].get("finalizers") or []
        if not users and not (claim.get("status") or {}).get("allocation") and _FINALIZER in finalizers:
            md = {"finalizers": [name for name in finalizers if name != _FINALIZER] or None}
            md["resourceVersion"] = claim["metadata"]["resourceVersion"]
            patch = {"metadata": md}
            claim = await self.client.patch(_CLAIMS, meta.name(claim), patch, meta.namespace(claim))
            self.wrote(key, _CLAIMS, claim)
        if not users and not meta.is_deleting(claim) and self._owner_ended(claim):
            options = {"preconditions": {"uid": meta.uid(claim)}}
            await self.client.delete(_CLAIMS, meta.name(claim), meta.namespace(claim), options=options)

    async def _is_used(self, claim: Object, user: Object) -> bool:
        """Tell whether an entry of ``reservedFor`` counts; entries of other kinds than pods are not ours to judge."""
        if user.get("apiGroup") or user.get("resource") != "pods":
            return True
        pod = self._pods.lister.get(f"{meta.namespace(claim)}/{user['name']}")
        if pod is None:
            try:
                pod = await self.client.get(PODS, user["name"], meta.namespace(claim))
            except errors.NotFound:
                return False
        return meta.uid(pod) == user.get("uid") and not has_ended(pod)

    def _owner_ended(self, claim: Object) -> bool:
        ref = meta.controller_of(claim)
        if ref is None or ref["kind"] != PODS.kind or _FOR_ENTRY not in meta.annotations(claim):
            return False
        pod = self._pods.lister.get(f"{meta.namespace(claim)}/{ref['name']}")
        return pod is not None and meta.uid(pod) == ref["uid"] and has_ended(pod)


def _template_keys(pod: Object) -> Iterable[str]:
    if not pod["spec"].get("resourceClaims"):  # nearly no pod has any, and each is asked
        return ()
    return [f"{meta.namespace(pod)}/{name}" for name in dict.fromkeys(templated(pod).values())]


def _claim_keys(claim: Object) -> Iterable[str]:
    yield _CLAIM_KEY + meta.key_of(claim)
    ref = meta.controller_of(claim)
    if ref is not None and ref["kind"] == PODS.kind:
        yield f"{meta.namespace(claim)}/{ref['name']}"


def _user_uids(claim: Object) -> Iterable[str]:
    return {user["uid"] for user in (claim.get("status") or {}).get("reservedFor") or () if user.get("uid")}
