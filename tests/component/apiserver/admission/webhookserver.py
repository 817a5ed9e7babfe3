"""A real HTTPS webhook on loopback."""

import base64
import datetime
import ipaddress
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import orjson
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

SERVICE = "hook.default.svc"


class Webhook:
    """Answers AdmissionReviews by path; `answers[path]` makes a response of a request, `seen` holds the requests.

    `reviews[path]` is laid over the whole answer, over its response member by member.
    """

    def __init__(self, bundle: str) -> None:
        self.bundle = bundle
        self.port = 0
        self.stopped = threading.Event()
        self.seen: list[dict[str, Any]] = []
        self.reviews: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, Callable[[dict[str, Any]], Any]] = {}

    def client(self, path: str) -> dict[str, Any]:
        return {"url": f"https://127.0.0.1:{self.port}{path}", "caBundle": self.bundle}

    def answer(self, path: str, body: bytes) -> bytes:
        review = orjson.loads(body)
        self.seen.append(review["request"])
        review["response"] = {"uid": review["request"]["uid"], "allowed": True, **self.answers[path](review["request"])}
        over = self.reviews.get(path, {})
        response = over.get("response", {})
        answer = {key: review[key] for key in ("apiVersion", "kind", "response")} | over
        answer["response"] = response if response is None else review["response"] | response
        return orjson.dumps(answer)


@contextmanager
def serving(folder: Path) -> Iterator[Webhook]:
    """Serve from a thread: the connections are no tasks of the test's loop."""
    context = certificate_in(folder)
    hook = Webhook(base64.b64encode((folder / "ca.pem").read_bytes()).decode())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = hook.answer(self.path.partition("?")[0], body)
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        hook.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield hook
        hook.stopped.set()
        server.shutdown()
        thread.join()


def patch(*operations: dict[str, Any]) -> dict[str, Any]:
    return {"patchType": "JSONPatch", "patch": base64.b64encode(orjson.dumps(operations)).decode()}


def certificate_in(folder: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "webhook")])
    now = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=36500))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(SERVICE), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    pem = folder / "webhook.pem"
    pem.write_bytes(
        certificate.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    (folder / "ca.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return context
