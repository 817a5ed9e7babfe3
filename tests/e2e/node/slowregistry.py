"""A registry whose images take their time: each tag of ``box`` is busybox with a layer of its own, sent slowly."""

import hashlib
import json
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from tests.e2e.nodeworld import busybox_layer, directory_layer
from wherry.util import clock

_OCI = "application/vnd.oci.image"
_PIECES = 4
_PAUSE = 0.1


def _digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: who pulled was killed."""


class SlowRegistry:
    """Serves ``127.0.0.1:PORT/box:ANYTHING`` until it is closed."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}
        self._base = busybox_layer()
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # the name is the library's
                registry._answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self._server = _Server(("127.0.0.1", 0), Handler)
        Thread(target=self._server.serve_forever, name="registry", daemon=True).start()

    def image(self, tag: str) -> str:
        """Return the reference of an image that nobody has pulled yet."""
        return f"127.0.0.1:{self._server.server_address[1]}/box:{tag}"

    def close(self) -> None:
        """Serve no longer."""
        self._server.shutdown()
        self._server.server_close()

    def _manifest(self, tag: str) -> bytes:
        layers = [self._base, directory_layer({"own": tag.encode() * 50_000})]
        rootfs = {"type": "layers", "diff_ids": [_digest(layer) for layer in layers]}
        config = json.dumps({"os": "linux", "rootfs": rootfs, "config": {}}).encode()
        for blob in (*layers, config):
            self.blobs[_digest(blob)] = blob

        def described(data: bytes, kind: str) -> dict[str, object]:
            return {"mediaType": f"{_OCI}.{kind}", "digest": _digest(data), "size": len(data)}

        manifest = {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": described(config, "config.v1+json"),
            "layers": [described(layer, "layer.v1.tar") for layer in layers],
        }
        return json.dumps(manifest).encode()

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        found = re.fullmatch(r"/v2/box/(manifests|blobs)/([^/]+)", request.path)
        data = b""
        if found is not None:
            kind, name = found.groups()
            data = self._manifest(name) if kind == "manifests" else self.blobs.get(name, b"")
        request.send_response(200 if data else 404)
        request.send_header("Content-Type", f"{_OCI}.manifest.v1+json")
        request.send_header("Content-Length", str(len(data)))
        request.end_headers()
        size = len(data) // _PIECES + 1
        try:
            for at in range(0, len(data), size):
                clock.block(_PAUSE)
                request.wfile.write(data[at : at + size])
        except ConnectionError:
            request.close_connection = True
