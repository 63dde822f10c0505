"""What the rules would do, shown and not done: the real decision over deals as the portal shows them now.

Nothing is written: the portal is only read, and what the store remembers is looked up in a copy of it. Tasks are all
that would come for the deals' present visits, by themselves or by ``backfill``, also what was refused or taken away
before, and, where a stage is given, those of an entry into it now, by the same ``plan.decide`` that the service uses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from bitrix_sync.decisions import plan
from bitrix_sync.decisions.guards import is_stranger
from bitrix_sync.engine import identity, passes, recognition, steps
from bitrix_sync.engine.rulebook import Rulebook, read_file
from bitrix_sync.errors import RulesError, UserError
from bitrix_sync.explain import next_step
from bitrix_sync.explain.preview_lines import Preview, nothing, of_changes, of_load, of_rules, rules_of, uncovered
from bitrix_sync.model.facts import Changes, Cursor, Deal, Directory, PortalTask, Stage, Visit
from bitrix_sync.model.items import Item
from bitrix_sync.model.keys import occurrence_in
from bitrix_sync.model.operations import DealState, Decision, State, TaskRecord
from bitrix_sync.portal import reading
from bitrix_sync.portal.client import Portal
from bitrix_sync.rules.load import load
from bitrix_sync.rules.model import Rules
from bitrix_sync.rules.persons import NotRead, Picks
from bitrix_sync.rules.suggest import did_you_mean, fold
from bitrix_sync.settings import Settings
from bitrix_sync.store import Store
from bitrix_sync.store.scratch_copy import scratch_copy

log = structlog.get_logger(__name__)

CHUNK = 500
"""Deals read and judged at a time."""
ENTRY = 2
"""TYPE_ID of the history row of an entry into a stage in progress."""
Progress = Callable[[int, int], None]


@dataclass(slots=True)
class PreviewContext:
    """A portal, the rules bound to it, and a copy of what the store remembers. ``now``: the portal's time, not before
    the rules were loaded, though its clock is known ever better. ``open_tasks``: deadlines by owner, once read."""

    portal: Portal
    store: Store
    rulebook: Rulebook
    now: datetime
    open_tasks: dict[int, list[datetime]] | None = None

    @property
    def rules(self) -> Rules:
        """The rules as the file stands now."""
        return self.rulebook.rules


def of_deal(settings: Settings, deal_id: int, *, stage: str = "") -> Preview:
    """One deal as it stands, or as if it entered ``stage`` (a name or an id) now. UserError for a deal or stage that
    the portal does not show."""
    with context_of(settings) as context:
        end = reading.deals(context.portal, [deal_id], fields=context.rules.fields)[deal_id]
        if not isinstance(end, Deal):
            raise UserError(context.rulebook.unknown_deal(deal_id, end))
        found = [end]
        into = find_stage(stage, found[0], context.rulebook.directory) if stage else None
        preview = _begin(context)
        preview.deal, preview.deals, preview.entering = deal_id, 1, into.name if into else ""
        _judge(context, found, _picks(context), preview, into=into)
        if not preview.lines:
            stage_id = into.id if into else found[0].stage_id
            preview.uncovered.append(uncovered(context.rules, context.rulebook.directory, stage_id, 1))
        return preview


def of_all(settings: Settings, *, progress: Progress = lambda done, total: None) -> Preview:
    """Every open deal that the webhook may read, in the order of funnels, stages and deals."""
    with context_of(settings) as context:
        preview = _begin(context)
        order = _order(context.rulebook.directory)
        deals = reading.open_deals(context.portal, fields=context.rules.fields)
        deals.sort(key=lambda deal: (order.get(deal.stage_id, len(order)), deal.id))
        covered = [deal for deal in deals if rules_of(context.rules, deal.stage_id)]
        picks = _picks(context)
        for begin in range(0, len(covered), CHUNK):
            progress(begin, len(covered))
            _judge(context, covered[begin : begin + CHUNK], picks, preview)
        progress(len(covered), len(covered))
        preview.deals = len(deals)
        bare: dict[str, int] = {}
        for deal in deals:
            if not rules_of(context.rules, deal.stage_id):
                bare[deal.stage_id] = bare.get(deal.stage_id, 0) + 1
        preview.uncovered = [
            uncovered(context.rules, context.rulebook.directory, stage_id, count) for stage_id, count in bare.items()
        ]
        preview.load = of_load(preview.lines, _open_now(context), context.rulebook.company)
        return preview


# --- looking ---------------------------------------------------------------------------------------------------------


@contextmanager
def context_of(settings: Settings) -> Iterator[PreviewContext]:
    """The portal, the rules and the memory, to be read. RulesError with everything that is wrong in the file."""
    text, _ = read_file(settings.rules)
    if refusals := load(text, settings.rules.name).refusals():
        raise RulesError(refusals)
    secret = settings.webhook_url.get_secret_value()
    with (
        closing(Portal(secret, rate=settings.rate, ca_file=settings.ca_file)) as portal,
        scratch_copy(settings.database_url, settings.number) as store,
    ):
        if store.cursor() is not None:
            identity.require(identity.look(store, portal))
        rulebook = Rulebook(settings.rules, portal, store, anew=True)
        if rulebook.error:  # the last good file is not what is asked about
            raise RulesError(rulebook.error.splitlines())
        rulebook.freshen_company(portal.now())
        store.note_rules(list(rulebook.rules.by_id), portal.now())
        yield PreviewContext(portal, store, rulebook, max([portal.now(), *store.rules_loaded().values()]))


def find_stage(wanted: str, deal: Deal, directory: Directory) -> Stage:
    """The stage of this id, or of this name in the deal's funnel. UserError that names the nearest ones."""
    by_id = [stage for stage in directory.stages if fold(stage.id) == fold(wanted)]
    named = [stage for stage in directory.stages if fold(stage.name) == fold(wanted)]
    found = by_id or [stage for stage in named if stage.funnel_id == deal.funnel_id]
    if len(found) == 1:
        return found[0]
    raise UserError(_no_stage(wanted, deal.funnel_id, directory, several=_ids(found), elsewhere=_ids(named)))


def _no_stage(wanted: str, funnel_id: int, directory: Directory, *, several: str, elsewhere: str) -> str:
    """Why a name does not tell a stage of the funnel: ids of ``several`` bear it there, or of others ``elsewhere``."""
    funnel = next((one.name for one in directory.funnels if one.id == funnel_id), f"#{funnel_id}")
    if several:
        return f"the funnel {funnel} has several stages `{wanted}`: {several}; write the id of one"
    if elsewhere:
        return (
            f"the deal is in the funnel {funnel}, which has no stage `{wanted}`; that of another funnel is written by "
            f"its id: {elsewhere}"
        )
    own = {stage.id: stage.name for stage in directory.stages if stage.funnel_id == funnel_id}
    cure = did_you_mean(wanted, [*own.values(), *own])
    return f"the funnel {funnel} has no stage `{wanted}`. {cure or 'Its stages are ' + ', '.join(own.values()) + '.'}"


def _ids(stages: Iterable[Stage]) -> str:
    return ", ".join(stage.id for stage in stages)


def _order(directory: Directory) -> dict[str, int]:
    return {stage.id: place for place, stage in enumerate(directory.stages)}


def _begin(context: PreviewContext) -> Preview:
    rules = context.rules
    return Preview(
        rules.language,
        warnings=list(context.rulebook.warnings),
        watch=rules.safety.watch,
        max_new_tasks=rules.safety.max_new_tasks,
    )


def _open_now(context: PreviewContext) -> dict[int, list[datetime]]:
    """Deadlines of open tasks by owner: as remembered, else as the portal shows them."""
    if context.open_tasks is None and context.store.cursor() is not None:
        context.open_tasks = context.store.open_deadlines()
    elif context.open_tasks is None:
        context.open_tasks = {}
        for task in reading.open_tasks(context.portal):
            if task.deadline is not None:
                context.open_tasks.setdefault(task.owner_id, []).append(task.deadline)
    return context.open_tasks


def _picks(context: PreviewContext) -> Picks:
    by_owner = _open_now(context) if context.rulebook.picks_by_load else {}
    return Picks({owner: sorted(deadlines) for owner, deadlines in by_owner.items()}, context.store.picks())


# --- judging ---------------------------------------------------------------------------------------------------------


def _judge(
    context: PreviewContext, deals: Sequence[Deal], picks: Picks, preview: Preview, *, into: Stage | None = None
) -> None:
    """Decide these deals and add what comes of them."""
    ids = [deal.id for deal in deals]
    facts = passes.Gathered(context.now, Changes(), deals={deal.id: deal for deal in deals})
    passes.gather_clients(context.portal, context.rules, facts)
    passes.set_aside(facts, lambda deal: context.rulebook.unread_stage(deal.funnel_id, deal.stage_id))
    world = plan.World(
        company=context.rulebook.company,
        picks=picks,
        loaded=context.store.rules_loaded(),
        started=context.now,
        companies=facts.companies,
        contacts=facts.contacts,
    )
    known = context.store.deal_states(ids, now=context.now)
    cursor = context.store.cursor()
    visits = _new_visits(context, reading.deal_history(context.portal, ids))
    tasks: dict[int, list[PortalTask]] = {}
    for task in reading.tasks_of_deals(context.portal, ids):
        for deal_id in task.deal_ids:
            tasks.setdefault(deal_id, []).append(task)
    stages = steps.scope(context.rules) if preview.deal is not None else context.rules.idle_starts
    ahead = next_step.looked_at(context.portal, [deal.id for deal in deals if deal.stage_id in stages])
    for deal in deals:
        if end := facts.unread.get(deal.id):
            preview.lines.append(nothing(context.rules, deal, "preview.unread", why=end.why))
            continue
        state = _state(context, cursor, known[deal.id], deal, visits.get(deal.id, []), tasks.get(deal.id, []))
        state = next_step.with_steps(state, tasks.get(deal.id, []), ahead if deal.stage_id in stages else None)
        if preview.deal is not None and state.steps and (patience := context.rules.next_steps.get(deal.stage_id)):
            language, calendar = context.rules.language, context.rules.calendar
            preview.next_step = next_step.said_of(language, state.steps, patience, calendar)
        if into is not None:
            state = _entering(context, cursor, state, deal, into)
        _tell(context, world, deal, known[deal.id].deal, state, preview)


def _tell(
    context: PreviewContext, world: plan.World, deal: Deal, before: Deal | None, state: DealState, preview: Preview
) -> None:
    """What comes of one deal, or why nobody can say. ``before``: the deal as it is remembered."""
    try:
        decision = plan.decide(
            state,
            context.rules,
            world,
            now=context.now,
            responsible_before=before.responsible_id if before else None,
            backfill=plan.Backfill(again=True),
        )
        decision = _with_refused(context, state, world, decision)
    except NotRead as fault:
        preview.lines.append(nothing(context.rules, deal, "preview.unread", why=str(fault)))
        return
    except Exception:
        log.exception("deal cannot be judged; the others go on", deal=deal.id)
        preview.lines.append(nothing(context.rules, deal, "preview.error"))
        return
    if not state.visits:
        preview.lines.append(nothing(context.rules, deal, "preview.no_history"))
    preview.lines += of_rules(context.rules, world.company, state, decision)
    preview.changes += of_changes(context.rules, state, decision)


def _with_refused(context: PreviewContext, state: DealState, world: plan.World, decision: Decision) -> Decision:
    """The decision, and what of the tasks that the portal refused would be tried again."""
    for occurrence, became in state.unmade.items():
        if became is not State.FAILED:
            continue
        anew = plan.decide_anew(state, context.rules, world, occurrence=occurrence, now=context.now, refused=True)
        if anew is not None:
            decision = replace(
                decision,
                operations=(*decision.operations, *anew.operations),
                tasks=(*decision.tasks, *anew.tasks),
                traces=(*decision.traces, *anew.traces),
            )
    return decision


def _new_visits(context: PreviewContext, history: Sequence[Visit]) -> dict[int, list[Visit]]:
    found: dict[int, list[Visit]] = {}
    for visit in recognition.rows(context.store, history).new:
        found.setdefault(visit.deal_id, []).append(visit)
    return found


def _state(
    context: PreviewContext,
    cursor: Cursor | None,
    known: DealState,
    deal: Deal,
    visits: Sequence[Visit],
    tasks: Sequence[PortalTask],
) -> DealState:
    """What is remembered, brought up to what the portal shows. A visit that a first start would read is history."""
    read = {visit.id for visit in visits}
    return replace(
        known,
        deal=deal,
        visits=(*(visit for visit in known.visits if visit.id not in read), *visits),
        tasks=_records(known.tasks, deal.id, tasks, context.now),
        handled=known.handled | read if cursor is None else known.handled,
    )


def _records(
    known: Sequence[TaskRecord], deal_id: int, tasks: Sequence[PortalTask], now: datetime
) -> tuple[TaskRecord, ...]:
    """The deal's tasks as remembered, brought up to what the portal shows; one there with a mark of ours is adopted."""
    records = {record.ref: record for record in known}
    by_portal_id = {record.portal_id: record for record in known if record.portal_id}
    for task in tasks:
        record = by_portal_id.get(task.id)
        if record is not None and not is_stranger(task, record):
            records[record.ref] = plan.observe(record, task, at=now)[0]
        elif record is not None or occurrence_in(task.mark) not in records:
            adopted = recognition.by_mark(task, at=now)
            if adopted is not None:
                records[adopted.ref] = replace(adopted, deal_id=deal_id)
    return tuple(records.values())


def _entering(context: PreviewContext, cursor: Cursor | None, state: DealState, deal: Deal, stage: Stage) -> DealState:
    """The deal as if it entered the stage now."""
    kind = Item.of(deal.id).kind
    seen = cursor.kinds.get(kind.name) if cursor else None
    latest = max([visit.id for visit in state.visits] + [seen.history_id if seen else kind.first])
    visit = Visit(latest + 1, deal.id, ENTRY, stage.funnel_id, stage.id, stage.semantic, context.now)
    own = {"STAGE_ID": stage.id, "STAGE_SEMANTIC_ID": stage.semantic, "CATEGORY_ID": Item.of(stage.funnel_id).id}
    fields = {**deal.fields, **{code: value for code, value in own.items() if code in deal.fields}}
    moved = replace(deal, stage_id=stage.id, funnel_id=stage.funnel_id, semantic=stage.semantic, fields=fields)
    return replace(state, deal=moved, visits=(*state.visits, visit))
