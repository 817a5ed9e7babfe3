"""What admission notes comes to the audit log."""

import asyncio
import json
from pathlib import Path
from typing import Any

from aiohttp import ClientSession

from tests.component.apiserver.conftest import KEY, TOKENS, Http
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.store.memory import MemoryStore

POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: Metadata
  resources: [{group: "", resources: [pods]}]
- level: None
"""
POD = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}], "hostNetwork": True}}
LABELS = {f"pod-security.kubernetes.io/{mode}": "baseline" for mode in ("audit", "enforce")}


async def test_events_tell_which_policy_a_pod_was_judged_by(tmp_path: Path) -> None:
    policy, path = tmp_path / "policy.yaml", tmp_path / "audit.log"
    policy.write_text(POLICY)
    options = ServerOptions(port=0, audit_policy=policy, audit_log=path)
    store, codes = MemoryStore(), []
    async with (
        ApiServer(store, options, issuer=ServiceAccountIssuer([KEY]), tokens=[TOKENS]) as server,
        ClientSession() as session,
    ):
        http = Http(session, f"http://127.0.0.1:{server.port}")
        await asyncio.gather(*(http("GET", "/version") for _ in range(4)))
        namespaces: list[tuple[str, dict[str, str]]] = [("free", {}), ("strict", LABELS)]
        for name, labels in namespaces:
            await http("POST", "/api/v1/namespaces", {"metadata": {"name": name, "labels": labels}})
            await http("POST", f"/api/v1/namespaces/{name}/serviceaccounts", {"metadata": {"name": "default"}})
            codes.append((await http("POST", f"/api/v1/namespaces/{name}/pods", POD))[0])
    await store.close()
    events: list[dict[str, Any]] = [json.loads(line)["annotations"] for line in path.read_text().splitlines()]
    assert codes == [201, 403]
    assert events[0]["pod-security.kubernetes.io/enforce-policy"] == "privileged:latest"
    assert events[1]["pod-security.kubernetes.io/enforce-policy"] == "baseline:latest"
    violation = 'would violate PodSecurity "baseline:latest": host namespaces (hostNetwork=true)'
    assert events[1]["pod-security.kubernetes.io/audit-violations"] == violation
