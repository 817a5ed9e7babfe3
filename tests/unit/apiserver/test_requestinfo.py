"""Paths taken apart."""

import pytest

from wherry.api.resources import TABLE
from wherry.apiserver.requestinfo import PathParser, verb_of


@pytest.mark.parametrize(
    ("path", "method", "expected"),
    [
        ("/api/v1/namespaces/n/pods/p/log", "GET", ("get", "pods", "n", "p", "log")),
        ("/api/v1/namespaces/n", "DELETE", ("delete", "namespaces", "n", "n", "")),
        ("/api/v1/namespaces/n/finalize", "PUT", ("update", "namespaces", "n", "n", "finalize")),
        ("/apis/apps/v1/deployments", "GET", ("list", "deployments", "", "", "")),
        ("/apis/apps/v1/namespaces/n/deployments", "DELETE", ("deletecollection", "deployments", "n", "", "")),
        ("/api/v1/watch/namespaces/n/pods/p", "GET", ("watch", "pods", "n", "p", "")),
    ],
)
def test_resource_paths(path: str, method: str, expected: tuple[str, ...]) -> None:
    info = PathParser(lambda: TABLE).parse(path)
    assert info.resource is not None
    found = (verb_of(method, info, watch=False), info.plural, info.namespace, info.name, info.subresource)
    assert found == expected


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1//pods",
        "/api/v1/things",
        "/api/v1/namespaces/n/nodes",
        "/api/v1/pods/p",
        "/api/v1/namespaces/n/pods/p/x",
    ],
)
def test_paths_of_nothing(path: str) -> None:
    assert PathParser(lambda: TABLE).parse(path).resource is None


def test_a_path_outside_the_api_is_no_resource() -> None:
    assert not PathParser(lambda: TABLE).parse("/healthz").is_resource
