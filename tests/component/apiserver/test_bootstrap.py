"""What every cluster has comes back."""

from tests.component.apiserver.conftest import Http
from wherry.api.errors import ServiceUnavailable
from wherry.apiserver.bootstrap.keeper import STEP, Keeper
from wherry.apiserver.server import ApiServer
from wherry.util import clock, virtualtime

_DELETED = (
    "/api/v1/namespaces/default/services/kubernetes",
    "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/global-default",
    "/apis/apiregistration.k8s.io/v1/apiservices/v1.apps",
)


async def test_the_api_s_own_service_is_made_again_with_its_address(http: Http, server: ApiServer) -> None:
    before = {path: (await http("GET", path))[1] for path in _DELETED}
    for path in _DELETED:
        assert (await http("DELETE", path))[0] == 200
        assert (await http("GET", path))[0] == 404
    assert server.keeper is not None
    await server.keeper.mend()
    for path in _DELETED:
        status, after = await http("GET", path)
        assert status == 200 and after["spec"] == before[path]["spec"]
        assert after["metadata"]["uid"] != before[path]["metadata"]["uid"]


def test_what_is_missing_is_looked_for_until_it_is_there_and_again_after_each_change() -> None:
    calls: list[float] = []

    async def mend() -> None:
        calls.append(clock.monotonic())
        if len(calls) == 1:
            raise ServiceUnavailable("not now")

    async def scenario() -> None:
        version = 0
        async with Keeper(mend, lambda: version):
            await clock.sleep(5.5 * STEP)
            assert len(calls) == 2
            version = 1
            await clock.sleep(2 * STEP)
            assert len(calls) == 3

    virtualtime.run(scenario())
