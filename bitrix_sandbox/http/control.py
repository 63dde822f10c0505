"""Control of a sandbox portal by HTTP, from other processes on this machine.

Bodies and answers are JSON; times are ISO texts. Only loopback is answered, and nothing here counts in the portal's
limits or its journal. An error is ``{"error": "..."}`` with status 400.

========================  =========================================================================================
GET /sandbox/stats        requests, calls, refusals by code, high_water, level, faults struck, crashes, counts of deals
                          and tasks, events waiting and sent, the clock
GET /sandbox/log          the last requests; ``?last=100``
GET /sandbox/clock        ``{"now", "frozen"}``
POST /sandbox/clock       any of ``{"set": moment, "advance": seconds, "freeze": true, "run": true}``
GET /sandbox/faults       kinds, how many orders wait, what has struck
POST /sandbox/faults      ``{"kind", "method"?, "times"?, "skip"?, ...}`` or ``{"chances": {kind: p}, "seed", ...}``
DELETE /sandbox/faults    take back what has not struck
GET /sandbox/events       subscriptions, deliveries
POST /sandbox/events      ``{"url", "token", "events"?}``: subscribe; gives the subscription
DELETE /sandbox/events    delete all subscriptions
POST /sandbox/weather     switches of the event queue (see events.Weather), and ``seed``
POST /sandbox/limits      ``{"rate", "operating_limit", "ban", "stepwise", "costs", "cost_factor", "longest",
                          "fill"}``
POST /sandbox/switches    switches of the portal (switches.Switches) and of its answers (wire.Shapes), ``latency``,
                          ``new_name``
POST /sandbox/act         ``{"do": verb, "with": {argument: value}}``: a person does something (verbs of PortalState)
POST /sandbox/anew        the portal is made anew at its address: ids from 1, another member id
GET /sandbox/tasks        every task; ``?id=``
GET /sandbox/deals        every deal; ``?id=``
GET /sandbox/history      the rows of the stage history
GET /sandbox/messages     messages of chats
GET /sandbox/notices      notices in the bell
========================  =========================================================================================
"""

from __future__ import annotations

import dataclasses
import inspect
import ipaddress
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import date, datetime
from itertools import islice
from typing import Any

from bitrix_sandbox.http.faults import KINDS
from bitrix_sandbox.http.portal import SandboxPortal
from bitrix_sandbox.http.wire import Request, Response, as_map, parse_form, php_json, read_json
from bitrix_sandbox.state.core import Core
from bitrix_sandbox.state.errors import RestError

PREFIX = "/sandbox/"
LIMITS = ("rate", "operating_limit", "ban", "stepwise", "costs", "cost_factor", "longest")


class Control:
    """Answers below ``/sandbox/``."""

    def __init__(self, sandbox: SandboxPortal) -> None:
        self._sandbox = sandbox
        self._pages: dict[tuple[str, str], Callable[[dict[str, Any]], Any]] = {
            ("GET", "stats"): lambda given: self.stats(),
            ("GET", "log"): self._log,
            ("GET", "clock"): lambda given: self._clock(),
            ("POST", "clock"): self._turn_clock,
            ("GET", "faults"): lambda given: self._faults(),
            ("POST", "faults"): self._order_fault,
            ("DELETE", "faults"): lambda given: sandbox.faults.clear(),
            ("GET", "events"): lambda given: self._events(),
            ("POST", "events"): lambda given: sandbox.events.subscribe(**given),
            ("DELETE", "events"): lambda given: sandbox.events.unsubscribe(),
            ("POST", "weather"): self._turn_weather,
            ("POST", "limits"): self._turn_limits,
            ("POST", "switches"): self._turn_switches,
            ("POST", "act"): self._act,
            ("POST", "anew"): lambda given: sandbox.make_anew(),
            ("GET", "tasks"): lambda given: _chosen(sandbox.state.tasks, given),
            ("GET", "deals"): lambda given: _chosen(sandbox.state.deals, given),
            ("GET", "history"): lambda given: list(sandbox.state.history.values()),
            ("GET", "messages"): lambda given: list(sandbox.state.messages.values()),
            ("GET", "notices"): lambda given: list(sandbox.state.notices),
        }

    def answer(self, request: Request) -> Response:
        """One request."""
        if not ipaddress.ip_address(request.client).is_loopback:
            return _json(403, {"error": "the sandbox is controlled from this machine only"})
        name = request.path.removeprefix(PREFIX).strip("/")
        handler = self._pages.get((request.verb, name))
        if handler is None:
            return _json(404, {"error": f"there is no {request.verb} {request.path}"})
        given = as_map(read_json(request.body)) if request.body else as_map(parse_form(request.query))
        self._sandbox.agenda.run_due()
        try:
            with self._sandbox.state.lock:
                return _json(200, {"result": plain(handler(given))})
        except (LookupError, TypeError, ValueError, RestError) as error:
            return _json(400, {"error": f"{type(error).__name__}: {error}"})

    def stats(self) -> dict[str, Any]:
        """What happened since the start."""
        one = self._sandbox
        return {
            "requests": sum(one.journal.requests.values()),
            "requests_by_method": one.journal.requests,
            "calls": one.journal.calls,
            "refusals": Counter(refusal.code for refusal in one.limits.refusals),
            "high_water": one.limits.high_water,
            "level": one.limits.level,
            "faults": one.faults.counts(),
            "crashes": [repr(crash) for crash in one.journal.crashes],
            "deals": len(one.state.deals),
            "tasks": len(one.state.tasks),
            "messages": len(one.state.messages),
            "notices": len(one.state.notices),
            "events_waiting": one.events.waiting(),
            "events_sent": len(one.events.sent),
            "ignored_filters": one.state.ignored_filters,
            **self._clock(),
        }

    def _log(self, given: dict[str, Any]) -> Any:
        entries = self._sandbox.journal.entries
        return list(islice(entries, max(0, len(entries) - int(given.get("last", 100))), None))

    def _clock(self) -> dict[str, Any]:
        return {"now": self._sandbox.clock.now(), "frozen": self._sandbox.clock.frozen}

    def _turn_clock(self, given: dict[str, Any]) -> Any:
        clock = self._sandbox.clock
        if given.get("freeze"):
            clock.freeze()
        if "set" in given:
            clock.set(datetime.fromisoformat(given["set"]))
        if "advance" in given:
            clock.advance(float(given["advance"]))
        if given.get("run"):
            clock.run()
        return self._clock()

    def _faults(self) -> dict[str, Any]:
        faults = self._sandbox.faults
        return {"kinds": KINDS, "waiting": faults.waiting(), "struck": faults.struck}

    def _order_fault(self, given: dict[str, Any]) -> None:
        if "chances" in given:
            self._sandbox.faults.at_random(**given)
        else:
            self._sandbox.faults.next(**given)

    def _events(self) -> dict[str, Any]:
        events = self._sandbox.events
        return {"subscriptions": list(events.subscriptions.values()), "sent": list(events.sent)}

    def _turn_weather(self, given: dict[str, Any]) -> None:
        if "seed" in given:
            self._sandbox.events.seed(int(given.pop("seed")))
        self._sandbox.events.weather.turn(given)

    def _turn_limits(self, given: dict[str, Any]) -> None:
        limits = self._sandbox.limits
        if unknown := given.keys() - {*LIMITS, "fill"}:
            raise KeyError(", ".join(sorted(unknown)))
        for name in given.keys() & set(LIMITS):
            setattr(limits, name, tuple(given[name]) if name == "rate" and given[name] else given[name])
        if "fill" in given:
            limits.fill(float(given["fill"]))

    def _turn_switches(self, given: dict[str, Any]) -> None:
        one = self._sandbox
        if "latency" in given:
            one.latency = float(given.pop("latency"))
        if "new_name" in given:
            one.rename(str(given.pop("new_name")))
        shapes = {name: given.pop(name) for name in list(given) if name in one.shapes.__slots__}
        one.state.switches.turn(given)
        one.shapes.turn(shapes)

    def _act(self, given: dict[str, Any]) -> Any:
        verb = str(given.get("do", ""))
        known = inspect.isfunction(getattr(type(self._sandbox.state), verb, None))
        if verb.startswith("_") or hasattr(Core, verb) or not known:
            raise KeyError(f"people cannot '{verb}' in the portal")
        return getattr(self._sandbox.state, verb)(**as_map(given.get("with")))


def _chosen(records: Mapping[int, Any], given: dict[str, Any]) -> Any:
    return [records[int(given["id"])]] if "id" in given else list(records.values())


def plain(value: Any) -> Any:
    """Anything as JSON: records as maps, times as ISO texts, sets as lists."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(plain(one) for one in value)
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value if value is None or isinstance(value, str | int | float | bool) else str(value)


def _json(status: int, body: dict[str, Any]) -> Response:
    return Response(status, php_json(body))
