"""ServiceCIDRs widen and narrow what Services get their addresses from."""

from typing import Any

from tests.component.apiserver.conftest import ADMIN, KEY, Http
from wherry.api.resources import SERVICECIDRS
from wherry.api.resources import SERVICES as SERVICES_OF
from wherry.apiserver.authn.issuer import ServiceAccountIssuer
from wherry.apiserver.server import ApiServer, ServerOptions
from wherry.client.client import Client
from wherry.store.memory import MemoryStore

CIDRS = "/apis/networking.k8s.io/v1/servicecidrs"
SERVICES = "/api/v1/namespaces/default/services"


def service(name: str, **spec: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, "spec": {"ports": [{"port": 80}], **spec}}


async def cidr(http: Http, name: str, text: str, ready: str = "True") -> None:
    code, made = await http("POST", CIDRS, {"metadata": {"name": name}, "spec": {"cidrs": [text]}})
    assert code == 201, made
    condition = {"type": "Ready", "status": ready, "reason": "", "message": ""}
    made["status"] = {"conditions": [condition | {"lastTransitionTime": made["metadata"]["creationTimestamp"]}]}
    assert (await http("PUT", f"{CIDRS}/{name}/status", made))[0] == 200


async def test_an_address_of_a_new_range_can_be_asked_for_once_it_is_ready(http: Http) -> None:
    wanted = service("a", clusterIP="10.200.0.5")
    code, refused = await http("POST", SERVICES, wanted)
    assert code == 422
    assert "the provided network does not match the current range" in refused["message"]
    await cidr(http, "more", "10.200.0.0/24", ready="False")
    assert (await http("POST", SERVICES, wanted))[0] == 422
    await cidr(http, "yet-more", "10.201.0.0/24")
    assert (await http("POST", SERVICES, service("b", clusterIP="10.201.0.5")))[0] == 201
    code, taken = await http("POST", SERVICES, service("c", clusterIP="10.201.0.5"))
    assert code == 422
    assert "provided IP is already allocated" in taken["message"]


async def test_addresses_come_from_another_range_when_one_is_full() -> None:
    options = ServerOptions(port=0, service_cidr="10.96.0.0/30")
    async with ApiServer(MemoryStore(), options, issuer=ServiceAccountIssuer([KEY])) as server:
        admin = Client(server.transport(ADMIN))
        made = await admin.create(SERVICECIDRS, {"metadata": {"name": "more"}, "spec": {"cidrs": ["10.97.0.0/24"]}})
        condition = {"type": "Ready", "status": "True", "reason": "", "message": ""}
        condition["lastTransitionTime"] = made["metadata"]["creationTimestamp"]
        await admin.update_status(SERVICECIDRS, {**made, "status": {"conditions": [condition]}})
        addresses = [
            (await admin.create(SERVICES_OF, service(f"s{n}"), "default"))["spec"]["clusterIP"] for n in (1, 2)
        ]
        assert addresses[0] == "10.96.0.2"
        assert addresses[1].startswith("10.97.0.")
