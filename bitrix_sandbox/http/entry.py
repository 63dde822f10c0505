"""REST's entry: who calls, which method, within which limits, and what goes wrong on order.

URL forms (docs: settings/how-to-call-rest-api/general-principles.md, api-reference/rest-v3.md):
``/rest/USER/CODE/METHOD``, ``/rest/METHOD`` with ``auth``, and the same below ``/rest/api/`` for REST 3.0. Methods of
REST 3.0 are registered with the prefix ``v3:``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from bitrix_sandbox.http import batch, rest3
from bitrix_sandbox.http.events import Events
from bitrix_sandbox.http.faults import OF_COMMANDS, PAGES, Broken, Fault, Faults
from bitrix_sandbox.http.journal import Entry, Journal
from bitrix_sandbox.http.limits import Limits
from bitrix_sandbox.http.wire import (
    Request,
    Response,
    Shapes,
    Timing,
    as_map,
    error_response,
    page,
    php_json,
    read_json,
    read_parameters,
    redirect,
)
from bitrix_sandbox.methods.protocol import METHODS, Answer, Caller, Method
from bitrix_sandbox.state.clock import Agenda, Clock
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState

T = TypeVar("T")

V3 = "v3:"


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


class RestEntry:
    """Answers requests to ``/rest/``. ``tokens`` maps access tokens to webhooks' keys, None for an expired token.
    ``new_name`` is the host to which a renamed portal has moved; requests to other hosts are redirected."""

    def __init__(
        self,
        state: PortalState,
        clock: Clock,
        *,
        limits: Limits,
        faults: Faults,
        events: Events,
        agenda: Agenda,
        shapes: Shapes,
        journal: Journal,
    ) -> None:
        self.state, self.clock = state, clock
        self.limits, self.faults, self.events, self.agenda = limits, faults, events, agenda
        self.shapes, self.journal = shapes, journal
        self.tokens: dict[str, tuple[int, str] | None] = {}
        self.new_name = ""
        self.replays = rest3.Replays(clock.timestamp)

    def answer(self, request: Request) -> Response:
        """Answer one request. Raises Broken when a fault ends the exchange otherwise."""
        self.agenda.run_due()
        call = self._address(request)
        if call is None:
            return page(404)
        try:
            response = self._finish(call, self._admit(call))
        except RestError as error:
            response = error_response(error, self.shapes, v3=call.v3)
        except Broken as broken:
            if broken.then is None or broken.half or broken.hold != 0.0:
                self._note(call, 0, "")
                raise
            response = broken.then()
        self._note(call, response.status, response.code)
        return response

    # --- one request -------------------------------------------------------------------------------------------------

    def _address(self, request: Request) -> Call | None:
        parts = request.path.strip("/").split("/")
        if parts[0] != "rest" or len(parts) < 2:
            return None
        v3 = parts[1] == "api"
        rest = parts[2:] if v3 else parts[1:]
        key = (int(rest[0]), rest[1]) if len(rest) >= 2 and rest[0].isascii() and rest[0].isdigit() else None
        name = "".join(rest[2:3]) if key else "".join(rest[:1])
        if not v3 and name.lower().endswith(".json"):
            name = name[: -len(".json")]
        call = Call(request, name, v3, key, self.clock.timestamp())
        call.parameters = read_json(request.body) if v3 else read_parameters(request)
        return call

    def _admit(self, call: Call) -> Response:
        self.limits.enter(call.name)
        if self.new_name and call.request.host != self.new_name:
            return redirect(f"http://{self.new_name}{call.request.path}")
        size = batch.size(call.parameters) if call.is_batch else 0
        fault = self.faults.pick(call.name, commands=size)
        call.fault = fault.kind if fault else ""
        if fault is None:
            return self.serve(call)
        if fault.item is not None or (fault.kind in OF_COMMANDS and not call.is_batch):
            call.aimed[fault.item or 0] = fault
            return self.serve(call)
        if fault.kind == "moved":
            return redirect(fault.location or f"http://localhost{call.request.path}")
        if fault.kind == "batch_cut":
            call.cut_at = fault.after or 0
            if not call.is_batch:
                raise Broken
            return self.serve(call)
        return self.strike(call, fault, lambda: self.serve(call), later=lambda: self.serve(call))

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

    def serve(self, call: Call) -> Response:
        """Authorise and run a request."""
        return self.guard(call, lambda: self._serve(call))

    def _serve(self, call: Call) -> Response:
        self._authorise(call)
        if call.v3:
            return rest3.answer_batch(self, call) if call.is_batch else rest3.answer(self, call)
        return batch.answer_v2(self, call) if call.is_batch else self._single(call)

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

    def _finish(self, call: Call, response: Response) -> Response:
        fault = call.ending
        match fault.kind if fault else "":
            case "half_answer":
                raise Broken(then=lambda: response, half=True)
            case "broken_json":
                return replace(response, body=response.body[: len(response.body) // 2], code="broken JSON")
            case "late_answer":
                assert fault is not None
                raise Broken(hold=fault.hold, then=lambda: response)
        return response

    def _note(self, call: Call, status: int, code: str) -> None:
        user_id = call.key[0] if call.key else 0
        commands = batch.size(call.parameters) if call.is_batch else 0
        self.journal.note(Entry(call.started, call.name.lower(), user_id, commands, status, code, call.fault))

    # --- who ---------------------------------------------------------------------------------------------------------

    def _authorise(self, call: Call) -> None:
        """Docs: error-codes.md; local-integrations/local-webhooks.md."""
        if call.key is None:
            token = as_map(call.parameters).get("auth")
            if not isinstance(token, str) or token not in self.tokens:
                raise self._stranger()
            call.key = self.tokens[token]
            if call.key is None:
                raise RestError("expired_token", "The access token provided has expired", 401)
        webhook = self.state.webhooks.get(call.key)
        if webhook is None or not webhook.alive:
            raise self._stranger()
        owner = self.state.users.get(webhook.user_id)
        if owner is not None and not owner.active:
            raise RestError("authorization_error", "Unable to authorize user", 401)
        call.caller = Caller(webhook.user_id, frozenset(webhook.scopes), self.state.is_admin(webhook.user_id))

    def _stranger(self) -> RestError:
        text = {"NO_AUTH_FOUND": "Wrong authorization data"}.get(self.shapes.auth_code, "Invalid request credentials")
        return RestError(self.shapes.auth_code, text, 401)

    # --- one command -------------------------------------------------------------------------------------------------

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
            return replace(answer, result=fault.garble(answer.result)), timing
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

    def _single(self, call: Call) -> Response:
        parameters = {name: value for name, value in call.parameters.items() if name != "auth"}
        answer, timing = self.perform(call, call.name, parameters, later=lambda: self.serve(call))
        body: dict[str, Any] = {"result": answer.result}
        if answer.next is not None:
            body["next"] = answer.next
        if answer.total is not None:
            body["total"] = answer.total
        return self.success(call, body, timing)

    def success(self, call: Call, body: dict[str, Any], timing: Timing) -> Response:
        """A whole answer: ``body`` with the request's ``time``."""
        whole = Timing(call.started, self.clock.timestamp(), timing.processing, timing.operating)
        if self.shapes.time:
            body["time"] = whole.block(self.clock.zone, self.shapes, whole_start=call.v3)
        return Response(200, php_json(body))


def _forget(later: Callable[[], Response]) -> None:
    with suppress(Broken):
        later()
