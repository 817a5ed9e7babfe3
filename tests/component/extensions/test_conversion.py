"""Versions that a webhook converts, over HTTPS with the definition's own authority."""

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web

from wherry.cluster.pki import Authority

Http = Callable[..., Awaitable[tuple[int, Any]]]

CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
V1 = "/apis/yard.example.com/v1/namespaces/default/boats"
V2 = "/apis/yard.example.com/v2/namespaces/default/boats"
MERGE = "application/merge-patch+json"


class Webhook:
    """Converts boats: v1 has ``spec.length``, v2 ``spec.size.length``. `broken` makes it lie, `slow` wait."""

    def __init__(self) -> None:
        self.calls = 0
        self.broken = ""
        self.asked = asyncio.Event()
        self.slow: asyncio.Event | None = None
        self.config: dict[str, Any] = {}

    async def handle(self, request: web.Request) -> web.Response:
        review = await request.json()
        self.calls += 1
        self.asked.set()
        if self.slow is not None:
            await self.slow.wait()
        wanted = review["request"]["desiredAPIVersion"]
        converted = [self._convert(obj, wanted) for obj in review["request"]["objects"]]
        response = {
            "uid": review["request"]["uid"],
            "result": {"status": "Success"},
            "convertedObjects": converted,
        }
        if self.broken == "failure":
            response["result"] = {"status": "Failure", "message": "no such boat"}
        return web.json_response({"apiVersion": review["apiVersion"], "kind": "ConversionReview", "response": response})

    def _convert(self, obj: Any, wanted: str) -> Any:
        spec = dict(obj["spec"])
        if wanted.endswith("v2") and "length" in spec:
            spec["size"] = {"length": spec.pop("length")}
        if wanted.endswith("v1") and "size" in spec:
            spec["length"] = spec.pop("size")["length"]
        metadata = {**obj["metadata"], "labels": {"converted": "yes"}}
        if self.broken == "name":
            metadata["name"] = "other"
        return {**obj, "apiVersion": wanted, "metadata": metadata, "spec": spec}


@asynccontextmanager
async def converting(tmp_path: Path) -> AsyncIterator[Webhook]:
    authority = Authority(tmp_path)
    pair = authority.server("webhook", ["127.0.0.1"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.certificate, pair.key)
    hook = Webhook()
    app = web.Application()
    app.router.add_post("/convert", hook.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    bundle = base64.b64encode(authority.files.certificate.read_bytes()).decode()
    hook.config = {"url": f"https://127.0.0.1:{runner.addresses[0][1]}/convert", "caBundle": bundle}
    try:
        yield hook
    finally:
        await runner.cleanup()


def definition(config: Any) -> Any:
    def version(name: str, **properties: Any) -> Any:
        spec = {"type": "object", "properties": properties}
        schema = {"type": "object", "properties": {"spec": spec}}
        return {"name": name, "served": True, "storage": name == "v1", "schema": {"openAPIV3Schema": schema}}

    size = {"type": "object", "properties": {"length": {"type": "integer"}}}
    return {
        "metadata": {"name": "boats.yard.example.com"},
        "spec": {
            "group": "yard.example.com",
            "scope": "Namespaced",
            "names": {"plural": "boats", "kind": "Boat"},
            "versions": [version("v1", length={"type": "integer"}), version("v2", size=size)],
            "conversion": {
                "strategy": "Webhook",
                "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": config},
            },
        },
    }


def boat(version: str, name: str, **spec: Any) -> Any:
    return {"apiVersion": f"yard.example.com/{version}", "kind": "Boat", "metadata": {"name": name}, "spec": spec}


async def test_objects_are_converted_on_the_way_in_and_out(http: Http, tmp_path: Path):
    async with converting(tmp_path) as webhook:
        assert (await http("POST", CRDS, definition(webhook.config)))[0] == 201
        assert (await http("POST", V1, boat("v1", "anna", length=7)))[0] == 201
        assert webhook.calls == 0
        code, made = await http("GET", f"{V2}/anna")
        assert code == 200 and made["spec"] == {"size": {"length": 7}} and made["apiVersion"] == "yard.example.com/v2"
        assert made["metadata"]["labels"] == {"converted": "yes"}
        code, made = await http("POST", V2, boat("v2", "berta", size={"length": 8}))
        assert code == 201 and made["spec"] == {"size": {"length": 8}}
        _, made = await http("GET", f"{V1}/berta")
        assert made["spec"] == {"length": 8}
        code, made = await http("PATCH", f"{V2}/anna", {"spec": {"size": {"length": 9}}}, Content_Type=MERGE)
        assert code == 200 and made["spec"] == {"size": {"length": 9}}
        assert (await http("GET", f"{V1}/anna"))[1]["spec"] == {"length": 9}


async def test_a_list_is_converted_in_one_call(http: Http, tmp_path: Path):
    async with converting(tmp_path) as webhook:
        await http("POST", CRDS, definition(webhook.config))
        for name in "abc":
            await http("POST", V1, boat("v1", name, length=1))
        _, listed = await http("GET", V2)
        assert [item["spec"] for item in listed["items"]] == [{"size": {"length": 1}}] * 3
        assert webhook.calls == 1
        await http("GET", V2)
        assert webhook.calls == 1


async def test_what_is_written_while_a_watch_converts_is_converted_too(http: Http, tmp_path: Path):
    async with converting(tmp_path) as webhook, asyncio.TaskGroup() as group:
        await http("POST", CRDS, definition(webhook.config))
        _, listed = await http("GET", V2)
        since = listed["metadata"]["resourceVersion"]
        watch = group.create_task(http("GET", f"{V2}?watch=1&timeoutSeconds=1&resourceVersion={since}"))
        webhook.slow = asyncio.Event()
        await http("POST", V1, boat("v1", "a", length=1))
        await webhook.asked.wait()
        for name in "bc":
            await http("POST", V1, boat("v1", name, length=1))
        webhook.slow.set()
        _, events = await watch
        assert [event["object"]["spec"] for event in events] == [{"size": {"length": 1}}] * 3
        _, listed = await http("GET", f"{V2}?labelSelector=!no")
        assert [boat["spec"] for boat in listed["items"]] == [{"size": {"length": 1}}] * 3


async def test_a_webhook_that_fails_or_lies_is_an_error(http: Http, tmp_path: Path):
    async with converting(tmp_path) as webhook:
        await http("POST", CRDS, definition(webhook.config))
        await http("POST", V1, boat("v1", "anna", length=7))
        webhook.broken = "failure"
        code, refused = await http("GET", f"{V2}/anna")
        prefix = "conversion webhook for yard.example.com/v1, Kind=Boat"
        assert code == 500 and refused["message"] == f"{prefix} failed: no such boat"
        webhook.broken = "name"
        _, refused = await http("GET", f"{V2}/anna")
        said = refused["message"]
        assert said.startswith(f"{prefix} returned invalid object: must have the same name: anna != "), said
        assert (await http("GET", f"{V1}/anna"))[0] == 200


async def test_a_webhook_without_the_right_certificate_is_not_believed(http: Http, tmp_path: Path):
    async with converting(tmp_path) as webhook:
        await http("POST", CRDS, definition({"url": webhook.config["url"]}))
        await http("POST", V1, boat("v1", "anna", length=7))
        code, refused = await http("GET", f"{V2}/anna")
        assert code == 500 and "tls: failed to verify certificate" in refused["message"] and webhook.calls == 0
