"""Usage is the difference of two readings."""

import asyncio
import json

from aiohttp.test_utils import make_mocked_request

from wherry.addons.metrics import Counters, MetricsServer, Reading
from wherry.util.virtualtime import run

POD = {"metadata": {"name": "p", "namespace": "n", "labels": {"app": "x"}}}
NODE = {"metadata": {"name": "here"}}


def test_usage_is_the_rate_between_two_readings() -> None:
    async def main() -> None:
        seconds = asyncio.get_running_loop().time

        async def read() -> Reading:
            used = Counters(cpu=round(seconds() * 250_000_000), memory=3 << 20)
            return Reading(node=used, pods=[(POD, {("c", "id"): used})])

        server = MetricsServer(read, lambda: NODE, address="")
        asked = make_mocked_request("GET", "/?labelSelector=app%3Dx", match_info={"namespace": "n"})
        (item,) = json.loads((await server._list_pods(asked)).body)["items"]
        assert item["containers"] == [{"name": "c", "usage": {"cpu": "250000000n", "memory": "3072Ki"}}]
        other = make_mocked_request("GET", "/?labelSelector=app%3Dy", match_info={"namespace": "n"})
        assert json.loads((await server._list_pods(other)).body)["items"] == []
        missing = make_mocked_request("GET", "/", match_info={"namespace": "n", "name": "q"})
        assert (await server._get_pod(missing)).status == 404

    run(main())
