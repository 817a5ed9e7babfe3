"""A server that sends a pod's log made before, as fast as TLS takes it: what a client can read at most."""

import json
import socket
import ssl
import threading
from contextlib import contextmanager

_BLOCK = 1 << 18
_RESOURCES = [{"name": "pods", "singularName": "pod", "namespaced": True, "kind": "Pod", "verbs": ["get"]}]
_POD = {"metadata": {"name": "log", "namespace": "n"}, "spec": {"containers": [{"name": "c"}]}}
_DOCUMENTS = {
    "/version": {"major": "1", "minor": "36", "gitVersion": "v1.36.2"},
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/apis": {"kind": "APIGroupList", "apiVersion": "v1", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": _RESOURCES},
    "/api/v1/namespaces/n/pods/log": {"kind": "Pod", "apiVersion": "v1", **_POD},
}
_LOG = "/api/v1/namespaces/n/pods/log/log"


@contextmanager
def serving(certificate, key, line, size):
    """Serve the log of pod n/log: `size` bytes in lines of `line`; give a kubeconfig."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    body = (b"x" * (line - 1) + b"\n") * (_BLOCK // line)

    def accept():
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # closed
            threading.Thread(target=answer, args=(connection,), daemon=True).start()

    def answer(connection):
        with context.wrap_socket(connection, server_side=True) as secure, secure.makefile("rb") as requests:
            while first := requests.readline():
                while requests.readline().strip():
                    pass
                respond(secure, first.split()[1].decode().partition("?")[0])

    def respond(secure, path):
        if path != _LOG:
            data = json.dumps(_DOCUMENTS[path]).encode()
            head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
            secure.sendall(head.encode() + data)
            return
        secure.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(size // len(body)):
            secure.sendall(b"%x\r\n%b\r\n" % (len(body), body))
        secure.sendall(b"0\r\n\r\n")

    threading.Thread(target=accept, daemon=True).start()
    server = f"https://127.0.0.1:{listener.getsockname()[1]}"
    yield {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "presets", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "presets", "user": {"token": "none"}}],
        "contexts": [{"name": "presets", "context": {"cluster": "presets", "user": "presets", "namespace": "n"}}],
        "current-context": "presets",
    }
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
