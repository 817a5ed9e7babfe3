"""The OpenAPI documents."""

from typing import Any

import orjson
import pytest

from wherry.api import schema
from wherry.api.openapi import Documents, Published
from wherry.api.protobuf import wire
from wherry.api.resources import TABLE, Resource, Subresource

VERBS = frozenset({"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"})
THING = Resource(
    "example.com", "v1", "things", "thing", "Thing", True, VERBS,
    subresources={"status": Subresource("status", "Thing", "example.com", "v1", frozenset({"get", "patch", "update"}))},
)  # fmt: skip


@pytest.fixture(scope="module")
def documents() -> Documents:
    return Documents(schema.load(), TABLE, git_version="v1.36.2")


def test_every_reference_resolves(documents: Documents) -> None:
    for name in documents.v3_names():
        document = orjson.loads(documents.v3(name) or b"")
        schemas = document["components"]["schemas"]
        references = {
            part.split('"')[0] for part in (documents.v3(name) or b"").decode().split("#/components/schemas/")[1:]
        }
        assert references <= schemas.keys()


def test_value_structs_and_required_scalars_have_defaults(documents: Documents) -> None:
    container = orjson.loads(documents.v3("api/v1") or b"")["components"]["schemas"]["io.k8s.api.core.v1.Container"]
    assert container["properties"]["resources"]["default"] == {}
    assert container["properties"]["name"]["default"] == ""
    assert container["properties"]["imagePullPolicy"]["enum"] == ["Always", "IfNotPresent", "Never"]
    listed = '\n\nPossible enum values:\n - `"Always"`\n - `"IfNotPresent"`\n - `"Never"`'
    assert container["properties"]["imagePullPolicy"]["description"].endswith(listed)


def test_elements_have_values_too_but_no_defaults(documents: Documents) -> None:
    schemas = orjson.loads(documents.v3("api/v1") or b"")["components"]["schemas"]
    service, config = (schemas[f"io.k8s.api.core.v1.{kind}"]["properties"] for kind in ("ServiceSpec", "ConfigMap"))
    assert service["ipFamilies"]["items"] == {"enum": ["", "IPv4", "IPv6"], "type": "string"}
    assert config["data"]["additionalProperties"] == {"type": "string"}


@pytest.mark.parametrize(
    ("path", "kind", "member", "values"),
    [
        ("apis/policy/v1", "policy.v1.PodDisruptionBudgetSpec", "unhealthyPodEvictionPolicy", 2),
        ("apis/resource.k8s.io/v1", "resource.v1.DeviceTaint", "effect", 3),
        ("apis/admissionregistration.k8s.io/v1", "admissionregistration.v1.ParamRef", "parameterNotFoundAction", 2),
        ("api/v1", "core.v1.Lifecycle", "stopSignal", 65),
    ],
)
def test_enumerations_of_all_groups_are_told(
    documents: Documents, path: str, kind: str, member: str, values: int
) -> None:
    schemas = orjson.loads(documents.v3(path) or b"")["components"]["schemas"]
    assert len(schemas[f"io.k8s.api.{kind}"]["properties"][member]["enum"]) == values


def test_patch_offers_field_validation_as_kubectl_looks_for_it(documents: Documents) -> None:
    path = orjson.loads(documents.v2())["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]
    assert "fieldValidation" in {parameter["name"] for parameter in path["patch"]["parameters"]}
    assert path["patch"]["x-kubernetes-group-version-kind"] == {"group": "", "version": "v1", "kind": "Pod"}


def test_custom_resources_come_and_go() -> None:
    documents = Documents(schema.load(), [], git_version="v1.36.2")
    documents.set_custom(THING, Published({"type": "object", "properties": {"spec": {"type": "object"}}}))
    document = orjson.loads(documents.v3("apis/example.com/v1") or b"")
    thing = document["components"]["schemas"]["com.example.v1.Thing"]
    assert thing["x-kubernetes-group-version-kind"] == [{"group": "example.com", "version": "v1", "kind": "Thing"}]
    assert "/apis/example.com/v1/namespaces/{namespace}/things/{name}/status" in document["paths"]
    assert "apis/example.com/v1" in orjson.loads(documents.v3_index())["paths"]
    documents.remove_custom(THING)
    assert documents.v3("apis/example.com/v1") is None


def _custom(published: Published) -> tuple[dict[str, Any], dict[str, Any]]:
    """A custom kind's definition in OpenAPI v2 and v3."""
    documents = Documents(schema.load(), [], git_version="v1.36.2")
    documents.set_custom(THING, published)
    v3 = orjson.loads(documents.v3("apis/example.com/v1") or b"")["components"]["schemas"]
    return orjson.loads(documents.v2())["definitions"]["com.example.v1.Thing"], v3["com.example.v1.Thing"]


def test_members_of_every_object_are_described_as_those_of_built_in_kinds() -> None:
    v2, v3 = _custom(Published({"type": "object", "properties": {"spec": {"type": "object"}}}, (".spec.color",)))
    pod = schema.load().definitions["io.k8s.api.core.v1.Pod"]["properties"]
    for member in ("apiVersion", "kind", "metadata"):
        assert v2["properties"][member]["description"] == pod[member]["description"]
        assert v3["properties"][member]["description"] == pod[member]["description"]
    assert v3["properties"]["metadata"]["allOf"] and "$ref" in v2["properties"]["metadata"]
    assert v3["x-kubernetes-selectable-fields"] == [{"fieldPath": "spec.color"}]


def test_an_open_root_has_no_members_in_v2_as_kubectl_would_refuse_all_others() -> None:
    gvk = {"x-kubernetes-group-version-kind": [{"group": "example.com", "version": "v1", "kind": "Thing"}]}
    open_ = {"x-kubernetes-preserve-unknown-fields": True, "type": "object", "properties": {"a": {"type": "string"}}}
    v2, v3 = _custom(Published(open_))
    assert v2 == {"type": "object"} | gvk
    assert v3["properties"].keys() == {"a", "apiVersion", "kind", "metadata"}
    assert _custom(Published({"type": "object"}, preserve_unknown=True))[0] == {"type": "object"} | gvk


def test_v2_has_what_kubectl_copes_with() -> None:
    embedded = {"type": "object", "x-kubernetes-embedded-resource": True}
    of = {
        "open": {"type": "object", "x-kubernetes-preserve-unknown-fields": True, "properties": {"a": {}}},
        "maybe": {"type": "object", "nullable": True, "properties": {"a": {}}},
        "port": {"x-kubernetes-int-or-string": True},
        "pod": embedded,
        "any": embedded | {"x-kubernetes-preserve-unknown-fields": True},
        "size": {"type": "string", "default": "M", "example": "L", "oneOf": [{"pattern": "M"}]},
    }
    v2, v3 = (one["properties"] for one in _custom(Published({"type": "object", "properties": of, "required": []})))
    assert v2["open"] == {"x-kubernetes-preserve-unknown-fields": True}
    assert v2["maybe"] == {}
    assert v3["maybe"]["nullable"] is True
    assert v3["port"]["anyOf"] == [{"type": "integer"}, {"type": "string"}] and "anyOf" not in v2["port"]
    for one in (v2["pod"], v3["pod"], v3["any"]):
        assert one["required"] == ["kind", "apiVersion"] and "metadata" in one["properties"]
    assert "properties" not in v2["any"]
    assert v2["size"] == {"type": "string", "default": "M"}
    assert v3["size"] == {"type": "string", "default": "M", "oneOf": [{"pattern": "M"}]}


def test_v2_requires_no_member_that_may_be_null() -> None:
    properties = {"a": {"type": "string", "nullable": True}, "b": {"type": "string"}}
    v2, v3 = _custom(Published({"type": "object", "properties": properties, "required": ["a", "b"]}))
    assert (v2["required"], v3["required"]) == (["b"], ["a", "b"])


def test_a_change_while_the_document_is_made_is_in_the_next_one(monkeypatch: pytest.MonkeyPatch) -> None:
    documents = Documents(schema.load(), [], git_version="v1.36.2")
    documents.set_custom(THING, Published({"type": "object"}))
    make = documents._make_v2

    def slowly() -> dict[str, object]:
        made = make()
        documents.remove_custom(THING)
        return made

    monkeypatch.setattr(documents, "_make_v2", slowly)
    assert "com.example.v1.Thing" in orjson.loads(documents.v2())["definitions"]
    assert "com.example.v1.Thing" not in orjson.loads(documents.v2())["definitions"]


def members(data: bytes, number: int) -> list[bytes]:
    """The length-delimited fields of a number."""
    return [
        bytes(value)
        for field, _, value in wire.fields(memoryview(data))
        if field == number and not isinstance(value, int)
    ]


def test_protobuf_holds_the_same_paths_and_definitions_as_json(documents: Documents) -> None:
    plain, encoded = orjson.loads(documents.v2()), documents.v2_protobuf()
    paths = [members(entry, 1)[0].decode() for entry in members(members(encoded, 8)[0], 2)]
    definitions = {members(e, 1)[0].decode(): members(e, 2)[0] for e in members(members(encoded, 9)[0], 1)}
    assert paths == list(plain["paths"]) and list(definitions) == list(plain["definitions"])
    container = members(members(definitions["io.k8s.api.core.v1.Container"], 25)[0], 1)
    image = next(members(entry, 2)[0] for entry in container if members(entry, 1) == [b"image"])
    assert members(members(image, 22)[0], 1) == [b"string"]


def test_every_patch_of_a_kind_offers_field_validation(documents: Documents) -> None:
    paths = orjson.loads(documents.v3("api/v1") or b"")["paths"]
    service = {"group": "", "version": "v1", "kind": "Service"}
    patches = [item["patch"] for item in paths.values() if "patch" in item]
    of_service = [patch for patch in patches if patch["x-kubernetes-group-version-kind"] == service]
    assert of_service
    assert all("fieldValidation" in [p["name"] for p in patch["parameters"]] for patch in of_service)


def test_protobuf_of_version_3_holds_the_same_as_json(documents: Documents) -> None:
    document = documents.v3("apis/batch/v1") or b""
    plain, encoded = orjson.loads(document), documents.v3_protobuf("apis/batch/v1", document)
    assert members(encoded, 1) == [b"3.0.0"]
    paths = {members(entry, 1)[0].decode(): members(entry, 2)[0] for entry in members(members(encoded, 4)[0], 1)}
    assert list(paths) == list(plain["paths"])
    jobs = "/apis/batch/v1/namespaces/{namespace}/jobs"
    create = members(paths[jobs], 6)[0]
    assert members(create, 5)[0].decode() == plain["paths"][jobs]["post"]["operationId"]
    media = [members(entry, 1)[0].decode() for entry in members(members(members(members(create, 7)[0], 1)[0], 2)[0], 1)]
    assert media == list(plain["paths"][jobs]["post"]["requestBody"]["content"])
    schemas = {members(e, 1)[0].decode(): members(e, 2)[0] for e in members(members(members(encoded, 5)[0], 1)[0], 1)}
    assert list(schemas) == list(plain["components"]["schemas"])
    job = members(schemas["io.k8s.api.batch.v1.Job"], 1)[0]
    properties = {members(e, 1)[0].decode(): members(e, 2)[0] for e in members(members(job, 31)[0], 1)}
    assert properties.keys() == plain["components"]["schemas"]["io.k8s.api.batch.v1.Job"]["properties"].keys()
    spec = members(properties["spec"], 1)[0]
    assert members(members(members(spec, 26)[0], 2)[0], 1) == [b"#/components/schemas/io.k8s.api.batch.v1.JobSpec"]
    extensions = {members(e, 1)[0].decode() for e in members(job, 36)}
    assert extensions == {"x-kubernetes-group-version-kind"}
