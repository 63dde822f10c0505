"""A second kind of items needs its descriptor and nothing else: leads that have the very ids of deals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bitrix_sandbox.methods.protocol import METHODS, Answer, Caller, Handler
from bitrix_sandbox.state.clock import Clock
from bitrix_sandbox.state.portal import PortalState
from bitrix_sandbox.state.seed import build_department
from bitrix_sync.engine import recheck
from bitrix_sync.explain.why import story_of
from bitrix_sync.explain.why_lines import lines_of
from bitrix_sync.model.items import DEAL, Item, ItemKind
from tests.world.company import MONDAY
from tests.world.office import RULES, office

OF_LEADS = """  LEAD:
    Новая заявка:
      tasks:
        - id: first-call
          title: "Call lead {{ deal.ID }}"
          deadline: {after: 1 day}
      advance_to: Презентация
    Презентация:
      - {id: presentation, title: Show, deadline: {after: 1 day}}
"""


class Leads:
    """Leads of the portal: the deals of another one, which its methods show where they are asked for leads."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, kind: ItemKind) -> None:
        self.kind = kind
        clock = Clock()
        clock.set(MONDAY)
        self.state: PortalState = build_department(clock)
        for name in ("crm.item.list", "crm.item.get", "crm.item.fields", "crm.item.update", "crm.stagehistory.list"):
            monkeypatch.setitem(METHODS, name, replace(METHODS[name], handler=self.items(METHODS[name].handler)))
        dictionaries = METHODS["crm.status.list"]
        handler = self.stages(dictionaries.handler)
        monkeypatch.setitem(METHODS, "crm.status.list", replace(dictionaries, handler=handler))
        nothing = replace(METHODS["crm.deal.userfield.list"], handler=lambda state, caller, params: Answer([], 0))
        monkeypatch.setitem(METHODS, kind.user_fields, nothing)

    def items(self, handler: Handler) -> Handler:
        """The method that shows leads too."""

        def answer(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
            if int(params["entityTypeId"]) != self.kind.entity_type:
                return handler(state, caller, params)
            select = [name.replace("STATUS_", "STAGE_") for name in params.get("select", ())]
            found = handler(self.state, caller, {**params, "entityTypeId": DEAL.entity_type, "select": select})
            rows = found.result.get("items")
            if rows and "STAGE_ID" in rows[0]:
                told = [{name.replace("STAGE_", "STATUS_"): value for name, value in row.items()} for row in rows]
                return replace(found, result={"items": told})
            return found

        return answer

    def stages(self, handler: Handler) -> Handler:
        """The method that lists the stages of leads too."""

        def answer(state: PortalState, caller: Caller, params: dict[str, Any]) -> Answer:
            if params["filter"]["ENTITY_ID"] != self.kind.stages:
                return handler(state, caller, params)
            found = handler(self.state, caller, {"filter": {"ENTITY_ID": DEAL.stages}})
            return replace(found, result=[{**row, "ENTITY_ID": self.kind.stages} for row in found.result])

        return answer


def test_a_second_kind_of_items_needs_one_descriptor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lead: ItemKind
) -> None:
    leads = Leads(monkeypatch, lead)
    rules = RULES.replace("id: first-call", "id: call").replace("id: presentation", "id: show")
    with office(tmp_path, rules) as place:

        def add_lead(title: str) -> int:
            now = place.portal.clock.now()
            return int(leads.state.add_deal(title, stage="NEW", responsible=5, by=5, at=now))

        assert add_lead("before its rules") == place.add_deal("before its rules")
        place.run()
        place.wait(minutes=1)
        place.rules.write_text(rules + OF_LEADS, encoding="utf-8")
        place.restart()
        place.wait(seconds=5)
        deal = place.add_deal("A")
        assert add_lead("B") == deal, "ids of two kinds meet"
        place.run()
        _, ours, theirs = place.tasks()
        visit = ours.xml_id.split(":")[1]
        assert (ours.xml_id, ours.crm) == (f"bitrix-sync:{visit}:call", (f"D_{deal}",))
        assert (theirs.xml_id, theirs.crm) == (f"bitrix-sync:LEAD.{visit}:first-call", (f"L_{deal}",))
        assert theirs.title == f"Call lead {deal}"
        leads.state.clock.set(place.portal.clock.now())
        place.portal.state.complete_task(theirs.id, by=5)
        place.run()
        assert (leads.state.deals[deal].stage_id, place.portal.state.deals[deal].stage_id) == ("PREPARATION", "NEW")
        before = dict(place.context.portal.memory.names)
        place.restart()
        assert place.context.portal.memory.names == before, (
            "a start that opens from the store knows what fields are called"
        )
        place.run()
        recheck.run(place.context)
        titles = ["Call: before its rules", "Call: A", f"Call lead {deal}", "Show"]
        assert [task.title for task in place.tasks()] == titles
        told = "\n".join(lines_of(story_of(place.context.store, Item(lead, deal).number)))
        assert f"LEAD.{deal} “B”: LEAD, stage “Презентация”" in told
