"""Quotas at the door: concurrent creates, updates, dry runs and what is refused."""

import asyncio
from typing import Any

from wherry.apiserver.server import ApiServer

QUOTAS = "/api/v1/namespaces/default/resourcequotas"
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
SERVICES = "/api/v1/namespaces/default/services"


def configmap(name: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}}


async def quota(http: Any, hard: dict[str, str], used: dict[str, str], **spec: Any) -> None:
    made = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "q"}, "spec": {"hard": hard, **spec}}
    code, found = await http("POST", QUOTAS, made)
    assert code == 201, found
    code, found = await http("PUT", f"{QUOTAS}/q/status", {**found, "status": {"hard": hard, "used": used}})
    assert code == 200, found


async def used(http: Any) -> dict[str, str]:
    _, found = await http("GET", f"{QUOTAS}/q")
    return found["status"]["used"]


async def test_concurrent_creates_never_exceed_a_quota(server: ApiServer, http: Any) -> None:
    await quota(http, {"count/configmaps": "5", "configmaps": "7"}, {"count/configmaps": "0", "configmaps": "0"})
    answers = await asyncio.gather(*(http("POST", CONFIGMAPS, configmap(f"c{at}")) for at in range(15)))
    codes = [code for code, _ in answers]
    assert sorted(codes) == [201] * 5 + [403] * 10
    refused = next(body for code, body in answers if code == 403)
    assert refused["message"].endswith(
        "is forbidden: exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=5, "
        "limited: count/configmaps=5"
    )
    assert await used(http) == {"count/configmaps": "5", "configmaps": "5"}


async def test_dry_run_is_checked_but_charges_nothing(server: ApiServer, http: Any) -> None:
    await quota(http, {"configmaps": "1"}, {"configmaps": "0"})
    assert (await http("POST", f"{CONFIGMAPS}?dryRun=All", configmap("a")))[0] == 201
    assert await used(http) == {"configmaps": "0"}
    assert (await http("POST", CONFIGMAPS, configmap("a")))[0] == 201
    assert (await http("POST", f"{CONFIGMAPS}?dryRun=All", configmap("b")))[0] == 403


async def test_update_is_charged_for_what_it_adds(server: ApiServer, http: Any) -> None:
    names = {"services": "5", "services.nodeports": "2"}
    await quota(http, names, dict.fromkeys(names, "0"))
    ports = [{"name": "a", "port": 80}, {"name": "b", "port": 81}]
    made = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}, "spec": {"ports": ports}}
    code, service = await http("POST", SERVICES, made)
    assert code == 201
    service["spec"]["type"] = "NodePort"
    code, service = await http("PUT", f"{SERVICES}/s", service)
    assert code == 200
    assert await used(http) == {"services": "1", "services.nodeports": "2"}
    service["spec"]["ports"].append({"name": "c", "port": 82})
    code, answer = await http("PUT", f"{SERVICES}/s", service)
    assert code == 403
    assert "requested: services.nodeports=1, used: services.nodeports=2" in answer["message"]


async def test_pods_must_say_what_a_quota_counts(server: ApiServer, http: Any) -> None:
    names = {"limits.memory": "1Gi", "cpu": "1"}
    await quota(http, names, dict.fromkeys(names, "0"), scopes=["NotTerminating"])
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    await http("POST", "/api/v1/namespaces/default/serviceaccounts", account)
    containers = [{"name": name, "image": "i"} for name in ("b", "a")]
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}}
    pod["spec"] = {"containers": containers}
    code, answer = await http("POST", "/api/v1/namespaces/default/pods", pod)
    assert (code, answer["message"]) == (
        403,
        'pods "p" is forbidden: failed quota: q: must specify cpu for: a,b; limits.memory for: a,b',
    )
    pod["spec"]["activeDeadlineSeconds"] = 9
    assert (await http("POST", "/api/v1/namespaces/default/pods", pod))[0] == 201


async def test_unknown_usage_admits_nothing(server: ApiServer, http: Any) -> None:
    await quota(http, {"configmaps": "1"}, {})
    code, answer = await http("POST", CONFIGMAPS, configmap("a"))
    assert code == 403
    assert answer["message"].endswith("status unknown for quota: q, resources: configmaps")
