"""What the administrators hear of the rules themselves: a new file that was refused, rules that are off because what
they need has vanished from the portal; that the portal shows no deal at all, and that operations stay half-way. Each
piece of news once."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b

import structlog

from bitrix_sync.engine.passes import ServiceContext, tell_admins
from bitrix_sync.model.keys import Key, Purpose, hour, minute
from bitrix_sync.model.operations import STUCK, Changeset, Operation
from bitrix_sync.words import texts

SHOWN, LONGEST = 20, 500
"""Rules named in one message, and lines of a refusal; signs of such a line, which may hold what the file has."""


log = structlog.get_logger(__name__)


def tell_of_stuck(context: ServiceContext) -> None:
    """What is being sent for too long is in doubt from now on, so that it is looked up; the admins hear of it, for
    nobody foresaw it."""
    now = context.sender.clock()
    stuck = context.store.stuck(now - STUCK)
    if not stuck:
        return
    log.error("operations stayed half-way; they are looked up now", operations=stuck)
    context.store.settle_sending(context.sender.epoch, now)
    text = texts.say(context.rulebook.rules.language, "admin.stuck", count=stuck)
    notices = tell_admins(context.rulebook, Key(Purpose.STUCK, hour(context.portal.now())), text)
    context.store.record(Changeset(at=context.portal.now(), operations=notices), context.sender.epoch)


def tell_of_bad_rows(context: ServiceContext) -> None:
    """Rows of the portal's that could not be read and were left out: kept for ``status``; the admins hear of each cause
    once a day."""
    bad = context.portal.memory.bad
    met = {f"{kind}: {cause}": (kind, cause, count) for (kind, cause), count in sorted(bad.causes().items())}
    causes = {name: count for name, (_, _, count) in met.items()}
    before = context.store.flags.bad_rows
    if causes == before:
        return
    new = {cause: count for cause, count in causes.items() if cause not in before}
    for name in new:
        kind, cause, count = met[name]
        shown = bad.examples(kind, cause)
        log.error("a row of the portal cannot be read; it is left out", row=kind, cause=cause, count=count, ids=shown)
    if new:
        language = context.rulebook.rules.language
        rows = [
            texts.phrase(language, "bad_row", kind=kind, why=cause, count=count)
            for kind, cause, count in [met[name] for name in list(new)[:SHOWN]]
        ]
        text = texts.say(language, "admin.bad_rows", rows=", ".join(rows))
        day = context.rulebook.rules.calendar.local(context.portal.now()).date()
        name = digest(repr(sorted(new)))
        notices = tell_admins(context.rulebook, Key(Purpose.BAD_ROWS, day, name), text)
        context.store.record(Changeset(at=context.portal.now(), operations=notices), context.sender.epoch)
    context.store.flags.bad_rows = causes


def tell_of_rules(context: ServiceContext) -> None:
    """Tell what is new since the last time; what is over may be told again. Nothing while only watching."""
    if context.rulebook.rules.safety.watch:
        return
    off = {rule.id: rule.disabled for rule in context.rulebook.rules.by_id.values() if rule.disabled}
    refused = context.rulebook.error
    off_before = context.store.flags.rules_off_told
    refused_before = context.store.flags.rules_refused_told
    if off == off_before and refused == refused_before:
        return
    new = {rule: reason for rule, reason in off.items() if off_before.get(rule) != reason}
    operations = of_rules_off(context, new) if new else ()
    if refused and refused != refused_before:
        operations += of_refusal(context, refused)
    context.store.record(Changeset(at=context.portal.now(), operations=operations), context.sender.epoch)
    context.store.flags.rules_off_told = off
    context.store.flags.rules_refused_told = refused


def tell_of_unread(context: ServiceContext) -> None:
    """The parts of the portal that could not be read, once a day for each and its cause."""
    parts = context.rulebook.unread_parts()
    if not parts or context.rulebook.rules.safety.watch:
        return
    language, now = context.rulebook.rules.language, context.portal.now()
    day = context.rulebook.rules.calendar.local(now).date()
    by_cause: dict[str, list[str]] = {}
    for part, end in parts.items():
        by_cause.setdefault(f"{end.code}:{end.why}", []).append(part)
    told: tuple[Operation, ...] = ()
    for cause, parts_of_it in by_cause.items():
        key = Key(Purpose.UNREAD, day, digest(cause))
        named = [texts.choice(language, "part", part) for part in parts_of_it]
        text = texts.say(language, "admin.unread", parts=first_of(named), why=parts[parts_of_it[0]].why)
        told += tell_admins(context.rulebook, key, text)
    context.store.record(Changeset(at=now, operations=told), context.sender.epoch)


def of_rules_off(context: ServiceContext, off: Mapping[str, str]) -> tuple[Operation, ...]:
    """One message for all rules that are newly off, with a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for rule, reason in off.items():
        by_reason.setdefault(reason, []).append(rule)
    language = context.rulebook.rules.language
    lines = [
        texts.say(language, "admin.rules_off", rules=first_of([named(context, rule) for rule in rules]), reason=reason)
        for reason, rules in by_reason.items()
    ]
    text = "\n".join([*lines[:SHOWN], *(["…"] if len(lines) > SHOWN else [])])
    return tell_admins(context.rulebook, news_name(context, Purpose.RULES_OFF, repr(sorted(off.items()))), text)


def of_refusal(context: ServiceContext, problems: str) -> tuple[Operation, ...]:
    """A new file was refused; its first problems."""
    lines = [
        texts.shortened(texts.folded(texts.harmless(one)), LONGEST) for one in problems.splitlines() if one.strip()
    ]
    shown = texts.Markup("\n".join([*lines[:SHOWN], *(["…"] if len(lines) > SHOWN else [])]))
    text = texts.say(context.rulebook.rules.language, "admin.rules_refused", problems=shown)
    return tell_admins(context.rulebook, news_name(context, Purpose.RULES_REFUSED, problems), text)


def first_of(names: list[str]) -> str:
    """The first of many."""
    return ", ".join([*names[:SHOWN], *(["…"] if len(names) > SHOWN else [])])


def named(context: ServiceContext, rule: str) -> str:
    """A rule by its title and id."""
    rules = context.rulebook.rules
    return texts.phrase(rules.language, "rule_named", title=rules.title_of(rule), rule=rule)


def news_name(context: ServiceContext, purpose: Purpose, news: str) -> Key:
    """A name for this piece of news at this time: the same may come again another day."""
    return Key(purpose, minute(context.portal.now()), digest(news))


def digest(news: str) -> str:
    """A short name for a text."""
    return blake2b(news.encode(), digest_size=6).hexdigest()


def tell_of_deals(context: ServiceContext) -> bool:
    """While the portal shows no deal at all since the first start, the administrators know it; True once when it begins
    to show some: they hear what that means for what was there before."""
    since = context.store.flags.sees_no_deals
    if since is None:
        return False
    seen = bool(context.store.deals())
    if not context.rulebook.rules.safety.watch:
        rules = context.rulebook.rules
        began = rules.calendar.local(since)
        who = context.rulebook.company.name(context.rulebook.company.self_id)
        text = texts.say(rules.language, f"admin.{'deals_seen' if seen else 'sees_no_deals'}", who=who, began=began)
        about = Key(Purpose.DEALS_SEEN if seen else Purpose.NO_DEALS, since.isoformat())
        operations = tell_admins(context.rulebook, about, text)
        context.store.record(Changeset(at=context.portal.now(), operations=operations), context.sender.epoch)
    if seen:
        context.store.flags.sees_no_deals = None
    return seen
