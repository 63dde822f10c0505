"""A file bound to a portal: every name resolved to an id, every rule compiled, every stage with what is said of it.

Where the rules language leaves a choice:

- The tasks of a stage come in the file's order, those of ``"*"`` where the file has them: put ``"*"`` above the named
  stages and its tasks come first.
- ``limit`` and ``advance_to`` of a named stage go before those of ``"*"``, those of a named funnel before those of the
  funnel ``"*"``. A stage never advances to itself: ``"*"`` with ``advance_to`` leaves its target out.
- A rule that stands in several stages and of which only some are gone goes on in the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from typing import Literal, NamedTuple, TypeVar

from bitrix_sync.model.facts import PROGRESS, Directory
from bitrix_sync.model.items import DEAL
from bitrix_sync.model.reasons import Reason
from bitrix_sync.rules import model
from bitrix_sync.rules.consistency import cycles, warn_of_circle
from bitrix_sync.rules.file import File, Placed, RoomSection, TaskEntry, stages
from bitrix_sync.rules.forms import BecomesEvent, DoneEvent, FilledEvent, IdleEvent
from bitrix_sync.rules.hours import working_calendar
from bitrix_sync.rules.names import Names
from bitrix_sync.rules.problem import Path, Remarks
from bitrix_sync.rules.scalars import EVERY, user_of
from bitrix_sync.rules.suggest import cure, fold
from bitrix_sync.rules.task_binding import Parts

T = TypeVar("T")
MONEY = frozenset({"OPPORTUNITY", "CURRENCY_ID"})
"""What a deal is worth: for reports, and for sweeps that take the larger amount first."""


class Bound(NamedTuple):
    """The outcome of binding: ``rules`` (None: a calendar cannot be built), and what every name in use means, to be
    kept for the next time. ``paths``: where each rule stands in the file."""

    rules: model.Rules | None
    bindings: dict[str, str]
    paths: Mapping[str, Path]


@dataclass(slots=True)
class _Spot:
    """Where one entry of the file stands: stage ids with their funnels. ``gone``: why it stands nowhere any more."""

    placed: Placed
    stages: dict[str, int] = field(default_factory=dict)
    gone: str = ""

    def lose(self, name: str) -> None:
        """No funnel has a stage of the name any more, or one whose stages could not all be read may have it."""
        unread = self.stages.pop("", None) is not None
        self.gone = (Reason.NAME_UNREAD if unread else Reason.GONE_EVERYWHERE).of(name)


@dataclass(slots=True)
class _Draft:
    """A stage's policy in the making. ``rank``: how particular the entries were that set limit and target."""

    funnel_id: int
    rules: list[model.Rule] = field(default_factory=list)
    limit: model.Duration | None = None
    limit_rank: int = -1
    advance_to: str | None = None
    advance_rank: int = -1
    advance_path: Path = ()
    next_step: model.Duration | Literal["none"] = "none"
    next_rank: int = -1


def bind(file: File, directory: Directory, bindings: Mapping[str, str], remarks: Remarks, *, digest: str) -> Bound:
    """Bind a file. What is wrong goes into ``remarks``: if there are faults, the rules are good for nothing."""
    return _Binding(file, directory, bindings, remarks).run(digest)


class _Binding:
    """One file being bound. Lives for one call of ``bind``."""

    def __init__(self, file: File, directory: Directory, bindings: Mapping[str, str], remarks: Remarks) -> None:
        self.file, self.directory, self.remarks = file, directory, remarks
        self.names = Names(directory, bindings, remarks)
        self.drafts: dict[str, _Draft] = {}
        self.paths: dict[str, Path] = {}
        self.zone: tzinfo = UTC
        self.in_file: dict[str, tuple[list[int], str]] = {}
        self._mentioned: dict[str, frozenset[str]] = {}
        self.stage_names = tuple(dict.fromkeys(stage.name for stage in directory.stages))

    def run(self, digest: str) -> Bound:
        file, names = self.file, self.names
        spots = self.spots()
        placed = {task.id: frozenset(spot.stages) for spot in spots for task in spot.placed.stage.tasks}
        self.parts = Parts(names, self.remarks, placed)
        admins, fallback = self.file_people()
        self.parts.begin((), frozenset())
        self.supervisor = self.parts.person(file.supervisor, ("supervisor",))
        self.supervisor_gone = self.parts.gone
        calendar = working_calendar(file, self.directory, self.remarks)
        self.zone = calendar.zone if calendar is not None else UTC
        rules = self.rules(spots)
        for spot in spots:
            self.say_of_stages(spot)
        self.warn_of_circles()
        next_steps = self.next_steps()
        overdue = self.overdue(next_steps)
        if calendar is None:
            return Bound(None, names.bound, self.paths)
        return Bound(
            model.Rules(
                digest=digest,
                language=file.language,
                calendar=calendar,
                policies={stage: _policy(stage, draft) for stage, draft in self.drafts.items()},
                by_id=rules,
                admins=admins,
                fallback_owner=fallback,
                supervisor=self.supervisor,
                on_close=file.on_close,
                overdue=overdue,
                room=self.room(),
                away=file.away,
                substitutes=self.substitutes(),
                safety=model.Safety(file.safety.max_new_tasks, file.safety.max_moves, file.safety.watch),
                escalate=self.file.escalate,
                next_steps=next_steps,
                fields=frozenset(self.parts.fields) | MONEY,
                uses_company="company" in self.parts.records,
                uses_contact="contact" in self.parts.records,
                uses_absences=any(rule.away == "substitute" for rule in rules.values()),
                stage_names={stage.id: stage.name for stage in self.directory.stages},
                funnel_names={funnel.id: funnel.name for funnel in self.directory.funnels},
                deal_fields=self.directory.fields,
                task_fields=self.directory.task_fields,
            ),
            names.bound,
            self.paths,
        )

    # --- funnels and stages ------------------------------------------------------------------------------------------

    def spots(self) -> list[_Spot]:
        """Where every entry of the file stands. Unknown names are remarked; their entries stand nowhere."""
        if not self.directory.funnels:
            self.remarks.fault(
                ("funnels",), "No funnel can be read.", "Give the webhook's user a CRM role that reads deals.", key=True
            )
            return [_Spot(placed) for placed in stages(self.file)]
        funnels = self.in_file = self.funnels()
        spots = [_Spot(placed) for placed in stages(self.file)]
        seen: dict[tuple[str, str], str] = {}
        for spot in spots:
            placed = spot.placed
            if placed.funnel in funnels:
                self.place(spot, *funnels[placed.funnel])
            for stage in spot.stages if not _every(placed.name) else ():
                other = seen.setdefault((placed.funnel, stage), placed.name)
                if fold(other) != fold(placed.name):
                    wrong = f"`{other}` and `{placed.name}` are one stage, {stage}."
                    self.remarks.fault(placed.path, wrong, "Join the two.", key=True)
        return spots

    def funnels(self) -> dict[str, tuple[list[int], str]]:
        """The funnels that each key of the file means, and why it means none any more; not those unknown."""
        mentioned = frozenset(map(fold, self.file.funnels))
        found: dict[str, tuple[list[int], str]] = {}
        taken: dict[int, str] = {}
        for key in self.file.funnels:
            path: Path = ("funnels", key)
            if _every(key):
                found[key] = [funnel.id for funnel in self.directory.funnels if DEAL.holds(funnel.id)], ""
                continue
            funnel = self.names.funnel(key, path, mentioned)
            if funnel is None:
                continue
            other = taken.setdefault(funnel.number, key) if funnel.id else key
            if fold(other) != fold(key):
                self.remarks.fault(path, f"`{other}` and `{key}` are one funnel.", "Join the two.", key=True)
            self.warn_of_gone(funnel.gone, path)
            found[key] = [funnel.number] if funnel.id else [], funnel.gone
        return found

    def warn_of_gone(self, gone: str, path: Path) -> None:
        """A funnel or stage of the file that the portal has no more, or that could not be read."""
        cure = "The rules for it are off; remove them here."
        if Reason.NAME_UNREAD.is_in(gone):
            cure = "The rules for it are off until it can be."
        if gone:
            self.names.warn_once(path, f"{gone}.", cure, key=True)

    def place(self, spot: _Spot, funnels: list[int], gone: str) -> None:
        """The stages of an entry; ``gone``: why its funnel is none any more."""
        name, path = spot.placed.name, spot.placed.path
        spot.gone = gone
        if _every(name):
            for stage in self.directory.stages:
                if stage.semantic == PROGRESS and stage.funnel_id in funnels:
                    spot.stages[stage.id] = stage.funnel_id
            return
        if _every(spot.placed.funnel):
            self.place_anywhere(spot, funnels)
        elif funnels and (found := self.names.stage(funnels[0], name, path, self.mentioned(spot), key=True)):
            spot.stages = dict.fromkeys(filter(None, [found.id]), funnels[0])
            spot.gone = gone or found.gone
        if not gone:
            self.warn_of_gone(spot.gone, path)

    def place_anywhere(self, spot: _Spot, funnels: list[int]) -> None:
        """The stages of an entry of every funnel: those of its name, wherever there is one."""
        name, path = spot.placed.name, spot.placed.path
        alive: dict[str, int] = {}
        lost: dict[str, int] = {}
        for funnel in funnels:
            found = self.names.stage_if_any(funnel, name, path, self.mentioned(spot), key=True)
            if found is not None:
                (lost if found.gone else alive)[found.id] = funnel
        spot.stages = alive or lost
        if lost and not alive:
            spot.lose(name)
        elif not alive and not any(self.names.stages(funnel).by_name(name) for funnel in funnels):
            wrong, meant = f"No funnel has a stage `{name}`.", cure(name, self.stage_names, "Stages are")
            self.remarks.fault(path, wrong, meant, key=True)

    def mentioned(self, spot: _Spot) -> frozenset[str]:
        """The stages that the file names in the entry's funnel, folded."""
        funnel = spot.placed.funnel
        if funnel not in self._mentioned:
            self._mentioned[funnel] = frozenset(map(fold, self.file.funnels[funnel]))
        return self._mentioned[funnel]

    def say_of_stages(self, spot: _Spot) -> None:
        """What an entry says of its stages besides tasks."""
        placed = spot.placed
        named_funnel, named_stage = not _every(placed.funnel), not _every(placed.name)
        rank = 2 * named_funnel + named_stage
        targets = self.targets(spot)
        for stage, funnel in spot.stages.items():
            draft = self.drafts.setdefault(stage, _Draft(funnel))
            if placed.stage.next_step is not None and rank >= draft.next_rank:
                draft.next_step, draft.next_rank = placed.stage.next_step, rank
            if placed.stage.limit is not None and rank >= draft.limit_rank:
                draft.limit, draft.limit_rank = placed.stage.limit, rank
            target = targets.get(funnel)
            if target is None or rank < draft.advance_rank:
                continue
            if target == stage:
                if named_stage and fold(placed.stage.advance_to or "") != fold(placed.name):
                    self.remarks.fault(
                        (*placed.path, "advance_to"), "The stage would advance to itself.", "Name another stage."
                    )
                continue
            draft.advance_to, draft.advance_rank = target, rank
            draft.advance_path = (*placed.path, "advance_to")

    def next_steps(self) -> dict[str, model.Duration]:
        """How long deals may stand without a next step, by stage in progress: as the stage says, else the file."""
        funnels = {funnel for one, _ in self.in_file.values() for funnel in one if DEAL.holds(funnel)}
        said = {
            stage.id: draft.next_step if draft is not None and draft.next_rank >= 0 else self.file.next_step
            for stage in self.directory.stages
            if stage.semantic == PROGRESS and stage.funnel_id in funnels
            for draft in (self.drafts.get(stage.id),)
        }
        return {stage: span for stage, span in said.items() if span != "none"}

    def targets(self, spot: _Spot) -> dict[int, str]:
        """Where the deals of an entry advance to, by funnel."""
        name, path = spot.placed.stage.advance_to, (*spot.placed.path, "advance_to")
        funnels = sorted(set(spot.stages.values()))
        if name is None or name == EVERY or not funnels:
            return {}
        found = {funnel: self.names.stage_if_any(funnel, name, path) for funnel in funnels}
        if not any(found.values()):
            self.no_target(name, funnels[0], path)
        targets: dict[int, str] = {}
        for funnel, one in found.items():
            if one is not None and one.gone:
                self.names.warn_once(path, f"{one.gone}.", "Deals do not advance there; name another stage.")
            elif one is not None:
                targets[funnel] = one.id
        return targets

    def no_target(self, name: str, funnel: int, path: Path) -> None:
        """The funnel has no such stage to advance to; perhaps another one has."""
        elsewhere = self.names.every_stage.by_id(name)
        if elsewhere is None:
            self.names.stage(funnel, name, path)
        else:
            self.remarks.fault(
                path,
                f"The stage {elsewhere} is of another funnel.",
                "A deal advances within its own: name a stage of it.",
            )

    def warn_of_circles(self) -> None:
        """Stages that advance to each other in a circle."""
        edges = {stage: draft.advance_to for stage, draft in self.drafts.items() if draft.advance_to is not None}
        for circle in cycles(edges):
            named = map(self.stage_name, (*circle, circle[0]))
            warn_of_circle(self.drafts[circle[0]].advance_path, named, self.remarks)

    def stage_name(self, stage_id: str) -> str:
        """The stage's name in the portal."""
        stage = self.directory.stage(stage_id)
        return stage.name if stage else stage_id

    # --- tasks -------------------------------------------------------------------------------------------------------

    def rules(self, spots: list[_Spot]) -> dict[str, model.Rule]:
        """Every rule by its id; each is added to the policies of its stages."""
        rules: dict[str, model.Rule] = {}
        order = 0
        for spot in spots:
            self.parts.begin(set(spot.stages.values()), frozenset(spot.stages))
            for index, task in enumerate(spot.placed.stage.tasks):
                path = (*spot.placed.tasks_path, index)
                self.parts.gone = [spot.gone] if spot.gone else []
                rule = self.rule(task, path, order, frozenset(spot.stages))
                order += 1
                rules[task.id], self.paths[task.id] = rule, path
                for stage, funnel in spot.stages.items():
                    self.drafts.setdefault(stage, _Draft(funnel)).rules.append(rule)
        return rules

    def rule(self, task: TaskEntry, path: Path, order: int, stage_ids: frozenset[str]) -> model.Rule:
        """One task entry, compiled."""
        parts = self.parts
        condition = parts.condition(task.condition, (*path, "if")) if task.condition is not None else model.AllOf(())
        start: model.Done | model.Becomes | model.Idle | None = None
        if isinstance(task.start, DoneEvent):
            start = parts.done(task.start)
        elif isinstance(task.start, FilledEvent | BecomesEvent):
            start = parts.becomes(task.start, (*path, "start"))
        elif isinstance(task.start, IdleEvent):
            start = model.Idle(task.start.idle)
        supervisor: model.Person
        if task.supervisor is not None:
            supervisor = parts.person(task.supervisor, (*path, "supervisor"))
        else:
            supervisor = self.supervisor
            parts.gone += self.supervisor_gone
        return model.Rule(
            id=task.id,
            stage_ids=stage_ids,
            order=order,
            title=parts.template(task.title, (*path, "title")),
            deadline=parts.deadline(task.deadline, (*path, "deadline")),
            condition=condition,
            start=start,
            owner=parts.person(task.owner, (*path, "owner")),
            supervisor=supervisor,
            checklist=tuple(parts.template(one, (*path, "checklist", i)) for i, one in enumerate(task.checklist)),
            fields=parts.fillings(task.fields, (*path, "fields"), self.zone),
            on_close=task.on_close or self.file.on_close,
            away=task.away or self.file.away,
            overdue=self.override(task),
            **parts.plain(task, path),
            disabled="; ".join(dict.fromkeys(parts.gone)),
        )

    def override(self, task: TaskEntry) -> model.OverdueOverride | None:
        """The task's own ``overdue``."""
        if task.overdue is None:
            return None
        if task.overdue == "never":
            return model.OverdueOverride(never=True)
        move_to = self.parts.move_to(task.overdue.move_to) if task.overdue.move_to is not None else None
        return model.OverdueOverride(limit=task.overdue.limit, move_to=move_to)

    # --- the rest of the file ----------------------------------------------------------------------------------------

    def file_people(self) -> tuple[tuple[int, ...], int | None]:
        """Admins and fallback owner; who is gone is left out, with a warning."""
        fallback = None
        if self.file.fallback_owner is not None:
            fallback = self.file_person(self.file.fallback_owner, ("fallback_owner",))
        admins = [self.file_person(one, ("admins", index)) for index, one in enumerate(self.file.admins or ())]
        known = tuple(dict.fromkeys(one for one in admins if one is not None))
        return known or ((fallback,) if fallback is not None else ()), fallback

    def file_person(self, said: int | str, path: Path, *, key: bool = False) -> int | None:
        """A user whom the file names outside of tasks; ``key``: in the place of a key."""
        found = self.names.user(said, path, key=key)
        if found is None:
            return None
        if found.gone:
            self.names.warn_once(path, f"{found.gone}.", "Name somebody else.", key=key)
            return None
        return found.number

    def room(self) -> model.Room:
        """The file's ``room``; who is gone is left out, with a warning."""
        said = self.file.room
        if not isinstance(said, RoomSection):
            return model.Room(_size(said))
        people = self.by_person(said.people, ("room", "people"))
        return model.Room(_size(said.default), {user: _size(size) for user, (size, _) in people.items()})

    def substitutes(self) -> dict[int, int]:
        """Who stands in for whom; who is gone is left out, with a warning."""
        found: dict[int, int] = {}
        for user, (said, path) in self.by_person(self.file.substitutes, ("substitutes",)).items():
            other = self.file_person(said, path)
            if other == user:
                wrong = f"{self.directory.company.name(user)} would stand in for themselves."
                self.remarks.fault(path, wrong, "Name somebody else, or delete the line: then the head stands in.")
            elif other is not None:
                found[user] = other
        return found

    def by_person(self, said: Mapping[str, T], path: Path) -> dict[int, tuple[T, Path]]:
        """What is said of each person, with its place; of nobody twice."""
        found: dict[int, tuple[T, Path]] = {}
        for key, value in said.items():
            place = (*path, key)
            user = self.file_person(user_of(key), place, key=True)
            if user in found:
                wrong = f"{self.directory.company.name(user)} stands here twice."
                self.remarks.fault(place, wrong, "Leave one of the two lines.", key=True)
            elif user is not None:
                found[user] = value, place
        return found

    def tells(self, next_steps: Mapping[str, model.Duration]) -> bool:
        """Whether the morning's message has something to tell beside what is overdue."""
        lends = any(rule.away == "substitute" for draft in self.drafts.values() for rule in draft.rules)
        return bool(next_steps or lends or self.file.escalate or any(draft.limit for draft in self.drafts.values()))

    def overdue(self, next_steps: Mapping[str, model.Duration]) -> model.Overdue | None:
        """The file's sweeps; without any the morning's message goes, if the file has something to be told of in it."""
        said = self.file.overdue
        if said is None:
            return model.JUST_TELLING if self.tells(next_steps) else None
        slots = [
            model.Slot(name, one.at, self.parts.move_to(one.move_to), one.days == "every_day")
            for name, one in said.sweeps()
        ]
        return model.Overdue(tasks=said.tasks, slots=tuple(slots), limit=said.limit, notify=frozenset(said.notify))


def _policy(stage_id: str, draft: _Draft) -> model.StagePolicy:
    return model.StagePolicy(stage_id, draft.funnel_id, tuple(draft.rules), draft.limit, draft.advance_to)


def _size(said: int | str) -> model.Size:
    return said if isinstance(said, int) else "learned" if said == "learned" else None


def _every(key: str) -> bool:
    return key.strip() == EVERY
