"""GET of a collection: resource versions, selectors, pages."""

from collections.abc import Sequence

from wherry.api.errors import BadRequest, Expired
from wherry.apiserver import continuation
from wherry.apiserver.api import Api
from wherry.apiserver.fields import Selection
from wherry.apiserver.handlers.get import wait_for
from wherry.apiserver.query import integer, resource_version, validate_list
from wherry.apiserver.request import Listed, Request
from wherry.apiserver.selectors import parse_fields, parse_labels
from wherry.store.protocol import Compacted, FutureRevision, Listing, Record

_WAIT = 3.0


def selection(request: Request) -> Selection:
    """Return the selectors of a request. Raises BadRequest."""
    labels = parse_labels(request.params.get("labelSelector", ""))
    fields = parse_fields(request.params.get("fieldSelector", ""))
    chosen = Selection(request.resource, labels, fields)
    return chosen


async def handle(api: Api, request: Request) -> Listed:
    """Answer with a list."""
    params = request.params
    if not params:
        return _present(api, request)
    validate_list(params, watch=False)
    chosen = selection(request)
    token = params.get("continue", "")
    version, match = params.get("resourceVersion", ""), params.get("resourceVersionMatch", "")
    # Upstream's cache reads no pages of whatever it holds.
    limit = max(integer(params, "limit") or 0, 0) if version != "0" else 0
    if token:
        if version not in ("", "0"):
            continuation.decode(token)
            raise BadRequest("specifying resource version is not allowed when using continue")
        return await _continued(api, request, chosen, limit, token)
    revision = resource_version(version)
    if revision and match == "Exact":
        return await _page(api, request, chosen, limit, revision)
    if revision:
        await wait_for(api, revision, float(integer(params, "timeoutSeconds") or _WAIT))
        if limit and not match:
            # A legacy combination: with a limit and no match an exact version is meant.
            return await _page(api, request, chosen, limit, revision)
    if chosen.empty and not limit:
        return _present(api, request)
    return await _page(api, request, chosen, limit, 0)


def _present(api: Api, request: Request) -> Listed:
    registry = api.registry
    version = registry.version(request.resource)
    listing = registry.store.list(registry.prefix(request.resource, request.namespace))
    return Listed(listing.records, request.resource, listing.revision, request.namespace, version=version)


async def _page(api: Api, request: Request, chosen: Selection, limit: int, revision: int, after: str = "") -> Listed:
    """One page at `revision` (0: at present), of `limit` selected records (0: all)."""
    registry, resource = api.registry, request.resource
    prefix = registry.prefix(resource, request.namespace)
    if chosen.empty:
        listing = await _read(api, prefix, revision, after, limit)
        return _answer(request, prefix, listing.records, listing.revision, listing.remaining, chosen)
    found: list[Record] = []
    while True:
        # One more than asked: its presence says that a further page exists.
        listing = await _read(api, prefix, revision, after, max(limit * 2, 500) if limit else 0)
        revision = revision or listing.revision
        await registry.ready(listing.records, resource)
        for record in listing.records:
            if chosen.matches(registry.obj(record, resource)):
                found.append(record)
                if limit and len(found) > limit:
                    return _answer(request, prefix, found[:limit], listing.revision, 1, chosen)
        if not listing.remaining:
            return _answer(request, prefix, found, listing.revision, 0, chosen)
        after = listing.records[-1].key


async def _read(api: Api, prefix: str, revision: int, after: str, limit: int) -> Listing:
    store = api.registry.store
    if not revision or revision == store.revision:
        return store.list(prefix, after=after, limit=limit)
    try:
        return await store.list_at(prefix, revision, after=after, limit=limit)
    except Compacted:
        raise Expired("The resourceVersion for the provided list is too old.") from None
    except FutureRevision:
        await wait_for(api, revision, 0.0)
        return await store.list_at(prefix, revision, after=after, limit=limit)


def _answer(
    request: Request, prefix: str, records: Sequence[Record], revision: int, remaining: int, chosen: Selection
) -> Listed:
    following = ""
    if remaining:
        following = continuation.encode(revision, records[-1].key.removeprefix(prefix))
    count = remaining if remaining and chosen.empty else None
    return Listed(records, request.resource, revision, request.namespace, next=following, remaining=count)


async def _continued(api: Api, request: Request, chosen: Selection, limit: int, token: str) -> Listed:
    prefix = api.registry.prefix(request.resource, request.namespace)
    revision, start = continuation.decode(token)
    if revision < 0:
        return await _page(api, request, chosen, limit, 0, prefix + start)
    if revision <= api.registry.store.compacted:
        raise continuation.TokenExpired(continuation.encode(-1, start))
    return await _page(api, request, chosen, limit, revision, prefix + start)
