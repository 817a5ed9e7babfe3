from typing import Any

from tests.unit.controllers.cluster import Cluster, running
from wherry.api import meta
from wherry.api.resources import SECRETS
from wherry.controllers.controller import Settings
from wherry.controllers.legacytokencleaner import INVALID_SINCE, LAST_USED, LegacyTokenCleaner

DAY = 24 * 3600.0
SETTINGS = Settings(legacy_token_clean_up_period=10 * DAY)


def tracking(since: str) -> dict[str, Any]:
    md = {"name": "kube-apiserver-legacy-service-account-token-tracking", "namespace": "kube-system"}
    return {"kind": "ConfigMap", "apiVersion": "v1", "metadata": md, "data": {"since": since}}


def secret(name: str, created: str = "2025-01-01T00:00:00Z", **labels: str) -> dict[str, Any]:
    annotations = {"kubernetes.io/service-account.name": "robot"}
    md = {"name": name, "namespace": "ns", "annotations": annotations, "labels": labels, "creationTimestamp": created}
    return {"kind": "Secret", "apiVersion": "v1", "metadata": md, "type": "kubernetes.io/service-account-token"}


def account(*secrets: str) -> dict[str, Any]:
    md = {"name": "robot", "namespace": "ns"}
    return {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": md, "secrets": [{"name": s} for s in secrets]}


def pod(name: str, mounts: str) -> dict[str, Any]:
    spec = {"containers": [], "volumes": [{"name": "v", "secret": {"secretName": mounts}}]}
    return {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": name, "namespace": "ns"}, "spec": spec}


def marks(cluster: Cluster) -> dict[str, str | None]:
    return {meta.name(s): meta.labels(s).get(INVALID_SINCE) for s in cluster.fake.list(SECRETS, "ns")}


async def test_a_token_that_nobody_used_is_marked_and_a_period_later_deleted() -> None:
    objects = (
        tracking("2025-12-01"),
        account("old", "used", "new", "mounted"),
        secret("old"),
        secret("used", **{LAST_USED: "2025-12-30"}),
        secret("new", created="2025-12-31T00:00:00Z"),
        secret("mounted"),
        secret("by-hand"),
        pod("p", "mounted"),
    )
    async with running(LegacyTokenCleaner, objects=objects, settings=SETTINGS) as cluster:
        others = {"used": None, "new": None, "mounted": None, "by-hand": None}
        assert marks(cluster) == {"old": "2026-01-01", **others}
        await cluster.settle(9 * DAY)
        assert "old" in marks(cluster)
        await cluster.settle(3 * DAY)
        assert "old" not in marks(cluster)
        assert marks(cluster)["used"] == "2026-01-10"


async def test_nothing_is_marked_before_uses_were_written_down_for_a_period() -> None:
    objects = (tracking("2025-12-25"), account("old"), secret("old"))
    async with running(LegacyTokenCleaner, objects=objects, settings=SETTINGS) as cluster:
        assert marks(cluster) == {"old": None}
