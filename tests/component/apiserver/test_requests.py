"""What requests may ask for besides an object: forms, deadlines, methods and paths."""

import pytest

from tests.component.apiserver.conftest import Http

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
THING = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("invalid", 'invalid duration \\"invalid\\"'),
        ("5", 'missing unit in duration \\"5\\"'),
        ("1m5x", 'unknown unit \\"x\\" in duration \\"1m5x\\"'),
        ("-", 'invalid duration \\"-\\"'),
        ("9999999h", 'invalid duration \\"9999999h\\"'),
    ],
)
async def test_a_timeout_that_is_no_duration_is_refused_before_anything_else(http: Http, text: str, why: str) -> None:
    code, status = await http("GET", f"/version?timeout={text}", Authorization="Bearer nobody")
    expected = "invalid timeout specified in the request URL - time: " + why.replace("\\", "")
    assert (code, status["reason"], status["message"]) == (400, "BadRequest", expected)


@pytest.mark.parametrize("text", ["3m", "0s", "-1s", "1.5s", "", "1m30s"])
async def test_a_timeout_that_is_one_is_taken(http: Http, text: str) -> None:
    assert (await http("GET", f"/version?timeout={text}"))[0] == 200


async def test_a_request_ends_when_its_time_is_up(http: Http) -> None:
    code, status = await http("GET", f"{CONFIGMAPS}?resourceVersion=99999999&timeout=10ms")
    assert (code, status["reason"]) == (504, "Timeout")
    assert status["message"].endswith("within requested timeout - context deadline exceeded")


async def test_a_watch_does_not_read_the_timeout_of_other_requests(http: Http) -> None:
    assert (await http("GET", f"{CONFIGMAPS}?watch=1&timeout=x&timeoutSeconds=1"))[0] == 200


@pytest.mark.parametrize(
    ("query", "agent", "indented"),
    [
        ("", "curl/8.0", True),
        ("", "Wget/1", True),
        ("", "Mozilla/5.0 (X11)", True),
        ("", "kubectl/v1.36.2", False),
        ("?pretty=false", "curl/8.0", False),
        ("?pretty=yes", "curl/8.0", False),
        ("?pretty=", "curl/8.0", True),
        ("?pretty=T", "kubectl", True),
    ],
)
async def test_people_get_indented_json(http: Http, query: str, agent: str, indented: bool) -> None:
    await http("POST", CONFIGMAPS, THING)
    for path in (f"{CONFIGMAPS}/c", CONFIGMAPS, f"{CONFIGMAPS}/none", "/apis/apps/v1"):
        await http("GET", path + query, User_Agent=agent)
        assert (b"\n" in http.body) is indented, path


async def test_built_in_resources_know_no_head_and_other_paths_do(http: Http) -> None:
    assert (await http("HEAD", CONFIGMAPS))[0] == 405
    assert (await http("HEAD", "/livez"))[0] == 200


@pytest.mark.parametrize("path", ["/foo", "//api/v1/namespaces", "/apis/foo", "/apis/foo/v1/bars", "/debug/nope"])
async def test_what_nobody_serves_is_told_in_plain_text(http: Http, path: str) -> None:
    assert await http("GET", path) == (404, "404 page not found\n")


@pytest.mark.parametrize("path", ["/api/foo", "/apis/apps/v9", "/api/v1//pods", "/api/v1/things"])
async def test_what_stands_beside_what_is_served_is_told_by_a_status(http: Http, path: str) -> None:
    code, status = await http("GET", path)
    assert (code, status["kind"]) == (404, "Status")


@pytest.mark.parametrize(("accepted", "zipped"), [("gzip", True), ("br, gzip", True), ("gzip;q=1", False)])
async def test_large_answers_are_compressed_for_those_who_name_gzip(http: Http, accepted: str, zipped: bool) -> None:
    await http("POST", CONFIGMAPS, {**THING, "data": {"a": "x" * (128 << 10)}})
    await http("GET", f"{CONFIGMAPS}/c", Accept_Encoding=accepted)
    assert (http.headers.get("Content-Encoding") == "gzip") is zipped
    await http("GET", "/version", Accept_Encoding=accepted)
    assert "Content-Encoding" not in http.headers
