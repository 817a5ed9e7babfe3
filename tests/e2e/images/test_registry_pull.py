"""Pulling from a registry that wants a token, breaks off in the middle and has an index of platforms."""

import base64
import hashlib
import json

from aiohttp import web

from tests.e2e.nodeworld import World, directory_layer, scenario
from wherry.images import blobs
from wherry.images.protocol import Credentials, ImageError

PORT = 17510


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def _described(data: bytes, kind: str) -> dict[str, object]:
    suffix = "tar" if kind == "layer" else "json"
    media_type = f"application/vnd.oci.image.{kind}.v1+{suffix}".replace("+tar", ".tar")
    return {"mediaType": media_type, "digest": _digest(data), "size": len(data)}


class FakeRegistry:
    """One image ``app:v1`` for linux on this processor and on another one; the first answer for a blob is cut short."""

    def __init__(self) -> None:
        layer = directory_layer({"file": b"x" * 300_000})
        config = json.dumps({"rootfs": {"type": "layers", "diff_ids": [_digest(layer)]}, "config": {}}).encode()
        manifest = {
            "schemaVersion": 2,
            "config": {
                "mediaType": "application/vnd.oci.image.config.v1+json",
                "digest": _digest(config),
                "size": len(config),
            },
            "layers": [
                {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": _digest(layer), "size": len(layer)}
            ],
        }
        data = json.dumps(manifest).encode()
        entries = [
            {"digest": "sha256:" + "0" * 64, "size": 1, "platform": {"os": "linux", "architecture": "other"}},
            {
                "digest": _digest(data),
                "size": len(data),
                "platform": {"os": "linux", "architecture": blobs.architecture()},
            },
        ]
        self.index = json.dumps({"schemaVersion": 2, "mediaType": blobs.OCI_INDEX, "manifests": entries}).encode()
        self.manifests = {"v1": self.index, _digest(self.index): self.index, _digest(data): data}
        self.blobs = {_digest(layer): layer, _digest(config): config}
        self.layer = _digest(layer)
        self.cut = {self.layer}
        self.requests: list[str] = []

    async def token(self, request: web.Request) -> web.Response:
        expected = "Basic " + base64.b64encode(b"user:secret").decode()
        if request.headers.get("Authorization") != expected:
            return web.Response(status=401)
        return web.json_response({"token": "letmein"})

    async def serve(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != "Bearer letmein":
            realm = f'Bearer realm="http://127.0.0.1:{PORT}/token",service="test",scope="repository:app:pull"'
            return web.Response(status=401, headers={"WWW-Authenticate": realm})
        kind, name = request.match_info["kind"], request.match_info["name"]
        self.requests.append(f"{kind}/{name} {request.headers.get('Range', '')}".strip())
        data = (self.manifests if kind == "manifests" else self.blobs).get(name)
        if data is None:
            return web.Response(status=404)
        if name in self.cut:
            self.cut.discard(name)
            response = web.StreamResponse(headers={"Content-Length": str(len(data))})
            await response.prepare(request)
            await response.write(data[:100_000])
            assert request.transport is not None
            request.transport.close()
            return response
        if (wanted := request.headers.get("Range")) is not None:
            return web.Response(status=206, body=data[int(wanted.removeprefix("bytes=").rstrip("-")) :])
        content_type = blobs.OCI_INDEX if data is self.index else blobs.OCI_MANIFEST
        return web.Response(body=data, content_type=content_type)

    async def start(self) -> web.AppRunner:
        app = web.Application()
        app.router.add_get("/token", self.token)
        app.router.add_get("/v2/app/{kind}/{name}", self.serve)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", PORT).start()
        return runner


@scenario
async def test_pull_with_a_token_from_an_index_over_a_broken_connection(world: World) -> None:
    fake = FakeRegistry()
    runner = await fake.start()
    name = f"127.0.0.1:{PORT}/app:v1"
    try:
        lines: list[str] = []
        image = await world.images.pull(
            name, [Credentials("user", "wrong"), Credentials("user", "secret")], progress=lines.append
        )
        assert image.tags == [name] and image.digests == [f"127.0.0.1:{PORT}/app@{_digest(fake.index)}"]
        assert any(request.startswith(f"blobs/{fake.layer} bytes=") for request in fake.requests)
        assert lines
        before = len(fake.requests)
        again = await world.images.pull(f"127.0.0.1:{PORT}/app@{_digest(fake.index)}", [Credentials("user", "secret")])
        assert again.id == image.id
        assert [each for each in fake.requests[before:] if each.startswith("blobs/")] == []
        for missing, words in (
            (f"127.0.0.1:{PORT}/app:v2", "not found"),
            ("127.0.0.1:17511/app", "failed to do request"),
        ):
            try:
                await world.images.pull(missing, [Credentials("user", "secret")])
            except ImageError as error:
                assert words in str(error) and error.reason == "ErrImagePull", str(error)
            else:
                raise AssertionError(missing)
        try:
            await world.images.pull(name)
        except ImageError as error:
            assert "pull access denied" in str(error)
        else:
            raise AssertionError("pulled without credentials")
    finally:
        await runner.cleanup()


@scenario
async def test_a_blob_with_another_digest_is_refused(world: World) -> None:
    fake = FakeRegistry()
    fake.cut.clear()
    fake.blobs[fake.layer] = bytes(len(fake.blobs[fake.layer]))
    runner = await fake.start()
    try:
        await world.images.pull(f"127.0.0.1:{PORT}/app:v1", [Credentials("user", "secret")])
    except ImageError as error:
        assert "unexpected digest" in str(error)
        assert await world.images.list() == []
    else:
        raise AssertionError("pulled")
    finally:
        await runner.cleanup()
