"""The short cuts for requests that come whole: answers as by the ordinary way, and nothing goes past a check."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from tests.component.apiserver.conftest import Http
from wherry.apiserver.quick import Quick
from wherry.apiserver.server import ApiServer

PATH = "/api/v1/namespaces/default/configmaps/one"
LIST = PATH.rpartition("/")[0]
ROLES = "/apis/rbac.authorization.k8s.io/v1/namespaces/default"


class Wire:
    """A raw connection; `taken` counts the answers that came by the short cut."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.taken = 0

    async def open(self) -> None:
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self.port)

    def send(self, *pieces: bytes) -> None:
        self._writer.writelines(pieces)

    async def head(self) -> tuple[int, list[str]]:
        lines = (await self._reader.readuntil(b"\r\n\r\n")).decode().strip().split("\r\n")
        return int(lines[0].split()[1]), lines[1:]

    async def answer(self) -> tuple[int, list[str], bytes]:
        code, lines = await self.head()
        length = next(int(line.split(":")[1]) for line in lines if line.lower().startswith("content-length"))
        return code, lines, await self._reader.readexactly(length)

    async def end_of_stream(self) -> None:
        await self._reader.readuntil(b"0\r\n\r\n")

    async def get(self, path: str = PATH, token: str = "secret", *more: str) -> tuple[int, list[str], bytes]:
        self.send(request(path, token, *more))
        return await self.answer()

    def close(self) -> None:
        self._writer.close()


def request(path: str = PATH, token: str = "secret", *more: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "Host: wherry", f"Authorization: Bearer {token}", *more, "", ""]
    return "\r\n".join(lines).encode()


def written(path: str, body: bytes) -> bytes:
    lines = (
        f"POST {path} HTTP/1.1", "Host: wherry", "Authorization: Bearer secret",
        "Content-Type: application/json", f"Content-Length: {len(body)}", "", "",
    )  # fmt: skip
    return "\r\n".join(lines).encode() + body


@pytest.fixture
async def wire(server: ApiServer, http: Http, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Wire]:
    await http("POST", "/api/v1/namespaces/default/configmaps", {"metadata": {"name": "one"}, "data": {"a": "b"}})
    wire = Wire(server.port)
    original: Callable[..., bytes | None] = Quick.answer

    def counted(self: Quick, *args: Any) -> bytes | None:
        found = original(self, *args)
        wire.taken += found is not None
        return found

    monkeypatch.setattr(Quick, "answer", counted)
    await wire.open()
    yield wire
    wire.close()


def _comparable(answer: tuple[int, list[str], bytes]) -> tuple[int, list[str], bytes]:
    code, lines, body = answer
    return code, [line.partition(":")[0] if line.startswith(("Audit-Id", "Date")) else line for line in lines], body


@pytest.mark.parametrize(
    "accept",
    [
        "*/*",
        "application/json",
        "application/yaml",
        "application/vnd.kubernetes.protobuf,application/json",
        "application/json;as=Table;v=v1;g=meta.k8s.io,application/json",
        "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    ],
)
async def test_the_short_cut_answers_as_the_ordinary_way_does(wire: Wire, accept: str) -> None:
    ordinary = await wire.get(PATH, "secret", f"Accept: {accept}", "Connection: keep-alive")
    assert wire.taken == 0
    quick = await wire.get(PATH, "secret", f"Accept: {accept}")
    assert wire.taken == 1
    assert _comparable(quick) == _comparable(ordinary)


async def test_what_is_unknown_missing_or_forbidden_goes_the_ordinary_way(wire: Wire) -> None:
    assert (await wire.get(token="wrong"))[0] == 401
    assert (await wire.get(PATH + "x"))[0] == 404
    assert (await wire.get(token="plain"))[0] == 403
    assert (await wire.get(PATH, "secret", "Impersonate-User: jane"))[0] == 403
    assert (await wire.get(PATH, "secret", "Accept: text/html"))[0] == 406
    assert wire.taken == 0


async def test_a_change_of_roles_or_of_the_object_shows_at_once(wire: Wire, http: Http) -> None:
    rules = [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["get"]}]
    await http("POST", f"{ROLES}/roles", {"metadata": {"name": "reader"}, "rules": rules})
    binding = {
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": [{"kind": "User", "name": "jane", "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await http("POST", f"{ROLES}/rolebindings", binding)
    await wire.get(token="plain")
    assert (await wire.get(token="plain"))[0] == 200
    assert wire.taken == 1
    await http("PUT", PATH, {"metadata": {"name": "one"}, "data": {"a": "changed"}})
    assert b"changed" in (await wire.get(token="plain"))[2]
    await http("DELETE", f"{ROLES}/rolebindings/reader")
    assert (await wire.get(token="plain"))[0] == 403
    await http("DELETE", PATH)
    assert (await wire.get())[0] == 404


async def test_a_read_between_the_parts_of_another_request_is_part_of_that(wire: Wire) -> None:
    body = request()
    wire.send(written("/api/v1/namespaces/default/configmaps", body).removesuffix(body))
    await asyncio.sleep(0)
    wire.send(body)  # no JSON, and no request of its own
    assert (await wire.answer())[0] == 400
    assert wire.taken == 0
    assert (await wire.get())[0] == 200
    assert wire.taken == 1


async def test_a_head_in_pieces_and_requests_in_one_packet_are_answered_in_order(wire: Wire) -> None:
    whole = request()
    wire.send(whole + request(PATH + "x") + whole)
    assert [(await wire.answer())[0] for _ in range(3)] == [200, 404, 200]
    wire.send(whole[:20])
    await asyncio.sleep(0)
    wire.send(whole[20:])
    assert (await wire.answer())[0] == 200


async def test_a_connection_takes_reads_and_writes_in_turn(wire: Wire) -> None:
    for turn in range(3):
        assert (await wire.get())[0] == 200
        assert wire.taken == turn + 1
        body = b'{"metadata":{"name":"made-%d"}}' % turn
        wire.send(written("/api/v1/namespaces/default/configmaps", body))
        assert (await wire.answer())[0] == 201


async def test_what_comes_before_an_answer_waits_for_it(wire: Wire) -> None:
    collection = "/api/v1/namespaces/default/configmaps"
    for turn in range(40):  # more than is held: the connection stops reading meanwhile
        wire.send(written(collection, b'{"metadata":{"name":"in-turn-%d"}}' % turn))
        wire.send(request(f"{collection}/in-turn-{turn}"))
        await asyncio.sleep(0)
    assert [(await wire.answer())[0] for _ in range(80)] == [201, 200] * 40


async def test_a_watch_streams_however_its_query_is_written(wire: Wire) -> None:
    wire.send(request("/api/v1/namespaces/default/configmaps?%77atch=1&timeoutSeconds=1"))
    code, headers = await wire.head()
    assert code == 200 and "Transfer-Encoding: chunked" in headers
    await wire.end_of_stream()


async def test_a_long_list_comes_whole_by_the_short_way(wire: Wire, http: Http) -> None:
    collection = "/api/v1/namespaces/default/configmaps"
    for number in range(8):
        body = {"metadata": {"name": f"large-{number}"}, "data": {"k": "x" * 100_000}}
        await http("POST", collection, body)
    code, _, listed = await wire.get(collection)
    assert code == 200
    assert listed.count(b"large-") == 8


async def test_the_server_ends_what_it_answers_before_it_stops(server: ApiServer, wire: Wire) -> None:
    wire.send(written("/api/v1/namespaces/default/configmaps", b'{"metadata":{"name":"last"}}'))
    await asyncio.sleep(0)
    stopping = asyncio.create_task(server.__aexit__(None, None, None))
    try:
        assert (await wire.answer())[0] == 201
    finally:
        await stopping


async def test_requests_of_one_connection_are_each_its_sender_s(wire: Wire) -> None:
    """The header lines of the last request are taken apart anew as soon as they differ."""

    async def codes(*headers: str) -> int:
        wire.send(request(LIST, "secret", *headers))
        code, _, _ = await wire.answer()
        return code

    assert [await codes(), await codes(), await codes("impersonate-user: jane"), await codes()] == [200, 200, 403, 200]
    wire.send(request(LIST, "plain"))
    assert (await wire.answer())[0] == 403
    wire.send(request(LIST, "secret", "Content-Length: 2") + b"{}")
    assert (await wire.answer())[0] == 200
