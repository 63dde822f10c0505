"""Batches of v2 (docs: settings/how-to-call-rest-api/batch.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from bitrix_sandbox.http.commands import Call, CommandRunner
from bitrix_sandbox.http.faults import Broken
from bitrix_sandbox.http.wire import Response, Timing, as_map, parse_form, php_list, php_text
from bitrix_sandbox.methods.protocol import Answer
from bitrix_sandbox.state.errors import RestError

LENGTH = 50
NOT_IN_BATCH = frozenset({"batch"})
REFERENCE = re.compile(r"\$(result|error|total|next|time)((?:\[[^\]]*\])+)")
MAPS = ("result", "error", "total", "next", "time")
NO = frozenset({"", "0", "false", "n"})
"""Texts of ``halt`` that mean no."""


def size(parameters: Any) -> int:
    """How many commands a batch has, of either version."""
    commands = parameters if isinstance(parameters, list) else as_map(as_map(parameters).get("cmd"))
    return len(commands)


def answer_v2(runner: CommandRunner, call: Call) -> Response:
    """Run ``cmd`` one after another and answer with five maps; always HTTP 200."""
    if runner.limits.ban:
        runner.limits.check(call.key, "batch")
    commands = as_map(call.parameters.get("cmd"))
    return _Run(runner, call, {key: line for key, line in commands.items() if isinstance(line, str)}).go()


class _Run:
    """A v2 batch under way. It can be left at a command and taken up there later."""

    def __init__(self, runner: CommandRunner, call: Call, commands: Mapping[str, str]) -> None:
        self._runner, self._call = runner, call
        self._commands = list(commands.items())
        self._halts = php_text(call.parameters.get("halt")).lower() not in NO
        self._maps: dict[str, dict[str, Any]] = {name: {} for name in MAPS}
        self._place = 0
        self._begun = runner.clock.timestamp()

    def go(self) -> Response:
        """Run what is left, and answer."""
        while self._place < len(self._commands):
            place = self._place
            self._cut_here(place)
            key, line = self._commands[place]
            try:
                self._keep(key, *self._command(place, line))
            except RestError as error:
                text = "" if error.code == "insufficient_scope" else error.description
                self._maps["error"][key] = {"error": error.code, "error_description": text}
                if self._halts:
                    break
            self._place = place + 1
        self._cut_here(len(self._commands))
        return self._answer()

    def _cut_here(self, place: int) -> None:
        if self._call.cut_at is not None and min(self._call.cut_at, len(self._commands)) == place:
            raise Broken

    def _command(self, place: int, line: str) -> tuple[Answer, Timing]:
        name, _, query = line.partition("?")
        if place >= LENGTH:
            raise RestError("ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded", 400)
        if name.lower() in NOT_IN_BATCH:
            raise RestError("ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage", 405)
        parameters = {key: self._resolve(value) for key, value in as_map(parse_form(query)).items()}
        return self._runner.perform(self._call, name, parameters, place=place, later=self._resume)

    def _resume(self) -> Response:
        """Take the batch up at the command at which it was left; the fault that did it does not strike again."""
        return self._runner.guard(self._call, self.go)

    def _keep(self, key: str, answer: Answer, timing: Timing) -> None:
        self._maps["result"][key] = answer.result
        if answer.total is not None:
            self._maps["total"][key] = answer.total
        if answer.next is not None:
            self._maps["next"][key] = answer.next
        if self._runner.shapes.time:
            self._maps["time"][key] = timing.block(self._runner.clock.zone, self._runner.shapes)

    def _answer(self) -> Response:
        runner, call = self._runner, self._call
        if runner.limits.ban:
            runner.limits.spend(call.key, "batch", call.cost)
        result = {("result" if name == "result" else f"result_{name}"): php_list(self._maps[name]) for name in MAPS}
        now = runner.clock.timestamp()
        timing = Timing(self._begun, now, now - self._begun, runner.limits.told(call.key, "batch"))
        return runner.success(call, {"result": result}, timing)

    def _resolve(self, value: Any) -> Any:
        """Put results of earlier commands where values refer to them, in users' texts too."""
        if isinstance(value, dict):
            return {key: self._resolve(one) for key, one in value.items()}
        if isinstance(value, list):
            return [self._resolve(one) for one in value]
        whole = REFERENCE.fullmatch(value)
        if whole is not None:
            found, known = self._look_up(whole)
            return found if known else value
        return REFERENCE.sub(self._as_text, value)

    def _as_text(self, match: re.Match[str]) -> str:
        found, known = self._look_up(match)
        return php_text(found) if known and not isinstance(found, dict | list) else match.group()

    def _look_up(self, match: re.Match[str]) -> tuple[Any, bool]:
        """What a reference means, and whether its command is known; a path that leads nowhere stops half-way."""
        path = match.group(2)[1:-1].split("][")
        place: Any = self._maps[match.group(1)]
        if path[0] not in place:
            return None, False
        for step in path:
            if isinstance(place, dict) and step in place:
                place = place[step]
            elif isinstance(place, list) and step.isascii() and step.isdigit() and int(step) < len(place):
                place = place[int(step)]
            else:
                break
        return place, True
