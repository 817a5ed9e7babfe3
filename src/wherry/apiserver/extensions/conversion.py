"""From one version of a custom resource to another: by renaming, or by the webhook of the definition."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wherry.api.errors import StatusError
from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.api.structural.kind import CustomKind
from wherry.apiserver import names
from wherry.apiserver.conversion import Conversion
from wherry.apiserver.webhookclient import WebhookClient, WebhookError

log = logging.getLogger(__name__)

_TIMEOUT = 30.0


class Converter:
    """The conversions of one definition. `kinds` are all its versions, `resources` what they are (to be) served as."""

    def __init__(
        self,
        definition: Object,
        kinds: Mapping[str, CustomKind],
        resources: Iterable[Resource],
        client: WebhookClient,
    ) -> None:
        conversion = definition["spec"].get("conversion") or {}
        self._kinds = kinds
        self._resources = {resource.api_version: resource for resource in resources}
        self._client = client
        self._webhook: Mapping[str, Any] | None = None
        if conversion.get("strategy") == "Webhook":
            self._webhook = conversion["webhook"]

    def between(self, resource: Resource, stored: Resource) -> Conversion:
        """Return how `resource` relates to the version that is stored."""

        def to_stored(obj: Object) -> Object:
            return self._renamed(obj, stored.version)

        def from_stored(obj: Object) -> Object:
            return self._renamed(self._read(obj), resource.version)

        async def fetch(objects: Sequence[Object]) -> list[Object]:
            return await self._converted([self._read(obj) for obj in objects], resource.version)

        async def send(obj: Object) -> Object:
            return (await self._converted([obj], stored.version))[0]

        def sibling(api_version: str) -> tuple[Resource, Conversion] | None:
            found = self._resources.get(api_version)
            return None if found is None else (found, self.between(found, stored))

        if self._webhook is None:
            return Conversion(stored, to_stored, from_stored, sibling=sibling)
        return Conversion(stored, to_stored, from_stored, fetch, send, sibling)

    def _read(self, obj: Object) -> Object:
        """Return a stored object as its own version reads it: defaulted and pruned."""
        kind = self._kinds.get(_version(obj))
        return obj if kind is None else kind.from_store(obj)

    def _renamed(self, obj: Object, version: str) -> Object:
        if _version(obj) == version:
            return obj
        kind = self._kinds[version]
        return kind.prune({**obj, "apiVersion": kind.api_version})

    async def _converted(self, objects: list[Object], version: str) -> list[Object]:
        """Convert those that are of another version, in one call."""
        wanted = self._kinds[version]
        away = [obj for obj in objects if _version(obj) != version]
        if not away:
            return objects
        answer = iter(await self._call(away, wanted))
        return [obj if _version(obj) == version else next(answer) for obj in objects]

    async def _call(self, objects: list[Object], wanted: CustomKind) -> list[Object]:
        assert self._webhook is not None
        uid = names.new_uid()
        versions = self._webhook.get("conversionReviewVersions") or ["v1"]
        review = "v1" if "v1" in versions else versions[0]
        body = {
            "kind": "ConversionReview",
            "apiVersion": f"apiextensions.k8s.io/{review}",
            "request": {"uid": uid, "desiredAPIVersion": wanted.api_version, "objects": objects},
        }
        try:
            answer = await self._client.post(self._webhook["clientConfig"], body, timeout=_TIMEOUT)
            converted = _checked(answer, uid, objects, wanted)
        except WebhookError as error:
            source = objects[0]["apiVersion"]
            text = f"conversion webhook for {source}, Kind={wanted.kind} failed: {error}"
            log.warning("%s", text)
            failure = StatusError(text)
            failure.status_reason = ""
            raise failure from None
        return [wanted.prune(obj) for obj in converted]


def _version(obj: Object) -> str:
    version: str = obj["apiVersion"].rpartition("/")[2]
    return version


def _checked(answer: Object, uid: str, objects: list[Object], wanted: CustomKind) -> list[Object]:
    response = answer.get("response")
    if not isinstance(response, dict):
        raise WebhookError("response.response is nil")
    if response.get("uid") != uid:
        raise WebhookError(f"expected response.uid {uid!r}, got {response.get('uid')!r}".replace("'", '"'))
    result = response.get("result") or {}
    if result.get("status") != "Success":
        raise WebhookError(
            result.get("message") or f"response.result.status was '{result.get('status', '')}', not 'Success'"
        )
    converted = response.get("convertedObjects") or []
    if len(converted) != len(objects):
        raise WebhookError(f"webhook returned {len(converted)} objects, expected {len(objects)}")
    return [_restored(at, new, old, wanted) for at, (new, old) in enumerate(zip(converted, objects, strict=True))]


def _restored(at: int, new: Any, old: Object, wanted: CustomKind) -> Object:
    """Return a converted object with the metadata that a webhook may not change."""
    place = f"invalid converted object at index {at}"
    if not isinstance(new, dict) or new.get("apiVersion") != wanted.api_version:
        found = new.get("apiVersion") if isinstance(new, dict) else None
        raise WebhookError(f"{place}: invalid groupVersion (expected {wanted.api_version}, received {found})")
    if new.get("kind") != old["kind"]:
        raise WebhookError(f"{place}: invalid kind (expected {old['kind']}, received {new.get('kind')})")
    given = new.get("metadata") or {}
    before = old["metadata"]
    for member in ("name", "namespace", "uid"):
        if given.get(member) != before.get(member):
            raise WebhookError(f"{place}: validated metadata.{member} must not change")
    metadata = {name: value for name, value in before.items() if name not in ("labels", "annotations")}
    for member in ("labels", "annotations"):
        if given.get(member):
            metadata[member] = given[member]
    return {**new, "metadata": metadata}
