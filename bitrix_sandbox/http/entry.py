"""REST's entry: who calls, and what becomes of the request as a whole.

URL forms (docs: settings/how-to-call-rest-api/general-principles.md, api-reference/rest-v3.md):
``/rest/USER/CODE/METHOD``, ``/rest/METHOD`` with ``auth``, and the same below ``/rest/api/`` for REST 3.0.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from bitrix_sandbox.http import batch, rest3
from bitrix_sandbox.http.commands import Call, CommandRunner
from bitrix_sandbox.http.faults import OF_COMMANDS, Broken
from bitrix_sandbox.http.journal import Entry
from bitrix_sandbox.http.wire import (
    Request,
    Response,
    as_map,
    error_response,
    page,
    php_json,
    read_json,
    read_parameters,
    redirect,
)
from bitrix_sandbox.methods.protocol import Caller
from bitrix_sandbox.state.errors import RestError


class RestEntry:
    """Answers requests to ``/rest/``. ``tokens`` maps access tokens to webhooks' keys, None for an expired token.
    ``new_name`` is the host to which a renamed portal has moved; requests to other hosts are redirected."""

    def __init__(self, runner: CommandRunner) -> None:
        self.runner = runner
        self.tokens: dict[str, tuple[int, str] | None] = {}
        self.new_name = ""
        self.replays = rest3.Replays(runner.clock.timestamp)

    def answer(self, request: Request) -> Response:
        """Answer one request. Raises Broken when a fault ends the exchange otherwise."""
        self.runner.agenda.run_due()
        call = self._address(request)
        if call is None:
            return page(404)
        try:
            response = self._finish(call, self._admit(call))
        except RestError as error:
            response = error_response(error, self.runner.shapes, v3=call.v3)
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
        call = Call(request, name, v3, key, self.runner.clock.timestamp())
        call.parameters = read_json(request.body) if v3 else read_parameters(request)
        return call

    def _admit(self, call: Call) -> Response:
        self.runner.limits.enter(call.name)
        if self.new_name and call.request.host != self.new_name:
            return redirect(f"http://{self.new_name}{call.request.path}")
        size = batch.size(call.parameters) if call.is_batch else 0
        fault = self.runner.faults.pick(call.name, commands=size)
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
        return self.runner.strike(call, fault, lambda: self.serve(call), later=lambda: self.serve(call))

    def serve(self, call: Call) -> Response:
        """Authorise and run a request."""
        return self.runner.guard(call, lambda: self._serve(call))

    def _serve(self, call: Call) -> Response:
        self._authorise(call)
        if call.is_batch:
            return rest3.answer_batch(self.runner, call) if call.v3 else batch.answer_v2(self.runner, call)
        if call.v3:
            return rest3.answer(self.runner, call, self.replays, again=lambda: self.serve(call))
        return self._single(call)

    def _finish(self, call: Call, response: Response) -> Response:
        fault = call.ending
        match fault.kind if fault else "":
            case "half_answer":
                raise Broken(then=lambda: response, half=True)
            case "broken_json":
                return replace(response, body=response.body[: len(response.body) // 2], code="broken JSON")
            case "odd_time" if response.status == 200 and self.runner.shapes.time:
                assert fault is not None
                body = json.loads(response.body)
                return replace(response, body=php_json({**body, "time": fault.mistime(body["time"])}), code="odd time")
            case "late_answer":
                assert fault is not None
                raise Broken(hold=fault.hold, then=lambda: response)
        return response

    def _note(self, call: Call, status: int, code: str) -> None:
        user_id = call.key[0] if call.key else 0
        commands = batch.size(call.parameters) if call.is_batch else 0
        self.runner.journal.note(Entry(call.started, call.name.lower(), user_id, commands, status, code, call.fault))

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
        webhook = self.runner.state.webhooks.get(call.key)
        if webhook is None or not webhook.alive:
            raise self._stranger()
        owner = self.runner.state.users.get(webhook.user_id)
        if owner is not None and not owner.active:
            raise RestError("authorization_error", "Unable to authorize user", 401)
        call.caller = Caller(webhook.user_id, frozenset(webhook.scopes), self.runner.state.is_admin(webhook.user_id))

    def _stranger(self) -> RestError:
        code = self.runner.shapes.auth_code
        text = "Wrong authorization data" if code == "NO_AUTH_FOUND" else "Invalid request credentials"
        return RestError(code, text, 401)

    def _single(self, call: Call) -> Response:
        parameters = {name: value for name, value in call.parameters.items() if name != "auth"}
        answer, timing = self.runner.perform(call, call.name, parameters, later=lambda: self.serve(call))
        body: dict[str, Any] = {"result": answer.result}
        if answer.next is not None:
            body["next"] = answer.next
        if answer.total is not None:
            body["total"] = answer.total
        return self.runner.success(call, body, timing)
