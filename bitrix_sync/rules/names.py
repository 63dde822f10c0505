"""What a name in the file means on this portal: funnels, stages, fields, options, departments, users, workgroups.

A name is an id of the portal or a name of its own, compared without regard to case and outer spaces; an id goes first.
Once resolved it stays bound to its id (``bindings``): after a rename in the portal it still means the same, with a
warning. Two things loosen a bond: what it led to is gone and another thing bears the name now; or the file names the
bound thing by its present name as well, so that the old name must mean something else.

Keys of the bindings: ``funnel:продажи``, ``stage:0/договор`` (``stage:*/c5:new`` where an id of any funnel may stand),
``field:uf_crm_x``, ``option:UF_CRM_X/да``, ``department:юридический отдел``, ``user:17``, ``user:anna@example.com``,
``group:3``, ``group:склад``; values are ids as text.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from bitrix_sync.model.facts import DealField, Directory, Funnel, User
from bitrix_sync.model.reasons import Reason
from bitrix_sync.rules.fields import OWN, not_for_fields
from bitrix_sync.rules.people import candidates, meant, namesake
from bitrix_sync.rules.problem import Path, Remarks
from bitrix_sync.rules.punctuation import CURLY
from bitrix_sync.rules.suggest import did_you_mean, fold, listed

MANY = frozenset({"deals", "tasks"})
"""Whose fields are looked up, in the plural."""


PARTS = {"funnel": "funnels", "field": "fields", "department": "departments"}
"""Parts of a directory where things of a kind stand."""
_GONE = {
    "funnel": Reason.FUNNEL_GONE,
    "stage": Reason.STAGE_GONE,
    "field": Reason.FIELD_GONE,
    "value": Reason.OPTION_GONE,
    "user field": Reason.TASK_FIELD_GONE,
    "department": Reason.DEPARTMENT_GONE,
    "workgroup": Reason.WORKGROUP_GONE,
}


@dataclass(frozen=True, slots=True)
class Found:
    """What a name means. ``gone``: why it cannot be used any more, "" while the portal has it; ``id`` is "" too if it
    could not be read and never was."""

    id: str
    gone: str = ""

    @property
    def number(self) -> int:
        """The id as a number; 0 if a binding holds none."""
        return int(self.id) if self.id.isdecimal() else 0


class NameIndex:
    """Things of one kind and place: their names by id, found by id or by name."""

    def __init__(self, kind: str, scope: str, names: Mapping[str, str]) -> None:
        self.kind, self.scope, self.names = kind, scope, names
        self._ids = {fold(one): one for one in names}
        self._by_name: dict[str, list[str]] = {}
        for one, name in names.items():
            self._by_name.setdefault(fold(name), []).append(one)

    def key(self, name: str) -> str:
        """Under which a name is bound."""
        return f"{self.kind}:{self.scope}{fold(name)}"

    def by_id(self, name: str) -> str | None:
        """The id that the name itself is."""
        return self._ids.get(fold(name))

    def knows(self, name: str) -> bool:
        """Whether it is an id or a name of one of them."""
        return fold(name) in self._ids or fold(name) in self._by_name

    def by_name(self, name: str) -> list[str]:
        """The ids of those that bear the name."""
        return self._by_name.get(fold(name), [])


class Names:
    """Looks names up in a directory. ``bound`` collects what every name in use means; what is wrong is remarked."""

    def __init__(self, directory: Directory, bindings: Mapping[str, str], remarks: Remarks) -> None:
        self.directory, self.bindings, self.remarks = directory, bindings, remarks
        self.bound: dict[str, str] = {}
        self.by_funnel: dict[int, Funnel] = {funnel.id: funnel for funnel in directory.funnels}
        self.funnels = NameIndex("funnel", "", {str(funnel.id): funnel.name for funnel in directory.funnels})
        self.fields = NameIndex("field", "", _titles(directory.fields))
        departments = directory.company.departments
        self.departments = NameIndex("department", "", {str(one.id): one.name for one in departments.values()})
        names = directory.group_names
        self.groups = NameIndex("group", "", {str(one): names.get(one, "") for one in sorted(directory.groups or ())})
        self.every_stage = NameIndex("stage", "*/", {stage.id: "" for stage in directory.stages})
        self.task_fields = NameIndex("task_field", "", _own_titles(directory.task_fields))
        self._stages: dict[int, NameIndex] = {}
        self._options: dict[str, NameIndex] = {}
        self._meant: dict[str, list[User]] = {}
        self._warned: set[tuple[str, str]] = set()

    # --- what there is -----------------------------------------------------------------------------------------------

    def stages(self, funnel_id: int) -> NameIndex:
        """The stages of a funnel; none when it is gone."""
        if funnel_id not in self._stages:
            funnel = self.by_funnel.get(funnel_id)
            names = {stage.id: stage.name for stage in funnel.stages} if funnel else {}
            self._stages[funnel_id] = NameIndex("stage", f"{funnel_id}/", names)
        return self._stages[funnel_id]

    def options(self, field: DealField) -> NameIndex:
        """The values of a list, or the statuses that a field chooses from."""
        if field.code not in self._options:
            self._options[field.code] = NameIndex("option", f"{field.code}/", field.options)
        return self._options[field.code]

    def deal_field(self, code: str) -> DealField | None:
        """The field of this code; None when it is gone."""
        return self.directory.fields.get(code)

    # --- looking up --------------------------------------------------------------------------------------------------

    def funnel(self, name: str, path: Path, mentioned: Collection[str]) -> Found | None:
        """A funnel by its key in the file; ``mentioned`` are all such keys, folded. None: unknown, and remarked."""
        holder = next((one for one in self.directory.funnels if self.stages(one.id).by_name(name)), None)
        cure = f"It is a stage of the funnel `{holder.name}`: write it below that one, indented." if holder else ""
        return self._find(self.funnels, name, path, "funnel", mentioned=mentioned, key=True, cure=cure)

    def stage(
        self, funnel_id: int, name: str, path: Path, mentioned: Collection[str] = (), *, key: bool = False
    ) -> Found | None:
        """A stage of a funnel. None: unknown, and remarked."""
        funnel = self.by_funnel.get(funnel_id)
        where = f"the funnel {funnel.name}" if funnel else "this funnel"
        return self._find(self.stages(funnel_id), name, path, "stage", where, mentioned=mentioned, key=key)

    def stage_if_any(
        self, funnel_id: int, name: str, path: Path, mentioned: Collection[str] = (), *, key: bool = False
    ) -> Found | None:
        """The same, but that a funnel has no such stage is no fault."""
        things = self.stages(funnel_id)
        known = things.by_id(name) or things.by_name(name) or things.key(name) in self.bindings
        if known or self._read_by_half(things):
            return self.stage(funnel_id, name, path, mentioned, key=key)
        return None

    def stage_anywhere(self, name: str, path: Path) -> Found | None:
        """A stage of any funnel by its id; None, silently, when there is none."""
        things = self.every_stage
        if things.by_id(name) or things.key(name) in self.bindings:
            return self._find(things, name, path, "stage")
        return None

    def field(self, name: str, path: Path, *, key: bool = False) -> Found | None:
        """A field of the deal by code or title. None: unknown, and remarked."""
        if not self.directory.fields:
            self.remarks.fault(path, "The fields of deals cannot be read.", "Give the webhook the scope crm.", key=key)
            return None
        return self._find(self.fields, name, path, "field", "deals", key=key, ids_shown=True)

    def task_field(self, code: str, path: Path) -> Found | None:
        """A user field of tasks by its code, on trust when the fields of tasks cannot be read. None: unknown, and
        remarked."""
        things = self.task_fields
        if not self.directory.task_fields:
            return self._bind(things.key(code), code.strip().upper())
        if things.by_id(code) is None and (meant := things.by_name(code)):
            self.remarks.fault(path, f"`{code}` is the title of a field.", f"Write its code: `{meant[0]}`.", key=True)
            return None
        cure = did_you_mean(code, list(things.names)) or listed(list(things.names), "Their codes are")
        cure = cure or "Make it in the portal, or leave it out."
        return self._find(things, code, path, "user field", "tasks", key=True, cure=cure)

    def option(self, field: DealField, text: str, path: Path) -> Found | None:
        """A list value or status of a field, by id or text. None: unknown, and remarked."""
        return self._find(self.options(field), text, path, "value", f"the field {field.title or field.code}")

    def department(self, name: str, path: Path) -> Found | None:
        """A department by name or id, on trust when departments cannot be read. None: unknown, and remarked."""
        if not self.departments.names:
            known = name if name.isdecimal() else self.bindings.get(self.departments.key(name), "")
            if known:
                return self._bind(self.departments.key(name), known)
            cure = "Give the webhook the scope department, or write the department's id."
            self.remarks.fault(path, "The webhook may not read departments.", cure)
            return None
        return self._find(self.departments, name, path, "department")

    def group(self, group: int | str, path: Path) -> Found | None:
        """A workgroup by id or name, an id on trust when workgroups cannot be read; of those of one name the only one
        that is not closed. None: unknown, and remarked."""
        name, things = str(group), self.groups
        bond = things.key(name)
        if self.directory.groups is None:
            return self._unread_group(bond, name, path)
        closed = set(map(str, self.directory.closed_groups))
        alone = [one for one in things.by_name(name) if one not in closed]
        if len(alone) == 1 and things.by_id(name) is None and bond not in self.bindings:
            return self._bind(bond, alone[0])
        cure = "Write the number from the address of the workgroup." if name.isdecimal() else ""
        found = self._find(things, name, path, "workgroup", cure=cure)
        if found is not None and found.id in closed:
            self._warn_of_closed(found.id, path)
        return found

    def _unread_group(self, bond: str, name: str, path: Path) -> Found | None:
        known = name if name.isdecimal() else self.bindings.get(bond, "")
        if known:
            return self._bind(bond, known)
        cure = "Write its number from its address, or give the webhook the scope sonet."
        self.remarks.fault(path, "The webhook may not read workgroups.", cure)
        return None

    def _warn_of_closed(self, group: str, path: Path) -> None:
        called = self.groups.names[group] or group
        wrong = f"The workgroup `{called}` ({group}) is closed: the portal takes no tasks into it."
        self.warn_once(path, wrong, "Open it again in the portal, or name another one.", grave=True)

    def user(self, user: int | str, path: Path, *, key: bool = False) -> Found | None:
        """An employee by id, e-mail or name; a fired one with a warning. An id is taken on trust when employees cannot
        be read. None: unknown, and remarked; ``key``: at a key of the file."""
        found = self._user_by_id(user, path, key) if isinstance(user, int) else self._user_by_name(user, path, key)
        known = self.directory.company.users.get(found.number) if found else None
        if known is not None and not known.active:
            self.warn_once(
                path,
                f"{known.name or known.email} ({known.id}) does not work here any more.",
                "Name somebody else; until then the head over that employee stands in.",
                key=key,
            )
        return found

    def _user_by_id(self, number: int, path: Path, key: bool) -> Found | None:
        company, bond = self.directory.company, f"user:{number}"
        if number in company.users or number == company.self_id or not company.users:
            self.bound[bond] = str(number)
            return Found(str(number))
        if lost := self._lost_user(bond, str(number)):
            return lost
        some = candidates(user for user in company.users.values() if user.active)
        cure = f"Some of its users: {some}." if some else "Write the id of an employee."
        self.remarks.fault(path, f"The portal has no user {number}.", cure, key=key)
        return None

    def _user_by_name(self, name: str, path: Path, key: bool) -> Found | None:
        """Whoever has an e-mail or bears a name; it stays bound to who did so first."""
        users, bond = self._users_meant(name), f"user:{fold(name)}"
        bound = self.bindings.get(bond, "")
        if self._is_known_user(bound):
            if "@" in name:
                self._warn_of_new_email(name, self.directory.company.users.get(int(bound)), users, path)
            return self._bind(bond, bound)
        if len(users) == 1:
            return self._bind(bond, str(users[0].id))
        if not users and (lost := self._lost_user(bond, f"`{name}`")):
            return lost
        self.remarks.fault(path, *self._no_user(name, users), key=key)
        return None

    def _lost_user(self, key: str, shown: str) -> Found | None:
        """A user who is not among those that were read; None of one whom nobody ever knew."""
        if "users" in self.directory.company.unread:
            return Found(self.bindings.get(key, ""), Reason.NAME_UNREAD.of(shown.strip("`")))
        return self._gone(key, Reason.USER_GONE, shown) if key in self.bindings else None

    def _is_known_user(self, number: str) -> bool:
        """False for an id that no user has, as far as users can be read."""
        users = self.directory.company.users
        return number.isdecimal() and (int(number) in users or not users)

    def _users_meant(self, name: str) -> list[User]:
        if name not in self._meant:
            self._meant[name] = meant(name, self.directory.company.users.values())
        return self._meant[name]

    def _no_user(self, name: str, users: Sequence[User]) -> tuple[str, str]:
        """Why an e-mail or a name tells nobody, and the cure; ``users``: those who have it."""
        if users:
            whose = candidates(users)
            several = f"Several users have the name `{name}`: {whose}."
            return (
                f"Several users have the e-mail `{name}`: {whose}." if "@" in name else several,
                "Write the id of one.",
            )
        known = self.directory.company.users.values()
        emails = [user.email for user in known if user.email]
        cure = "Write the user's id, or give the webhook the scope user_basic."
        if "@" in name:
            if not emails:
                return "The webhook may not read e-mails.", cure
            return f"The portal has no user with the e-mail `{name}`.", did_you_mean(name, emails) or "Write the id."
        if not known:
            return "The webhook may not read employees.", cure
        hint = namesake(name, known) or "Write the id, or the name as the portal shows it."
        return f"The portal has no user of the name `{name}`.", hint

    def _warn_of_new_email(self, email: str, now: User | None, users: Collection[User], path: Path) -> None:
        """``now``: whom the e-mail is bound to; ``users``: those who have it."""
        if now is not None and now.email and now not in users:
            self.warn_once(
                path,
                f"`{email}` is not the e-mail of {now.name} ({now.id}) any more.",
                "Write the present one, or the id.",
            )

    # --- the one way to find -----------------------------------------------------------------------------------------

    def _find(
        self,
        things: NameIndex,
        name: str,
        path: Path,
        what: str,
        where: str = "the portal",
        *,
        mentioned: Collection[str] = (),
        key: bool = False,
        ids_shown: bool = False,
        cure: str = "",
    ) -> Found | None:
        bond = things.key(name)
        own = things.by_id(name)
        if own is not None:
            return self._bind(bond, own)
        bearers = things.by_name(name)
        bound = self.bindings.get(bond, "")
        if bound and bound in things.names and self._holds(things, name, bound, path, what, mentioned, key):
            return self._bind(bond, bound)
        if len(bearers) > 1:
            wrong = f"{_has(where)} several {what}s of the name `{name}`: {', '.join(bearers)}."
            cure = f"Write the {'code' if where == 'deals' else 'id'} of the one you mean."
        elif bearers:
            self._warn_of_another(things, name, bound, path, what, key)
            return self._bind(bond, bearers[0])
        elif lost := self._lost(things, name, what):
            return lost
        else:
            wrong = f"{_has(where)} no {what} `{name}`."
            cure = cure or _cure(things, name, what, where, ids_shown=ids_shown)
        self.remarks.fault(path, wrong, cure, key=key)
        return None

    def _lost(self, things: NameIndex, name: str, what: str) -> Found | None:
        """What is not among the things that were read; None of what nobody ever knew."""
        bond = things.key(name)
        if self._read_by_half(things):
            return Found(self.bindings.get(bond, ""), Reason.NAME_UNREAD.of(name))
        return self._gone(bond, _GONE[what], f"`{name}`") if self.bindings.get(bond) else None

    def _read_by_half(self, things: NameIndex) -> bool:
        """True when something of this kind could not be read: what is not among the others may be there."""
        unread = [*self.directory.unread, *self.directory.company.unread]
        if things.kind == "stage":
            return f"stages:{things.scope.rstrip('/')}" in unread
        return PARTS.get(things.kind) in [part.partition(":")[0] for part in unread]

    def _warn_of_another(self, things: NameIndex, name: str, bound: str, path: Path, what: str, key: bool) -> None:
        """What the name was bound to is gone, and another thing bears it now."""
        now = things.by_name(name)[0]
        if bound and bound != now and bound not in things.names:
            self.warn_once(
                path,
                f"The {what} `{name}` was {bound}, which is gone; now it is {now}.",
                "If that is not what you mean, write another name.",
                key=key,
            )

    def _holds(
        self, things: NameIndex, name: str, bound: str, path: Path, what: str, mentioned: Collection[str], key: bool
    ) -> bool:
        """Whether a name still means what it is bound to; after a rename with a warning."""
        bearers, present = things.by_name(name), things.names[bound]
        if fold(present) == fold(name):
            return True
        if fold(present) in mentioned and bearers:
            return False
        also = f", and another {what} ({', '.join(bearers)}) bears that name" if bearers else ""
        self.warn_once(
            path,
            f"The {what} `{name}` is called `{present}` in the portal now ({bound}){also}.",
            "The rules go on with it; write the new name here.",
            key=key,
        )
        return True

    def _bind(self, bond: str, found: str) -> Found:
        self.bound[bond] = found
        return Found(found)

    def _gone(self, bond: str, why: Reason, what: str) -> Found:
        bound = self.bindings[bond]
        self.bound[bond] = bound
        shown = f" ({bound})" if bound not in what else ""
        return Found(bound, why.of(f"{what}{shown}"))

    def warn_once(self, path: Path, wrong: str, cure: str, *, key: bool = False, grave: bool = False) -> None:
        """A warning that one place is enough for."""
        if (wrong, cure) not in self._warned:
            self._warned.add((wrong, cure))
            self.remarks.warn(path, wrong, cure, key=key, grave=grave)


def _own_titles(fields: Mapping[str, DealField]) -> dict[str, str]:
    """The titles of the user fields of tasks that a rule can fill."""
    return {code: one.title for code, one in fields.items() if code.startswith(OWN) and not not_for_fields(code)}


def _titles(fields: Mapping[str, DealField]) -> dict[str, str]:
    """The fields' titles by code; "" for an older code of a field of the portal's own that is there already."""
    titles: dict[str, str] = {}
    seen: set[tuple[str, str, bool]] = set()
    for code, field in fields.items():
        like = (fold(field.title), field.type, field.multiple)
        older = like in seen and not code.upper().startswith("UF_")
        titles[code] = "" if older else field.title
        seen.add(like)
    return titles


def _cure(things: NameIndex, name: str, what: str, where: str, *, ids_shown: bool) -> str:
    """What to write instead of an unknown name."""
    known = [one for one in things.names.values() if one]
    listing = listed(list(dict.fromkeys(known)), f"Its {what}s are") if where not in MANY else ""
    if (bare := name.strip(CURLY)) != name and things.knows(bare):
        return f"Write it without the typographic quotes: `{bare}`."
    ids = things.names if ids_shown or not name.isascii() else ()
    return (
        did_you_mean(name, (*known, *ids))
        or listing
        or f"Write the name of a {what} as the portal shows it, or its id."
    )


def _has(where: str) -> str:
    return f"{where[:1].upper()}{where[1:]} {'have' if where in MANY else 'has'}"
