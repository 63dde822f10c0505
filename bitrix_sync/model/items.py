"""Kinds of CRM items: all that the program has to know of one stands in its descriptor. Only deals are there yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


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
