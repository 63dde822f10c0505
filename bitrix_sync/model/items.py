"""Kinds of CRM items: all that the program has to know of one stands in its descriptor. Only deals are there yet."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

LONGEST_ADDRESS = 2000
"""Characters of an address that are looked at."""


class Whereabouts(NamedTuple):
    """An item as a person names it: the host of its portal, with a port if one is said ("" where the number alone is),
    and its number."""

    host: str
    number: int


@dataclass(frozen=True, slots=True)
class ItemKind:
    """A kind of item as the portal names it.

    ``name``: in keys and marks; ``entity_type``: entityTypeId of ``crm.item.*`` and ``crm.stagehistory.list``;
    ``prefix``: of its ids in UF_CRM_TASK; ``stages``: ENTITY_ID of the stages of its default funnel;
    ``user_fields``: the method that lists its user fields with the texts of their options; ``path``: of an item's page.
    ``old_names``: old code of a field → new one (docs: crm/universal/object-fields.md). ``events``: those that say that
    one was made, changed or deleted.
    """

    name: str
    entity_type: int
    prefix: str
    stages: str
    user_fields: str
    path: str
    old_names: Mapping[str, str] = field(default_factory=dict, hash=False)
    events: tuple[str, ...] = ()

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

    def page(self, number: int) -> str:
        """Where an item stands in the portal."""
        return f"{self.path}{number}/"

    def whereabouts(self, said: str) -> Whereabouts | None:
        """An item by its number or the address of one of its pages, also of old portals and on a telephone; None for
        what is neither."""
        said = said.strip()[:LONGEST_ADDRESS]
        if number := re.fullmatch(r"[#№]?\s*([0-9]+)", said, re.ASCII):
            return Whereabouts("", int(number[1]))
        try:
            parts = urlsplit(said if "://" in said or said.startswith("/") else f"//{said}")
            host = parts.netloc.rpartition("@")[2]
        except ValueError:
            return None
        folder = re.escape(self.path.removesuffix("details/"))
        page = rf"(?:{folder}(?:details|show|edit|view)|/crm/type/{self.entity_type}/details)/([0-9]+)(?:/|$)"
        if found := re.search(page, parts.path, re.ASCII):
            return Whereabouts(host, int(found[1]))
        asked = parse_qs(parts.query).get(f"{self.name.lower()}_id", [""])[0]
        here = re.search(folder, parts.path) and re.fullmatch("[0-9]+", asked, re.ASCII)
        return Whereabouts(host, int(asked)) if here else None


DEAL = ItemKind(
    name="DEAL",
    entity_type=2,
    prefix="D",
    stages="DEAL_STAGE",
    user_fields="crm.deal.userfield.list",
    path="/crm/deal/details/",
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
