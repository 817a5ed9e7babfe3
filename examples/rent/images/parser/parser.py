"""The classifier: POST the text of an advert, get {"type", "price"}; type is null where nothing is let."""

import json
import re
import signal
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TYPES = (
    ("studio", r"\bstudio\b"),
    ("room", r"\broom\b"),
    ("flat", r"\b(flat|apartment)\b"),
)
OFFER = r"\b(let|lets|rent|renting)\b"


def classify(text):
    lower = text.lower()
    offered = re.search(OFFER, lower)
    kind = next((name for name, pattern in TYPES if re.search(pattern, lower)), None) if offered else None
    price = re.search(r"(\d{3,6})\s*(?:eur|rub)", lower)
    return {"type": kind, "price": int(price[1]) if price else None}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        text = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        body = json.dumps(classify(text)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, form, *values):
        print(form % values)


signal.signal(signal.SIGTERM, lambda *_: sys.exit())
ThreadingHTTPServer(("", 9080), Handler).serve_forever()
