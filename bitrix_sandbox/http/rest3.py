"""REST 3.0 of the sandbox portal: single calls with their Idempotency-Key, and batches.

Docs: api-reference/rest-v3.md. What a batch does with an Idempotency-Key is not documented: here it is ignored.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Hashable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from bitrix_sandbox.http.batch import LENGTH
from bitrix_sandbox.http.commands import Call, CommandRunner
from bitrix_sandbox.http.faults import Broken
from bitrix_sandbox.http.wire import Response, Timing, as_map
from bitrix_sandbox.state.errors import V3Error

DAY = 24 * 3600.0
KEY = re.compile(r"[\x20-\x7e]{1,255}")
"""What an Idempotency-Key may be."""


class Replays:
    """Answers kept for a day under their Idempotency-Key. Two requests at the same time may both run."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._kept: dict[Hashable, tuple[float, str, bytes]] = {}

    def find(self, place: Hashable, body: bytes) -> bytes | None:
        """The kept answer. RestError when the key was used with another body."""
        kept = self._kept.get(place)
        if kept is None or self._clock() - kept[0] >= DAY:
            return None
        if kept[1] != hashlib.sha256(body).hexdigest():
            raise V3Error("IDEMPOTENCYKEYREUSEDEXCEPTION", "The key was used with another request body", 422)
        return kept[2]

    def keep(self, place: Hashable, body: bytes, answer: bytes) -> None:
        """Keep a success."""
        self._kept[place] = (self._clock(), hashlib.sha256(body).hexdigest(), answer)


def answer(runner: CommandRunner, call: Call, replays: Replays, *, again: Callable[[], Response]) -> Response:
    """Answer a single call. The key counts for methods that write, for one webhook, user and method;
    ``again`` is the whole request once more."""
    parameters = _parameters(call)
    known = runner.find(call, call.name)
    key = call.request.headers.get("idempotency-key")
    if key is None or not known.writes:
        return _fresh(runner, call, parameters, again)
    if not KEY.fullmatch(key):
        raise V3Error("INVALIDIDEMPOTENCYKEYEXCEPTION", "The idempotency key is 1 to 255 printable characters")
    place = (call.key, call.name.lower(), key)
    kept = replays.find(place, call.request.body)
    if kept is not None:
        return Response(200, kept, {"Idempotency-Key": key, "Idempotent-Replayed": "true"})
    response = _fresh(runner, call, parameters, again)
    replays.keep(place, call.request.body, response.body)
    return replace(response, headers={"Idempotency-Key": key})


def _fresh(runner: CommandRunner, call: Call, parameters: dict[str, Any], again: Callable[[], Response]) -> Response:
    answer, timing = runner.perform(call, call.name, parameters, later=again)
    return runner.success(call, {"result": answer.result}, timing)


def _parameters(call: Call) -> dict[str, Any]:
    """The JSON body's parameters; the query's are not read. RestError for a body that is no JSON."""
    request = call.request
    if not request.body:
        return {}
    if request.media_type != "application/json" or not isinstance(call.parameters, Mapping | list):
        raise V3Error("INVALIDJSONEXCEPTION", "The request body is not valid JSON")
    return {name: value for name, value in as_map(call.parameters).items() if name != "auth"}


def answer_batch(runner: CommandRunner, call: Call) -> Response:
    """Run an array of ``{"method", "query", "alias"?}``. The first failure is the whole answer, though what came before
    it has been done."""
    _parameters(call)
    if not isinstance(call.parameters, list):
        raise V3Error("INVALIDSELECTEXCEPTION", "The request body must be an array of calls")
    if len(call.parameters) > LENGTH:
        raise V3Error("VALIDATION_REQUESTVALIDATIONEXCEPTION", f"A batch has at most {LENGTH} calls")
    results: list[Any] = []
    known: dict[str, Any] = {}
    begun = runner.clock.timestamp()

    def resume(place: int) -> Response:
        return runner.guard(call, lambda: run(place))

    def run(start: int) -> Response:
        for place in range(start, len(call.parameters)):
            if call.cut_at == place:
                raise Broken
            item = call.parameters[place]
            if not isinstance(item, dict) or not isinstance(item.get("method"), str):
                raise V3Error("VALIDATION_REQUESTVALIDATIONEXCEPTION", "Each call needs its method")
            query = _linked(as_map(item.get("query")), known)
            answer, _ = runner.perform(call, item["method"], query, place=place, later=partial(resume, place))
            results.append(answer.result)
            if isinstance(alias := item.get("alias"), str):
                known[alias] = answer.result
        if call.cut_at is not None:
            raise Broken
        now = runner.clock.timestamp()
        return runner.success(call, {"result": results}, Timing(begun, now, now - begun, None))

    return run(0)


def _linked(value: Any, known: Mapping[str, Any]) -> Any:
    """Replace ``{"$ref": "alias.item.id"}`` and ``{"$refArray": "alias.items.id"}``; what leads nowhere is null."""
    if isinstance(value, dict):
        if isinstance(path := value.get("$ref"), str):
            return _follow(known, path.split("."))
        if isinstance(path := value.get("$refArray"), str):
            found = _follow(known, path.split("."))
            return found if isinstance(found, list) else []
        return {key: _linked(one, known) for key, one in value.items()}
    return [_linked(one, known) for one in value] if isinstance(value, list) else value


def _follow(place: Any, path: list[str]) -> Any:
    for depth, step in enumerate(path):
        if isinstance(place, list):
            return [_follow(one, path[depth:]) for one in place]
        if not isinstance(place, Mapping):
            return None
        place = place.get(step)
    return place
