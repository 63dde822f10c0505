"""A second kind of items, as one descriptor would add it."""

from __future__ import annotations

from bitrix_sync.model.items import ItemKind

LEAD = ItemKind(
    name="LEAD",
    entity_type=1,
    prefix="L",
    stages="STATUS",
    user_fields="crm.lead.userfield.list",
    path="/crm/lead/details/",
    stage_key="STATUS",
    in_progress={"stageSemanticId": "P"},
    has_funnels=False,
)
