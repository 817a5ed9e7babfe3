"""What requests may ask for besides an object: forms, deadlines, methods and paths."""

import asyncio
import json
from typing import Any

import pytest

from tests.component.apiserver.conftest import Http
from wherry.apiserver import names
from wherry.apiserver.server import ApiServer

CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
AGGREGATED = "application/json;as=APIGroupDiscoveryList;g=apidiscovery.k8s.io"
THING = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": {"a": "1"}}


async def raw(server: ApiServer, *lines: str) -> tuple[int, str]:
    """Send the lines of a head as they are, for a client would make them good; return the status and what is said."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    sent = [*lines, "Host: h", "Authorization: Bearer secret"]
    writer.write(("\r\n".join(sent) + "\r\n\r\n").encode())
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(int(line[16:]) for line in head.splitlines() if line.startswith(b"Content-Length: "))
    body = (await reader.readexactly(length)).decode()
    writer.close()
    await writer.wait_closed()
    said = json.loads(body)["message"] if body.startswith("{") else body
    return int(head.split()[1]), said


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
async def test_people_get_indented_json_and_programs_one_line_with_its_end(
    http: Http, query: str, agent: str, indented: bool
) -> None:
    await http("POST", CONFIGMAPS, THING)
    for path in (f"{CONFIGMAPS}/c", CONFIGMAPS, f"{CONFIGMAPS}/none", "/apis/apps/v1"):
        await http("GET", path + query, User_Agent=agent)
        lines = http.body.split(b"\n")
        assert len(lines) > 2 if indented else lines[1:] == [b""], path
        assert http.body.endswith(b"}") is indented, path


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


@pytest.mark.parametrize(
    ("method", "path", "body", "options"),
    [
        ("POST", CONFIGMAPS, THING, "CreateOptions"),
        ("PUT", f"{CONFIGMAPS}/c", THING, "UpdateOptions"),
        ("PATCH", f"{CONFIGMAPS}/c", {}, "PatchOptions"),
        ("DELETE", f"{CONFIGMAPS}/c", None, "DeleteOptions"),
        ("DELETE", CONFIGMAPS, None, "DeleteOptions"),
        ("POST", "/api/v1/namespaces/default/pods/p/eviction", {}, "CreateOptions"),
        ("POST", "/api/v1/namespaces/default/pods/p/binding", {}, "CreateOptions"),
        ("PUT", "/apis/apps/v1/namespaces/default/deployments/d/scale", {}, "UpdateOptions"),
        ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {}, "CreateOptions"),
    ],
)
async def test_a_dry_run_of_other_values_is_refused_by_every_write(
    http: Http, method: str, path: str, body: object, options: str
) -> None:
    media = "application/merge-patch+json" if method == "PATCH" else "application/json"
    for query, shown in (("x", '["x"]'), ("All&dryRun=x", '["All","x"]'), ("", '[""]')):
        code, status = await http(method, f"{path}?dryRun={query}", body, Content_Type=media)
        expected = f'{options}.meta.k8s.io "" is invalid: dryRun: Unsupported value: {shown}: supported values: "All"'
        assert (code, status["message"]) == (422, expected)


async def test_options_that_are_wrong_are_told_together(http: Http) -> None:
    query = "?fieldManager=a%00&dryRun=x&fieldValidation=y&force=1"
    merge = "application/merge-patch+json"
    _, status = await http("PATCH", f"{CONFIGMAPS}/c{query}", {}, Content_Type=merge)
    fields = [cause["field"] for cause in status["details"]["causes"]]
    assert fields == ["force", "fieldManager", "dryRun", "fieldValidation"]
    _, status = await http("DELETE", f"{CONFIGMAPS}/c?dryRun=x&propagationPolicy=")
    assert [cause["field"] for cause in status["details"]["causes"]] == ["propagationPolicy", "dryRun"]


async def test_the_media_type_is_looked_at_before_the_options(http: Http) -> None:
    assert (await http("POST", f"{CONFIGMAPS}?dryRun=x", THING, Content_Type="text/plain"))[0] == 415
    assert (await http("PATCH", f"{CONFIGMAPS}/c?dryRun=x", {}, Content_Type="Application/Merge-Patch+JSON"))[0] == 415
    assert (await http("POST", CONFIGMAPS, THING, Content_Type="Application/JSON; charset=utf-8"))[0] == 201


@pytest.mark.parametrize("name", ["limit", "timeoutSeconds"])
async def test_an_empty_number_is_no_number(http: Http, name: str) -> None:
    code, status = await http("GET", f"{CONFIGMAPS}?{name}=")
    assert (code, status["message"]) == (400, 'strconv.ParseInt: parsing "": invalid syntax')


async def test_checks_are_left_out_one_by_one(http: Http) -> None:
    _, text = await http("GET", "/livez?verbose&exclude=etcd&exclude=log&exclude=nope&exclude=a,b")
    lines = text.splitlines()
    assert "[+]etcd excluded: ok" in lines and "[+]log excluded: ok" in lines and "[+]ping ok" in lines
    assert lines[-2] == 'warn: some health checks cannot be excluded: no matches for "a,b","nope"'
    assert (await http("GET", "/livez/"))[0] == 404


@pytest.mark.parametrize("version", ["v2", "v3"])
async def test_openapi_comes_in_the_protobuf_that_clients_ask_for(http: Http, version: str) -> None:
    asked = f"application/com.github.proto-openapi.spec.{version}@v1.0+protobuf"
    path = "/openapi/v2" if version == "v2" else "/openapi/v3/apis/apps/v1"
    assert (await http("GET", path, Accept=asked))[0] == 200
    assert http.headers["Content-Type"] == asked.replace("@", ".")
    assert (await http("GET", path, Accept="text/html"))[0] == 406


@pytest.mark.parametrize(("coding", "given"), [("gzip", "gzip"), ("br, gzip;q=0.5", "gzip"), ("gzip;q=0", None)])
async def test_the_v2_document_is_compressed_for_who_takes_it_under_one_etag(
    http: Http, coding: str, given: str | None
) -> None:
    code, document = await http("GET", "/openapi/v2", Accept_Encoding=coding)
    assert code == 200 and document["swagger"] == "2.0"
    assert http.headers.get("Content-Encoding") == given and http.headers["Vary"] == "Accept-Encoding, Accept"
    tag = http.headers["ETag"]
    assert (await http("GET", "/openapi/v2", Accept_Encoding="identity"))[1] == document
    assert http.headers["ETag"] == tag and "Content-Encoding" not in http.headers
    assert (await http("GET", "/openapi/v2", Accept_Encoding=coding, If_None_Match=tag))[0] == 304
    assert "Content-Encoding" not in http.headers


async def test_openapi_documents_are_kept_by_their_hash(http: Http) -> None:
    _, index = await http("GET", "/openapi/v3", Accept="text/html")
    index = json.loads(index)
    url = index["paths"]["apis/apps/v1"]["serverRelativeURL"]
    await http("GET", url)
    tag = http.headers["ETag"]
    assert http.headers["Cache-Control"] == "public, immutable" and "Expires" in http.headers
    assert url.endswith(f"hash={tag[1:-1]}")
    assert (await http("GET", url, If_None_Match=f'"x", W/{tag}'))[0] == 304
    code, document = await http("GET", "/openapi/v3/apis/apps/v1?hash=OLD")
    assert code == 200 and "paths" in document  # by way of the right address
    await http("GET", "/openapi/v3/apis/apps/v1")
    assert "immutable" not in http.headers["Cache-Control"]


async def test_health_checks_are_counted_by_their_results(http: Http) -> None:
    await http("GET", "/livez?exclude=log")
    _, text = await http("GET", "/metrics/slis")
    assert 'kubernetes_healthcheck{name="ping",type="livez"} 1' in text
    assert 'kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 1' in text
    assert 'name="log"' not in text


async def test_the_priority_levels_are_shown_to_people(http: Http) -> None:
    await http("GET", CONFIGMAPS)
    _, text = await http("GET", "/debug/api_priority_and_fairness/dump_priority_levels")
    rows = [[cell.strip(",") for cell in line.split()] for line in text.splitlines()]
    assert rows[0][:3] == ["PriorityLevelName", "ActiveQueues", "IsIdle"]
    assert ["exempt", *["<none>"] * 9] in rows and "global-default" in {row[0] for row in rows}
    assert (await http("GET", "/metrics/slis", Authorization="Bearer plain"))[0] == 403


async def test_names_are_generated_again_until_one_is_free(http: Http, monkeypatch: pytest.MonkeyPatch) -> None:
    made = iter("aab" + "a" * 8)
    monkeypatch.setattr(names, "generate", lambda base: f"{base}{next(made)}")
    body = {**THING, "metadata": {"generateName": "c-"}}
    assert (await http("POST", CONFIGMAPS, body))[1]["metadata"]["name"] == "c-a"
    assert (await http("POST", CONFIGMAPS, body))[1]["metadata"]["name"] == "c-b"
    code, status = await http("POST", CONFIGMAPS, body)
    expected = 'configmaps "c-a" already exists, the server was not able to generate a unique name for the object'
    assert (code, status["reason"], status["message"]) == (409, "AlreadyExists", expected)
    assert status["details"] == {"name": "c-a", "kind": "configmaps", "retryAfterSeconds": 1}
    assert http.headers["Retry-After"] == "1"


async def test_a_collection_is_not_deleted_by_selectors_that_mean_nothing(http: Http) -> None:
    code, status = await http("DELETE", f"{CONFIGMAPS}?resourceVersionMatch=Exact&dryRun=x")
    assert (code, status["details"]["kind"]) == (422, "ListOptions")


_MATCH = "resourceVersionMatch"
_ALONE = f"{_MATCH} is forbidden for watch unless sendInitialEvents is provided"


@pytest.mark.parametrize(
    ("query", "causes"),
    [
        (f"resourceVersion=0&{_MATCH}=Exact", [f'Forbidden: {_MATCH} "exact" is forbidden for resourceVersion "0"']),
        (
            f"watch=1&resourceVersion=1&{_MATCH}=Exact",
            [f"Forbidden: {_ALONE}", 'Unsupported value: "Exact": supported values: "NotOlderThan"'],
        ),
        (f"watch=1&resourceVersion=1&{_MATCH}=NotOlderThan", [f"Forbidden: {_ALONE}"]),
        ("watch=1&continue=x", [f"Forbidden: {_MATCH} is forbidden when continue is provided"]),
    ],
)
async def test_list_options_that_mean_nothing_are_refused(http: Http, query: str, causes: list[str]) -> None:
    code, status = await http("GET", f"{CONFIGMAPS}?{query}")
    assert (code, [cause["message"] for cause in status["details"]["causes"]]) == (422, causes)


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (f"{CONFIGMAPS}?resourceVersion=x", 400),
        (f"{CONFIGMAPS}?watch=1&resourceVersion=x", 500),
        (f"{CONFIGMAPS}/c?resourceVersion=x", 500),
        ("/api/v1/namespaces/default/events/c?resourceVersion=x", 400),
        ("/api/v1/namespaces/default/events?watch=1&resourceVersion=x", 500),
    ],
)
async def test_only_who_reads_the_store_calls_a_malformed_version_a_bad_request(
    http: Http, path: str, code: int
) -> None:
    wrong = 'resourceVersion: Invalid value: "x": strconv.ParseUint: parsing "x": invalid syntax'
    found, status = await http("GET", path)
    assert (found, status.get("reason")) == (code, "BadRequest" if code == 400 else None)
    assert status["message"] == (f"invalid resource version: {wrong}" if code == 400 else wrong)


async def test_an_apply_of_a_union_that_is_none_of_its_members_is_refused(http: Http) -> None:
    kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
    version = {"name": "v1", "schema": {"openAPIV3Schema": {"dependencies": {"a": 1}}}}
    body = {**kind, "metadata": {"name": "x.example.com"}, "spec": {"versions": [version]}}
    path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/x.example.com?fieldManager=m"
    code, status = await http("PATCH", path, body, Content_Type="application/apply-patch+yaml")
    assert (code, status["reason"]) == (400, "BadRequest")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("FOO", CONFIGMAPS, 405),
        ("FOO", "/apis/apps/v1", 405),
        ("FOO", "/apis/apps", 200),
        ("FOO", "/apis", 200),
        ("HEAD", "/apis", 200),
        ("HEAD", "/version", 405),
        ("POST", "/openid/v1/jwks", 405),
        ("POST", "/version/x", 404),
        ("POST", "/api/v2", 404),
        ("FOO", "/nothing", 404),
        ("POST", "/healthz", 200),
        ("GET", "/openid/v1/jwks/", 200),
        ("GET", "/openapi/v2/", 404),
        ("GET", "/openapi/v3/apis/none", 404),
    ],
)
async def test_methods_count_where_upstream_routes_by_them(http: Http, method: str, path: str, code: int) -> None:
    found, answer = await http(method, path)
    assert found == code
    if code == 405 and method != "HEAD":
        assert answer["message"] == "the server does not allow this method on the requested resource"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (f"{CONFIGMAPS}/%2e%2e", "Name parameter invalid: \"..\": may not be '..'"),
        (f"{CONFIGMAPS}/a%25b", "Name parameter invalid: \"a%b\": may not contain '%'"),
        ("/api/v1/namespaces/default/pods/%2e/log", "Name parameter invalid: \".\": may not be '.'"),
    ],
)
async def test_names_that_are_no_segment_of_a_path_are_refused(server: ApiServer, path: str, message: str) -> None:
    assert await raw(server, f"GET {path} HTTP/1.1", "Connection: close") == (400, message)


async def test_what_is_no_http_is_refused_in_gos_words(server: ApiServer) -> None:
    assert await raw(server, "GARBAGE") == (400, "400 Bad Request")
    assert await raw(server, f"GET {CONFIGMAPS}/%zz HTTP/1.1", "Connection: close") == (400, "400 Bad Request")


@pytest.mark.parametrize(
    ("path", "accept", "code", "media"),
    [
        ("/apis", "application/vnd.kubernetes.protobuf", 200, "application/vnd.kubernetes.protobuf"),
        ("/api/v1", "application/yaml", 200, "application/yaml"),
        ("/apis", "text/html", 406, "application/json"),
        ("/version", "text/html", 406, "application/json"),
        ("/openid/v1/jwks", "application/json", 406, "application/json"),
        ("/apis", f"{AGGREGATED};v=v2beta1,application/json", 200, "application/json"),
        ("/apis", f"{AGGREGATED};v=v2beta1", 406, "application/json"),
        ("/apis", f"{AGGREGATED};v=v2", 200, "application/json"),
    ],
)
async def test_discovery_comes_in_the_form_that_is_asked_for(
    http: Http, path: str, accept: str, code: int, media: str
) -> None:
    assert (await http("GET", path, Accept=accept))[0] == code
    assert http.headers["Content-Type"].partition(";")[0] == media
    assert ("as=APIGroupDiscoveryList" in http.headers["Content-Type"]) is accept.endswith("v=v2")


async def test_what_is_stored_has_a_storage_version(http: Http) -> None:
    _, found = await http("GET", "/api/v1")
    by_name = {row["name"]: row for row in found["resources"]}
    stored = {name for name, row in by_name.items() if "storageVersionHash" in row}
    assert stored == {name for name in by_name if "/" not in name} - {"bindings", "componentstatuses"}


async def test_metrics_tell_what_is_left_of_ranges_and_seats_and_which_apis_are_missing(http: Http) -> None:
    service = {"metadata": {"name": "s"}, "spec": {"type": "NodePort", "ports": [{"port": 80}]}}
    assert (await http("POST", "/api/v1/namespaces/default/services", service))[0] == 201
    spec = {"group": "far.example", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}
    spec["service"] = {"namespace": "default", "name": "none"}
    apis = "/apis/apiregistration.k8s.io/v1/apiservices"
    assert (await http("POST", apis, {"metadata": {"name": "v1.far.example"}, "spec": spec}))[0] == 201
    lines = (await http("GET", "/metrics"))[1].splitlines()
    allocator = "kube_apiserver_clusterip_allocator"
    values = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines if line[0] != "#")}
    taken, free = (values[f'{allocator}_{what}_ips{{cidr="10.96.0.0/16"}}'] for what in ("allocated", "available"))
    assert taken >= 1 and taken + free == (1 << 16) - 2
    assert values["kube_apiserver_nodeport_allocator_allocated_ports"] == 1
    assert values["kube_apiserver_nodeport_allocator_available_ports"] == 2767
    assert values['aggregator_unavailable_apiservice{name="v1.far.example"}'] == 1
    level = 'apiserver_flowcontrol_upper_limit_seats{priority_level="catch-all"}'
    assert values[level] == 600


async def test_metrics_can_be_reset(http: Http) -> None:
    counted = 'apiserver_request_total{code="200",component="apiserver",dry_run="",group="",resource="namespaces"'
    await http("GET", "/api/v1/namespaces")
    assert counted in (await http("GET", "/metrics"))[1]
    assert (await http("DELETE", "/metrics", Authorization="Bearer plain"))[0] == 403
    assert await http("DELETE", "/metrics") == (200, "metrics reset\n")
    assert counted not in (await http("GET", "/metrics"))[1]


@pytest.mark.parametrize(
    ("patch", "shown", "said"),
    [
        ({"metadata": {"labels": "no"}}, "map[metadata:map[labels:no]]", "cannot restore map from string"),
        ({"data": ["a", 1]}, "map[data:[a 1]]", "cannot restore map from slice"),
        ({"metadata": "no"}, "map[metadata:no]", "cannot restore struct from: string"),
        ({"immutable": "yes"}, "map[immutable:yes]", "cannot convert string to bool"),
    ],
)  # fmt: skip
async def test_a_strategic_patch_of_wrong_types_is_told_as_the_go_map_that_it_is(
    http: Http, patch: dict[str, Any], shown: str, said: str
) -> None:
    await http("POST", CONFIGMAPS, THING)
    strategic, merge = "application/strategic-merge-patch+json", "application/merge-patch+json"
    code, status = await http("PATCH", f"{CONFIGMAPS}/c", patch, Content_Type=strategic)
    assert (code, status["message"]) == (422, f' "" is invalid: patch: Invalid value: "{shown}": {said}')
    code, status = await http("PATCH", f"{CONFIGMAPS}/c", patch, Content_Type=merge)
    assert code == 422 and "json: cannot unmarshal" in status["message"]


_FORMS = "application/json, application/yaml, application/vnd.kubernetes.protobuf"
_STREAMS = "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
_ROUTED = "406: Not Acceptable\n\nAvailable representations: "
_NEGOTIATED = "only the following media types are accepted: "


@pytest.mark.parametrize(
    ("path", "accept", "message"),
    [
        (CONFIGMAPS, "text/html", f"{_ROUTED}{_FORMS}, {_STREAMS}"),
        (f"{CONFIGMAPS}?watch=true", "text/html", f"{_ROUTED}{_FORMS}, {_STREAMS}"),
        (f"{CONFIGMAPS}/c", "text/html", f"{_ROUTED}{_FORMS}"),
        (f"{CONFIGMAPS}/c", "application/json;stream=other", f"{_NEGOTIATED}{_FORMS}"),
        (CONFIGMAPS, "application/yaml;stream=watch", f"{_NEGOTIATED}{_FORMS}"),
        ("/api/v1/namespaces/default/pods/p/log", "text/html", f"{_ROUTED}text/plain, {_FORMS}"),
        ("/api/v1/namespaces/default/pods/p/log", "text/plain", f"{_NEGOTIATED}{_FORMS}"),
    ],
)
async def test_what_is_not_acceptable_is_told_with_what_the_route_has(
    http: Http, path: str, accept: str, message: str
) -> None:
    code, answer = await http("GET", path, Accept=accept)
    assert (code, answer["message"]) == (406, message)


@pytest.mark.parametrize(
    ("patch", "said"),
    [
        ({"kind": "Secret"}, "converting (v1.Secret) to (core.ConfigMap): unknown conversion"),
        ({"kind": "Zork"}, 'no kind "Zork" is registered for version "v1" in scheme'),
        ({"kind": ["a"]}, "couldn't get version/kind; json parse error: json: cannot unmarshal array into Go struct"),
    ],
)
async def test_only_a_strategic_patch_may_say_another_kind_and_says_it_in_vain(
    http: Http, patch: dict[str, Any], said: str
) -> None:
    await http("POST", CONFIGMAPS, THING)
    code, status = await http("PATCH", f"{CONFIGMAPS}/c", patch, Content_Type="application/merge-patch+json")
    assert code == 422 and said in status["message"]
    if isinstance(patch["kind"], str):
        strategic = "application/strategic-merge-patch+json"
        code, status = await http("PATCH", f"{CONFIGMAPS}/c", patch, Content_Type=strategic)
        assert (code, status["kind"]) == (200, "ConfigMap")
