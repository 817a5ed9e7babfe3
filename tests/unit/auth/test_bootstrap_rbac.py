import pytest

from wherry.api import meta
from wherry.api.resources import CLUSTERROLES, TABLE
from wherry.apiserver.bootstrap import rbac
from wherry.apiserver.bootstrap.defaults import rbac_objects


class RecordingClient:
    def __init__(self, reader):
        self.reader, self.calls = reader, []

    async def create(self, resource, obj):
        self.calls.append(("create", obj["metadata"]["name"]))
        return self.reader.put(resource, obj)

    async def update(self, resource, obj):
        self.calls.append(("update", obj["metadata"]["name"]))
        return self.reader.put(resource, obj)

    async def delete(self, resource, name, namespace, *, options):
        self.calls.append(("delete", name))
        self.reader.remove(resource, namespace or "", name)


@pytest.fixture
def client(reader):
    return RecordingClient(reader)


async def test_an_empty_cluster_gets_everything_and_a_whole_one_nothing(reader, client):
    await rbac.reconcile(reader, client)
    assert len(client.calls) == len(rbac_objects()) > 100
    for default in rbac_objects():
        resource = TABLE.for_object(default["apiVersion"], default["kind"])
        assert reader.get(resource, default["metadata"].get("namespace"), default["metadata"]["name"]) == default
    client.calls.clear()
    await rbac.reconcile(reader, client)
    assert client.calls == []


async def test_what_was_lost_comes_back_and_what_was_added_stays(reader, client):
    await rbac.reconcile(reader, client)
    client.calls.clear()
    added = {"verbs": ["get"], "apiGroups": ["x"], "resources": ["y"]}
    role = meta.copy(reader.get(CLUSTERROLES, None, "system:node"))
    lost = role["rules"].pop(0)
    reader.put(CLUSTERROLES, {**role, "rules": [*role["rules"], added]})
    await rbac.reconcile(reader, client)
    assert client.calls == [("update", "system:node")]
    mended = reader.get(CLUSTERROLES, None, "system:node")["rules"]
    assert added in mended and not rbac.rules.missing(mended, [lost])


async def test_a_role_that_is_not_to_be_updated_stays_as_it_is(reader, client):
    await rbac.reconcile(reader, client)
    role = meta.copy(reader.get(CLUSTERROLES, None, "system:node"))
    role["rules"], role["metadata"]["annotations"] = [], {rbac.AUTOUPDATE: "false"}
    reader.put(CLUSTERROLES, role)
    client.calls.clear()
    await rbac.reconcile(reader, client)
    assert client.calls == []


async def test_a_binding_with_another_role_is_made_anew(reader, client):
    await rbac.reconcile(reader, client)
    default = next(o for o in rbac_objects() if o["kind"] == "ClusterRoleBinding")
    resource = TABLE.for_object(default["apiVersion"], default["kind"])
    taken = meta.copy(default)
    taken["roleRef"]["name"], taken["metadata"]["uid"] = "other", "u"
    reader.put(resource, taken)
    client.calls.clear()
    await rbac.reconcile(reader, client)
    name = default["metadata"]["name"]
    assert client.calls == [("delete", name), ("create", name)]
    assert reader.get(resource, None, name)["roleRef"] == default["roleRef"]
