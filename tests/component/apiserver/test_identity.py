"""The Lease that tells of the API server."""

from typing import Any

from tests.component.apiserver.conftest import Http
from wherry.apiserver.identity import identity, is_over
from wherry.util import clock

_LEASES = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases"


async def _own(http: Http) -> dict[str, Any]:
    """Wait for the Lease and return it."""
    selector = "labelSelector=apiserver.kubernetes.io%2Fidentity%3Dkube-apiserver"
    for _ in range(500):
        for lease in (await http("GET", f"{_LEASES}?{selector}"))[1]["items"]:
            found: dict[str, Any] = lease
            return found
        await clock.sleep(0.01)
    raise AssertionError("there is no lease")


async def test_a_lease_tells_of_the_server(http: Http) -> None:
    lease = await _own(http)
    name, spec = lease["metadata"]["name"], lease["spec"]
    assert name == identity(lease["metadata"]["labels"]["kubernetes.io/hostname"])
    assert spec["holderIdentity"].startswith(f"{name}_") and spec["leaseDurationSeconds"] == 3600
    assert lease["metadata"]["annotations"]["kubernetes.io/peer-advertise-address"]
    renewed = clock.parse(spec["renewTime"]).timestamp()
    assert not is_over(lease, now=renewed + 3599) and is_over(lease, now=renewed + 3601)


def test_a_host_has_one_identity() -> None:
    assert identity("a") == identity("a") != identity("b")
    assert len(identity("a").removeprefix("apiserver-")) == 26
