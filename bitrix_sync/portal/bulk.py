"""Bulk readings by fast-bitrix24, tamed from outside: at our pace, with our errors, never for a write or the cursor.

Left to itself the library repeats what it is unsure of, loses the bodies of errors, does not know 429 and keeps no
order. So it gets a session of our own whose middleware waits for the portal's pacer, reads every answer and raises our
own errors, which it does not retry; its throttles are set beyond reach; it lives in one loop of one thread. What it
returns is counted: whatever is not complete, or goes wrong, is read again page after page by ourselves.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Coroutine, Mapping
from typing import Any, TypeVar

import aiohttp
import structlog

from bitrix_sync.errors import PortalError
from bitrix_sync.model.facts import Unread
from bitrix_sync.portal.body import LIMIT, PACKED, Body, UnfitBody
from bitrix_sync.portal.client import REDIRECTS, Portal
from bitrix_sync.portal.dialect.commands import Command
from bitrix_sync.portal.dialect.outcomes import Outcome, decode, lost_answer, read_answer, read_batch, whole
from bitrix_sync.portal.dialect.parsing import Row
from bitrix_sync.portal.paging import LONG_PATIENCE, MOST_ROWS, PAGE, Source, read_lists, read_offsets
from bitrix_sync.portal.rate_limiter import Stopped

log = structlog.get_logger(__name__)

PARALLEL = 4
"""Requests under way at once: enough to hide their latency, the bucket sets the pace anyway."""
BEYOND_REACH = 10**9
MOST_BYTES = 8 * LIMIT
"""Of all answers to one reading; what is more is read page by page."""
TRIES = 4

Result = TypeVar("Result")


class NotDone(Exception):
    """The portal did not answer with a result; fast-bitrix24 does not know this error and lets it through."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.code)
        self.outcome = outcome


def read_all(portal: Portal, source: Source) -> list[Row]:
    """All rows of a list, in no order. The same as ``read_lists``, only sooner where there are many pages."""
    found = _get_all(portal, source.method, {**source.params, "order": {source.sort: "ASC"}}, source.row)
    if found is not None:
        return found
    return read_lists(portal, [source], patience=LONG_PATIENCE)[0]


def read_table(portal: Portal, command: Command) -> list[Row] | Unread:
    """All rows of a list that can only be paged by ``start`` (users, departments)."""
    # the library takes no order that is a word; whether rows were lost between pages is seen from their number
    unordered = {name: value for name, value in command.params.items() if name not in ("sort", "order")}
    found = _get_all(portal, command.method, unordered, "ID")
    if found is not None:
        return found
    return read_offsets(portal, [(command, "")])[0]


def _get_all(portal: Portal, method: str, params: Mapping[str, Any], key: str) -> list[Row] | None:
    """What fast-bitrix24 reads; None when that is not surely everything."""
    reader = _Reader(portal, method)
    try:
        found = _in_thread(reader.read(dict(params)))
    except Stopped:
        raise
    except Exception as fault:
        reason = fault.outcome.code if isinstance(fault, NotDone) else type(fault).__name__
        log.debug("bulk reading goes on page by page", method=method, reason=reason)
        return None
    return _complete(found, key, reader.total, method)


def _complete(found: Any, key: str, total: int, method: str) -> list[Row] | None:
    """The rows that were read, if each has an id of its own and there are as many as the portal counts."""
    listed = list(found.values()) if isinstance(found, dict) else found
    if not isinstance(listed, list):
        return None
    unique = {whole(row.get(key)): row for row in listed if isinstance(row, Mapping)}
    unique.pop(None, None)
    if len(unique) != len(listed) or (len(listed) < total if total else len(listed) >= PAGE):
        log.debug("bulk reading was not complete", method=method, rows=len(unique), total=total)
        return None
    return list(unique.values())


class _Answer(aiohttp.ClientResponse):
    """An answer whose body is read within its bounds and as all others are; the library asks for nothing else."""

    async def read(self) -> bytes:
        if self._body is None:
            try:
                body = Body(self.headers.get("Content-Encoding", ""))
                async for part in self.content.iter_any():
                    body.take(part)
                self._body = body.whole()
            except BaseException:
                self.close()
                raise
        return self._body

    async def json(self, **_: Any) -> Any:
        return decode(await self.read())


class _Reader:
    """One reading by the library: its session, and the total that the portal named."""

    def __init__(self, portal: Portal, method: str) -> None:
        self._portal, self._method = portal, method
        self.total = self._size = 0

    async def read(self, params: dict[str, Any]) -> Any:
        """What the library makes of all pages of a list; raises what went wrong."""
        # half a second, which most commands need not spend
        from fast_bitrix24 import BitrixAsync
        from fast_bitrix24.user_request import GetAllUserRequest

        class Ordered(GetAllUserRequest):  # type: ignore[misc]
            """All pages in the order that the parameters name; the library's own is refused by some methods."""

            def check_special_limitations(self) -> bool:
                return True

            def add_order_parameter(self) -> None:
                """It is there."""

        logging.getLogger("fast_bitrix24").setLevel(logging.WARNING)  # it logs whole answers
        connect, read = self._portal.timeouts
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=connect, sock_read=read)
        async with aiohttp.ClientSession(
            middlewares=(self._middleware,),
            timeout=timeout,
            headers={
                "User-Agent": self._portal.user_agent,
                "Accept": "application/json",
                "Accept-Encoding": PACKED,
            },
            trust_env=not self._portal.webhook.loopback,
            connector=aiohttp.TCPConnector(ssl=self._portal.trust),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            response_class=_Answer,
        ) as session:
            bitrix = BitrixAsync(
                self._portal.webhook.get_secret_value(),
                verbose=False,
                request_pool_size=BEYOND_REACH,
                requests_per_second=float(BEYOND_REACH),
                operating_time_limit=BEYOND_REACH,
                client=session,
            )
            with bitrix.slow(PARALLEL):
                return await Ordered(bitrix, self._method, params).run()

    async def _middleware(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        """One request of the library's, at our pace and judged by our rules; a reading may be repeated a few times."""
        for tried in range(TRIES):
            await asyncio.to_thread(self._portal.rate_limiter.wait)
            response, outcome = await self._exchange(request, handler)
            if response is not None and outcome.done:
                return response
            if outcome.kind == "refused" or tried == TRIES - 1:
                break
            await asyncio.to_thread(self._portal.rate_limiter.rest, 0.5 * 2**tried)
        raise NotDone(outcome)

    async def _exchange(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> tuple[aiohttp.ClientResponse | None, Outcome]:
        sent = self._portal.clock()
        try:
            async with asyncio.timeout(sum(self._portal.timeouts)):
                response = await handler(request)
                body = await response.read()
        except UnfitBody as fault:
            self._portal.count(lost_answer(str(fault)), self._portal.clock() - sent)
            raise NotDone(lost_answer(str(fault))) from None
        except (aiohttp.ClientError, TimeoutError, OSError) as fault:
            outcome = lost_answer(type(fault).__name__)
            self._portal.count(outcome, self._portal.clock() - sent)
            return None, outcome
        now = self._portal.clock()
        batch = request.url.path.endswith("/batch")
        envelope: Mapping[str, Any]
        if response.status in REDIRECTS:
            outcome, envelope = Outcome("refused", code="redirect"), {}
        else:
            name = "batch" if batch else self._method
            outcome, envelope = read_answer(response.status, body, method=name, now=now)
            outcome = self._portal.account(name, outcome)
        self._portal.count(outcome, now - sent)
        self.total = max(self.total, outcome.total or 0)
        self._size += len(body)
        if self.total > MOST_ROWS or self._size > MOST_BYTES:
            raise NotDone(Outcome("refused", code="too_much"))
        return response, self._judge_batch(envelope, now) if batch and outcome.done else outcome

    def _judge_batch(self, envelope: Mapping[str, Any], now: float) -> Outcome:
        """A batch of pages is done when each of its pages is."""
        result = envelope.get("result")
        maps = [result.get(name) for name in ("result", "result_error")] if isinstance(result, Mapping) else []
        keys = [key for part in maps if isinstance(part, Mapping) for key in part]
        pages = read_batch(envelope, [self._method] * len(keys), now=now, keys=keys)
        judged = [self._portal.account(self._method, page) for page in pages]
        return next((page for page in judged if not page.done), Outcome("done"))


def _in_thread(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine in a thread and a loop of its own; its result or its error comes back."""
    outcome: list[Result] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            outcome.append(asyncio.run(work))
        except BaseException as fault:
            errors.append(fault)

    thread = threading.Thread(target=target, name="bulk-reader", daemon=True)
    thread.start()
    thread.join()
    if errors:
        if isinstance(errors[0], Stopped | NotDone):
            raise errors[0]
        raise PortalError(type(errors[0]).__name__) from None
    return outcome[0]
