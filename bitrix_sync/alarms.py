"""What the administrators hear of the rules themselves: a new file that was refused, rules that are off because what
they need has vanished from the portal; that the portal shows no deal at all, and that operations stay half-way. Each
piece of news once."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from hashlib import blake2b

import structlog

from bitrix_sync.model.operations import STUCK, Changeset, Operation
from bitrix_sync.sync import SEES_NO_DEALS, Desk, tell_admins
from bitrix_sync.words import texts

OFF, REFUSED = "rules_off_told", "rules_refused_told"
"""Settings: what was told last."""
BAD_ROWS = "bad_rows"
"""Setting: rows that cannot be read, by cause."""
SHOWN = 20
"""Rules named in one message, and lines of a refusal."""


log = structlog.get_logger(__name__)


def tell_of_stuck(desk: Desk) -> None:
    """What is being sent for too long is in doubt from now on, so that it is looked up; the admins hear of it, for
    nobody foresaw it."""
    now = desk.hands.clock()
    stuck = desk.store.stuck(now - STUCK)
    if not stuck:
        return
    log.error("operations stayed half-way; they are looked up now", operations=stuck)
    desk.store.settle_sending(desk.hands.epoch, now)
    text = texts.say(desk.rulebook.rules.language, "admin.stuck", count=stuck)
    notices = tell_admins(desk.rulebook, f"stuck:{desk.portal.now():%Y-%m-%dT%H}", text)
    desk.store.record(Changeset(at=desk.portal.now(), operations=notices), desk.hands.epoch)


def tell_of_bad_rows(desk: Desk) -> None:
    """Rows of the portal's that could not be read and were left out: kept for ``status``; the admins hear of each cause
    once a day."""
    bad = desk.portal.memory.bad
    met = {f"{kind}: {cause}": (kind, cause, count) for (kind, cause), count in sorted(bad.causes().items())}
    causes = {name: count for name, (_, _, count) in met.items()}
    before = json.loads(desk.store.setting(BAD_ROWS) or "{}")
    if causes == before:
        return
    new = {cause: count for cause, count in causes.items() if cause not in before}
    for name in new:
        kind, cause, count = met[name]
        shown = bad.examples(kind, cause)
        log.error("a row of the portal cannot be read; it is left out", row=kind, cause=cause, count=count, ids=shown)
    if new:
        lines = ", ".join(f"{cause} ({count})" for cause, count in list(new.items())[:SHOWN])
        text = texts.say(desk.rulebook.rules.language, "admin.bad_rows", rows=lines)
        day = desk.rulebook.rules.calendar.local(desk.portal.now()).date()
        name = blake2b(repr(sorted(new)).encode(), digest_size=6).hexdigest()
        notices = tell_admins(desk.rulebook, f"bad-rows:{day}:{name}", text)
        desk.store.record(Changeset(at=desk.portal.now(), operations=notices), desk.hands.epoch)
    desk.store.set_setting(BAD_ROWS, json.dumps(causes, ensure_ascii=False))


def tell_of_rules(desk: Desk) -> None:
    """Tell what is new since the last time; what is over may be told again. Nothing while only watching."""
    if desk.rulebook.rules.safety.watch:
        return
    off = {rule.id: rule.disabled for rule in desk.rulebook.rules.by_id.values() if rule.disabled}
    refused = desk.rulebook.error
    off_before = json.loads(desk.store.setting(OFF) or "{}")
    refused_before = desk.store.setting(REFUSED) or ""
    if off == off_before and refused == refused_before:
        return
    new = {rule: reason for rule, reason in off.items() if off_before.get(rule) != reason}
    operations = of_rules_off(desk, new) if new else ()
    if refused and refused != refused_before:
        operations += of_refusal(desk, refused)
    desk.store.record(Changeset(at=desk.portal.now(), operations=operations), desk.hands.epoch)
    desk.store.set_setting(OFF, json.dumps(off, ensure_ascii=False))
    desk.store.set_setting(REFUSED, refused)


def tell_of_unread(desk: Desk) -> None:
    """The parts of the portal that could not be read, once a day for each and its cause."""
    parts = desk.rulebook.unread_parts()
    if not parts or desk.rulebook.rules.safety.watch:
        return
    language, now = desk.rulebook.rules.language, desk.portal.now()
    day = f"{desk.rulebook.rules.calendar.local(now):%Y-%m-%d}"
    by_cause: dict[str, list[str]] = {}
    for part, end in parts.items():
        by_cause.setdefault(f"{end.code}:{end.why}", []).append(part)
    told: tuple[Operation, ...] = ()
    for cause, parts_of_it in by_cause.items():
        key = f"unread:{day}:{blake2b(cause.encode(), digest_size=6).hexdigest()}"
        text = texts.say(language, "admin.unread", part=listed(parts_of_it), why=parts[parts_of_it[0]].why)
        told += tell_admins(desk.rulebook, key, text)
    desk.store.record(Changeset(at=now, operations=told), desk.hands.epoch)


def of_rules_off(desk: Desk, off: Mapping[str, str]) -> tuple[Operation, ...]:
    """One message for all rules that are newly off, with a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for rule, reason in off.items():
        by_reason.setdefault(reason, []).append(rule)
    language = desk.rulebook.rules.language
    lines = [
        texts.say(language, "admin.rules_off", rules=listed(rules), reason=reason)
        for reason, rules in by_reason.items()
    ]
    text = "\n".join([*lines[:SHOWN], *(["…"] if len(lines) > SHOWN else [])])
    return tell_admins(desk.rulebook, f"rules-off:{named(desk, repr(sorted(off.items())))}", text)


def of_refusal(desk: Desk, problems: str) -> tuple[Operation, ...]:
    """A new file was refused; its first problems."""
    lines = [texts.folded(texts.harmless(line)) for line in problems.splitlines() if line.strip()]
    shown = texts.Markup("\n".join([*lines[:SHOWN], *(["…"] if len(lines) > SHOWN else [])]))
    text = texts.say(desk.rulebook.rules.language, "admin.rules_refused", problems=shown)
    return tell_admins(desk.rulebook, f"rules-refused:{named(desk, problems)}", text)


def listed(rules: list[str]) -> str:
    """Their ids, the first of many."""
    return ", ".join([*rules[:SHOWN], *(["…"] if len(rules) > SHOWN else [])])


def named(desk: Desk, news: str) -> str:
    """A name for this piece of news at this time: the same may come again another day."""
    return f"{desk.portal.now():%Y-%m-%dT%H:%M}:{blake2b(news.encode(), digest_size=6).hexdigest()}"


def tell_of_deals(desk: Desk) -> bool:
    """While the portal shows no deal at all since the first start, the administrators know it; True once when it begins
    to show some: they hear what that means for what was there before."""
    since = desk.store.setting(SEES_NO_DEALS)
    if since is None:
        return False
    seen = bool(desk.store.deals())
    if not desk.rulebook.rules.safety.watch:
        rules = desk.rulebook.rules
        began = rules.calendar.local(datetime.fromisoformat(since))
        who = desk.rulebook.company.name(desk.rulebook.company.self_id)
        text = texts.say(rules.language, f"admin.{'deals_seen' if seen else SEES_NO_DEALS}", who=who, began=began)
        operations = tell_admins(desk.rulebook, f"{'deals-seen' if seen else 'no-deals'}:{since}", text)
        desk.store.record(Changeset(at=desk.portal.now(), operations=operations), desk.hands.epoch)
    if seen:
        desk.store.set_setting(SEES_NO_DEALS, None)
    return seen
