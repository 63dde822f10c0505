"""A portal whose lists count wrongly or never end, or that refuses half of each batch: whoever reads it takes nothing
for absent, and when it tells the truth again everything is there once."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.http.wire import Request, Response
from bitrix_sync.commands import changes
from bitrix_sync.engine import recheck
from bitrix_sync.errors import PortalError, UserError
from bitrix_sync.explain import preview
from bitrix_sync.report.snapshot import unpack
from bitrix_sync.settings import load_settings
from tests.test_unread import RULES, made_once, turns
from tests.world.sweeps import MARIA, Department, department, forget

LISTS = frozenset({"crm.item.list", "crm.stagehistory.list", "tasks.task.list", "user.get", "crm.status.list"})
Parts = dict[str, Any]
Lie = Callable[[Mapping[str, str], Parts], None]
"""What is done to the parts of an answer; the methods of its commands by their keys, "" for one that came alone."""


def count_more(methods: Mapping[str, str], parts: Parts) -> None:
    """Lists have more rows than they show."""
    parts["result_total"] |= {key: 999 for key, method in methods.items() if method in LISTS}


def end_never(methods: Mapping[str, str], parts: Parts) -> None:
    """Each page is followed by the same one, and nobody counts."""
    parts["result_total"].clear()
    parts["result_next"] |= {key: 50 for key, method in methods.items() if method in LISTS}


def refuse_half(methods: Mapping[str, str], parts: Parts) -> None:
    """Of the commands of a batch each second one is refused."""
    for key in list(methods)[1::2]:
        parts["result"].pop(key, None)
        parts["result_error"][key] = {"error": "ACCESS_DENIED", "error_description": "Access denied"}


@contextmanager
def lying(place: Department, lie: Lie) -> Iterator[None]:
    """Meanwhile the portal lies."""
    portal = place.portal
    honest = portal.answer

    def answer(request: Request) -> Response:
        response = honest(request)
        body, method = json.loads(response.body), request.path.rpartition("/")[2].lower().removesuffix(".json")
        if "result" in body:
            change(lie, method, body, json.loads(request.body))
        return replace(response, body=json.dumps(body).encode())

    portal.answer = answer  # type: ignore[method-assign]
    try:
        yield
    finally:
        portal.answer = honest  # type: ignore[method-assign]


def change(lie: Lie, method: str, body: Parts, asked: Parts) -> None:
    """An answer with what a lie does to it; one to a single command is changed as a batch of one is."""
    if method == "batch":
        parts = body["result"]
        parts |= {name: part or {} for name, part in parts.items()}
        lie({key: line.partition("?")[0].lower() for key, line in asked["cmd"].items()}, parts)
        return
    parts = {"result": {"": body["result"]}, "result_error": {}, "result_total": {}, "result_next": {}}
    lie({"": method}, parts)
    body |= {name: parts[f"result_{name}"][""] for name in ("total", "next") if "" in parts[f"result_{name}"]}


LIES = pytest.mark.parametrize("lie", [count_more, end_never, refuse_half])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Department]:
    with department(tmp_path, RULES) as found:
        yield found


@LIES
def test_a_pass_and_a_recheck(place: Department, lie: Lie) -> None:
    with lying(place, lie):
        during = place.add_deal("During", responsible=MARIA)
        turns(place, 2)
        for read in (place.context.rulebook.read_anew, lambda: recheck.run(place.context)):
            with suppress(PortalError):
                read()
        assert not any(rule.disabled for rule in place.context.rulebook.rules.by_id.values())
    turns(place, 4)
    made_once(place, during)
    assert place.store.unjudged() == {}


@LIES
def test_a_sweep(place: Department, lie: Lie) -> None:
    task = place.task("Offer", MARIA, "2026-03-02 12:00")
    place.turn()
    place.until("2026-03-02 18:30")
    with lying(place, lie):
        turns(place, 2)
        assert not place.record(task).gone
    turns(place, 8)
    assert place.due(task) == "2026-03-03 18:00"
    assert len([one for one in place.portal.state.tasks[task].log if one.field == "DEADLINE"]) == 1


@LIES
def test_a_first_start(place: Department, lie: Lie) -> None:
    old = place.add_deal("Old", responsible=MARIA)
    forget(place)
    place.begin()
    assert place.service.take_lease()
    with lying(place, lie), suppress(PortalError):
        place.context = place.service.open()
        turns(place, 2)
    place.context = place.service.open()
    turns(place, 3)
    new = place.add_deal("New", responsible=MARIA)
    turns(place, 3)
    assert place.marks(old) == []
    made_once(place, new)


@LIES
def test_a_backfill(place: Department, lie: Lie) -> None:
    before = place.portal.clock.now() - timedelta(days=9)
    deals = [place.portal.state.add_deal(name, responsible=MARIA, by=MARIA, at=before) for name in ("One", "Two")]
    with lying(place, lie), suppress(PortalError):
        told = changes.perform(place.context, "backfill", {})
        assert told["planned"] or told["unread"]
    changes.perform(place.context, "backfill", {})
    turns(place, 3)
    for deal in deals:
        made_once(place, deal)


@LIES
def test_a_preview_and_what_reports_are_made_of(place: Department, lie: Lie) -> None:
    deal = place.add_deal("New", responsible=MARIA)
    known = unpack(place.store.flags.snapshot)
    with lying(place, lie):
        with suppress(PortalError, UserError):
            shown = preview.of_deal(load_settings(place.environ, None), deal)
            assert {line.get("rule") for line in shown.lines} == {"first-call", "review"}
        with suppress(PortalError):
            place.context.rulebook.read_anew()
        assert unpack(place.store.flags.snapshot) == known
