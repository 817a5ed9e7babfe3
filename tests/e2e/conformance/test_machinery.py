"""Lists in chunks, watches, tables, discovery: what every client builds on."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.e2e.conformance.api import Api, Object, Refused
from tests.e2e.conformance.objects import template

pytestmark = pytest.mark.e2e


def _configmap(api: Api, ns: str, name: str, **labels: str) -> Object:
    body = {"metadata": {"name": name, "labels": labels}, "data": {"mutation": "0"}}
    made: Object = api.create(f"/api/v1/namespaces/{ns}/configmaps", body)
    return made


def _mutate(api: Api, ns: str, name: str, value: int, **labels: str) -> Object:
    patch = {"data": {"mutation": str(value)}, "metadata": {"labels": labels}}
    changed: Object = api.patch(f"/api/v1/namespaces/{ns}/configmaps/{name}", patch)
    return changed


def test_lists_in_chunks(api: Api, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/podtemplates"
    names = [f"template-{number:04d}" for number in range(40)]
    for name in names:
        api.create(path, {"metadata": {"name": name}, "template": template()})
    first = api.get(path, limit="17")
    version = first["metadata"]["resourceVersion"]
    found, chunk, left = first["items"], first, 40 - 17
    while True:
        assert chunk["metadata"]["resourceVersion"] == version
        assert chunk["metadata"].get("remainingItemCount", 0) == max(left, 0)
        if not chunk["metadata"].get("continue"):
            break
        api.create(path, {"metadata": {"generateName": "template-later-"}, "template": template()})
        chunk = api.get(path, limit="17", **{"continue": chunk["metadata"]["continue"]})
        assert len(chunk["items"]) <= 17
        found = found + chunk["items"]
        left -= 17
    assert [o["metadata"]["name"] for o in found] == names
    whole = api.get(path)
    assert "continue" not in whole["metadata"] and len(whole["items"]) == 42


def test_three_watches_see_what_matches_their_selectors(api: Api, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/configmaps"
    version = api.get(path)["metadata"]["resourceVersion"]

    def seen(selector: str) -> list[tuple[str, str, str]]:
        events = []
        for type_, obj in api.watch(path, resourceVersion=version, labelSelector=selector, seconds=1):
            events.append((type_, obj["metadata"]["name"], obj["data"]["mutation"]))
        return events

    with ThreadPoolExecutor(3) as pool:
        watches = [pool.submit(seen, selector) for selector in ("watch=a", "watch=b", "watch in (a,b)")]
        _configmap(api, ns, "a", watch="a")
        _mutate(api, ns, "a", 1)
        _mutate(api, ns, "a", 2)
        api.delete(f"{path}/a")
        _configmap(api, ns, "b", watch="b")
        api.delete(f"{path}/b")
        first, second, both = (watch.result() for watch in watches)
    assert first == [("ADDED", "a", "0"), ("MODIFIED", "a", "1"), ("MODIFIED", "a", "2"), ("DELETED", "a", "2")]
    assert second == [("ADDED", "b", "0"), ("DELETED", "b", "0")]
    assert both == first + second


def test_a_watch_begins_at_any_version_and_goes_on_from_the_last_it_saw(api: Api, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/configmaps"
    _configmap(api, ns, "a", watch="yes")
    first = _mutate(api, ns, "a", 1)
    _mutate(api, ns, "a", 2)
    api.delete(f"{path}/a")
    version = first["metadata"]["resourceVersion"]
    types = []
    for type_, obj in api.watch(path, resourceVersion=version, labelSelector="watch=yes"):
        types.append((type_, obj["data"]["mutation"]))
        version = obj["metadata"]["resourceVersion"]
        if len(types) == 2:
            break
    assert types == [("MODIFIED", "2"), ("DELETED", "2")]
    _configmap(api, ns, "a", watch="yes")
    for type_, obj in api.watch(path, resourceVersion=version, labelSelector="watch=yes"):
        assert (type_, obj["data"]["mutation"]) == ("ADDED", "0")
        break


def test_an_object_that_stops_matching_is_deleted_for_the_watch(api: Api, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/configmaps"
    version = _configmap(api, ns, "a", watch="yes")["metadata"]["resourceVersion"]
    _mutate(api, ns, "a", 1)
    _mutate(api, ns, "a", 2, watch="no")
    _mutate(api, ns, "a", 3)
    _mutate(api, ns, "a", 4, watch="yes")
    api.delete(f"{path}/a")
    events = []
    for type_, obj in api.watch(path, resourceVersion=version, labelSelector="watch=yes"):
        events.append((type_, obj["data"]["mutation"]))
        if len(events) == 4:
            break
    assert events == [("MODIFIED", "1"), ("DELETED", "1"), ("ADDED", "4"), ("DELETED", "4")]


def test_watches_agree_on_the_order(api: Api, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/configmaps"
    version = api.get(path)["metadata"]["resourceVersion"]
    for number in range(10):
        _configmap(api, ns, f"o-{number % 5}-{number}", order="yes")
        _mutate(api, ns, f"o-{number % 5}-{number}", number + 1)
        if number % 2:
            api.delete(f"{path}/o-{number % 5}-{number}")

    def versions(since: str, count: int) -> list[str]:
        found = []
        for _, obj in api.watch(path, resourceVersion=since, labelSelector="order=yes"):
            found.append(obj["metadata"]["resourceVersion"])
            if len(found) == count:
                break
        return found

    all_ = versions(version, 25)
    assert all_ == sorted(all_, key=int)
    for start in range(0, 24, 5):
        assert versions(all_[start], 24 - start) == all_[start + 1 :]


def test_a_watch_sends_bookmarks_when_asked(api: Api, ns: str) -> None:
    path = f"/api/v1/namespaces/{ns}/configmaps"
    params = {"allowWatchBookmarks": "true", "sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    _configmap(api, ns, "a")
    types = []
    for type_, obj in api.watch(path, seconds=20, **params):
        types.append(type_)
        if type_ == "BOOKMARK":
            assert obj["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            break
    assert set(types[:-1]) == {"ADDED"}


def test_tables_of_resources_and_406_where_there_is_none(api: Api) -> None:
    table = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    found = json.loads(api.raw("GET", "/api/v1/nodes", headers=table).body)
    assert found["kind"] == "Table" and found["columnDefinitions"][0]["name"] == "Name" and found["rows"][0]["cells"]
    body = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    answer = api.raw("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", body, headers=table)
    assert (answer.code, answer.object["reason"]) == (406, "NotAcceptable")


def test_discovery(api: Api) -> None:
    for group in api.get("/apis")["groups"]:
        assert group["preferredVersion"] in group["versions"]
        for version in group["versions"]:
            found = api.get(f"/apis/{version['groupVersion']}")
            assert found["groupVersion"] == version["groupVersion"] and found["resources"], version
        assert api.get(f"/apis/{group['name']}")["preferredVersion"] == group["preferredVersion"]
    version = api.get("/version")
    assert version["major"].isdigit() and version["minor"].isdigit()


@pytest.mark.parametrize("root", ["/api", "/apis"])
def test_aggregated_discovery(api: Api, root: str) -> None:
    for form in ("v2", "v2beta1"):
        accept = f"application/json;g=apidiscovery.k8s.io;v={form};as=APIGroupDiscoveryList"
        answer = api.raw("GET", root, headers={"Accept": f"{accept},application/json"})
        if form == "v2":
            assert answer.headers["content-type"] == accept
            assert (answer.object["kind"], answer.object["apiVersion"]) == (
                "APIGroupDiscoveryList",
                "apidiscovery.k8s.io/v2",
            )
            names = {r["resource"] for g in answer.object["items"] for v in g["versions"] for r in v["resources"]}
            assert names >= ({"pods", "configmaps"} if root == "/api" else {"deployments", "customresourcedefinitions"})
    assert api.get(root)["kind"] in ("APIVersions", "APIGroupList")


_UNKNOWN = b"""{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"%s},"spec":{"unknown":1,"paused":true,
"paused":false,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},
"spec":{"containers":[{"name":"c","image":"i"}]}}}}"""


def test_unknown_and_duplicate_fields(api: Api, ns: str) -> None:
    path = f"/apis/apps/v1/namespaces/{ns}/deployments"
    with pytest.raises(Refused) as strict:
        api.call("POST", path, _UNKNOWN % b"", fieldValidation="Strict")
    assert strict.value.code == 400
    assert 'strict decoding error: unknown field "spec.unknown", duplicate field "spec.paused"' in str(
        strict.value
    ) or ('duplicate field "spec.paused", unknown field "spec.unknown"' in str(strict.value))
    warned = api.raw("POST", path, _UNKNOWN % b"", fieldValidation="Warn")
    assert warned.code == 201 and 'unknown field \\"spec.unknown\\"' in warned.headers["warning"]
    assert "warning" not in api.raw("PUT", f"{path}/d", _UNKNOWN % b"", fieldValidation="Ignore").headers
    with pytest.raises(Refused) as meta:
        api.call("POST", path, _UNKNOWN % b',"unknownMeta":"x"', fieldValidation="Strict")
    assert 'unknown field "metadata.unknownMeta"' in str(meta.value)
    with pytest.raises(Refused) as patched:
        api.patch(f"{path}/d", {"metadata": {"unknownMeta": "x"}, "spec": {"foo": 1}}, fieldValidation="Strict")
    assert 'unknown field "spec.foo"' in str(patched.value)


def test_bad_versions_and_continue_tokens(api: Api) -> None:
    with pytest.raises(Refused) as old:
        api.get("/api/v1/configmaps", limit="1", **{"continue": "nonsense"})
    assert old.value.code == 400
    with pytest.raises(Refused) as future:
        api.get("/api/v1/configmaps", resourceVersion="99999999999")
    assert future.value.code == 504
