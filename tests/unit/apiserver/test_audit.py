"""What the audit policy says of a request, and what is written of it."""

from pathlib import Path
from typing import Any

import orjson
import pytest

from wherry.apiserver.attributes import Attributes, UserInfo
from wherry.apiserver.audit.log import AuditLog
from wherry.apiserver.audit.policy import COMPLETE, RECEIVED, Policy, PolicyError
from wherry.apiserver.audit.record import Record

JANE = UserInfo("jane", ("devs",))


def policy(*rules: dict[str, Any], **members: Any) -> Policy:
    return Policy({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": list(rules), **members})


@pytest.mark.parametrize(
    ("rule", "asked", "matches"),
    [
        ({"users": ["jane"]}, {}, True),
        ({"userGroups": ["ops"]}, {}, False),
        ({"verbs": ["delete"]}, {}, False),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, {}, True),
        ({"resources": [{"group": "", "resources": ["pods"]}]}, {"subresource": "log"}, False),
        ({"resources": [{"group": "", "resources": ["pods/*"]}]}, {"subresource": "log"}, True),
        ({"resources": [{"group": "", "resources": ["*/log"]}]}, {"subresource": "log"}, True),
        ({"resources": [{"group": "apps"}]}, {}, False),
        ({"resources": [{"resources": ["pods"], "resourceNames": ["b"]}]}, {}, False),
        ({"namespaces": ["kube-system"]}, {}, False),
        ({"nonResourceURLs": ["/api*"]}, {"resource": "", "path": "/api/v1"}, True),
    ],
)
def test_a_rule_matches_what_it_names(rule: dict[str, Any], asked: dict[str, str], matches: bool) -> None:
    attributes = Attributes(
        JANE, "get", **{"version": "v1", "resource": "pods", "namespace": "a", "name": "x", **asked}
    )
    found = policy({"level": "Metadata", **rule}).decide(attributes)
    assert (found.level == "Metadata") is matches


def test_the_first_rule_decides() -> None:
    found = policy({"level": "None", "users": ["jane"]}, {"level": "Request"}, omitStages=[RECEIVED])
    assert found.decide(Attributes(JANE, "get", resource="pods")).level == "None"
    other = found.decide(Attributes(UserInfo("joe"), "get", resource="pods"))
    assert (other.level, other.omit_stages) == ("Request", {RECEIVED})


def test_a_policy_without_rules_is_refused() -> None:
    with pytest.raises(PolicyError):
        policy()


async def test_events_are_written_in_order_and_files_rotate(tmp_path: Path) -> None:
    decision = policy({"level": "RequestResponse"}, omitManagedFields=True)
    log = AuditLog(decision, tmp_path / "audit.log", max_bytes=600, backups=1)
    await log.start()
    for number in range(3):
        asked = Attributes(JANE, "create", version="v1", resource="pods", namespace="a")
        record = Record(f"id-{number}", decision.decide(asked), asked, uri="/x", source="127.0.0.1", agent="test")
        record.response_object = {"metadata": {"name": "p", "uid": "u", "resourceVersion": "7", "managedFields": [{}]}}
        log.write(record.event(COMPLETE))
    await log.close()
    lines = (tmp_path / "audit.log").read_bytes().splitlines()
    event = orjson.loads(lines[-1])
    assert event["auditID"] == "id-2" and event["objectRef"]["name"] == "p"
    assert event["objectRef"]["resourceVersion"] == "7" and "managedFields" not in event["responseObject"]["metadata"]
