"""The account of a deal (``why.story``) in lines for people: stays, in them rules, in them decisions and what came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from bitrix_sync.model.items import Item
from bitrix_sync.model.operations import Check
from bitrix_sync.words import texts
from bitrix_sync.words.language import FALL_BACK, MESSAGES

Account = Mapping[str, Any]
STEP = "  "


def lines_of(story: Account) -> Iterator[str]:
    """Every line, indented by what it belongs to; a heading begins at the margin."""
    language = story["language"]
    if story["gone"] or story["responsible_id"] is not None:
        yield _title(language, story)
    yield from map(STEP.__add__, story["modes"])
    if story["next_step"]:
        yield STEP + story["next_step"]
    if story["unjudged"]:
        yield story["unjudged"]
    elif not story["visits"] and not story["no_occasion"]:
        yield STEP + texts.phrase(language, "story.no_visits")
    for visit in story["visits"]:
        yield ""
        yield from _visit(language, visit)
    if story["no_occasion"]:
        yield ""
        yield from _no_occasion(language, story)
    if story["operations"]:
        yield ""
        yield texts.phrase(language, "story.other_work")
        for operation in story["operations"]:
            yield STEP + _operation(language, operation)


def _title(language: str, story: Account) -> str:
    if story["gone"]:
        return texts.phrase(language, "story.gone", number=Item.of(story["deal_id"]))
    values = {key: story[key] for key in ("deal", "funnel", "stage", "responsible")}
    return texts.phrase(language, "story.title", number=Item.of(story["deal_id"]), **values)


def _visit(language: str, visit: Account) -> Iterator[str]:
    key = "story.visit" if visit["left"] else "story.visit_now"
    times: dict[str, Any] = {"entered": _moment(language, visit["entered"])}
    if visit["left"]:
        times["left"] = _moment(language, visit["left"])
    yield texts.phrase(language, key, stage=f"{visit['funnel']} / {visit['stage']}", **times)
    if visit["note"]:
        yield STEP + visit["note"]
    for rule in visit["rules"]:
        yield STEP + _heading(language, rule)
        yield from (2 * STEP + line for line in _rule(language, rule))


def _rule(language: str, rule: Account) -> Iterator[str]:
    if rule["note"]:
        yield rule["note"]
    for decision in rule["decisions"]:
        watch = f" ({texts.phrase(language, 'story.watch')})" if decision["watch"] else ""
        yield f"{_moment(language, decision['at'])}: {decision['text']}{watch}"
        yield from (STEP + texts.check_text(language, Check(**check)) for check in decision["checks"])
    if rule["cure"]:
        yield rule["cure"]
    for task in rule["tasks"]:
        yield from _task(language, task)
    for operation in rule["operations"]:
        yield _operation(language, operation)


def _heading(language: str, rule: Account) -> str:
    if rule["rule"] == "advance_to":
        return texts.phrase(language, "story.advance")
    key = "story.rule_titled" if rule["title"] else "story.rule"
    return texts.phrase(language, key, rule=rule["rule"], **({"title": rule["title"]} if rule["title"] else {}))


def _task(language: str, task: Account) -> Iterator[str]:
    values = {"owner": task["owner"], "deadline": _moment(language, task["deadline"])}
    if task["task_id"] is None:
        yield texts.phrase(language, "story.task_unsent", **values)
    else:
        yield texts.phrase(
            language, "story.task", task=task["task_id"], status=status_text(language, task["status"]), **values
        )
    if task["closed"] and (task["closed_by_service"] or task["closed_by_id"]):
        key, at = "story.closed_by", _moment(language, task["closed"])
        if task["closed_by_service"]:
            yield STEP + texts.phrase(language, "story.closed_by_service", at=at)
        else:
            yield STEP + texts.phrase(language, key, name=task["closed_by"], at=at)
    for slip in task["slips"]:
        values = {"name": slip["mover"]} if slip["mover_id"] else {"by": slip["by"]}
        by = texts.phrase(
            language,
            "story.slip_by" if slip["mover_id"] else "story.slip",
            before=_moment(language, slip["before"]),
            after=_moment(language, slip["after"]),
            **values,
        )
        yield f"{STEP}{_moment(language, slip['at'])}: {by}{' ' + slip['sweep'] if slip['sweep'] else ''}"


def _operation(language: str, operation: Account) -> str:
    """What, what became of it, and why; when it was sent."""
    what = texts.phrase(language, f"page.kind.{operation['kind']}")
    if operation["about"]:
        what += f" ({operation['about']})"
    became = texts.phrase(language, f"page.op.{operation['state']}")
    reason = texts.phrase(language, "story.reason", text=operation["error"]) if operation["error"] else ""
    if operation["error_code"]:
        reason = f"{reason} ({operation['error_code']})".strip()
    line = f"{_moment(language, operation['at'])}: {what}: {became}"
    if operation["attempts"] > 1:
        line += f", {texts.phrase(language, 'story.attempts', attempts=operation['attempts'])}"
    return f"{line}. {reason}" if reason else line


def _no_occasion(language: str, story: Account) -> Iterator[str]:
    """Of one rule its sentence, of all of them a line for each stage."""
    if story["rule"]:
        yield from (STEP + one["text"] for one in story["no_occasion"])
        return
    yield texts.phrase(language, "story.other_rules")
    by_stage: dict[tuple[str, str], list[str]] = {}
    for one in story["no_occasion"]:
        by_stage.setdefault((one["funnel"], one["stage"]), []).append(
            texts.phrase(language, "rule_named", title=one["title"], rule=one["rule"])
        )
    for (funnel, stage), rules in by_stage.items():
        yield STEP + texts.phrase(language, "story.elsewhere", stage=stage, funnel=funnel, rules=", ".join(rules))


def status_text(language: str, status: int | str) -> str:
    """A task's status in a word; "gone" for one that is deleted."""
    key = f"page.status.{status}"
    return texts.phrase(language, key) if key in MESSAGES[FALL_BACK] else str(status)


def _moment(language: str, moment: Any) -> str:
    return texts.moment_text(language, moment, year=True) if moment is not None else "—"
