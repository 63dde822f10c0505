"""Who does a task, who controls it, who watches: persons of the rules language resolved to users. Pure.

Source of the rules: the sections Persons and Away of the rules language. An active employee is *able*; as the owner
of a task with ``away: substitute`` only if they are there at the deadline or on its day. A user who is not among the
employees (a hidden system user, a deleted one, 0) is nobody.

The order in which an owner is sought: the person named; if that one is fired, the head over them, if away, their
substitute; ``else``; the absent one all the same if nobody can stand in; ``fallback_owner``, for the fired; the
webhook's own user, marked; nobody. In a pool (``department``, ``one_of``) the fired and absent are passed over, and
``else`` comes before those who stand in for them.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from bitrix_sync.model.facts import Company, Deal, Department, Unread
from bitrix_sync.model.operations import TaskRecord
from bitrix_sync.model.presence import Presence
from bitrix_sync.rules import model
from bitrix_sync.words.language import DEFAULT
from bitrix_sync.words.texts import phrase

OwnerForm = Literal["responsible", "head", "other"]
"""Whether the task follows the deal's responsible: it does for the first two."""


class Chosen(NamedTuple):
    """An owner. ``user_id`` None: nobody, the task is held. ``marked``: the last resort, the description must say so.
    ``path`` tells step by step, in the language asked for, how that one was found."""

    user_id: int | None
    form: OwnerForm
    marked: bool = False
    path: tuple[str, ...] = ()


class Picks:
    """What choosing fairly needs: how loaded everybody is and whose turn it is. Made for a pass, changed during it.

    ``open_deadlines``: deadlines of the open tasks by owner. ``order``: (pool, user id) → sequence number of the last
    time that pool took the user; a greater number is later. A pool is one place in one rule.
    """

    def __init__(
        self,
        open_deadlines: Mapping[int, Iterable[datetime]] | None = None,
        order: Mapping[tuple[str, int], int] | None = None,
    ) -> None:
        self._due = {user: sorted(deadlines) for user, deadlines in (open_deadlines or {}).items()}
        self._order = dict(order or {})
        self._latest: dict[int, int] = {}
        for (_, user), number in self._order.items():
            self._latest[user] = max(number, self._latest.get(user, 0))
        self._next = max(self._order.values(), default=0) + 1
        self._proposed: tuple[tuple[str, int], ...] = ()
        self._changes: list[tuple[str, int]] = []

    def load(self, user_id: int, until: datetime) -> int:
        """How many open tasks of this user are due up to ``until``, those decided in this pass included."""
        return bisect_right(self._due.get(user_id, []), until)

    def waited(self, pool: str, user_id: int) -> tuple[int, int]:
        """Sorts those who waited longest first: by their last turn in this pool, then by their last turn in any."""
        return self._order.get((pool, user_id), 0), self._latest.get(user_id, 0)

    def propose(self, turns: Iterable[tuple[str, int]]) -> None:
        """Remember the turns that led to an owner; ``add`` uses them up, so a task that fails later costs no turn."""
        self._proposed = tuple(turns)

    def add(self, owner_id: int, deadline: datetime) -> None:
        """Count a decided task: its owner's load grows; the turn that ``resolve_owner`` proposed is used up."""
        insort(self._due.setdefault(owner_id, []), deadline)
        for pool, user in self._proposed:
            if user == owner_id:
                self.take(pool, user)
        self._proposed = ()

    def take(self, pool: str, user_id: int) -> None:
        """The user has had a turn in the pool."""
        self._order[pool, user_id] = self._latest[user_id] = self._next
        self._next += 1
        self._changes.append((pool, user_id))

    def changes(self) -> tuple[tuple[str, int], ...]:
        """The turns taken in this pass, in their order: to be stored, later ones with greater numbers."""
        return tuple(self._changes)


def resolve_owner(
    rule: model.Rule,
    *,
    deal: Deal,
    company: Company,
    tasks: Sequence[TaskRecord],
    fallback: int | None,
    picks: Picks,
    deadline: datetime,
    standing: StandIns | None = None,
    language: str = DEFAULT,
) -> Chosen:
    """Who gets the rule's new task. ``tasks`` are the deal's in order of making, those of this pass included.
    ``standing``: who stands in for the absent; None: nobody. Call ``picks.add(user_id, deadline)`` once the task is
    certain."""
    standing = standing if rule.away == "substitute" else None
    search = _Search(deal, company, tasks, picks, deadline, standing, language, pool=rule.id)
    return _owner(rule.owner, search, fallback)


def follow_owner(
    form: OwnerForm,
    *,
    deal: Deal,
    company: Company,
    fallback: int | None,
    deadline: datetime,
    standing: StandIns | None = None,
    language: str = DEFAULT,
) -> Chosen:
    """Who owns an open task of this form now that the deal's responsible has changed ("other" follows nobody)."""
    if form == "other":
        return Chosen(None, form)
    person = model.Head() if form == "head" else model.Responsible()
    return _owner(person, _Search(deal, company, (), Picks(), deadline, standing, language), fallback)


def resolve_supervisor(
    person: model.Person,
    *,
    owner_id: int | None,
    deal: Deal,
    company: Company,
    tasks: Sequence[TaskRecord] = (),
    picks: Picks | None = None,
) -> int | None:
    """Who controls the task: ``head`` is the head over its owner, ``none`` nobody. For a fired one the head over
    them stands in, never the owner. None when there is nobody."""
    search = _Search(deal, company, tasks, picks or Picks(), under=owner_id, pool="supervisor", silent=True)
    found = _find(person, search)
    search.use(found)
    return found.user_id


def resolve_people(
    persons: Iterable[model.Person],
    *,
    owner_id: int | None,
    deal: Deal,
    company: Company,
    tasks: Sequence[TaskRecord] = (),
    picks: Picks | None = None,
) -> tuple[int, ...]:
    """Observers or participants, each once, in the file's order. Who is fired is left out; ``head`` is the head over
    the task's owner."""
    search = _Search(deal, company, tasks, picks or Picks(), under=owner_id, pool="people", silent=True)
    people: dict[int, None] = {}
    for person in persons:
        found = _find(person, search, strict=True)
        search.use(found)
        if found.user_id is not None:
            people[found.user_id] = None
    return tuple(people)


def head_over(company: Company, user_id: int, *, able: Callable[[int], bool] | None = None) -> int | None:
    """The head of the first of the person's departments that has an active one other than the person; if none, of the
    departments above them, and so on up. ``able`` may ask for more than being active. None at the top, and for nobody.
    """
    able = able or company.active
    for department in _departments_over(company, user_id):
        if department.head_id != user_id and able(department.head_id):
            return department.head_id
    return None


def _departments_over(company: Company, user_id: int) -> Iterator[Department]:
    """The departments of a person, then those above them, level by level."""
    user = company.users.get(user_id)
    level = list(user.departments) if user is not None else []
    seen: set[int] = set()
    while level:
        here = [company.departments[one] for one in level if one in company.departments]
        yield from here
        seen.update(level)
        level = [one for one in dict.fromkeys(department.parent_id for department in here) if one not in seen]


@dataclass(frozen=True, slots=True)
class StandIns:
    """Who is there, and whom the file has stand in for whom."""

    presence: Presence
    named: Mapping[int, int]

    def instead_of(self, user_id: int, company: Company, moment: datetime) -> int | None:
        """Who gets a task of somebody who is away: whom the file names, else the head over them, if that one is active
        and there on the day of the moment; a substitute's own is never asked. None: they keep it."""
        named = self.named.get(user_id)
        head = head_over(company, user_id)
        there = (
            one
            for one in (named, head)
            if one is not None and company.active(one) and self.presence.away_on(one, moment) is None
        )
        return next(there, None)


class NotRead(Exception):
    """Who it is depends on something that could not be read: nobody can be named yet. ``end`` says what."""

    def __init__(self, end: Unread) -> None:
        super().__init__(end.why)
        self.end = end


class _Found(NamedTuple):
    """The outcome of a search. ``refused``: known users who were found but are not able, in order."""

    user_id: int | None
    form: OwnerForm = "other"
    path: tuple[str, ...] = ()
    refused: tuple[int, ...] = ()
    turns: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class _Search:
    """All that a search looks at. ``under``: whose head ``head`` means; None: the deal's responsible's."""

    deal: Deal
    company: Company
    tasks: Sequence[TaskRecord]
    picks: Picks
    deadline: datetime | None = None
    standing: StandIns | None = None
    language: str = DEFAULT
    under: int | None = None
    pool: str = ""
    silent: bool = False
    """Nobody asks how it was found."""

    def tell(self, key: str, **values: Any) -> str:
        return "" if self.silent else phrase(self.language, f"path.{key}", **values)

    def away(self, user_id: int) -> bool:
        if self.standing is None or self.deadline is None:
            return False
        self.need("absences")
        return self.standing.presence.away_on(user_id, self.deadline) is not None

    def able(self, user_id: int) -> bool:
        return self.company.active(user_id) and not self.away(user_id)

    def over(self, user_id: int) -> int | None:
        """The head who can stand in for this user: never the one whose work would be controlled."""
        self.need("departments")
        user = self.company.users.get(user_id)
        if user is not None and not self.company.departments.keys() >= set(user.departments):
            self.need("departments", anew=True)
        return head_over(self.company, user_id, able=lambda one: one != self.under and self.able(one))

    def need(self, part: str, *, anew: bool = False) -> None:
        """NotRead when nothing is known of a part of the company; with ``anew``, when what is known is of before."""
        end = self.company.unread.get(part)
        if end is not None and (anew or part in self.company.missing):
            raise NotRead(end)

    def use(self, found: _Found) -> None:
        for pool, user in found.turns:
            self.picks.take(pool, user)


def _owner(person: model.Person, search: _Search, fallback: int | None) -> Chosen:
    company = search.company
    found = _find(person, search)
    search.picks.propose(found.turns)
    if found.user_id is not None:
        return Chosen(found.user_id, found.form, path=found.path)
    path = found.path
    absent = next((user for user in found.refused if company.active(user)), None)
    if absent is not None:
        return Chosen(absent, found.form, path=(*path, search.tell("kept", name=company.name(absent))))
    if fallback is not None and company.active(fallback):
        return Chosen(fallback, found.form, path=(*path, search.tell("fallback", name=company.name(fallback))))
    path = (*path, search.tell("no_fallback"))
    if company.active(company.self_id):
        path = (*path, search.tell("self", name=company.name(company.self_id)))
        return Chosen(company.self_id, found.form, marked=True, path=path)
    return Chosen(None, found.form, path=(*path, search.tell("nobody")))


def _find(person: model.Person, search: _Search, *, strict: bool = False) -> _Found:
    """The person, with ``else``; unless ``strict`` also with the heads over those who are not able."""
    found = _look(person, search)
    if found.user_id is not None:
        return found
    pool = isinstance(person, model.FromDepartment | model.OneOf)
    if not strict and not pool:
        found = _substitute(found, search)
    otherwise = getattr(person, "otherwise", None)
    if found.user_id is None and otherwise is not None:
        then = _find(otherwise, search, strict=strict)
        path, refused = (*found.path, search.tell("else"), *then.path), (*found.refused, *then.refused)
        found = then._replace(path=path, refused=refused)
    if found.user_id is None and not strict and pool:
        found = _substitute(found, search)
    return found


def _substitute(found: _Found, search: _Search) -> _Found:
    """Who stands in for the first of the refused for whom anybody does: the head over whoever was fired, the substitute
    of whoever is away."""
    path, company = found.path, search.company
    for user in found.refused:
        if company.active(user) and search.standing is not None and search.deadline is not None:
            search.need("departments")
            other = search.standing.instead_of(user, company, search.deadline)
            how = "substitute" if other == search.standing.named.get(user) else "head_over"
        else:
            other, how = search.over(user), "head_over"
        if other is not None:
            return found._replace(user_id=other, path=(*path, search.tell(how, name=company.name(other))))
        path = (*path, search.tell("no_head" if company.fired(user) else "no_stand_in", name=company.name(user)))
    return found._replace(path=path)


def _look(person: model.Person, search: _Search) -> _Found:
    """The person as named, without ``else`` and without anybody standing in."""
    match person:
        case model.Responsible():
            return _known([search.deal.responsible_id], search, "responsible", "responsible")
        case model.Creator():
            return _known([search.deal.creator_id], search, "creator")
        case model.Head():
            return _head(search)
        case model.Nobody():
            return _Found(None)
        case model.UserId(user_id):
            return _known([user_id], search, "user")
        case model.FromField(code):
            return _from_field(code, search)
        case model.OwnerOf(rule_id):
            return _owner_of(rule_id, search)
        case model.FromDepartment():
            return _from_department(person, search)
        case model.OneOf():
            return _one_of(person, search)


def _from_field(code: str, search: _Search) -> _Found:
    users = _user_ids(search.deal.fields.get(code))
    if not users:
        return _Found(None, path=(search.tell("field_empty", field=code),))
    return _known(users, search, "field", field=code)


def _owner_of(rule_id: str, search: _Search) -> _Found:
    made = [task for task in search.tasks if task.rule_id == rule_id and task.status and not task.gone]
    if not made:
        return _Found(None, path=(search.tell("no_task", rule=rule_id),))
    return _known([made[-1].owner_id], search, "task", rule=rule_id)


def _known(users: Iterable[int], search: _Search, how: str, form: OwnerForm = "other", **named: str) -> _Found:
    """The first of the users who is able; the others are refused, each with its reason."""
    path: list[str] = []
    refused: list[int] = []
    for user in users:
        name = search.company.name(user)
        path.append(search.tell(how, name=name, **named))
        if search.able(user):
            return _Found(user, form, tuple(path), tuple(refused))
        if user not in search.company.users:
            search.need("users", anew=True)
            path.append(search.tell("unknown", name=name))
            continue
        path.append(search.tell("away" if search.company.active(user) else "fired", name=name))
        refused.append(user)
    return _Found(None, form, tuple(path), tuple(refused))


def _head(search: _Search) -> _Found:
    company = search.company
    under = search.deal.responsible_id if search.under is None else search.under
    head = search.over(under)
    if head is None:
        return _Found(None, "head", (search.tell("no_head", name=company.name(under)),))
    return _Found(head, "head", (search.tell("head", of=company.name(under), name=company.name(head)),))


def _from_department(person: model.FromDepartment, search: _Search) -> _Found:
    """Active direct members; the head only if there is no other."""
    company = search.company
    search.need("departments")
    department = company.departments.get(person.department_id)
    title = department.name if department is not None else f"#{person.department_id}"
    working = _working_in(person.department_id, company)
    able = [user for user in working if search.able(user)]
    if not able:
        reasons = [search.tell("away", name=company.name(user)) for user in working]
        return _Found(None, path=(search.tell("department_empty", department=title), *reasons), refused=tuple(working))
    user, why, turn = _pick(person.pick, able, search, pool=f"{search.pool}/{_written(person)}")
    path = (search.tell("department", department=title, name=company.name(user)), why)
    return _Found(user, path=path, turns=(turn,))


def _working_in(department_id: int, company: Company) -> list[int]:
    department = company.departments.get(department_id)
    head = department.head_id if department is not None else 0
    members = sorted(one.id for one in company.users.values() if department_id in one.departments and one.id != head)
    return [user for user in members if company.active(user)] or list(filter(company.active, [head]))


def _one_of(person: model.OneOf, search: _Search) -> _Found:
    """The candidates are those of the list who are able, each once."""
    found = [_find(one, search, strict=True) for one in person.persons]
    candidates: dict[int, _Found] = {}
    for one in found:
        if one.user_id is not None:
            candidates.setdefault(one.user_id, one)
    refused = tuple(dict.fromkeys(user for one in found for user in one.refused))
    if not candidates:
        return _Found(None, path=tuple(step for one in found for step in one.path), refused=refused)
    user, why, turn = _pick(person.pick, list(candidates), search, pool=f"{search.pool}/{_written(person)}")
    chosen = candidates[user]
    path = (search.tell("one_of", name=search.company.name(user)), why)
    return chosen._replace(path=path, turns=(*chosen.turns, turn))


def _pick(how: model.Pick, users: Sequence[int], search: _Search, *, pool: str) -> tuple[int, str, tuple[str, int]]:
    """One of the users, the reason in words, and the turn to be recorded. Equals stay in the order given."""
    picks = search.picks
    if how == "round_robin":
        user = min(users, key=lambda one: picks.waited(pool, one))
    elif how == "least_loaded":
        user = min(users, key=lambda one: (_load(one, search), picks.waited(pool, one)))
    else:
        user = users[0]
    return user, search.tell(how, **({"count": _load(user, search)} if how == "least_loaded" else {})), (pool, user)


def _load(user: int, search: _Search) -> int:
    return search.picks.load(user, search.deadline) if search.deadline is not None else 0


def _written(person: model.Person) -> str:
    """The person as a stable name of its pool: it stays when the file is loaded again."""
    match person:
        case model.UserId(user_id):
            return str(user_id)
        case model.FromField(code):
            return f"field:{code}"
        case model.OwnerOf(rule_id):
            return f"task:{rule_id}"
        case model.FromDepartment(department_id):
            return f"department:{department_id}"
        case model.OneOf(persons):
            return f"one_of:{','.join(_written(one) for one in persons)}"
        case _:
            return type(person).__name__.lower()


def _user_ids(value: Any) -> list[int]:
    """User ids of an employee field: a number or its text, or a list of them; 0 and what is no id are left out."""
    values = value if isinstance(value, list | tuple) else [value]
    texts = [str(one).strip() for one in values if one is not None and not isinstance(one, bool)]
    return [int(text) for text in texts if text.isascii() and text.isdigit() and int(text) > 0]
