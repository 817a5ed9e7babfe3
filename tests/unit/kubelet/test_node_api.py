"""Who may ask the node what."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from wherry.client.client import Client
from wherry.client.fake import FakeTransport
from wherry.kubelet.server.app import container_status, last_terminated
from wherry.kubelet.server.auth import Gate, of_certificate, subresources
from wherry.util import virtualtime


class _Reviewer(Client):
    """Knows one token, whose user may read metrics."""

    def __init__(self) -> None:
        super().__init__(FakeTransport())
        self.asked: list[str] = []

    async def create(self, resource: Any, obj: Mapping[str, Any], *args: Any, **options: Any) -> Any:
        self.asked.append(obj["kind"])
        if obj["kind"] == "TokenReview":
            known = obj["spec"]["token"] == "good"
            return {"status": {"authenticated": known, "user": {"username": "scraper", "groups": ["g"]}}}
        about = obj["spec"]["resourceAttributes"]
        allowed = (about["verb"], about["subresource"], about["name"]) == ("get", "metrics", "n")
        return {"status": {"allowed": allowed and obj["spec"]["user"] == "scraper"}}


class _Plain(asyncio.Transport):
    """A connection without a certificate, to the socket `path` where there is one."""

    def __init__(self, path: str = "") -> None:
        super().__init__({"sockname": path or ("127.0.0.1", 10250)})


async def _status(gate: Gate, path: str, token: str = "", socket: str = "") -> int:
    async def handler(request: web.Request) -> web.StreamResponse:
        return web.Response()

    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = make_mocked_request("GET", path, headers=headers, transport=_Plain(socket))
        return (await gate.middleware(request, handler)).status
    except web.HTTPException as error:
        return error.status


def test_a_token_is_reviewed_once_and_opens_what_its_user_may_see() -> None:
    async def main() -> None:
        reviewer = _Reviewer()
        gate = Gate(reviewer, "n")
        assert await _status(gate, "/metrics/cadvisor") == 401
        assert await _status(gate, "/metrics/cadvisor", "bad") == 401
        assert await _status(gate, "/exec/a/b/c", socket="/run/kubelet.sock") == 200
        assert await _status(gate, "/metrics/cadvisor", "good") == 200
        assert await _status(gate, "/metrics", "good") == 200
        assert await _status(gate, "/run/a/b/c", "good") == 403
        assert reviewer.asked == ["TokenReview", "TokenReview", "SubjectAccessReview", "SubjectAccessReview"]

    virtualtime.run(main())


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("/metrics/cadvisor", ("metrics",)),
        ("/metricsandmore", ("proxy",)),
        ("/stats/summary", ("stats",)),
        ("/configz", ("configz", "proxy")),
        ("/pods", ("pods", "proxy")),
        ("/exec/a/b/c", ("proxy",)),
    ],
)
def test_each_path_needs_its_subresource_of_nodes(path: str, wanted: tuple[str, ...]) -> None:
    assert subresources(path) == wanted


def test_a_certificate_names_user_and_groups() -> None:
    subject = ((("organizationName", "system:masters"),), (("commonName", "admin"),))
    user = of_certificate({"subject": subject})
    assert user is not None and user.name == "admin" and "system:masters" in user.groups
    assert of_certificate({}) is None


@pytest.mark.parametrize(
    ("states", "ended"),
    [
        ({"state": {"waiting": {}}, "lastState": {"terminated": {"containerID": "crun://b"}}}, "b"),
        ({"state": {"running": {}}, "lastState": {"terminated": {"containerID": "crun://a"}}}, "a"),
        ({"state": {"terminated": {"containerID": "crun://b"}}, "lastState": {}}, ""),
    ],
)
def test_the_previous_log_is_of_the_container_that_the_last_state_names(states: dict[str, Any], ended: str) -> None:
    pod = {"status": {"initContainerStatuses": [{"name": "i"}], "containerStatuses": [{"name": "c", **states}]}}
    assert last_terminated(container_status(pod, "c")) == ended
    assert last_terminated(container_status(pod, "i")) == ""
    assert container_status(pod, "none") == {}
