"""What is told of a previewed decision: JSON-able lines with stable keys, sentences in the language of the file. Pure
but for what it is given.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

from bitrix_sync.explain.why_lines import status_text
from bitrix_sync.model.actions import CreateTask, Kind
from bitrix_sync.model.facts import Company, Deal, Directory
from bitrix_sync.model.items import Item
from bitrix_sync.model.operations import Check, DealState, Decision, Operation, State, TaskRecord, Trace
from bitrix_sync.rules.fields import OWN
from bitrix_sync.rules.model import Rule, Rules
from bitrix_sync.words import texts
from bitrix_sync.words.texts import folded

NARROWEST = 40
"""Columns that a terminal is taken to have at least."""
RESULTS = ("new", "held", "there", "none")
CHANGES = frozenset({"followed", "people_followed", "supervisor_followed", "ended", "advanced", "advance_brake"})
"""Verdicts about tasks that are there already, and about the deal itself."""
Line = dict[str, Any]
OfRule = TypeVar("OfRule", Trace, TaskRecord)


@dataclass(slots=True)
class Preview:
    """What would happen. ``lines``: one for each deal and rule of its stage; ``result`` is "new" (a task would be
    made), "held" (made, but nobody can take it), "there" (it has its task already) or "none" (``why`` says it).
    ``by``: what makes a new one, "entry", so that it comes by itself, "backfill", or "again" (backfill --again);
    ``brings``: the command without which it does not come, "" if it needs none.

    ``changes``: what else would be done to tasks and deals. ``uncovered``: stages with deals and without a rule.
    ``load``: open tasks by owner, now and with the new ones. Moments are aware, on the clocks of the file's zone.
    ``next_step``: of one deal, whether something is planned with it, "" where nobody asks for that or nobody can say.
    ``deal``: the number of the one deal that is looked at, None for all; ``entering``: the stage it is put into.
    """

    language: str
    deal: int | None = None
    entering: str = ""
    deals: int = 0
    lines: list[Line] = field(default_factory=list)
    changes: list[Line] = field(default_factory=list)
    uncovered: list[Line] = field(default_factory=list)
    load: list[Line] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    next_step: str = ""
    watch: bool = False
    max_new_tasks: int = 0

    @property
    def counts(self) -> dict[str, int]:
        """How many lines have which result."""
        return {result: sum(line["result"] == result for line in self.lines) for result in RESULTS}

    def as_dict(self) -> Line:
        """For ``--json``."""
        return {**asdict(self), "counts": self.counts}


class Part(NamedTuple):
    """A piece of what is printed: a table, or only its title as a line of text when there are no columns."""

    title: str
    columns: Sequence[str] = ()
    rows: Sequence[list[Any]] = ()
    heading: bool = False


def lines_of(preview: Preview, *, width: int | None = None) -> Iterator[Part]:
    """The preview for people: the tasks, reasons (for one deal), what else would change, the counts, the load.
    ``width``: of a terminal, whose lines are filled, and which gets the tasks of all deals by stage; else they are a
    table."""
    parts: tuple[Callable[[Preview], Iterator[Part | str]], ...]
    tasks = _stages if width and preview.deal is None else _table
    parts = (tasks, _reasons, _next_step, _uncovered, _changes, _load, _closing)
    for part in parts:
        for one in part(preview):
            found = Part(one) if isinstance(one, str) else one
            if not width or found.columns:
                yield found
            else:
                yield from (found._replace(title=line) for line in _filled(found.title, max(width, NARROWEST)))


def _filled(text: str, width: int) -> list[str]:
    """A text in lines of this width at most, indented as it is and by two more where it goes on; commands stay whole at
    their hyphens."""
    indent = " " * (len(text) - len(text.lstrip(" ")))
    lines = textwrap.wrap(text, width, subsequent_indent=f"{indent}  ", break_long_words=False, break_on_hyphens=False)
    return lines or [""]


def _stages(preview: Preview) -> Iterator[Part | str]:
    """Every deal and task below its stage: what, by whom and when, and a remark."""
    language = preview.language
    stages: dict[tuple[str, str], list[Line]] = {}
    for line in preview.lines:
        stages.setdefault((line["funnel"], line["stage"]), []).append(line)
    if stages:
        yield Part(_title(preview), heading=True)
    for (funnel, stage), lines in stages.items():
        yield ""
        yield Part(f"{folded(funnel)}: {folded(stage)}", heading=True)
        for line in lines:
            _, _, deal, task, *who_and_when, note = _row(language, line)
            yield f"  {folded(deal)} — {folded(task)}"
            keys = ("report.owner", "report.supervisor", "report.deadline")
            pairs = zip(keys, who_and_when, strict=True)
            said = [f"{texts.phrase(language, key)}: {folded(one)}" for key, one in pairs if one]
            yield from (f"      {one}" for one in ("; ".join(said), folded(note)) if one)
    if stages:
        yield ""


def _table(preview: Preview) -> Iterator[Part | str]:
    language = preview.language
    names = ["funnel", "stage", "deal", "task", "owner", "supervisor", "deadline"]
    columns = [texts.phrase(language, f"report.{name}") for name in names] + [texts.phrase(language, "preview.note")]
    cut = 3 if preview.deal is not None else 0
    if preview.lines:
        yield Part(_title(preview), columns[cut:], [_row(language, line)[cut:] for line in preview.lines])


def _reasons(preview: Preview) -> Iterator[Part | str]:
    for line in preview.lines if preview.deal is not None else ():
        if line["why"]:
            yield f"  {line['rule']}:"
            yield from (f"    {one}" for one in line["why"])


def _next_step(preview: Preview) -> Iterator[Part | str]:
    if preview.next_step:
        yield preview.next_step


def _uncovered(preview: Preview) -> Iterator[Part | str]:
    for line in preview.uncovered:
        values = {key: line[key] for key in ("stage", "funnel")}
        yield texts.phrase(preview.language, "preview.uncovered", count=line["deals"], **values)


def _changes(preview: Preview) -> Iterator[Part | str]:
    if preview.changes:
        yield texts.phrase(preview.language, "preview.changes")
    for line in preview.changes:
        values = {"number": line["deal_id"], "deal": line["deal"], "rule": line["rule"], "text": line["text"]}
        yield "  " + texts.phrase(preview.language, "preview.change", **values)


def _load(preview: Preview) -> Iterator[Part | str]:
    if preview.load:
        keys = ("report.employee", "preview.open_now", "preview.new", "preview.total")
        rows = [[line["user"], line["open"], line["new"], line["total"]] for line in preview.load]
        columns = [texts.phrase(preview.language, key) for key in keys]
        yield Part(texts.phrase(preview.language, "preview.load"), columns, rows)


def _title(preview: Preview) -> str:
    if preview.deal is None:
        return texts.phrase(preview.language, "preview.title.all", count=preview.deals)
    line = preview.lines[0]
    key = "preview.title.entering" if preview.entering else "preview.title.deal"
    values = {name: line[name] for name in ("deal", "funnel", "stage")}
    return texts.phrase(preview.language, key, number=Item.of(preview.deal), **values)


def _row(language: str, line: Line) -> list[Any]:
    deadline = texts.moment_text(language, line["deadline"]) if line["deadline"] else ""
    deal = f"{Item.of(line['deal_id'])} {line['deal']}"
    task = line["title"] or line["rule_title"] or line["rule"]
    people = [line["owner"], line["supervisor"]]
    return [line["funnel"], line["stage"], deal, task, *people, deadline, _note(language, line)]


def _note(language: str, line: Line) -> str:
    """Why no task comes, or which one is there."""
    brings = texts.phrase(language, "preview.brings", command=line["brings"]) if line["brings"] else ""
    match line["result"]:
        case "new":
            return brings
        case "held":
            return f"{texts.phrase(language, 'preview.held')} {brings}".rstrip()
        case "there" if line["task_id"] is None:
            return brings or texts.phrase(language, "preview.on_its_way")
        case "there":
            status = status_text(language, line["status"])
            return texts.phrase(language, "preview.there", task=line["task_id"], status=status)
    return "; ".join([*_why(language, line), brings]).removesuffix("; ")


def _why(language: str, line: Line) -> list[str]:
    """The comparisons that failed, else the reason alone."""
    failed = [texts.check_text(language, Check(**check)) for check in line["checks"] if not check["ok"]]
    return failed if line["verdict"] == "condition_false" and failed else list(line["why"][:1])


def _closing(preview: Preview) -> Iterator[Part | str]:
    language, counts = preview.language, preview.counts
    if preview.lines:
        numbers: dict[str, Any] = {**counts}
        yield texts.phrase(language, "preview.counts", **numbers)
    coming = [line["by"] for line in preview.lines if line["result"] in ("new", "held")]
    late = [by for by in coming if by in ("backfill", "again")]
    if late:
        yield texts.phrase(language, "preview.by_backfill", count=len(late))
    if "again" in late:
        yield texts.phrase(language, "preview.by_again", count=late.count("again"))
    if counts["new"] > preview.max_new_tasks:
        yield texts.phrase(language, "preview.over_limit", limit=preview.max_new_tasks)
    if preview.watch:
        yield texts.phrase(language, "preview.watch")
    yield texts.phrase(language, "preview.nothing_written")


# --- from a decision to lines ----------------------------------------------------------------------------------------


def rules_of(rules: Rules, stage_id: str) -> tuple[Rule, ...]:
    """The rules of a stage in the file's order; none for a stage that the file does not name."""
    policy = rules.policies.get(stage_id)
    return policy.rules if policy else ()


def uncovered(rules: Rules, directory: Directory, stage_id: str, count: int) -> Line:
    """A stage with so many deals and without a rule."""
    stage = directory.stage(stage_id)
    return {**_place(rules, stage.funnel_id if stage else 0, stage_id), "deals": count}


def nothing(rules: Rules, deal: Deal, key: str, **values: Any) -> Line:
    """A deal of which nothing can be said but this sentence of the catalogue."""
    line = _line(rules, deal, deal.funnel_id, deal.stage_id)
    return {**line, "verdict": key.partition(".")[2], "why": [texts.phrase(rules.language, key, **values)]}


def of_rules(rules: Rules, company: Company, state: DealState, decision: Decision) -> list[Line]:
    """What becomes of each rule of the deal's present stage."""
    if not state.visits or state.deal is None:
        return []
    visit = max(state.visits, key=attrgetter("id"))
    created = {op.task: op for op in decision.operations if op.kind is Kind.CREATE}
    made = {record.ref: record for record in (*state.tasks, *decision.tasks)}
    traces = _by_rule(decision.traces, visit.id)
    latest = _by_rule(sorted(made.values(), key=attrgetter("number")), visit.id)
    lines = []
    for rule in rules_of(rules, visit.stage_id):
        line = _line(rules, state.deal, visit.funnel_id, visit.stage_id)
        line |= {"rule": rule.id, "rule_title": rules.title_of(rule.id), "entered": rules.calendar.local(visit.entered)}
        if (trace := traces.get(rule.id)) is not None:
            line |= _reason(rules, trace) | {"by": trace.data.get("by")}
        held = False
        if (record := latest.get(rule.id)) is not None:
            line |= _task(rules, company, record, created.get(record.ref))
            line["by"] = line["by"] if record.ref in created else None
            held = state.unmade.get(record.ref) is State.HELD
        line["brings"] = _command(line, held=held)
        lines.append(line)
    return lines


def _by_rule(items: Iterable[OfRule], visit_id: int) -> dict[str, OfRule]:
    """Of each rule the last that belongs to the visit."""
    return {one.rule_id: one for one in items if one.visit_id == visit_id}


def of_changes(rules: Rules, state: DealState, decision: Decision) -> list[Line]:
    """What else would be done to tasks that are there, and to the deal."""
    if state.deal is None:
        return []
    return [
        {
            "deal_id": state.deal.id,
            "deal": state.deal.title,
            "rule": trace.rule_id,
            "verdict": trace.verdict,
            "text": _reason(rules, trace)["why"][0],
        }
        for trace in decision.traces
        if trace.verdict in CHANGES
    ]


def of_load(lines: Iterable[Line], open_now: Mapping[int, Sequence[datetime]], company: Company) -> list[Line]:
    """Who would have how many open tasks, the most first: those who get a new one."""
    new: dict[int, int] = {}
    for line in lines:
        if line["result"] == "new" and line["owner_id"]:
            new[line["owner_id"]] = new.get(line["owner_id"], 0) + 1
    found: list[Line] = []
    for owner, count in new.items():
        now = len(open_now.get(owner, ()))
        found.append({"user_id": owner, "user": company.name(owner), "open": now, "new": count, "total": now + count})
    return sorted(found, key=lambda line: (-line["total"], line["user"], line["user_id"]))


# --- the parts of a line ---------------------------------------------------------------------------------------------


def _place(rules: Rules, funnel_id: int, stage_id: str) -> Line:
    return {
        "funnel_id": funnel_id,
        "funnel": rules.funnel_names.get(funnel_id, f"#{funnel_id}"),
        "stage_id": stage_id,
        "stage": rules.stage_names.get(stage_id, stage_id),
    }


def _line(rules: Rules, deal: Deal, funnel_id: int, stage_id: str) -> Line:
    """A line that says nothing yet: every key that a line has."""
    return {
        "deal_id": deal.id,
        "deal": deal.title,
        **_place(rules, funnel_id, stage_id),
        "entered": None,
        "rule": "",
        "rule_title": "",
        "result": "none",
        "by": None,
        "brings": "",
        "task_id": None,
        "status": None,
        "title": "",
        "owner_id": None,
        "owner": "",
        "supervisor_id": None,
        "supervisor": "",
        "deadline": None,
        "fields": {},
        "verdict": "",
        "why": [],
        "checks": [],
    }


def _reason(rules: Rules, trace: Trace) -> Line:
    """Verdict and sentences. Of a task that would be made they tell how owner and deadline were found."""
    words = texts.explain(rules.language, trace, zone=rules.calendar.zone, deal_fields=rules.deal_fields)
    if trace.verdict == "made":
        how = {key: trace.data.get(key) for key in ("owner_path", "branch", "lifted")}
        words[0] = texts.phrase(rules.language, "preview.how", **how)
    return {"verdict": trace.verdict, "why": words, "checks": [asdict(check) for check in trace.checks]}


def _command(line: Line, *, held: bool) -> str:
    """The command without which the task does not come; "" if it comes by itself, or is there."""
    if held and line["result"] == "there":
        return "bitrix-sync release"
    if line["by"] in (None, "entry"):
        return ""
    again = " --again" if line["by"] == "again" else ""
    return f"bitrix-sync backfill --deal {line['deal_id']} --rule {line['rule']}{again}"


def _task(rules: Rules, company: Company, record: TaskRecord, created: Operation | None) -> Line:
    return {
        **_standing(record, created),
        "task_id": record.portal_id,
        "title": record.title,
        "owner_id": record.owner_id or None,
        "owner": texts.person_text(rules.language, company, record.owner_id) if record.owner_id else "",
        "supervisor_id": record.supervisor_id,
        "supervisor": company.name(record.supervisor_id) if record.supervisor_id else "",
        "deadline": rules.calendar.local(record.deadline) if record.deadline else None,
    }


def _standing(record: TaskRecord, created: Operation | None) -> Line:
    """Whether the task is there or would be made, and what is known of it only then."""
    if created is None:
        return {"result": "there", "status": "gone" if record.gone else record.status, "fields": {}}
    fields = created.action.fields if isinstance(created.action, CreateTask) else {}
    return {"result": "held" if created.state is State.HELD else "new", "status": None, "fields": own_fields(fields)}


def own_fields(fields: Mapping[str, Any]) -> Line:
    """The user fields that a rule fills, among those of a creation."""
    return {code: value for code, value in fields.items() if code.startswith(OWN)}
