"""An ingress controller: keeps nginx's configuration as the Ingresses, Services and EndpointSlices of the cluster say.

It knows hosts, paths (Exact, Prefix, ImplementationSpecific as a prefix), default backends, named ports, and the
annotations `affinity: cookie`, `session-cookie-name`, `session-cookie-expires` and `session-cookie-max-age` of
`nginx.ingress.kubernetes.io/`. No TLS.
"""

import contextlib
import hashlib
import json
import os
import queue
import signal
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SERVER = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
KINDS = {
    "ingresses": "/apis/networking.k8s.io/v1/ingresses",
    "services": "/api/v1/services",
    "slices": "/apis/discovery.k8s.io/v1/endpointslices",
}
PREFIX = "nginx.ingress.kubernetes.io/"
CONFIG = Path("/etc/nginx/nginx.conf")
HEAD = """\
load_module /usr/lib/nginx/modules/ndk_http_module.so;
load_module /usr/lib/nginx/modules/ngx_http_lua_module.so;
worker_processes 2;
error_log /dev/stderr warn;
events {}
http {
    access_log /dev/stdout;
    server_names_hash_bucket_size 128;
    map_hash_bucket_size 256;
    lua_package_path "/usr/share/lua/5.1/?.lua;;";
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $host;
    proxy_set_header X-Forwarded-For $remote_addr;
    server {
        listen 10254;
        access_log off;
        location = /healthz { return 200; }
    }
    server {
        listen 80 default_server;
        location / { return 404; }
    }
"""


class Objects:
    """What the API server has, kept up to date by a list and a watch for each kind."""

    def __init__(self):
        self.by_kind = dict.fromkeys(KINDS)
        self.changed = queue.Queue()
        self._tls = ssl.create_default_context(cafile=ACCOUNT / "ca.crt")

    def request(self, path, *, method="GET", body=None, timeout=10):
        headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text()}"}
        if body is not None:
            headers["Content-Type"] = "application/merge-patch+json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(SERVER + path, data, headers, method=method)
        return urllib.request.urlopen(request, context=self._tls, timeout=timeout)

    def follow(self, kind, path):
        """List and watch for ever; a watch that ends or expires starts again with a list."""
        while True:
            try:
                with self.request(path) as answer:
                    found = json.load(answer)
                self.by_kind[kind] = {_key(each): each for each in found["items"]}
                self.changed.put(kind)
                version = found["metadata"]["resourceVersion"]
                watch = f"{path}?watch=1&resourceVersion={version}&timeoutSeconds=240"
                with self.request(watch, timeout=300) as events:
                    for line in events:
                        event = json.loads(line)
                        if event["type"] == "ERROR":
                            break
                        objects = dict(self.by_kind[kind])
                        if event["type"] == "DELETED":
                            objects.pop(_key(event["object"]), None)
                        else:
                            objects[_key(event["object"])] = event["object"]
                        self.by_kind[kind] = objects
                        self.changed.put(kind)
            except (OSError, ValueError) as error:
                print(f"watching {kind}: {error}")
                time.sleep(1)


def _key(obj):
    return obj["metadata"]["namespace"], obj["metadata"]["name"]


def endpoints(objects, namespace, backend):
    """Return the ready addresses of a backend's Service port as `address:port`, in a fixed order."""
    service = (objects["services"] or {}).get((namespace, backend["name"]))
    wanted = backend.get("port") or {}
    ports = service["spec"].get("ports", []) if service else []
    number, name = wanted.get("number"), wanted.get("name")
    port = next((p for p in ports if p["port"] == number or p.get("name", "") == name), None)
    if port is None:
        return []
    found = set()
    for each in (objects["slices"] or {}).values():
        labels = each["metadata"].get("labels") or {}
        if each["metadata"]["namespace"] != namespace or labels.get("kubernetes.io/service-name") != backend["name"]:
            continue
        numbers = [p["port"] for p in each.get("ports") or [] if (p.get("name") or "") == port.get("name", "")]
        for endpoint in each.get("endpoints") or []:
            if (endpoint.get("conditions") or {}).get("ready", True) and numbers:
                found.update(f"{address}:{numbers[0]}" for address in endpoint["addresses"])
    return sorted(found)


def render(objects):
    """Return nginx's configuration for what the cluster has."""
    maps, servers = [], {}
    for (namespace, name), ingress in sorted(objects["ingresses"].items()):
        if ingress["spec"].get("ingressClassName") not in (None, "nginx"):
            continue
        annotations = ingress["metadata"].get("annotations") or {}
        rules = list(ingress["spec"].get("rules") or [])
        if default := ingress["spec"].get("defaultBackend"):
            rules.append({"http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": default}]}})
        for rule in rules:
            for path in (rule.get("http") or {}).get("paths") or []:
                upstream = "u" + hashlib.md5(f"{namespace}/{name}/{rule.get('host')}/{path}".encode()).hexdigest()[:12]
                targets = endpoints(objects, namespace, path["backend"]["service"])
                maps.append(upstream_of(upstream, targets, annotations))
                location = location_of(upstream, targets, path, annotations)
                servers.setdefault(rule.get("host") or "_", []).append(location)
    blocks = [
        f"    server {{\n        listen 80;\n        server_name {host};\n{''.join(dict.fromkeys(paths))}    }}\n"
        for host, paths in servers.items()
    ]
    return HEAD + "".join(maps) + "".join(blocks) + "}\n"


def upstream_of(name, targets, annotations):
    """The endpoints of one path, and for sticky ones the map from a cookie's value to its endpoint and back."""
    if not targets:
        return ""
    text = f"    upstream {name} {{\n" + "".join(f"        server {target};\n" for target in targets) + "    }\n"
    if annotations.get(f"{PREFIX}affinity") != "cookie":
        return text
    routes = {hashlib.sha256(target.encode()).hexdigest()[:32]: target for target in targets}
    cookie = annotations.get(f"{PREFIX}session-cookie-name", "INGRESSCOOKIE")
    text += f"    map $cookie_{cookie} ${name}_target {{\n        default {name};\n"
    text += "".join(f"        {route} {target};\n" for route, target in routes.items()) + "    }\n"
    text += f'    map $upstream_addr ${name}_route {{\n        default "";\n'
    return text + "".join(f"        {target} {route};\n" for route, target in routes.items()) + "    }\n"


def location_of(upstream, targets, path, annotations):
    """One path of a server. A sticky one sets its cookie where the client brought none that leads to an endpoint."""
    exact = "= " if path.get("pathType") == "Exact" else ""
    head = f"        location {exact}{path.get('path') or '/'} {{\n"
    if not targets:
        return head + "            return 503;\n        }\n"
    if annotations.get(f"{PREFIX}affinity") != "cookie":
        return head + f"            proxy_pass http://{upstream};\n        }}\n"
    cookie = annotations.get(f"{PREFIX}session-cookie-name", "INGRESSCOOKIE")
    age = annotations.get(f"{PREFIX}session-cookie-max-age")
    expires = annotations.get(f"{PREFIX}session-cookie-expires")
    lasting = f' .. "; Expires=" .. ngx.cookie_time(ngx.time() + {int(expires)})' if expires else ""
    lasting += f' .. "; Max-Age={int(age)}"' if age else ""
    return head + (
        f"            proxy_pass http://${upstream}_target;\n"
        "            header_filter_by_lua_block {\n"
        f"                local route = ngx.var.{upstream}_route\n"
        f'                if route ~= "" and ngx.var.cookie_{cookie} ~= route then\n'
        '                    local set = ngx.header["Set-Cookie"]\n'
        '                    if type(set) ~= "table" then set = {set} end\n'
        f'                    table.insert(set, "{cookie}=" .. route{lasting} .. "; Path=/; HttpOnly")\n'
        '                    ngx.header["Set-Cookie"] = set\n'
        "                end\n"
        "            }\n"
        "        }\n"
    )


def announce(objects):
    """Write the node's address into the status of the Ingresses that lack it."""
    status = {"loadBalancer": {"ingress": [{"ip": os.environ["NODE_ADDRESS"]}]}}
    for (namespace, name), ingress in objects.by_kind["ingresses"].items():
        if ingress["spec"].get("ingressClassName") not in (None, "nginx") or ingress.get("status") == status:
            continue
        try:
            path = f"/apis/networking.k8s.io/v1/namespaces/{namespace}/ingresses/{name}/status"
            objects.request(path, method="PATCH", body={"status": status}).close()
        except urllib.error.HTTPError as error:
            print(f"status of {namespace}/{name}: {error}")


def main():
    objects = Objects()
    for kind, path in KINDS.items():
        threading.Thread(target=objects.follow, args=(kind, path), daemon=True).start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    nginx, written = None, ""
    try:
        while True:
            with contextlib.suppress(queue.Empty):
                objects.changed.get(timeout=5)
                time.sleep(0.05)  # changes come in bunches
                while True:
                    objects.changed.get_nowait()
            if None in objects.by_kind.values():
                continue
            if (text := render(objects.by_kind)) != written:
                CONFIG.write_text(text)
                written = text
                print("nginx has a new configuration")
                if nginx is None:
                    nginx = subprocess.Popen(["nginx", "-g", "daemon off;"])
                else:
                    subprocess.run(["nginx", "-s", "reload"], check=False)
            if nginx.poll() is not None:
                sys.exit(f"nginx ended: {nginx.returncode}")
            announce(objects)
    finally:
        if nginx is not None:
            nginx.terminate()
            nginx.wait()


main()
