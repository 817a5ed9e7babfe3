"""A web server in a pod, with a certificate: the webhooks and the sample API server of conformance tests."""

import base64
import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.e2e.conformance.api import Object
from tests.e2e.conformance.world import World
from wherry.util import clock

SERVER = """
import base64, http.server, json, ssl, time

def patch(*operations):
    return {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}

def add(path, value):
    return {"op": "add", "path": path, "value": value}

def review(path, request):
    obj = request.get("object") or {}
    old = request.get("oldObject") or {}
    meta = obj.get("metadata") or {}
    labels = meta.get("labels") or {}
    data = obj.get("data") or {}
    if path == "/allow":
        return {"allowed": True}
    if path == "/slow":
        time.sleep(5)
        return {"allowed": True}
    if path == "/deny":
        return {"allowed": False, "status": {"message": "this webhook denies all requests"}}
    if path == "/deny-unwanted":
        unwanted = [d.get("webhook-e2e-test") for d in (data, (old.get("data") or {}))]
        if "webhook-disallow" in unwanted or labels.get("e2e") == "unwanted":
            reason = "the object contains unwanted key"
            return {"allowed": False, "status": {"message": reason, "reason": "Forbidden", "code": 403}}
        return {"allowed": True, "warnings": ["looked at"]}
    if path == "/mutate":
        steps = []
        if data.get("mutation-start") == "yes":
            steps.append(add("/data/mutation-stage-1", "yes"))
        if data.get("mutation-stage-1") == "yes":
            steps.append(add("/data/mutation-stage-2", "yes"))
        return {"allowed": True, **(patch(*steps) if steps else {})}
    if path == "/mutate-pods":
        added = {"image": "wherry.local/box:1", "name": "added", "resources": {}, "command": ["true"]}
        return {"allowed": True, **patch(add("/spec/initContainers", [added]))}
    raise KeyError(path)

def converted(obj, version):
    obj = dict(obj)
    if obj["apiVersion"].endswith("/v1") and version.endswith("/v2"):
        host, _, port = obj.pop("hostPort", ":").partition(":")
        obj.update(host=host, port=port)
    elif version.endswith("/v1") and obj["apiVersion"].endswith("/v2"):
        obj["hostPort"] = obj.pop("host", "") + ":" + obj.pop("port", "")
    obj["apiVersion"] = version
    return obj

STORE = {}
GROUP = "wardle.example.com"
RESOURCE = {"name": "flunders", "singularName": "flunder", "namespaced": True, "kind": "Flunder"}
RESOURCE["verbs"] = ["create", "delete", "get", "list"]

def aggregated(handler, path, body):
    parts = path.strip("/").split("/")
    user = handler.headers.get("X-Remote-User")
    if not user or not handler.connection.getpeercert():
        return 401, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Unauthorized", "code": 401}
    if len(parts) == 3:
        kind = {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP + "/v1alpha1"}
        return 200, {**kind, "resources": [RESOURCE]}
    names = parts[3:]
    if len(names) == 3 and handler.command == "POST":
        body.setdefault("metadata", {}).setdefault("annotations", {})["by"] = user
        STORE[body["metadata"]["name"]] = body
        return 201, body
    if len(names) == 4 and names[3] in STORE:
        found = STORE.pop(names[3]) if handler.command == "DELETE" else STORE[names[3]]
        return 200, found
    if len(names) == 3 or len(names) == 1:
        kind = {"kind": "FlunderList", "apiVersion": GROUP + "/v1alpha1", "metadata": {"resourceVersion": "1"}}
        return 200, {**kind, "items": list(STORE.values())}
    return 404, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_message = lambda *ignored: None

    def handle_any(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length) or b"null")
        path = self.path.partition("?")[0]
        code = 200
        if path.startswith("/apis/"):
            code, answer = aggregated(self, path, body)
        elif path == "/convert":
            request = body["request"]
            made = [converted(o, request["desiredAPIVersion"]) for o in request["objects"]]
            done = {"uid": request["uid"], "convertedObjects": made, "result": {"status": "Success"}}
            answer = {**body, "response": done}
        elif path == "/ready":
            answer = {}
        else:
            request = body["request"]
            answer = {**body, "response": {"uid": request["uid"], **review(path, request)}}
        data = json.dumps(answer).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_POST = do_DELETE = handle_any

tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
tls.load_cert_chain("/tls/tls.crt", "/tls/tls.key")
tls.load_verify_locations("/tls/client-ca.crt")
tls.verify_mode = ssl.CERT_OPTIONAL
server = http.server.ThreadingHTTPServer(("", 8443), Handler)
server.socket = tls.wrap_socket(server.socket, server_side=True)
server.serve_forever()
"""


def _certificate(name: str) -> tuple[str, str]:
    """Return a self-signed certificate of a host and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    names = x509.SubjectAlternativeName([x509.DNSName(name), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(clock.now() - datetime.timedelta(hours=1))
        .not_valid_after(clock.now() + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    encoded = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    return made.public_bytes(serialization.Encoding.PEM).decode(), encoded.decode()


def serve_hooks(world: World) -> str:
    """Start the server as the service ``hook`` of a namespace; return its ``caBundle``."""
    certificate, key = _certificate(f"hook.{world.ns}.svc")
    shared = world.api.get("/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication")["data"]
    files = {"tls.crt": certificate, "tls.key": key, "client-ca.crt": shared["requestheader-client-ca-file"]}
    world.api.create(f"{world.core}/secrets", {"metadata": {"name": "tls"}, "stringData": files})
    container = {
        "volumeMounts": [{"name": "tls", "mountPath": "/tls"}],
        "readinessProbe": {"httpGet": {"scheme": "HTTPS", "port": 8443, "path": "/ready"}, "periodSeconds": 1},
    }
    volumes = [{"name": "tls", "secret": {"secretName": "tls"}}]
    world.python("hook", SERVER, labels={"app": "hook"}, container=container, volumes=volumes)
    world.service("hook", selector={"app": "hook"}, ports=[{"port": 443, "targetPort": 8443}])
    world.ready("hook")
    world.api.wait(f"{world.core}/endpoints/hook", lambda found: found and found.get("subsets"))
    return base64.b64encode(certificate.encode()).decode()


def client_config(world: World, bundle: str, path: str) -> Object:
    """What a webhook's configuration says of the server."""
    return {"service": {"namespace": world.ns, "name": "hook", "path": path, "port": 443}, "caBundle": bundle}
