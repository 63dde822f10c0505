"""Kinds of CRM items: all that the program has to know of one stands in its descriptor. Only deals are there yet.

The portal counts the ids of every kind by themselves, those of items and those of rows of their history: an id means
nothing without its kind. ``Item`` is both. Where records and tables hold an item or such a row they hold its
``Item.number``, one integer that no item of another kind has; names and keys hold its text. Only here is one made of
the other; the portal alone is told ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

SPAN = 10**12
"""More than any id of a portal; each kind's numbers are a span of so many."""
LONGEST_ADDRESS = 2000
"""Characters of an address that are looked at."""


class Whereabouts(NamedTuple):
    """An item as a person names it: the host of its portal, with a port if one is said ("" where its name alone is),
    and its ``Item.number``."""

    host: str
    number: int


@dataclass(frozen=True, slots=True)
class ItemKind:
    """A kind of item as the portal names it.

    ``name``: in keys and marks; ``entity_type``: entityTypeId of ``crm.item.*`` and ``crm.stagehistory.list``;
    ``prefix``: of its ids in UF_CRM_TASK; ``stages``: ENTITY_ID of the stages of its default funnel;
    ``of_funnel``: what the stages of another funnel begin with; ``user_fields``: the method that lists its user fields
    with the texts of their options; ``path``: of an item's page. ``stage_key``: of the columns of a stage in its
    history. ``fields``: of ``crm.item.*`` that only this kind has and that are read with each; ``in_progress``: filter
    of those that are neither won nor lost. ``old_names``: old code of a field → new one (docs:
    crm/universal/object-fields.md). ``events``: those that say that one was made, changed or deleted. Without
    ``has_funnels`` all its stages are of one, called as the kind; without ``has_history`` only its present stage is
    known.
    """

    name: str
    entity_type: int
    prefix: str
    stages: str
    user_fields: str
    path: str
    of_funnel: str = ""
    stage_key: str = "STAGE"
    fields: tuple[str, ...] = ()
    in_progress: Mapping[str, Any] = field(default_factory=dict, hash=False)
    old_names: Mapping[str, str] = field(default_factory=dict, hash=False)
    events: tuple[str, ...] = ()
    has_funnels: bool = True
    has_history: bool = True

    @property
    def first(self) -> int:
        """Where its numbers begin. Deals were there before other kinds: their numbers are their ids."""
        return 0 if self.name == FIRST else self.entity_type * SPAN

    def apart(self, sign: str) -> str:
        """What keeps the name of something of this kind apart from the same of deals, which stands alone."""
        return "" if self.name == FIRST else sign + self.name

    def holds(self, number: int) -> bool:
        """True for a number of this kind."""
        return self.first <= number < self.first + SPAN

    def binding(self, number: int) -> str:
        """An item in UF_CRM_TASK: ``D_10``."""
        return f"{self.prefix}_{number}"

    def bound(self, binding: str) -> str:
        """The number in a binding, as it stands there; "" for an item of another kind."""
        prefix, _, number = binding.partition("_")
        return number if prefix == self.prefix else ""

    def stages_of(self, funnel_id: int) -> str:
        """ENTITY_ID of a funnel's stages: the default one has no number (docs: crm/status/crm-status-list.md)."""
        return f"{self.stages}_{funnel_id}" if funnel_id else self.stages

    def stage(self, told: str, funnel_id: int) -> str:
        """The full id of a stage, which no other stage has; some answers leave the funnel out."""
        if not told or ":" in told:
            return told
        if not self.has_funnels:
            return f"{self.name}:{told}"
        return self.of_funnel.format(funnel_id) + told if funnel_id else told

    def stage_told(self, stage_id: str) -> str:
        """A stage as the portal is told of it."""
        return stage_id if self.has_funnels else stage_id.removeprefix(f"{self.name}:")

    def page(self, number: int) -> str:
        """Where an item stands in the portal."""
        return f"{self.path}{number}/"

    def shown_at(self, path: str, query: str) -> int | None:
        """The id of the item of which this is a page, also one of old portals or on a telephone."""
        folder = re.escape(self.path.removesuffix("details/"))
        page = rf"(?:{folder}(?:details|show|edit|view)|/crm/type/{self.entity_type}/details)/([0-9]+)(?:/|$)"
        if found := re.search(page, path, re.ASCII):
            return int(found[1])
        asked = parse_qs(query).get(f"{self.name.lower()}_id", [""])[0]
        here = re.search(folder, path) and re.fullmatch("[0-9]+", asked, re.ASCII)
        return int(asked) if here else None


@dataclass(frozen=True, slots=True)
class Item:
    """An item of the CRM, or a row of the stage history of its kind."""

    kind: ItemKind
    id: int

    @property
    def number(self) -> int:
        """The item in one integer, which no item of another kind has."""
        return self.kind.first + self.id

    @classmethod
    def of(cls, number: int) -> Item:
        """The item with that number. One of no kind that is known is taken for a deal's id, which no portal has."""
        kind = DEAL if number < SPAN else next((one for one in KINDS.values() if one.holds(number)), DEAL)
        return cls(kind, number - kind.first)

    def __str__(self) -> str:
        return str(self.id) if self.kind.name == FIRST else f"{self.kind.name}.{self.id}"

    @classmethod
    def parse(cls, text: str) -> Item | None:
        """The item of that name: ``7``, ``LEAD.7``; None for any other text, also for a kind that nobody knows."""
        found = NAME.fullmatch(text)
        kind = None if found is None else KINDS.get(found[1] or FIRST)
        return None if found is None or kind is None else cls(kind, int(found[2]))

    @property
    def binding(self) -> str:
        """The item in UF_CRM_TASK: ``D_10``."""
        return self.kind.binding(self.id)

    @property
    def page(self) -> str:
        """Where the item stands in the portal."""
        return self.kind.page(self.id)


def bound(binding: str) -> tuple[ItemKind, str] | None:
    """The kind of an item in UF_CRM_TASK and its id, as it stands there; None for a kind that nobody knows."""
    return next(((kind, number) for kind in KINDS.values() if (number := kind.bound(binding))), None)


def whereabouts(said: str) -> Whereabouts | None:
    """An item by its name or the address of one of its pages; None for what is neither."""
    said = said.strip()[:LONGEST_ADDRESS]
    if number := re.fullmatch(r"[#№]?\s*([0-9]+)", said, re.ASCII):
        return Whereabouts("", DEAL.first + int(number[1]))
    if item := Item.parse(said):
        return Whereabouts("", item.number)
    try:
        parts = urlsplit(said if "://" in said or said.startswith("/") else f"//{said}")
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return None
    ids = ((kind, kind.shown_at(parts.path, parts.query)) for kind in KINDS.values())
    return next((Whereabouts(host, kind.first + id_) for kind, id_ in ids if id_ is not None), None)


def by_kind(numbers: Iterable[int]) -> dict[ItemKind, list[int]]:
    """The ids behind the numbers, each once."""
    found: dict[ItemKind, list[int]] = {}
    for number in dict.fromkeys(numbers):
        item = Item.of(number)
        found.setdefault(item.kind, []).append(item.id)
    return found


NAME = re.compile(r"(?:([A-Z][A-Z0-9_]*)\.)?([1-9][0-9]{0,17})")
FIRST = "DEAL"
DEAL = ItemKind(
    name=FIRST,
    entity_type=2,
    prefix="D",
    stages="DEAL_STAGE",
    user_fields="crm.deal.userfield.list",
    path="/crm/deal/details/",
    of_funnel="C{}:",
    fields=("closed", "isRecurring"),
    in_progress={"closed": "N"},
    old_names={
        "DATE_CREATE": "CREATED_TIME",
        "DATE_MODIFY": "UPDATED_TIME",
        "CREATED_BY_ID": "CREATED_BY",
        "MODIFY_BY_ID": "UPDATED_BY",
        "MOVED_BY_ID": "MOVED_BY",
    },
    events=("ONCRMDEALADD", "ONCRMDEALUPDATE", "ONCRMDEALDELETE"),
)
KINDS: Mapping[str, ItemKind] = {kind.name: kind for kind in (DEAL,)}
