"""From one version of a custom resource to another: by renaming, or by the webhook of the definition."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wherry.api.errors import StatusError
from wherry.api.meta import Object
from wherry.api.resources import Resource
from wherry.api.structural.kind import CustomKind
from wherry.api.validation.metadata import annotations, labels
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
        about = f"conversion webhook for {objects[0]['apiVersion']}, Kind={wanted.kind}"
        try:
            answer = await self._client.post(self._webhook["clientConfig"], body, timeout=_TIMEOUT)
            converted = _converted_objects(answer, body)
        except WebhookError as error:
            raise _failed(f"{about} failed: {error}") from None
        if len(converted) != len(objects):
            raise _failed(f"{about} returned {len(converted)} objects, expected {len(objects)}")
        pairs = enumerate(zip(converted, objects, strict=True))
        try:
            return [wanted.prune(_restored(new, old, wanted, at, single=len(objects) == 1)) for at, (new, old) in pairs]
        except _Nonsense as error:
            raise _failed(f"{about} returned {error}") from None


class _Nonsense(Exception):
    """An answer is no conversion of what was sent."""


def _failed(text: str) -> StatusError:
    log.warning("%s", text)
    failure = StatusError(text)
    failure.status_reason = ""
    return failure


def _version(obj: Object) -> str:
    version: str = obj["apiVersion"].rpartition("/")[2]
    return version


def _converted_objects(answer: Object, review: Object) -> list[Any]:
    """Return the objects of an answer (apiextensions ``getConvertedObjectsFromResponse``). Raises WebhookError."""
    given, wanted = (answer.get("apiVersion") or "", answer.get("kind") or ""), review["apiVersion"]
    if given != (wanted, "ConversionReview"):
        shown = given[0] if "/" in given[0] else f"/{given[0]}"
        expected = f"expected webhook response of {wanted}, Kind=ConversionReview"
        raise WebhookError(f"{expected}, got {shown}, Kind={given[1]}")
    response, uid = answer.get("response"), review["request"]["uid"]
    if not isinstance(response, dict):
        raise WebhookError("no response provided")
    if response.get("uid") != uid:
        raise WebhookError(f'expected response.uid="{uid}", got "{response.get("uid") or ""}"')
    result = response.get("result") or {}
    if result.get("status") != "Success":
        said = f"response.result.status was '{result.get('status') or ''}', not 'Success'"
        raise WebhookError(result.get("message") or said)
    converted: list[Any] = response.get("convertedObjects") or []
    return converted


def _restored(new: Any, old: Object, wanted: CustomKind, at: int, *, single: bool) -> Object:
    """Return a converted object with the metadata that a webhook may not change. Raises _Nonsense."""
    found = new if isinstance(new, dict) else {}
    # Upstream counts from one where it looks at the type of the objects of a list.
    place = "invalid object at index 0" if single else f"invalid converted object at index {at + 1}"
    if found.get("apiVersion") != wanted.api_version:
        received = found.get("apiVersion") or "/"
        raise _Nonsense(f"{place}: invalid groupVersion (expected {wanted.api_version}, received {received})")
    if found.get("kind") != old["kind"]:
        raise _Nonsense(f"{place}: invalid kind (expected {old['kind']}, received {found.get('kind') or ''})")
    given, before = found.get("metadata"), old["metadata"]
    place = "invalid object" if single else f"invalid converted object at index {at + 1}"
    for member, shown in (("name", "name"), ("namespace", "namespace"), ("uid", "UID")):
        theirs, ours = (given or {}).get(member) or "", before.get(member) or ""
        if theirs != ours:
            raise _Nonsense(f"{place}: must have the same {shown}: {ours} != {theirs}")
    place = "invalid metadata" if single else f"invalid metadata in object at index {at + 1}"
    if not isinstance(given, dict):
        raise _Nonsense(f"{place}: missing metadata in converted object")
    metadata = {name: value for name, value in before.items() if name not in ("labels", "annotations")}
    # The second path is upstream's.
    for member, check, path in (
        ("labels", labels, "metadata.labels"),
        ("annotations", annotations, "metadata.annotation"),
    ):
        texts = given.get(member)
        wrong = _not_texts(member, texts or {})
        if not wrong and texts and texts != before.get(member):
            errors = [str(error) for error in check(texts, path)]
            wrong = f"[{', '.join(errors)}]" if len(errors) > 1 else "".join(errors)
        if wrong:
            raise _Nonsense(f"{place}: {wrong}")
        if texts:
            metadata[member] = texts
    return {**found, "metadata": metadata}


def _not_texts(member: str, found: Object) -> str:
    for key, value in found.items():
        if not isinstance(value, str):
            kind = _GO_TYPES.get(type(value), "<nil>")
            return f"metadata.{member}[{key}] must be a string, but is {kind} in converted object"
    return ""


_GO_TYPES = {bool: "bool", int: "int64", float: "float64", list: "[]interface {}", dict: "map[string]interface {}"}
