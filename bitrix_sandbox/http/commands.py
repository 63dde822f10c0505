"""One command of a request: which method, within which limits, and what goes wrong with it on order."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bitrix_sandbox.http.events import Events
from bitrix_sandbox.http.faults import PAGES, Broken, Fault, Faults
from bitrix_sandbox.http.journal import Journal
from bitrix_sandbox.http.limits import Limits
from bitrix_sandbox.http.wire import Request, Response, Shapes, Timing, error_response, page, php_json
from bitrix_sandbox.methods.protocol import METHODS, Answer, Caller, Method
from bitrix_sandbox.state.clock import Agenda
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState

T = TypeVar("T")

V3 = "v3:"
"""Methods of REST 3.0 are registered with this prefix."""


@dataclass(slots=True)
class Call:
    """One HTTP request on its way through the portal."""

    request: Request
    name: str
    v3: bool
    key: tuple[int, str] | None
    """User and code of the webhook as the address says; None when a token comes as ``auth``."""
    started: float
    parameters: Any = None
    caller: Caller | None = None
    ending: Fault | None = None
    """What happens to the answer once it is there."""
    aimed: dict[int, Fault] = field(default_factory=dict)
    """Faults of single commands, by their place."""
    cut_at: int | None = None
    """The batch is cut before this command."""
    spared: set[int] = field(default_factory=set)
    """Commands that a fault has struck already."""
    cost: float = 0.0
    """Operating seconds of its commands."""
    fault: str = ""

    @property
    def is_batch(self) -> bool:
        """A batch of either version."""
        return self.name.lower() == "batch"


class CommandRunner:
    """Runs commands, each alone or inside a batch of either version."""

    def __init__(
        self,
        state: PortalState,
        *,
        limits: Limits,
        faults: Faults,
        events: Events,
        agenda: Agenda,
        shapes: Shapes,
        journal: Journal,
    ) -> None:
        self.state, self.clock = state, state.clock
        self.limits, self.faults, self.events, self.agenda = limits, faults, events, agenda
        self.shapes, self.journal = shapes, journal

    def strike(self, call: Call, fault: Fault, run: Callable[[], T], *, later: Callable[[], Response]) -> T:
        """Let a fault strike ``run``; ``later`` is it with all that follows in the request. Raises Broken or RestError,
        or gives what ``run`` gives and leaves a mark on the call's end."""
        error = fault.error()
        runs = fault.effect if error is not None or fault.kind in PAGES else fault.kind == "cut_after"
        if runs:
            with suppress(RestError):
                run()
        if error is not None:
            raise error
        match fault.kind:
            case "cut_before" | "cut_after":
                raise Broken
            case "page_500" | "page_502" | "page_504":
                raise Broken(then=lambda: page(PAGES[fault.kind]))
            case "hang":
                raise Broken(hold=fault.hold)
            case "late_run":
                raise Broken(hold=fault.hold, then=later)
            case "late_commit":
                self.agenda.add(lambda: _forget(later), after=fault.seconds)
                raise Broken(hold=fault.hold)
        call.ending = fault
        return run()

    def guard(self, call: Call, run: Callable[[], Response]) -> Response:
        """Run a request or the rest of it as one hit of the portal; its errors are answers."""
        with self.events.hit():
            try:
                return run()
            except RestError as error:
                return error_response(error, self.shapes, v3=call.v3)
            except Broken:
                raise
            except Exception as defect:
                self.journal.crashes.append(defect)
                return error_response(RestError("INTERNAL_SERVER_ERROR", repr(defect), 500), self.shapes, v3=call.v3)

    def perform(
        self, call: Call, name: str, parameters: dict[str, Any], *, place: int = 0, later: Callable[[], Response]
    ) -> tuple[Answer, Timing]:
        """Run one command, alone or inside a batch, with the fault that is due to it. Raises RestError or Broken."""
        fault = None if place in call.spared else call.aimed.get(place)
        if fault is None and call.is_batch and place not in call.spared:
            fault = self.faults.pick(name, inside=True)
        if fault is None:
            return self._run(call, name, parameters)
        call.spared.add(place)
        call.fault = fault.kind
        if fault.kind in ("empty_result", "garbage"):
            return Answer([] if fault.kind == "empty_result" else "?"), self._run(call, name, parameters)[1]
        if fault.kind == "garbled":
            answer, timing = self._run(call, name, parameters)
            before = php_json(answer.result)
            garbled = fault.garble(answer.result)
            if php_json(garbled) == before:
                self.faults.missed(name, fault.kind)
            return replace(answer, result=garbled), timing
        return self.strike(call, fault, lambda: self._run(call, name, parameters), later=later)

    def find(self, call: Call, name: str) -> Method:
        """The method, if the caller may call it. RestError otherwise."""
        assert call.caller is not None
        known = None if ":" in name else METHODS.get(f"{V3 if call.v3 else ''}{name.lower()}")
        if known is None:
            raise RestError("ERROR_METHOD_NOT_FOUND", "Method not found!", 404)
        if known.scopes and not known.scopes & call.caller.scopes:
            raise RestError(
                "insufficient_scope",
                "The request requires higher privileges than provided by the webhook token",
                403,
            )
        return known

    def _run(self, call: Call, name: str, parameters: dict[str, Any]) -> tuple[Answer, Timing]:
        known = self.find(call, name)
        assert call.caller is not None
        self.limits.check(call.key, name)
        self.journal.ran(name.lower())
        begun = self.clock.timestamp()
        try:
            with self.state.lock:
                answer = known.handler(self.state, call.caller, parameters)
        finally:
            price = self.limits.price(name, known.cost)
            call.cost += price
            self.limits.spend(call.key, name, price)
        if self.limits.longest is not None and call.cost > self.limits.longest:
            raise Broken(then=lambda: page(504))
        finished = self.clock.timestamp()
        return answer, Timing(begun, finished, finished - begun, self.limits.told(call.key, name))

    def success(self, call: Call, body: dict[str, Any], timing: Timing) -> Response:
        """A whole answer: ``body`` with the request's ``time``."""
        whole = Timing(call.started, self.clock.timestamp(), timing.processing, timing.operating)
        if self.shapes.time:
            body["time"] = whole.block(self.clock.zone, self.shapes, whole_start=call.v3)
        return Response(200, php_json(body))


def _forget(later: Callable[[], Response]) -> None:
    with suppress(Broken):
        later()
