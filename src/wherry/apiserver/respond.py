"""From an answer to what is sent: whole answers, streams of watch events, failures, bytes that are ready."""

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any

from aiohttp import HttpVersion11, hdrs, web
from multidict import CIMultiDict

from wherry.api.errors import StatusError
from wherry.apiserver import messages, negotiate
from wherry.apiserver.audit.policy import STARTED
from wherry.apiserver.authn import websocket
from wherry.apiserver.encode import Encoder, WatchEncoder
from wherry.apiserver.exchange import Exchange
from wherry.apiserver.feeds import Feed, Pacer
from wherry.apiserver.metrics import Metrics
from wherry.apiserver.negotiate import Form
from wherry.apiserver.paths import Plain
from wherry.apiserver.registry import Registry
from wherry.apiserver.request import Answer, Listed, Made, Request, Stored, Watched, status_of
from wherry.apiserver.whole import WholeResponse

log = logging.getLogger(__name__)

_GZIP_FROM = 128 * 1024


class Responder:
    """Makes responses. `stopping` tells a cancelled watch whether the server ends; `note` takes audit events."""

    def __init__(
        self, registry: Registry, metrics: Metrics, *, stopping: Callable[[], bool], note: Callable[[Any], None]
    ) -> None:
        self._registry = registry
        self._metrics = metrics
        self._encoder = Encoder(registry)
        self._pacer = Pacer()
        self._stopping = stopping
        self._note = note

    async def answer(self, x: Exchange, request: Request, answer: Answer, form: Form) -> web.StreamResponse:
        """Return the response to an answer; a watch is over when this returns."""
        if isinstance(answer, Watched):
            return await self._stream(x, request, answer, form)
        if not isinstance(answer, Made) and self._registry.is_fetched(answer.resource):
            records = [answer.record] if isinstance(answer, Stored) else answer.records
            await self._registry.ready(records, answer.resource)
        parts = self._encoder.encode(answer, form, request.params)
        headers = x.answer_headers(form.media)
        if sum(map(len, parts)) >= _GZIP_FROM and negotiate.takes_gzip(x.http.headers.get(hdrs.ACCEPT_ENCODING, "")):
            parts = (await asyncio.to_thread(gzip.compress, b"".join(parts), 1),)
            headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
        if x.record is not None:
            self._note_answer(x, answer)
        return WholeResponse(answer.code, headers, *parts)

    def _note_answer(self, x: Exchange, answer: Stored | Made | Listed) -> None:
        record = x.record
        assert record is not None
        record.response_status = {"metadata": {}, "code": answer.code}
        if isinstance(answer, Stored):
            record.response_object = self._registry.obj(answer.record, answer.resource)
        elif isinstance(answer, Made):
            record.response_object = answer.obj
        elif record.decision.wants_response:
            record.response_object = self._encoder.object_of(answer)

    async def _stream(self, x: Exchange, request: Request, answer: Watched, form: Form) -> web.StreamResponse:
        chunked, include = x.http.version >= HttpVersion11, request.params.get("includeObject", "")
        encoder = WatchEncoder(self._registry, answer.resource, form, include, chunked=chunked)
        if websocket.is_websocket(x.http.headers):
            self._note_start(x, 101)
            try:
                return await messages.send_events(
                    x.http, _encoded(encoder, answer), text=encoder.media == negotiate.JSON
                )
            finally:
                answer.close()
        response = web.StreamResponse(headers=CIMultiDict(x.answer_headers(encoder.media)))
        if chunked:
            response.enable_chunked_encoding()
        kind = (answer.resource.group, answer.resource.version, answer.resource.kind)
        # The client must see that the watch stands before anything happens.
        await response.prepare(x.http)
        self._note_start(x, 200)
        feed = Feed(x.http, answer, encoder, pacer=self._pacer, count=partial(self._metrics.watched, kind))
        try:
            if x.http.method == hdrs.METH_HEAD:
                return response
            if encoder.nothing:
                await anext(answer.stream(), None)
            elif self._registry.is_fetched(answer.resource):
                await feed.run_slowly()
            else:
                await feed.run()
            await response.write_eof()
        except (ConnectionResetError, ConnectionAbortedError):
            log.debug("a watch of %s ended early", request.resource.plural)
        except asyncio.CancelledError:
            transport = x.http.transport
            if not self._stopping() or transport is None or transport.get_write_buffer_size():
                raise  # also at the stop, when the client does not read: the connection is dropped
            await response.write_eof()
        finally:
            answer.close()
        return response

    def _note_start(self, x: Exchange, code: int) -> None:
        if x.record is not None:
            x.record.response_status = {"metadata": {}, "code": code}
            self._note(x.record.event(STARTED))

    def failure(self, x: Exchange, error: StatusError) -> WholeResponse:
        """Return the response to an error: its Status, in the form that was asked for where that is possible."""
        form = negotiate.error_form(x.http.headers.get(hdrs.ACCEPT, ""))
        form = negotiate.indented(form, x.params, x.http.headers.get(hdrs.USER_AGENT, ""))
        status = status_of(error)
        if x.record is not None:
            shown = {k: v for k, v in status.obj.items() if k not in ("kind", "apiVersion")}
            x.record.response_status, x.record.response_object = shown, status.obj
        parts = self._encoder.encode(status, form, {})
        out = x.answer_headers(form.media)
        seconds = (error.details or {}).get("retryAfterSeconds")
        if seconds:
            out.append(("Retry-After", str(seconds)))
        out.extend((name, value) for name, value in error.headers.items() if name != "Retry-After" or not seconds)
        return WholeResponse(error.status_code, out, *parts)

    def plain(self, x: Exchange, plain: Plain) -> WholeResponse:
        """Return the response of bytes that are ready."""
        if x.record is not None:
            x.record.response_status = {"metadata": {}, "code": plain.code}
        headers = dict(x.answer_headers(plain.media)) | plain.headers
        return WholeResponse(plain.code, [pair for pair in headers.items() if pair[1]], plain.body)


async def _encoded(encoder: WatchEncoder, answer: Watched) -> AsyncIterator[Sequence[bytes]]:
    async for changes in answer.stream():
        if encoder.nothing:
            return
        yield encoder.messages(changes)
