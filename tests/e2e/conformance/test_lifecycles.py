"""Every resource's whole life: discovered, created, read, listed, watched, patched, updated, deleted one and all."""

import pytest

from tests.e2e.conformance.api import MERGE, Api, Object, Refused, resource
from tests.e2e.conformance.objects import OBJECTS, STATUSES, sample

pytestmark = pytest.mark.e2e
_STATUS_KEEPS_METADATA = frozenset(
    {
        "storage.k8s.io/v1/volumeattachments",
        "flowcontrol.apiserver.k8s.io/v1/flowschemas",
        "flowcontrol.apiserver.k8s.io/v1/prioritylevelconfigurations",
        "admissionregistration.k8s.io/v1/validatingadmissionpolicies",
        "apiregistration.k8s.io/v1/apiservices",
    }
)
"""Writing their status leaves annotations as they are."""


def _contains(actual: object, wanted: object) -> bool:
    if isinstance(wanted, dict):
        return isinstance(actual, dict) and all(_contains(actual.get(k), v) for k, v in wanted.items())
    if isinstance(wanted, list):
        return isinstance(actual, list) and all(any(_contains(a, w) for a in actual) for w in wanted)
    return actual == wanted


def _without_conflict(api: Api, path: str, change: Object) -> Object:
    """Read, change, write: again when somebody else wrote in between."""
    while True:
        found = api.get(path)
        for key, value in change.items():
            found[key] = {**found.get(key, {}), **value}
        try:
            return api.update(path, found)
        except Refused as refused:
            if refused.reason != "Conflict":
                raise


def _ends(api: Api, path: str) -> None:
    """Wait until an object is gone or on its way: some finalizers take ten seconds."""
    api.wait(path, lambda found: found is None or "deletionTimestamp" in found["metadata"])


@pytest.mark.parametrize("named", OBJECTS)
def test_life_of(named: str, api: Api, ns: str) -> None:
    kind = resource(named)
    collection, everywhere = kind.path(ns), kind.path()
    selector = f"e2e={ns}"
    begun = api.get(everywhere, labelSelector=selector)
    assert begun["items"] == [] and begun["kind"] == kind.list_kind
    version = begun["metadata"]["resourceVersion"]
    made = [api.create(collection, sample(named, number, ns)) for number in (1, 2, 3)]
    names = [obj["metadata"]["name"] for obj in made]
    one = kind.path(ns, names[0])

    assert all(obj["metadata"]["uid"] and obj["metadata"]["creationTimestamp"] for obj in made)
    assert (made[0]["apiVersion"], made[0]["kind"]) == (kind.api_version, kind.kind)
    assert api.get(one)["metadata"]["uid"] == made[0]["metadata"]["uid"]
    for path in {collection, everywhere}:
        assert sorted(o["metadata"]["name"] for o in api.get(path, labelSelector=selector)["items"]) == sorted(names)
    with pytest.raises(Refused) as again:
        api.create(collection, sample(named, 1, ns))
    assert (again.value.code, again.value.reason) == (409, "AlreadyExists")

    patched = api.patch(one, {"metadata": {"annotations": {"patched": "true"}, "labels": {"state": "patched"}}}, MERGE)
    assert patched["metadata"]["annotations"]["patched"] == "true"
    meta = {"annotations": {**patched["metadata"]["annotations"], "updated": "true"}}
    assert _without_conflict(api, one, {"metadata": meta})["metadata"]["annotations"]["updated"] == "true"
    assert [
        o["metadata"]["name"] for o in api.get(everywhere, labelSelector=f"{selector},state=patched")["items"]
    ] == names[:1]

    api.delete(one)
    _ends(api, one)
    for path in (collection, everywhere):
        seen: list[str] = []
        for type_, obj in api.watch(path, labelSelector=selector, resourceVersion=version):
            if obj["metadata"]["name"] == names[0]:
                seen.append("DELETED" if "deletionTimestamp" in obj["metadata"] else type_)
            if "DELETED" in (type_, *seen):
                break
        assert seen[0] == "ADDED" and seen[-1] == "DELETED" and seen.count("MODIFIED") >= 2, seen

    api.call("DELETE", collection, labelSelector=f"{selector},number=2")
    _ends(api, kind.path(ns, names[1]))
    assert "deletionTimestamp" not in api.get(kind.path(ns, names[2]))["metadata"]
    api.call("DELETE", collection, labelSelector=selector)
    _ends(api, kind.path(ns, names[2]))


@pytest.mark.parametrize("named", [named for named in STATUSES if named in OBJECTS])
def test_status_of(named: str, api: Api, ns: str) -> None:
    kind = resource(named)
    obj = api.create(kind.path(ns), sample(named, 4, ns))
    status = kind.path(ns, obj["metadata"]["name"], "status")
    assert api.get(status)["spec"] == obj["spec"]
    keeps = named in _STATUS_KEEPS_METADATA
    wanted = STATUSES[named]
    change = {"metadata": {"annotations": {"patchedstatus": "true"}}, "status": wanted}
    patched = api.patch(status, change, MERGE)
    assert keeps != ("patchedstatus" in patched["metadata"].get("annotations", {}))
    assert _contains(patched["status"], wanted), patched["status"]
    updated = _without_conflict(api, status, {"metadata": {"annotations": {"updatedstatus": "true"}}, "status": wanted})
    assert keeps != ("updatedstatus" in updated["metadata"].get("annotations", {}))
    assert _contains(updated["status"], wanted), updated["status"]
    assert updated["spec"] == obj["spec"]
    api.delete(kind.path(ns, obj["metadata"]["name"]))


@pytest.mark.parametrize("named", OBJECTS)
def test_discovery_of(named: str, api: Api) -> None:
    kind = resource(named)
    if kind.group:
        groups = {g["name"]: g for g in api.get("/apis")["groups"]}
        assert {"groupVersion": kind.api_version, "version": kind.version} in groups[kind.group]["versions"]
        versions = api.get(f"/apis/{kind.group}")["versions"]
        assert {"groupVersion": kind.api_version, "version": kind.version} in versions
    root = f"/apis/{kind.api_version}" if kind.group else "/api/v1"
    found = {r["name"]: r for r in api.get(root)["resources"]}
    verbs = {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}
    assert set(found[kind.plural]["verbs"]) == verbs
    if named in STATUSES:
        assert {"get", "patch", "update"} == set(found[f"{kind.plural}/status"]["verbs"])
