"""Deals of the sandbox portal, their stage history, companies and contacts; and what people do with them.

A change inside a funnel raises ONCRMDEALUPDATE; a change of funnel raises nothing that an outgoing webhook could get
(api-reference/crm/deals/events/index.md).
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from bitrix_sandbox.state.crm_fields import DEAL_BY_CODE, field_of
from bitrix_sandbox.state.crm_values import SKIP, stored
from bitrix_sandbox.state.funnel_book import FunnelBook
from bitrix_sandbox.state.indexes import SortedIds, TimeIndex
from bitrix_sandbox.state.records import (
    CLOSED,
    CREATED,
    FUNNEL_CHANGED,
    MOVED,
    PROGRESS,
    Client,
    Deal,
    HistoryRow,
    Stage,
)

When = datetime | str | None
_BY_MOVING = ("id", "funnel_id", "stage_id", "semantic", "closed", "is_new")


class DealBook(FunnelBook):
    """Deals and history. Public verbs are what people do; ids that are not there are KeyError."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.deals: dict[int, Deal] = {}
        self.deal_ids = SortedIds()
        self.deals_updated = TimeIndex()
        self.history: dict[int, HistoryRow] = {}
        self.history_ids = SortedIds()
        self.history_created = TimeIndex()
        self.late_rows: set[int] = set()
        self.bin: dict[int, tuple[Deal, list[HistoryRow]]] = {}
        self.companies: dict[int, Client] = {}
        self.contacts: dict[int, Client] = {}
        self.deal_comments: list[tuple[int, int, str]] = []

    def add_deal(
        self,
        title: str,
        *,
        funnel: int = 0,
        stage: str | None = None,
        responsible: int = 1,
        by: int | None = None,
        fields: Mapping[str, Any] | None = None,
        at: When = None,
        late: float = 0,
        recurring: bool = False,
    ) -> int:
        """A person makes a deal. ``fields`` by upper-case codes; ``late``: seconds until its history row is visible;
        ``recurring``: it is no deal but the template of a recurring one."""
        moment = self.moment(at)
        begin = moment.astimezone(self.clock.zone).date()
        entered = self.stages[stage] if stage else self.stages_of(funnel)[0]
        author = responsible if by is None else by
        deal = Deal(
            id=self.number("deal", 2),
            title=title,
            funnel_id=entered.funnel_id,
            stage_id=entered.id,
            semantic=entered.semantic,
            responsible_id=responsible,
            creator_id=author,
            created=moment,
            updated=moment,
            moved=moment,
            modifier_id=author,
            mover_id=author,
            begin=begin,
            close=begin + timedelta(days=7),
            recurring=recurring,
        )
        self._write(deal, fields or {})
        deal.title = title or deal.title or f"Сделка #{deal.id}"
        self.deals[deal.id] = deal
        self.deal_ids.add(deal.id)
        self.deals_updated.put(deal.id, moment)
        self._enter(deal, CREATED, moment, late)
        self.touch()
        self.emit("ONCRMDEALADD", {"FIELDS": {"ID": deal.id}})
        return deal.id

    def move_deal(self, deal_id: int, stage_id: str, by: int = 1, *, at: When = None, late: float = 0) -> None:
        """A person drags a deal to a stage, also of another funnel (TYPE_ID 5, and no event)."""
        self.save_deal(self.deals[deal_id], by=by, stage=self.stages[stage_id], at=at, late=late)

    def set_fields(self, deal_id: int, fields: Mapping[str, Any], by: int = 1, *, at: When = None) -> None:
        """A person fills or empties fields of a deal, by upper-case codes."""
        self.save_deal(self.deals[deal_id], by=by, fields=fields, at=at)

    def set_responsible(self, deal_id: int, user_id: int, by: int = 1) -> None:
        """A person gives a deal to somebody else."""
        self.set_fields(deal_id, {"ASSIGNED_BY_ID": user_id}, by)

    def save_deal(
        self,
        deal: Deal,
        *,
        by: int,
        fields: Mapping[str, Any] | None = None,
        stage: Stage | None = None,
        at: When = None,
        late: float = 0,
        always: bool = False,
    ) -> bool:
        """Save what differs; True if anything did. ``always``: save and tell even then, as ``crm.deal.update`` does."""
        moment = self.moment(at)
        changed = self._write(deal, fields or {})
        moves = stage is not None and stage.id != deal.stage_id
        if not (changed or moves or always):
            return False
        deal.updated, deal.modifier_id = moment, by
        self.deals_updated.put(deal.id, moment)
        switched = False
        if stage is not None and moves:
            switched = stage.funnel_id != deal.funnel_id
            deal.stage_id, deal.funnel_id, deal.semantic = stage.id, stage.funnel_id, stage.semantic
            deal.moved, deal.mover_id = moment, by
            inside = MOVED if stage.semantic == PROGRESS else CLOSED
            self._enter(deal, FUNNEL_CHANGED if switched else inside, moment, late)
        self.touch()
        if changed or not switched:
            self.emit("ONCRMDEALUPDATE", {"FIELDS": {"ID": deal.id}})
        return True

    def _write(self, deal: Deal, fields: Mapping[str, Any]) -> bool:
        changed = False
        for code, raw in fields.items():
            known = self.deal_fields.get(code)
            field = field_of(known, original=True) if known else DEAL_BY_CODE.get(code)
            if field is None or field.attr in _BY_MOVING:
                continue
            value = stored(field, raw, self.clock.zone)
            if value is SKIP or value == field.read(deal):
                continue
            changed = True
            if known:
                deal.extra[code] = value
            elif field.attr == "contact_id":
                deal.contact_ids = [value] if value else []
            elif field.attr:
                setattr(deal, field.attr, value)
        return changed

    def _enter(self, deal: Deal, kind: int, at: datetime, late: float) -> None:
        row_id = self.number("history", 2)
        delay = late or (self.switches.history_late_seconds if self._held(row_id) else 0)
        visible = at + timedelta(seconds=delay) if delay else None
        self._keep_row(HistoryRow(row_id, kind, deal.id, at, deal.funnel_id, deal.semantic, deal.stage_id, visible))
        deal.history.append(row_id)
        if visible:
            self.late_rows.add(row_id)

    def _held(self, row_id: int) -> bool:
        """Whether the switches let the row come late."""
        switches = self.switches
        if switches.history_late_every and (len(self.history_ids) + 1) % switches.history_late_every == 0:
            return True
        chance = switches.history_late_chance
        return bool(chance) and random.Random(f"{switches.history_late_seed}:{row_id}").random() < chance

    def _keep_row(self, row: HistoryRow) -> None:
        self.history[row.id] = row
        self.history_ids.add(row.id)
        self.history_created.put(row.id, row.created)

    def visible_history(self, row: HistoryRow) -> bool:
        """False while the row's transaction is still open."""
        if row.visible_from is None:
            return True
        if self.moment() < row.visible_from:
            return False
        self.late_rows.discard(row.id)
        row.visible_from = None
        return True

    def delete_deal(self, deal_id: int) -> None:
        """A person throws a deal into the recycle bin: its history rows vanish, tasks keep their binding."""
        deal = self.deals.pop(deal_id)
        self.deal_ids.drop(deal_id)
        self.deals_updated.drop(deal_id)
        rows = [self.history.pop(row_id) for row_id in deal.history]
        for row in rows:
            self.history_ids.drop(row.id)
            self.history_created.drop(row.id)
            self.late_rows.discard(row.id)
        self.bin[deal_id] = (deal, rows)
        self.touch()
        self.emit("ONCRMDEALDELETE", {"FIELDS": {"ID": deal_id}})

    def restore_deal(
        self, deal_id: int, *, same_id: bool = True, new_history: bool = False, event: str | None = None
    ) -> int:
        """A person takes a deal out of the bin; gives its id.

        ``same_id=False``: under a new id. ``new_history``: its rows come back with new ids (same times and stages).
        Which event is raised is not documented: none unless ``event`` names one.
        """
        deal, rows = self.bin.pop(deal_id)
        if not same_id:
            deal.id = self.number("deal", 2)
        deal.updated = self.moment()
        self.deals[deal.id] = deal
        self.deal_ids.add(deal.id)
        self.deals_updated.put(deal.id, deal.updated)
        for row in rows:
            row.deal_id = deal.id
            row.id = self.number("history", 2) if new_history else row.id
            self._keep_row(row)
        deal.history = [row.id for row in rows]
        self.touch()
        if event:
            self.emit(event, {"FIELDS": {"ID": deal.id}})
        return deal.id

    def add_company(self, title: str, *, responsible: int = 1, at: When = None, **more: Any) -> int:
        """A company; gives its id. ``more``: other attributes of :class:`Client`."""
        moment = self.moment(at)
        client = Client(self.number("company", 2), responsible, moment, moment, title=title, **more)
        self.companies[client.id] = client
        self.touch()
        return client.id

    def add_contact(
        self, name: str, last_name: str, *, company: int = 0, responsible: int = 1, at: When = None, **more: Any
    ) -> int:
        """A contact, of a company if one is given; gives its id. ``more``: other attributes of :class:`Client`."""
        moment = self.moment(at)
        client = Client(
            self.number("contact", 2),
            responsible,
            moment,
            moment,
            name=name,
            last_name=last_name,
            type_id="CLIENT",
            company_ids=[company] if company else [],
            **more,
        )
        self.contacts[client.id] = client
        self.touch()
        return client.id
