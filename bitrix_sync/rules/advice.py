"""What is worth knowing of a file that is right: warnings that need the whole of it and the portal.

A stage without a task (standard 4), employees without a supervisor (standard 6), what the webhook's rights and scopes
do not cover.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bitrix_sync.model.facts import PEOPLE_SCOPES, PROGRESS, Company, Directory
from bitrix_sync.rules import model
from bitrix_sync.rules.fields import named, unfilled
from bitrix_sync.rules.file import File, stages
from bitrix_sync.rules.persons import head_over
from bitrix_sync.rules.problem import Path, Remarks
from bitrix_sync.rules.scalars import EVERY
from bitrix_sync.rules.suggest import LISTED, fold


def remark(
    file: File,
    rules: model.Rules,
    directory: Directory,
    remarks: Remarks,
    *,
    bound: Mapping[str, str],
    paths: Mapping[str, Path],
) -> None:
    """Add the warnings. ``bound``: what every name of the file means; ``paths``: where each rule stands."""
    _stages_without_task(file, rules, directory, remarks, bound)
    _owners_without_supervisor(rules, directory.company, remarks)
    _rights(file, rules, directory, remarks, paths)
    _scopes(file, rules, directory, remarks)
    _demanded(rules, directory, remarks, paths)
    _substitutes_of_old(file, remarks)


def _demanded(rules: model.Rules, directory: Directory, remarks: Remarks, paths: Mapping[str, Path]) -> None:
    """Fields that the portal demands of every task: without them it refuses each of them."""
    for field, lacking, cure in unfilled(rules.by_id, directory.task_fields):
        which = "the rule" if len(lacking) == 1 else "the rules"
        wrong = f"{named(field)} is required by the portal in every task; it will refuse those of {which} "
        shown = ", ".join([*lacking[:LISTED], *(["…"] if len(lacking) > LISTED else [])])
        remarks.warn(paths[lacking[0]], f"{wrong}{shown}.", cure, grave=True)


def _substitutes_of_old(file: File, remarks: Remarks) -> None:
    """A file of 0.1 has ``away`` in tasks alone."""
    if file.model_fields_set & {"away", "substitutes", "room"}:
        return
    own = [
        (*placed.tasks_path, index, "away")
        for placed in stages(file)
        for index, task in enumerate(placed.stage.tasks)
        if task.away == "substitute"
    ]
    if own:
        remarks.warn(
            own[0],
            "Since version 0.2 `away: substitute` does more: open tasks of whoever is away are lent to the substitute "
            "and come back, and a new task goes to whom `substitutes` names, else to the head, not further up.",
            "Write `away: substitute` or `away: keep` for the whole file, then this line is not shown any more.",
        )


def _stages_without_task(
    file: File, rules: model.Rules, directory: Directory, remarks: Remarks, bound: Mapping[str, str]
) -> None:
    """Stages in progress, of the funnels that the file speaks of, in which no rule stands."""
    listed = _listed_funnels(file, rules, bound)
    served = {stage_id for stage_id, policy in rules.policies.items() if policy.rules}
    for funnel in directory.funnels:
        bare = [stage.name for stage in funnel.stages if stage.semantic == PROGRESS and stage.id not in served]
        if bare and funnel.id in listed:
            which, verb = ("The stage", "has") if len(bare) == 1 else ("The stages", "have")
            remarks.warn(
                ("funnels", listed[funnel.id]),
                f"{which} {_names(bare)} of the funnel {funnel.name} {verb} no task.",
                'A deal there has no next step: write a task, or one for `"*"`.',
                key=True,
            )


def _listed_funnels(file: File, rules: model.Rules, bound: Mapping[str, str]) -> dict[int, str]:
    """The funnels that the file lists by name, and under ``"*"`` those of which it names a stage; each with its key."""
    named = [key for key in file.funnels if key.strip() != EVERY]
    listed = {int(bound.get(f"funnel:{fold(key)}", "-1")): key for key in named}
    every = [one.funnel for one in stages(file) if one.funnel.strip() == EVERY and one.name.strip() != EVERY]
    for policy in rules.policies.values() if every else ():
        if policy.rules:
            listed.setdefault(policy.funnel_id, every[0])
    return listed


def _owners_without_supervisor(rules: model.Rules, company: Company, remarks: Remarks) -> None:
    """Of rules that are controlled by the head over the owner: owners over whom there is no head."""
    owners = sorted(_owners_under_head(rules, company))
    alone = [user for user in owners if company.active(user) and head_over(company, user) is None]
    if alone:
        who = _names([f"{company.name(user)} ({user})" for user in alone])
        remarks.warn(
            ("supervisor",),
            f"Nobody is the head over {who}, who can own a task: it would have no supervisor.",
            "Appoint a head in the company's structure, or name a `supervisor` here.",
        )


def _owners_under_head(rules: model.Rules, company: Company) -> set[int]:
    persons = {rule.owner for rule in rules.by_id.values() if rule.supervisor == model.Head()}
    owners = set[int]().union(*(_possible(person, rules, company, frozenset()) for person in persons))
    return owners | {rules.fallback_owner} if persons and rules.fallback_owner is not None else owners


def _possible(person: model.Person, rules: model.Rules, company: Company, seen: frozenset[str]) -> set[int]:
    """Who may come of a person. Of a field and of the deal's people: every employee who has a department."""
    match person:
        case model.UserId(user):
            return {user}
        case model.Responsible() | model.Creator() | model.FromField():
            return {user.id for user in company.users.values() if user.active and user.departments}
        case model.Head():
            return {one.head_id for one in company.departments.values() if company.active(one.head_id)}
    found = _chosen(person, rules, company, seen)
    otherwise = getattr(person, "otherwise", None)
    return found | _possible(otherwise, rules, company, seen) if otherwise is not None else found


def _chosen(person: model.Person, rules: model.Rules, company: Company, seen: frozenset[str]) -> set[int]:
    """Who may come of one that is chosen, or that another rule's task has; ``seen``: rules that led here."""
    match person:
        case model.FromDepartment(department):
            return {user.id for user in company.users.values() if user.active and department in user.departments}
        case model.OneOf(persons):
            return set[int]().union(*(_possible(one, rules, company, seen) for one in persons))
        case model.OwnerOf(rule) if rule in rules.by_id and rule not in seen:
            return _possible(rules.by_id[rule].owner, rules, company, seen | {rule})
    return set()


def _rights(file: File, rules: model.Rules, directory: Directory, remarks: Remarks, paths: Mapping[str, Path]) -> None:
    if directory.admin:
        return
    for rule in rules.by_id.values():
        if rule.control:
            remarks.warn(
                (*paths[rule.id], "control"),
                "The webhook is not an administrator's: it may not make the supervisor the task's creator.",
                "Let an administrator make the webhook, or leave `control` out.",
            )
    if file.overdue is not None and file.overdue.tasks != "rules":
        remarks.warn(
            ("overdue", "tasks"),
            "The webhook is not an administrator's: most tasks that people made can neither be seen nor moved by it.",
            "Let an administrator make the webhook, or write `tasks: rules`.",
        )


def _scopes(file: File, rules: model.Rules, directory: Directory, remarks: Remarks) -> None:
    """What the webhook's scopes do not cover. No scopes at all: they are not known."""
    scopes = {scope.lower() for scope in directory.scopes}
    if not scopes:
        return
    needs: list[tuple[Path, Iterable[str], str]] = [
        (("funnels",), ("crm",), "to read deals and their stages"),
        (("funnels",), ("task",), "to make tasks"),
        (("funnels",), PEOPLE_SCOPES, "to know the employees"),
        (("funnels",), ("department",), "to know who is whose head"),
        (("funnels",), ("im",), "to send messages"),
    ]
    away = next((rule for rule in rules.by_id.values() if rule.away == "substitute"), None)
    if away is not None:
        needs.append((("funnels",), ("calendar",), f"to know who is away (`away: substitute` of {away.id})"))
    elif file.overdue is not None:
        why = "to know who is away: sweeps may put deadlines into absences"
        needs.append((("overdue",), ("calendar",), why))
    if file.calendar is None:
        needs.append(
            (("calendar",), ("calendar",), "to read the portal's working hours, as the file has no `calendar`")
        )
    for path, any_of, why in needs:
        if not scopes & set(any_of):
            names = " or ".join(f"`{one}`" for one in sorted(any_of))
            remarks.warn(
                path, f"The webhook lacks the scope {names} {why}.", "Tick it in the webhook's form.", key=True
            )


def _names(names: list[str]) -> str:
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return ", ".join(names[:LISTED]) + more
