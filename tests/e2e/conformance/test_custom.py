"""Custom resources: served, described, defaulted, pruned, validated, selected, converted."""

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.e2e.conformance.api import APPLY, Object, Refused
from tests.e2e.conformance.hooks import client_config, serve_hooks
from tests.e2e.conformance.world import World, eventually

pytestmark = pytest.mark.e2e
_PATH = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
_ANYTHING = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


@pytest.fixture
def define(world: World) -> Iterator[Any]:
    """Defines resources: ``define("things", v1=schema)`` returns the path of the objects in the test's namespace."""
    made: list[str] = []

    def definition(plural: str, **more: Any) -> str:
        group = f"{more.pop('group', 'a')}.{world.ns}.example.com"
        kind = more.pop("kind", plural.removesuffix("s").capitalize())
        versions: list[Object] = []
        for name in ("v1", "v2", "v3"):
            if name in more:
                version: Object = {"name": name, "served": True, "storage": not versions}
                version["schema"] = {"openAPIV3Schema": more.pop(name)}
                versions.append(version | more.pop(f"{name}_more", {}))
        names = {"plural": plural, "singular": plural.removesuffix("s"), "kind": kind, "listKind": f"{kind}List"}
        spec = {"group": group, "scope": "Namespaced", "names": names, "versions": versions, **more}
        world.api.create(_PATH, {"metadata": {"name": f"{plural}.{group}"}, "spec": spec})
        made.append(f"{_PATH}/{plural}.{group}")
        world.api.wait(made[-1], lambda found: "Established" in str(found.get("status")))
        return f"/apis/{group}/{versions[0]['name']}/namespaces/{world.ns}/{plural}"

    yield definition
    for path in made:
        world.api.raw("DELETE", path)


def _object(path: str, name: str, **content: Any) -> Object:
    group, version, _, _, plural = path.split("/")[2:7]
    kind = plural.removesuffix("s").capitalize()
    return {"apiVersion": f"{group}/{version}", "kind": kind, "metadata": {"name": name}, **content}


def test_discovery_shows_definitions(world: World, define: Any) -> None:
    path = define("things", v1=_ANYTHING)
    group = path.split("/")[2]
    assert group in [g["name"] for g in world.api.get("/apis")["groups"]]
    assert world.api.get(f"/apis/{group}/v1")["resources"][0]["kind"] == "Thing"
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found = world.api.raw("GET", "/apis", headers={"Accept": accept}).object["items"]
    shown = next(g for g in found if g["metadata"]["name"] == group)
    assert shown["versions"][0]["resources"][0]["resource"] == "things"
    names = [r["name"] for r in world.api.get("/apis/apiextensions.k8s.io/v1")["resources"]]
    assert names == ["customresourcedefinitions", "customresourcedefinitions/status"]


def test_objects_are_watched_by_name(world: World, define: Any) -> None:
    path = define("things", v1=_ANYTHING)
    version = world.api.get(path)["metadata"]["resourceVersion"]
    for name in ("a", "b"):
        world.api.create(path, _object(path, name, content={"key": "value"}, num={"num1": 1}))
        world.api.patch(f"{path}/{name}", {"num": {"num1": 2}})
        world.api.delete(f"{path}/{name}")
    for name in ("a", "b"):
        types = []
        selector = f"metadata.name={name}"
        for type_, _ in world.api.watch(path, resourceVersion=version, fieldSelector=selector):
            types.append(type_)
            if type_ == "DELETED":
                break
        assert types == ["ADDED", "MODIFIED", "DELETED"]


def test_defaults_come_with_requests_and_from_storage(world: World, define: Any) -> None:
    schema: Object = {
        "type": "object",
        "properties": {"a": {"type": "string", "default": "A"}, "b": {"type": "string"}},
    }
    path = define("things", v1=schema)
    assert world.api.create(path, _object(path, "x"))["a"] == "A"
    definition = f"{_PATH}/things.{path.split('/')[2]}"
    found = world.api.get(definition)
    found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["b"]["default"] = "B"
    world.api.update(definition, found)
    eventually(lambda: world.api.get(f"{path}/x").get("b") == "B", "the default of b")
    found = world.api.get(definition)
    found["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["a"]["default"] = "other"
    world.api.update(definition, found)
    clean = world.api.get(f"{path}/x")
    assert (clean["a"], clean["b"]) == ("A", "B")


def _described(world: World, path: str, *, version: str = "") -> Object | None:
    group, v = path.split("/")[2], version or path.split("/")[3]
    definitions = world.api.get("/openapi/v2")["definitions"]
    reverse = ".".join(reversed(group.split(".")))
    kind = path.rsplit("/", 1)[1].removesuffix("s").capitalize()
    found: Object | None = definitions.get(f"{reverse}.{v}.{kind}")
    return found


def test_openapi_describes_definitions(world: World, define: Any) -> None:
    schema = {
        "type": "object",
        "description": "Thing of tests",
        "properties": {
            "spec": {
                "type": "object",
                "description": "what is wanted",
                "required": ["name"],
                "properties": {"name": {"type": "string", "description": "a name"}, "age": {"type": "string"}},
            },
        },
    }
    path = define("gadgets", v1=schema)
    shown = eventually(lambda: _described(world, path), "the schema")
    assert shown["properties"]["spec"]["description"] == "what is wanted"
    assert shown["properties"]["metadata"]["$ref"].endswith("ObjectMeta")
    assert "what is wanted" in world.kubectl("explain", "gadgets.spec")
    good = json.dumps(_object(path, "good", spec={"name": "x"}))
    assert "created" in world.kubectl("create", "--validate=true", "-f", "-", stdin=good)
    for bad in ({"name": "x", "unknown": "y"}, {"age": "1"}):
        with pytest.raises(AssertionError):
            world.kubectl("apply", "--validate=true", "-f", "-", stdin=json.dumps(_object(path, "bad", spec=bad)))
    group = path.split("/")[2]
    assert f"apis/{group}/v1" in world.api.get("/openapi/v3")["paths"]


@pytest.mark.parametrize(
    "schema",
    [_ANYTHING, {"type": "object", "properties": {"spec": {**_ANYTHING, "x-kubernetes-embedded-resource": True}}}],
)
def test_openapi_of_what_keeps_unknown_fields(world: World, define: Any, schema: Object) -> None:
    path = define("things", v1=schema)
    eventually(lambda: _described(world, path), "the schema")
    spec = {"apiVersion": "v1", "kind": "Any", "metadata": {"name": "x"}, "dummy": [{"name": "unknown"}]}
    world.kubectl("apply", "--validate=true", "-f", "-", stdin=json.dumps(_object(path, "x", spec=spec)))
    assert world.api.get(f"{path}/x")["spec"]["dummy"] == [{"name": "unknown"}]
    world.kubectl("explain", "things")


def test_openapi_follows_versions(world: World, define: Any) -> None:
    path = define("things", v1=_ANYTHING, v2=_ANYTHING)
    other = define("others", v1=_ANYTHING, group="b")
    same = define("beasts", v1=_ANYTHING)
    for one in (path, other, same):
        eventually(partial(_described, world, one), one)
    eventually(lambda: _described(world, path, version="v2"), "v2")
    definition = f"{_PATH}/things.{path.split('/')[2]}"
    found = world.api.get(definition)
    found["spec"]["versions"][1]["name"] = "v3"
    world.api.update(definition, found)
    eventually(lambda: _described(world, path, version="v3"), "the renamed version")
    eventually(lambda: not _described(world, path, version="v2"), "the old name")
    world.api.patch(
        definition,
        [{"op": "replace", "path": "/spec/versions/1/served", "value": False}],
        "application/json-patch+json",
    )
    eventually(lambda: not _described(world, path, version="v3"), "the version that is not served")
    assert _described(world, path)


def test_field_selectors(world: World, define: Any) -> None:
    fields = {"host": {"type": "string"}, "port": {"type": "string"}}
    schema = {"type": "object", "properties": fields}
    selectable = {"selectableFields": [{"jsonPath": ".host"}, {"jsonPath": ".port"}]}
    path = define("things", v1=schema, v1_more=selectable)
    version = world.api.get(path)["metadata"]["resourceVersion"]
    for name, host, port in (("a", "host1", "80"), ("b", "host1", "8080"), ("c", "host2", "80")):
        world.api.create(path, _object(path, name, host=host, port=port))

    def names(selector: str) -> list[str]:
        return [o["metadata"]["name"] for o in world.api.get(path, fieldSelector=selector)["items"]]

    assert (names("host=host1"), names("host=host1,port=80"), names("port!=80")) == (["a", "b"], ["a"], ["b"])
    world.api.call("DELETE", path, fieldSelector="host=host2")
    seen = []
    for type_, obj in world.api.watch(path, resourceVersion=version, fieldSelector="host=host2"):
        seen.append((type_, obj["metadata"]["name"]))
        if type_ == "DELETED":
            break
    assert seen == [("ADDED", "c"), ("DELETED", "c")]
    with pytest.raises(Refused) as unknown:
        names("nothing=1")
    assert unknown.value.code == 400


_STRICT = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "x-kubernetes-preserve-unknown-fields": True,
            "properties": {
                "cronSpec": {"type": "string", "pattern": "^(\\d+|\\*)(/\\d+)?(\\s+(\\d+|\\*)(/\\d+)?){4}$"},
                "ports": {
                    "type": "array",
                    "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
                    "x-kubernetes-list-type": "map",
                    "items": {
                        "type": "object",
                        "required": ["containerPort", "protocol"],
                        "properties": {
                            "containerPort": {"type": "integer"},
                            "hostPort": {"type": "integer"},
                            "protocol": {"type": "string"},
                        },
                    },
                },
            },
        },
    },
}


def _apply(world: World, path: str, text: bytes) -> Any:
    return world.api.call(
        "PATCH", path, text, headers={"Content-Type": APPLY}, fieldManager="e2e", fieldValidation="Strict"
    )


def test_custom_objects_are_checked_strictly(world: World, define: Any) -> None:
    path = define("things", v1=_STRICT)
    head = json.dumps(_object(path, "x"))[:-1]
    port = '"containerPort": 80, "protocol": "TCP"'
    good = f'{head}, "spec": {{"foo": "foo1", "cronSpec": "* * * * */5", "ports": [{{{port}}}]}}}}'
    assert _apply(world, f"{path}/x", good.encode())["spec"]["foo"] == "foo1"
    ports = f'"ports": [{{"hostPort": 81,\n"hostPort": 82, {port}}}]'
    twice = f'{head}, "spec": {{"foo": "foo1",\n"foo": "foo2", {ports}}}}}'
    with pytest.raises(Refused) as duplicate:
        _apply(world, f"{path}/x", twice.encode())
    assert duplicate.value.code == 400
    for number, key in ((2, "foo"), (3, "hostPort")):
        assert f'line {number}: key "{key}" already set in map' in str(duplicate.value)
    wrong = head + ', "unknown": 1, "spec": {"cronSpec": "* * * * */5"}}'
    with pytest.raises(Refused) as unknown:
        _apply(world, f"{path}/x", wrong.encode())
    assert ".unknown: field not declared in schema" in str(unknown.value)
    text = (head + ', "unknown": 1, "spec": {"cronSpec": "* * * * */5", "cronSpec": "* * * * */5"}}').replace(
        '"x"', '"y"'
    )
    with pytest.raises(Refused) as both:
        world.api.call("POST", path, text.encode(), fieldValidation="Strict")
    assert 'unknown field "unknown"' in str(both.value) and 'duplicate field "spec.cronSpec"' in str(both.value)
    meta = head.replace('"name": "x"', '"name": "y", "unknownMeta": "z"') + "}"
    with pytest.raises(Refused) as metadata:
        world.api.call("POST", path, meta.encode(), fieldValidation="Strict")
    assert 'unknown field "metadata.unknownMeta"' in str(metadata.value)


def test_anything_goes_without_a_schema(world: World, define: Any) -> None:
    path = define("things", v1=_ANYTHING)
    made = _apply(world, f"{path}/x", json.dumps(_object(path, "x", unknown={"a": 1})).encode())
    assert made["unknown"] == {"a": 1}
    with pytest.raises(Refused):
        _apply(world, f"{path}/x", json.dumps(_object(path, "x")).replace('"x"', '"x", "unknownMeta": 1', 1).encode())


def test_the_status_of_a_definition(world: World, define: Any) -> None:
    path = define("things", v1=_ANYTHING)
    definition = f"{_PATH}/things.{path.split('/')[2]}"
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set from the test"}
    found = world.api.get(f"{definition}/status")
    found["status"]["conditions"].append(condition)
    updated = world.api.update(f"{definition}/status", found)
    assert "StatusUpdate" in [c["type"] for c in updated["status"]["conditions"]]
    patched = world.api.patch(f"{definition}/status", {"status": {"conditions": [*found["status"]["conditions"]]}})
    assert "StatusUpdate" in [c["type"] for c in patched["status"]["conditions"]]


def test_conversion_by_a_webhook(world: World, define: Any) -> None:
    bundle = serve_hooks(world)
    text = {"type": "string"}
    first = {"type": "object", "properties": {"hostPort": text}}
    second = {"type": "object", "properties": {"host": text, "port": text}}
    conversion = {
        "strategy": "Webhook",
        "webhook": {"clientConfig": client_config(world, bundle, "/convert"), "conversionReviewVersions": ["v1"]},
    }
    path = define("things", v1=first, v2=second, conversion=conversion)
    world.api.create(path, _object(path, "x", hostPort="localhost:8080"))
    newer = path.replace("/v1/", "/v2/")
    shown = world.api.get(f"{newer}/x")
    assert (shown["host"], shown["port"]) == ("localhost", "8080") and "hostPort" not in shown
    definition = f"{_PATH}/things.{path.split('/')[2]}"
    found = world.api.get(definition)
    for version in found["spec"]["versions"]:
        version["storage"] = version["name"] == "v2"
    world.api.update(definition, found)
    world.api.create(newer, _object(newer, "y", host="other", port="1"))
    assert [o["hostPort"] for o in world.api.get(path)["items"]] == ["localhost:8080", "other:1"]
    assert [o["host"] for o in world.api.get(newer)["items"]] == ["localhost", "other"]
