"""What FlowSchemas say of the levels that they name."""

from typing import Any

from tests.component.apiserver.conftest import Http
from wherry.util import clock

_GROUP = "/apis/flowcontrol.apiserver.k8s.io/v1"
_LEVEL = {
    "metadata": {"name": "slow"},
    "spec": {"type": "Limited", "limited": {"nominalConcurrencyShares": 1, "limitResponse": {"type": "Reject"}}},
}
_SCHEMA = {"metadata": {"name": "ours"}, "spec": {"priorityLevelConfiguration": {"name": "slow"}}}


async def _dangles(http: Http, status: str) -> dict[str, Any]:
    """Wait until the FlowSchema's condition Dangling has a status; return the condition."""
    for _ in range(500):
        found = (await http("GET", f"{_GROUP}/flowschemas/ours"))[1]
        for condition in found["status"].get("conditions", ()):
            if condition["type"] == "Dangling" and condition["status"] == status:
                owners = [(e["manager"], e["operation"]) for e in found["metadata"]["managedFields"][:1]]
                assert owners == [("api-priority-and-fairness-config-consumer-v1", "Apply")]
                kept: dict[str, Any] = condition
                return kept
        await clock.sleep(0.01)
    raise AssertionError(found)


async def test_a_flow_schema_says_whether_its_level_exists(http: Http) -> None:
    assert (await http("POST", f"{_GROUP}/flowschemas", _SCHEMA))[0] == 201
    missing = await _dangles(http, "True")
    assert missing["reason"] == "NotFound" and missing["message"].endswith('named "slow" but there is no such object')
    assert (await http("POST", f"{_GROUP}/prioritylevelconfigurations", _LEVEL))[0] == 201
    found = await _dangles(http, "False")
    assert found["reason"] == "Found" and found["lastTransitionTime"]
    wrong = {"status": {"conditions": [{**found, "status": "True"}]}}
    path = f"{_GROUP}/flowschemas/ours/status"
    assert (await http("PATCH", path, wrong, Content_Type="application/merge-patch+json"))[0] == 200
    await _dangles(http, "False")
