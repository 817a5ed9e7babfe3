"""Ask the API server a few things from the command line, without the weight of the real client.

``wherry up`` must be quick: this needs only the standard library and holds one TLS connection.
"""

import http.client
import json
import ssl
from typing import Any

from wherry.cluster.config import ClusterConfig


class ApiProbe:
    """One keep-alive connection with the administrator's certificate."""

    def __init__(self, config: ClusterConfig) -> None:
        pki = config.paths.pki
        self._context = ssl.create_default_context(cafile=str(pki / "ca.crt"))
        self._context.load_cert_chain(pki / "admin.crt", pki / "admin.key")
        self._port = config.api_port
        self._connection: http.client.HTTPSConnection | None = None

    def get(self, path: str, *, timeout: float = 5.0) -> dict[str, Any] | None:
        """Return the JSON object at `path`, None when the server cannot be reached or answers with an error."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPSConnection(
                    "127.0.0.1", self._port, timeout=timeout, context=self._context
                )
            self._connection.request("GET", path, headers={"Accept": "application/json"})
            response = self._connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException):
            self.close()
            return None
        if response.status != 200:
            return None
        try:
            answer = json.loads(body)
        except ValueError:
            return None
        return answer if isinstance(answer, dict) else None

    def close(self) -> None:
        """Drop the connection; the next `get` makes a new one."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
