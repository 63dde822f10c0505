"""A sandbox portal with a handful of methods that say what they were given: to test the road, not the methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import requests

from bitrix_sandbox.http.server import Sandbox
from bitrix_sandbox.methods.protocol import METHODS, Answer, Caller, method
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState

CODE = "abcdef0123456789"
BEGINNING = datetime(2026, 3, 2, 7, 0, tzinfo=UTC)
MINE = ("t.echo", "t.add", "t.fail", "t.list", "t.secret", "t.crash", "t.get", "v3:t.add", "v3:t.get", "v3:t.fail")


class Echo:
    """The portal under test, with its session. ``added`` is what ``t.add`` was given."""

    def __init__(self, sandbox: Sandbox, session: requests.Session) -> None:
        self.sandbox, self.session = sandbox, session
        self.added: list[Any] = []

    def post(self, name: str, json: Any = None, **more: Any) -> requests.Response:
        """POST JSON to a method of v2."""
        return self.session.post(
            self.sandbox.url + name, json={} if json is None else json, timeout=60, allow_redirects=False, **more
        )

    def v3(self, name: str, json: Any = None, **more: Any) -> requests.Response:
        """POST JSON to a method of REST 3.0."""
        url = self.sandbox.url.replace("/rest/", "/rest/api/") + name
        return self.session.post(url, json={} if json is None else json, timeout=60, allow_redirects=False, **more)

    def batch(self, cmd: Any, **more: Any) -> dict[str, Any]:
        """The maps of a batch's answer."""
        answer = self.post("batch", {"cmd": cmd, **more})
        assert answer.status_code == 200
        result: dict[str, Any] = answer.json()["result"]
        return result


@contextmanager
def echo_portal(*, frozen: bool = True, **settings: Any) -> Iterator[Echo]:
    """Run one; its clock stands at Monday morning unless told otherwise."""
    clock = Clock()
    if frozen:
        clock.freeze(BEGINNING)
    state = PortalState(clock)
    state.hire("Анна", "Петрова", id=1, admin=True)
    state.hire("Иван", "Сидоров", id=5)
    state.add_webhook(1, CODE, {"crm", "task", "tasks"})
    with Sandbox(state, **settings) as sandbox, requests.Session() as session:
        echo = Echo(sandbox, session)
        others = {name: METHODS[name] for name in MINE if name in METHODS}
        _register(echo)
        try:
            yield echo
        finally:
            for name in MINE:
                del METHODS[name]
            METHODS.update(others)


def _register(echo: Echo) -> None:
    @method("t.echo")
    def _echo(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        return Answer(params)

    @method("t.list", cost=2.0)
    def _list(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        return Answer([{"ID": "7", "NAME": "a/б"}, {"ID": "8"}], total=120, next=50)

    @method("t.get")
    def _get(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        return Answer([])

    @method("t.add", "task", writes=True, cost=1.0)
    def _add(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        echo.added.append(params)
        state.emit("ONTASKADD", {"FIELDS_BEFORE": "undefined", "FIELDS_AFTER": {"ID": len(echo.added)}})
        return Answer({"task": {"id": str(len(echo.added)), "title": params.get("title")}})

    @method("t.fail")
    def _fail(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        raise RestError("", "Not found")

    @method("t.secret", "calendar")
    def _secret(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        return Answer(True)

    @method("t.crash")
    def _crash(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        raise ZeroDivisionError("a defect of a handler")

    @method("v3:t.add", "tasks", writes=True)
    def _add3(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        echo.added.append(params)
        return Answer({"item": {"id": len(echo.added)}})

    @method("v3:t.get", "tasks")
    def _get3(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        return Answer({"item": params})

    @method("v3:t.fail", "calendar")
    def _fail3(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
        return Answer({"result": True})
