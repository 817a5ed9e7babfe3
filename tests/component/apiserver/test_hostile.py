"""Requests that are made to hurt: each gets its answer, and the server goes on to serve others."""

import gzip
import json
import random
from typing import Any

import pytest
from aiohttp import ClientSession
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from wherry.api import schema
from wherry.api.resources import TABLE, Resource
from wherry.apiserver.server import ApiServer

NAMESPACE = "/api/v1/namespaces/default"
MAPS = f"{NAMESPACE}/configmaps"
JSON, YAML, PROTOBUF = "application/json", "application/yaml", "application/vnd.kubernetes.protobuf"
JSON_PATCH, STRATEGIC = "application/json-patch+json", "application/strategic-merge-patch+json"


class Attacker:
    """Sends bytes as the administrator and returns status and text."""

    def __init__(self, session: ClientSession, base: str) -> None:
        self._session, self._base = session, base
        self.headers: Any = None

    async def __call__(
        self, method: str, path: str, body: bytes = b"", media: str = JSON, **headers: str
    ) -> tuple[int, str]:
        sent = {"Authorization": "Bearer secret", "Content-Type": media} | headers
        async with self._session.request(method, self._base + path, data=body, headers=sent) as answer:
            self.headers = answer.headers
            return answer.status, await answer.text()


@pytest.fixture
async def attack(server: ApiServer) -> Any:
    async with ClientSession() as session:
        attacker = Attacker(session, f"http://127.0.0.1:{server.port}")
        await attacker("GET", "/version")  # the server keeps a task for the connection: open it before the test begins
        yield attacker


def named(**members: Any) -> bytes:
    return json.dumps({"metadata": {"name": "victim"}, **members}).encode()


def deep(levels: int) -> bytes:
    return b'{"metadata":{"name":"deep"},"x":' + b'{"a":' * levels + b"1" + b"}" * levels + b"}"


LAUGHS = b"a0: &a0 [x,x,x,x,x,x,x,x,x]\n" + b"".join(
    b"a%d: &a%d [%s]\n" % (at, at, b",".join([b"*a%d" % (at - 1)] * 9)) for at in range(1, 12)
)
DOUBLING = [{"op": "add", "path": "/x", "value": {"a": "x" * 999}}]
DOUBLING += [{"op": "copy", "from": "/x", "path": f"/x/k{at}"} for at in range(60)]
OWNERS = [{"apiVersion": "v1", "kind": "Pod", "name": f"p{at}", "uid": f"u{at}"} for at in range(5000)]
REMOVED = {"finalizers": [f"a/{at}" for at in range(9000)]}
ORDERED = {"metadata": {**REMOVED, "$setElementOrder/finalizers": REMOVED["finalizers"]}}
QUOTA = {"spec": {"hard": {"cpu": "1e999999999"}}}


BODIES: list[tuple[str, bytes, str, set[int]]] = [
    ("too deep to be written again", deep(300), JSON, {400}),
    ("too deep to be read", deep(10_000), JSON, {400}),
    ("deep flow collections of YAML", b"[" * 500_000, YAML, {400}),
    ("aliases of aliases", LAUGHS, YAML, {400}),
    ("an alias in itself", b"a: &a [*a]\n", YAML, {400}),
    ("a tag that makes objects", b"a: !!python/object/apply:os.system [x]\n", YAML, {400}),
    ("a number of many digits", b"{metadata: {name: " + b"9" * 5000 + b"}}", YAML, {400, 422}),
    ("digits in JSON", b'{"metadata":{"generation":' + b"9" * 5000 + b"}}", JSON, {400}),
    ("not a number", b'{"data":{"a":NaN}}', JSON, {400}),
    ("half a character", b'{"data":{"a":"\\ud800"}}', JSON, {400}),
    ("UTF-16", named().decode().encode("utf-16"), JSON, {400}),
    ("noise as protobuf", b"k8s\0" + random.Random(1).randbytes(9999), PROTOBUF, {400}),
    ("more than three MiB", b" " * (3 << 20) + b"{}", JSON, {413}),
    ("many keys", named(data={f"k{at}": "" for at in range(40_000)}), JSON, {201}),
    ("many owners", named(metadata={"name": "owned", "ownerReferences": OWNERS}), JSON, {201}),
]


async def test_bodies_that_are_too_much_are_refused_at_once(attack: Attacker) -> None:
    for what, body, media, codes in BODIES:
        code, text = await attack("POST", MAPS, body, media)
        assert code in codes, f"{what}: {text[:300]}"


PATCHES: list[tuple[str, Any, str, int]] = [
    ("copies that double", DOUBLING, JSON_PATCH, 422),
    ("too many operations", [{"op": "test", "path": "/x"}] * 10_001, JSON_PATCH, 413),
    ("a long path", [{"op": "add", "path": "/a" * 90_000, "value": 1}], JSON_PATCH, 422),
    ("a long list in its order", ORDERED, STRATEGIC, 200),
]


async def test_patches_grow_no_faster_than_what_is_sent(attack: Attacker) -> None:
    await attack("POST", MAPS, named())
    for what, patch, media, code in PATCHES:
        answered, text = await attack("PATCH", f"{MAPS}/victim", json.dumps(patch).encode(), media)
        assert answered == code, f"{what}: {text[:300]}"


async def test_an_enormous_exponent_is_a_quantity_like_others(attack: Attacker) -> None:
    code, text = await attack("POST", f"{NAMESPACE}/resourcequotas", named(**QUOTA))
    assert code == 201 and json.loads(text)["spec"] == QUOTA["spec"]


async def test_compressed_bodies_are_not_unpacked(attack: Attacker) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    code, _ = await attack("POST", MAPS, bomb, **{"Content-Encoding": "gzip"})
    assert code == 400


async def test_warnings_add_no_headers_and_stay_small(attack: Attacker) -> None:
    body = named(**{"odd" * 30 + str(at): 1 for at in range(2000)}, **{"x\r\nX-Added: 1": 1})
    code, _ = await attack("POST", MAPS, body)
    assert code == 201 and "X-Added" not in attack.headers
    sent = attack.headers.getall("Warning")
    assert "odd" * 30 + "0" in sent[0] and sum(map(len, sent)) < 20_000


QUERIES = (
        "limit=%C2%B2", "limit=" + "9" * 5000, "timeoutSeconds=x", "resourceVersion=" + "9" * 5000,
        "resourceVersion=-1", "resourceVersion=18446744073709551616", "continue=abc", "continue=W10",
        "continue=eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6dHJ1ZSwic3RhcnQiOiJhIn0", "labelSelector=" + "a" * 9000,
        "fieldSelector=" + "%5C," * 900,
)  # fmt: skip


async def test_queries_that_say_nothing_are_the_clients_fault(attack: Attacker) -> None:
    for query in QUERIES:
        code, text = await attack("GET", f"{MAPS}?{query}")
        assert code == 400, f"{query[:99]}: {text[:300]}"
    for version in ("-1", "9" * 5000):
        code, text = await attack("GET", f"{MAPS}?watch=1&resourceVersion={version}")
        assert code == 500 and "resourceVersion: Invalid value" in text  # upstream blames itself, in these words


async def test_credentials_are_read_with_care(attack: Attacker) -> None:
    deep_claims = "W1tb" * 20_000
    assert (await attack("GET", MAPS, Authorization=f"Bearer e30.{deep_claims}.x"))[0] == 401


async def test_a_pattern_of_a_schema_holds_nobody_up(attack: Attacker) -> None:
    schema = {"type": "object", "properties": {"spec": {"type": "string", "pattern": "^(a+)+$"}}}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "bombs", "singular": "bomb", "kind": "Bomb"}
    spec = {"group": "h.io", "scope": "Namespaced", "names": names, "versions": [version]}
    crd = json.dumps({"metadata": {"name": "bombs.h.io"}, "spec": spec}).encode()
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    assert (await attack("POST", path, crd))[0] == 201
    code = 404
    while code == 404:
        code, text = await attack("POST", "/apis/h.io/v1/namespaces/default/bombs", named(
            apiVersion="h.io/v1", kind="Bomb", spec="a" * 5000 + "!"
        ))  # fmt: skip
    assert code == 422 and "should match" in text


RULES = ("(" * 9000 + "true" + ")" * 9000, "self" + ".a" * 9000, "true && " * 20_000 + "true")


async def test_rules_that_are_too_deep_or_long_are_refused(attack: Attacker) -> None:
    for rule in RULES:
        await refuse_rule(attack, rule)


async def refuse_rule(attack: Attacker, rule: str) -> None:
    schema = {"type": "object", "x-kubernetes-validations": [{"rule": rule}]}
    version = {"name": "v1", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    names = {"plural": "deeps", "singular": "deep", "kind": "Deep"}
    spec = {"group": "h.io", "scope": "Namespaced", "names": names, "versions": [version]}
    crd = json.dumps({"metadata": {"name": "deeps.h.io"}, "spec": spec}).encode()
    code, text = await attack("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd)
    assert code == 422 and "limit" in text


CREATED = [r for r in TABLE if "create" in r.verbs and "get" in r.verbs]
ODD = [None, True, -1, 2**63, 1.5, "", "a", "\0", "é" * 70, "1Gi", "*/5 * * * *", "10.0.0.1", "2020-01-01T00:00:00Z"]
SHAPES: Any = st.recursive(
    st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["name", "a", "spec"]), inner),
    max_leaves=6,
)


@st.composite
def objects(draw: Any) -> tuple[Resource, dict[str, Any]]:
    """An object with values of the right type in some fields and of any in others."""
    resource = draw(st.sampled_from(CREATED))

    def value(kind: Any, depth: int) -> Any:
        if depth > 7 or draw(st.integers(0, 40)) == 0:
            return draw(SHAPES)
        match kind.kind:
            case "struct":
                names = draw(st.lists(st.sampled_from(sorted(kind.fields) or ["x"]), max_size=6, unique=True))
                return {name: value(kind.fields[name].type, depth + 1) for name in names if name in kind.fields}
            case "list":
                return [value(kind.element, depth + 1) for _ in range(draw(st.integers(0, 2)))]
            case "map":
                return {draw(st.sampled_from(["a", "", "b/c", "é"])): value(kind.element, depth + 1)}
        if kind.go in ("integer", "number"):
            return draw(st.sampled_from([0, 1, -1, 80, 2**31 - 1, 2**63 - 1]))
        if kind.go == "boolean":
            return draw(st.booleans())
        return draw(st.sampled_from([*ODD[5:], "Always", "ClusterIP", "TCP", "RollingUpdate", "apps/v1", "Pod"]))

    obj = value(schema.load().for_resource(resource).root, 0)
    obj = obj if isinstance(obj, dict) else {"spec": obj}
    if not isinstance(obj.get("metadata"), dict):
        obj["metadata"] = {}
    obj["metadata"] |= {"generateName": "fuzz-"}
    obj["metadata"].pop("name", None)
    obj["metadata"].pop("namespace", None)
    obj.pop("apiVersion", None)
    obj.pop("kind", None)
    return resource, obj


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(found=objects())
async def test_no_object_is_the_servers_fault(attack: Attacker, found: tuple[Resource, dict[str, Any]]) -> None:
    resource, obj = found
    root = f"/apis/{resource.group}" if resource.group else "/api"
    path = f"{root}/{resource.version}/{'namespaces/default/' if resource.namespaced else ''}{resource.plural}"
    _, text = await attack("POST", f"{path}?dryRun=All", json.dumps(obj).encode())
    assert '"InternalError"' not in text, f"{path} {json.dumps(obj)}: {text[:600]}"
