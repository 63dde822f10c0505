"""The same with fast-bitrix24's ``call``: for each event alone, or for all that happened as one list.

In simulated time: its waits move the timeline on.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import selectors
import sys
from collections import defaultdict
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import fast_bitrix24.throttle
from fast_bitrix24 import BitrixAsync

from tests.bench.handler import message_of, task_of
from tests.bench.process import serve
from tests.bench.timeline import Timeline


class Patience(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits for the network while a request is under way, else lets the simulated time pass."""

    def __init__(self, timeline: Timeline) -> None:
        super().__init__()
        self.timeline, self.under_way = timeline, 0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.under_way or timeout is None:
            return super().select(0.05)
        self.timeline.advance(max(timeout, 1e-3))
        return super().select(0)


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop whose time is the timeline's."""

    def __init__(self, timeline: Timeline) -> None:
        self.patience, self.timeline = Patience(timeline), timeline
        super().__init__(self.patience)
        self._clock_resolution = 1e-3  # of epoch seconds a float cannot tell nanoseconds

    def time(self) -> float:
        return self.timeline.now()


class Fast:
    """``whole``: all events as one list; else one after another."""

    def __init__(self, folder: Path, url: str, *, whole: bool) -> None:
        self.timeline, self.url, self.whole = Timeline(folder / "time"), url, whole
        fast_bitrix24.throttle.time = SimpleNamespace(monotonic=self.timeline.now)
        logging.getLogger("fast_bitrix24").setLevel(logging.ERROR)
        self.loop = SimulatedLoop(self.timeline)

    def work(self, deals: list[int]) -> None:
        """An event for each deal."""
        self.loop.run_until_complete(self.within(self.handle_all(deals)))

    def sweep(self) -> None:
        """The script for what is overdue."""
        self.loop.run_until_complete(self.within(self.move_overdue()))

    async def within(self, job: Any) -> None:
        """Do something with a session of its own, whose requests the loop waits for."""
        trace = aiohttp.TraceConfig()

        async def count(step: int) -> None:
            self.loop.patience.under_way += step

        trace.on_request_start.append(lambda *_: count(1))
        trace.on_request_end.append(lambda *_: count(-1))
        trace.on_request_exception.append(lambda *_: count(-1))
        async with aiohttp.ClientSession(
            raise_for_status=True, trace_configs=[trace], timeout=aiohttp.ClientTimeout(total=None)
        ) as session:
            self.bitrix = BitrixAsync(self.url, verbose=False, client=session)
            await job

    async def handle_all(self, deals: list[int]) -> None:
        if self.whole:
            read = await self.tried("crm.deal.get", [{"id": deal_id} for deal_id in deals]) or ()
            await self.tried("tasks.task.add", [{"fields": task_of(deal, self.timeline.moment())} for deal in read])
            return
        for deal_id in deals:
            found = await self.tried("crm.deal.get", {"id": deal_id})
            for deal in (found or {}).values():  # under a name of the library's own
                await self.tried("tasks.task.add", {"fields": task_of(deal, self.timeline.moment())})

    async def tried(self, method: str, items: Any) -> Any:
        """What ``call`` gives; None when it raises."""
        if not items:
            return None
        with contextlib.suppress(Exception):
            return await self.bitrix.call(method, items)
        return None

    async def move_overdue(self) -> None:
        now = self.timeline.moment()
        due = (now + timedelta(days=1)).isoformat(timespec="seconds")
        wanted = {
            "filter": {"<DEADLINE": now.isoformat(timespec="seconds"), "REAL_STATUS": [1, 2, 3]},
            "select": ["ID", "TITLE", "RESPONSIBLE_ID"],
        }
        tasks: Any = ()
        with contextlib.suppress(Exception):
            tasks = await self.bitrix.get_all("tasks.task.list", wanted)
        moved: dict[str, list[str]] = defaultdict(list)
        for task in tasks:
            moved[task["responsibleId"]].append(task["title"])
        await self.tried("tasks.task.update", [{"taskId": t["id"], "fields": {"DEADLINE": due}} for t in tasks])
        await self.tried("im.message.add", [message_of(owner, titles) for owner, titles in moved.items()])


if __name__ == "__main__":
    serve(Fast(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3])))
