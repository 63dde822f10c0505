"""How a command that changes something is carried out: in steps, so that a running service goes on with its passes.

A command is a generator: it plans, records, yields a ``Wait`` and goes on when that is over. What it planned is written
like everything else, by urgency; what it returns is its account, JSON-able. One that is begun anew, since the service
ended that had begun it, finds in its argument ``again`` the operations of its last wait.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from bitrix_sync.engine.passes import ServiceContext, carry_out, writes
from bitrix_sync.engine.sender import ready
from bitrix_sync.errors import BitrixSyncError, LeaseLost, StoreError
from bitrix_sync.portal.rate_limiter import Stopped
from bitrix_sync.store import Request, Store

log = structlog.get_logger(__name__)

Account = dict[str, Any]
Told = Callable[[str], None]
GOES_ON = "what was planned is kept, and the service goes on with it"


@dataclass(frozen=True, slots=True)
class Wait:
    """What a command waits for: that the operations ``ids``, which it planned so far, are written, or that nothing more
    can be written now; with ``rest`` for so many seconds only. ``done`` of ``of`` deals are looked at."""

    ids: Sequence[int] = ()
    rest: float | None = None
    done: int = 0
    of: int = 0


Steps = Generator[Wait, None, Account]
Begin = Callable[[ServiceContext, str, Mapping[str, Any]], Steps]


def carry(context: ServiceContext, steps: Steps, *, told: Told = lambda _text: None) -> Account:
    """Carry a command out to its end, with nothing else to do meanwhile. ``told`` hears how far it is."""
    while True:
        try:
            wait = next(steps)
        except StopIteration as end:
            return dict(end.value)
        told(how_far(context.store, wait))
        if wait.rest is None:
            carry_out(context, interrupted=_listener(context.store, wait, told))
        else:
            context.portal.rate_limiter.rest(wait.rest)


def _listener(store: Store, wait: Wait, told: Told) -> Callable[[], bool]:
    """Asked between two batches: interrupts nothing, and tells."""

    def tell() -> bool:
        told(how_far(store, wait))
        return False

    return tell


def how_far(store: Store, wait: Wait) -> str:
    """How far a command is, in words for a terminal; "" if there is nothing to count."""
    if wait.of:
        return f"{wait.done} of {wait.of} deals are looked at"
    through = len(wait.ids) - store.unsent(wait.ids)
    return f"{through} of {len(wait.ids)} operations are through" if wait.ids else ""


def progress(store: Store, request: Request) -> str:
    """The same for a request that the running service has begun, or will begin."""
    return how_far(store, Wait(**request.result)) if request.result else "the running service does it"


def refusal(fault: Exception, kind: str) -> Account:
    """What is answered instead of an account; call it while the exception is handled."""
    if isinstance(fault, BitrixSyncError):
        return {"error": str(fault), "exit": fault.exit_code}
    log.exception("a command could not be carried out", command=kind)
    return {"error": f"unexpected error ({type(fault).__name__}); the log of the service says where", "exit": 3}


def arguments(request: Request) -> Mapping[str, Any]:
    """What the command is called with."""
    return {**request.args, "resumed": request.result["ids"]} if request.result else request.args


def finish(context: ServiceContext, number: int, begin: Begin, *, told: Told = lambda _text: None) -> None:
    """Do what a service left of a request when it ended, and answer it."""
    request = context.store.request(number)
    if request is None or request.ok is not None:
        return
    try:
        answer = (True, carry(context, begin(context, request.kind, arguments(request)), told=told))
    except (LeaseLost, Stopped):
        raise
    except Exception as fault:
        answer = (False, refusal(fault, request.kind))
    context.store.answer(number, *answer)


@dataclass(slots=True)
class CommandRun:
    """A command's request that was begun. ``until``: a rest's end, our clock. ``answer``: found, not yet given."""

    request: Request
    steps: Steps
    wait: Wait = field(default_factory=Wait)
    until: datetime | None = None
    answer: tuple[bool, Account] | None = None


class CommandRuns:
    """What commands asked of the running service and what is not answered yet. Used by the worker's thread alone."""

    def __init__(self, begin: Begin) -> None:
        self._begin = begin
        self._underway: list[CommandRun] = []

    @property
    def underway(self) -> bool:
        """True while one of them is not answered."""
        return bool(self._underway)

    def take(self, context: ServiceContext, *, stopping: Callable[[], bool]) -> bool:
        """Begin what was asked since the last time, each as far as its first wait; False: nothing was."""
        asked = False
        while not stopping():
            request = context.store.next_request(context.sender.epoch)
            if request is None:
                break
            asked = True
            run = CommandRun(request, self._begin(context, request.kind, arguments(request)))
            self._underway.append(run)
            self._step(context, run)
        return asked

    def go_on(self, context: ServiceContext) -> None:
        """One step further with each whose wait is over."""
        for run in list(self._underway):
            if run.answer is not None or _is_over(context, run):
                self._step(context, run)

    def give_up(self, store: Store, trouble: str) -> None:
        """The service is in trouble: whoever waits for what it writes hears of it, and need not wait any longer."""
        for run in list(self._underway):
            if run.answer is None:
                run.answer = (False, {"error": f"{trouble}; {GOES_ON}", "exit": 3})
            self._give(store, run)

    def _give(self, store: Store, run: CommandRun) -> None:
        """Answer; when the database cannot be written now, at the next step."""
        assert run.answer is not None
        with contextlib.suppress(StoreError):
            store.answer(run.request.id, *run.answer)
            self._underway.remove(run)

    def _step(self, context: ServiceContext, run: CommandRun) -> None:
        if run.answer is None:
            try:
                run.wait = next(run.steps)
            except StopIteration as end:
                run.answer = (True, end.value)
            except (LeaseLost, Stopped):
                raise
            except Exception as fault:
                run.answer = (False, refusal(fault, run.request.kind))
            else:
                run.until = context.sender.clock() + timedelta(seconds=run.wait.rest or 0.0)
                context.store.note_request(run.request.id, asdict(run.wait))
                return
        self._give(context.store, run)


def _is_over(context: ServiceContext, run: CommandRun) -> bool:
    if run.wait.rest is not None:
        return run.until is None or context.sender.clock() >= run.until
    return not context.store.unsent(run.wait.ids) or not writes(context) or not ready(context.sender, 1)
