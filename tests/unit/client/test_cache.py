from collections.abc import Iterable

from wherry.api.meta import Object
from wherry.client.cache import Indexer


def pod(name: str, node: str, version: int = 1) -> Object:
    return {"metadata": {"name": name, "namespace": "ns", "resourceVersion": str(version)}, "spec": {"nodeName": node}}


def nodes(found: Object) -> Iterable[str]:
    return (found["spec"]["nodeName"],)


def names(indexer: Indexer, node: str) -> list[tuple[str, str]]:
    return [(o["metadata"]["name"], o["metadata"]["resourceVersion"]) for o in indexer.by_index("node", node)]


def test_an_index_holds_the_newest_object_under_its_present_values() -> None:
    indexer = Indexer()
    indexer.put(pod("a", "n1"))
    indexer.add_index("node", nodes)
    indexer.put(pod("b", "n1"))
    indexer.put(pod("a", "n1", 2))
    assert names(indexer, "n1") == [("a", "2"), ("b", "1")]
    indexer.put(pod("a", "n2", 3))
    assert names(indexer, "n1") == [("b", "1")] and names(indexer, "n2") == [("a", "3")]
    indexer.remove("ns/a")
    indexer.remove("ns/b")
    assert names(indexer, "n1") == names(indexer, "n2") == []
