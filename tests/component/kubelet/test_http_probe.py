"""Probes by HTTP against a real server."""

import asyncio

import pytest
from aiohttp import web

from tests.unit.kubelet.fakes import FakeRuntime
from wherry.kubelet.handlers import HttpCaller
from wherry.kubelet.probes.check import Checker, Outcome

_REDIRECTS = {"/away": (302, "http://0.0.0.0/"), "/loop": (307, "/loop"), "/near": (301, "/fine")}


async def _answer(request: web.Request) -> web.Response:
    status, location = _REDIRECTS.get(request.path, (200 if request.path == "/fine" else 500, ""))
    headers = {"Location": location} if location else {}
    return web.Response(status=status, text=f"this is {request.path}", headers=headers)


async def _probe(path: str) -> Outcome:
    runner = web.AppRunner(app := web.Application())
    app.add_routes([web.get("/{any:.*}", _answer)])
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    http = HttpCaller("kube-probe/1.36")
    try:
        action = {"httpGet": {"path": path, "port": runner.addresses[0][1]}}
        return await Checker(FakeRuntime(), http).check(action, {"name": "c"}, container_id="c", address="127.0.0.1")
    finally:
        await http.close()
        await runner.cleanup()


@pytest.mark.parametrize(
    ("path", "success", "said"),
    [
        ("/fine", True, "this is /fine"),
        ("/near", True, "this is /fine"),
        ("/broken", False, "HTTP probe failed with statuscode: 500"),
        ("/loop", False, "stopped after 10 redirects"),
    ],
)
def test_redirects_within_the_host_are_followed(path: str, success: bool, said: str) -> None:
    outcome = asyncio.run(_probe(path))
    assert (outcome.success, outcome.warning) == (success, "")
    assert outcome.output.endswith(said)


def test_a_redirect_to_another_host_is_a_success_with_a_warning() -> None:
    outcome = asyncio.run(_probe("/away"))
    assert outcome.success
    assert outcome.warning == "Probe terminated redirects, Response body: this is /away"
