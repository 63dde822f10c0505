"""The engine behind ``crm.item.list`` and ``crm.deal.list``: filters with groups, order, pages."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import tzinfo
from typing import Any

from bitrix_sandbox.methods import filters
from bitrix_sandbox.methods.protocol import Caller
from bitrix_sandbox.state import values
from bitrix_sandbox.state.crm_fields import COMPANY, CONTACT, DEAL, Field
from bitrix_sandbox.state.errors import RestError
from bitrix_sandbox.state.portal import PortalState

Unknown = Callable[[str], None]
Fields = Mapping[str, Field]


def select_records(
    state: PortalState,
    caller: Caller,
    entity: int,
    fields: Fields,
    *,
    wanted: Mapping[str, Any],
    order: Mapping[str, Any],
    start: Any,
    unknown: Unknown,
) -> filters.Page:
    """One page of an entity's records.

    ``unknown`` is told a filter key (or ``order:`` and an order key) that is not in ``fields``: it raises, or the key
    is passed over.

    :raises RestError: ``INVALID_ARG_VALUE`` a filter value or a direction that cannot be.
    """
    keep = readable(state, caller, entity)
    if wanted:
        keep = filters.all_of([group(wanted, fields, state.clock.zone, unknown), keep])
    sort = _order(order, fields, unknown)
    by_id = not sort or sort[0][0].attr == "id"
    backwards = bool(sort) and by_id and sort[0][1]
    return filters.page(
        state,
        lambda: _candidates(state, entity, wanted, fields, backwards=backwards),
        keep=keep,
        order=() if by_id else [filters.SortBy(field.read, down) for field, down in sort],
        start=start,
        remember=(entity, caller.user_id, tuple(fields), json.dumps([wanted, order], default=str)),
    )


def records_of(state: PortalState, entity: int) -> Mapping[int, Any]:
    """The stored records of an entity type."""
    kept: dict[int, Mapping[int, Any]] = {DEAL: state.deals, CONTACT: state.contacts, COMPANY: state.companies}
    return kept[entity]


def readable(state: PortalState, caller: Caller, entity: int) -> Callable[[Any], bool]:
    """May the caller read a record? Clients are readable by everybody."""
    if entity != DEAL:
        return lambda record: True
    return lambda deal: state.reads_deal(caller.user_id, deal)


def group(wanted: Mapping[str, Any], fields: Fields, zone: tzinfo, unknown: Unknown) -> Callable[[Any], bool]:
    """A filter, with nested groups under numeric keys and ``logic``: ``OR``, as one predicate."""
    tests: list[Callable[[Any], bool]] = []
    for key, value in wanted.items():
        if key.casefold() == "logic":
            continue
        if key.isdigit() and isinstance(value, dict | list):
            tests.append(group(values.mapped(value) or {}, fields, zone, unknown))
            continue
        one = filters.condition(key, list(value.values()) if isinstance(value, dict) else value)
        field = fields.get(one.name)
        if field is None or (field.attr is None and field.user is None):
            unknown(one.name)
            continue
        tests.append(_test(one, field, zone))
    logic = next((str(value) for key, value in wanted.items() if key.casefold() == "logic"), "AND")
    return filters.any_of(tests) if logic.upper() == "OR" and tests else filters.all_of(tests)


def _test(one: filters.Condition, field: Field, zone: tzinfo) -> Callable[[Any], bool]:
    try:
        passes = filters.predicate(one.op, field.kind, one.value, zone)
    except filters.BadValue:
        raise RestError("INVALID_ARG_VALUE", f"Invalid filter: field '{one.name}' has invalid value") from None
    return lambda record: passes(field.read(record))


def _order(order: Mapping[str, Any], fields: Fields, unknown: Unknown) -> list[tuple[Field, bool]]:
    found = []
    for name, direction in order.items():
        field = fields.get(name)
        if field is None:
            unknown(f"order:{name}")
            continue
        found.append((field, filters.descending(name, direction)))
    return found


def _candidates(
    state: PortalState, entity: int, wanted: Mapping[str, Any], fields: Fields, *, backwards: bool
) -> Iterable[Any]:
    kept = records_of(state, entity)
    ids = _narrow(state, entity, wanted, fields)
    return (kept[number] for number in (reversed(ids) if backwards else ids) if number in kept)


def _narrow(state: PortalState, entity: int, wanted: Mapping[str, Any], fields: Fields) -> list[int]:
    """Ids, ascending, among which every match is: by id, by id beyond, by time of change, or all."""
    if any(key.casefold() == "logic" for key in wanted) or entity != DEAL:
        return sorted(records_of(state, entity))
    names = {field.attr: name for name, field in fields.items() if field.attr in ("id", "updated")}
    return filters.candidates(
        wanted,
        state.clock.zone,
        key=names.get("id", ""),
        ids=state.deal_ids,
        time=names.get("updated", ""),
        times=state.deals_updated,
    )
