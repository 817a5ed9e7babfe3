"""GET of one object."""

from wherry.api.errors import NotFound, Timeout
from wherry.api.resources import EVENTS, builtin
from wherry.apiserver.api import Api
from wherry.apiserver.query import cached_version, resource_version
from wherry.apiserver.request import Request, Stored

_WAIT = 3.0
_UNCACHED = frozenset({EVENTS, builtin("events.k8s.io", "v1", "events")})
"""What Kubernetes' watch cache does not hold by default."""


async def handle(api: Api, request: Request) -> Stored:
    """Answer with an object; with ``resourceVersion`` one that is at least that new."""
    wanted = request.params.get("resourceVersion")
    if wanted and wanted != "0":
        parse = resource_version if request.resource in _UNCACHED else cached_version
        await wait_for(api, parse(wanted), _WAIT)
    record = api.registry.record(request.resource, request.namespace, request.name)
    if record is None:
        raise NotFound.of(request.resource.plural, request.name, request.resource.group)
    return Stored(record, request.resource)


async def wait_for(api: Api, revision: int, timeout: float) -> None:
    """Wait until the store has reached `revision`. Raises Timeout in Kubernetes' words."""
    store = api.registry.store
    if revision <= store.revision or await store.wait_revision(revision, timeout):
        return
    raise Timeout(
        f"Timeout: Too large resource version: {revision}, current: {store.revision}",
        {
            "causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}],
            "retryAfterSeconds": 1,
        },
    )
