"""Programs that run in pods with the machine's own Python, as the images of the conformance tests would.

Their sources go into the pods' commands, so they use the standard library only and nothing of this project.
"""

from typing import Any

from tests.e2e.cluster import IMAGE

PYTHON = "/usr/bin/python3"
_MOUNTS = {"usr": "/usr", "lib": "/lib", "lib64": "/lib64"}

NETEXEC = """
import http.server, json, os, socket, socketserver, threading

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path, _, query = self.path.partition("?")
        if path.startswith("/redirect"):
            self.send_response(302)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        text = socket.gethostname()
        if path.startswith("/echo"):
            told = {"method": self.command, "path": path, "query": query, "body": body, "host": text}
            text = json.dumps(told | {"headers": dict(self.headers)})
        if path == "/page":
            text = '<a href="/rewriteme">test</a>'
        data = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html" if path == "/page" else "text/plain")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = handle_any
    log_message = lambda *ignored: None

class Datagrams(socketserver.BaseRequestHandler):
    def handle(self):
        self.request[1].sendto(socket.gethostname().encode(), self.client_address)

udp = socketserver.ThreadingUDPServer(("", 8081), Datagrams)
threading.Thread(target=udp.serve_forever, daemon=True).start()
http.server.ThreadingHTTPServer(("", 8080), Handler).serve_forever()
"""
"""Answers its host's name: HTTP on 8080 and UDP on 8081.

``/echo…`` tells the request, ``/page`` has a link, ``/redirect`` redirects.
"""

_ASK = """
import socket, sys, urllib.request

def ask(address):
    kind, _, rest = address.partition("://")
    try:
        if kind == "udp":
            host, _, port = rest.rpartition(":")
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.settimeout(1)
                probe.sendto(b"x", (host, int(port)))
                return probe.recv(100).decode()
        if kind == "http":
            return urllib.request.urlopen(address, timeout=2).read().decode()
        if kind == "name":
            name, flags, addresses = socket.gethostbyname_ex(rest)
            return name + " " + ",".join(sorted(addresses))
        if kind == "address":
            return socket.gethostbyaddr(rest)[0]
    except OSError as error:
        return "failed: %s" % error

for address in sys.argv[1:]:
    print(ask(address))
"""


def asking(*addresses: str) -> list[str]:
    """The command that asks addresses: ``http://…``, ``udp://host:port``, ``name://host``, ``address://ip``.

    It prints one line for each: the answer, ``canonical-name addresses``, a name, or ``failed: …``.
    """
    return [PYTHON, "-c", _ASK, *addresses]


def python_pod(source: str = "import time; time.sleep(86400)", **more: Any) -> dict[str, Any]:
    """The spec of a pod that runs a Python program; its container's name is c."""
    container = more.pop("container", {})
    mounts = [{"name": name, "mountPath": path, "readOnly": True} for name, path in _MOUNTS.items()]
    # The machine's /lib and /lib64 are links to what is below /usr; a pod's mounts name the real directories.
    volumes = [{"name": name, "hostPath": {"path": "/usr" if name == "usr" else f"/usr/{name}"}} for name in _MOUNTS]
    mounts += container.pop("volumeMounts", [])
    volumes += more.pop("volumes", [])
    return {
        "containers": [
            {"name": "c", "image": IMAGE, "command": [PYTHON, "-c", source], "volumeMounts": mounts} | container
        ],
        "volumes": volumes,
        "terminationGracePeriodSeconds": 0,
    } | more
