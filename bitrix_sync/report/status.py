"""How the service stands, in lines for people: a verdict first, then what there is to know or to do; nothing else.

Made of what ``work.state_of_things`` says in figures; moments are shown in the file's zone, ages as they are said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from bitrix_sync.model.items import Item
from bitrix_sync.model.keys import SlotId
from bitrix_sync.report.context import ReportContext
from bitrix_sync.report.declaration import Line
from bitrix_sync.report.tables import age_text
from bitrix_sync.words.texts import phrase, reason_text

FRESH = timedelta(seconds=60)
"""How much older than three polls the last pass of a service that works may be."""
SHOWN = 5
"""Deals, rules and messages that are named one by one."""


def verdict(things: Line, *, now: datetime | None, poll_seconds: float, by_turns: bool = False) -> str:
    """``works``, or what is to be known first: ``new``, ``stopped``, ``waiting``, ``trouble``, ``stale``,
    ``paused``, ``watch``. ``now``: our clock; None: nobody looks how old anything is. ``by_turns``: a worker's."""
    last, holder = _moment(things["last_pass"]), things["holder"]
    if by_turns and not last and not things["trouble"]:
        return "waiting"
    if holder is None or (not by_turns and _is_over(_moment(holder["until"]), now)):
        return "stopped" if last else "new"
    if things["trouble"]:
        return "trouble"
    if last and _is_over(last + FRESH + timedelta(seconds=3 * poll_seconds), now):
        return "stale"
    return "paused" if things["paused"] else "watch" if things["watch"] else "works"


def _is_over(moment: datetime | None, now: datetime | None) -> bool:
    return now is not None and moment is not None and now > moment


def lines(here: ReportContext, things: Line, *, now: datetime) -> Iterator[str]:
    """The verdict, then a line for each thing there is something to say of. ``now``: our clock."""
    said = _Sentences(here, things, now)
    yield said.tell(f"status.{things['verdict']}", why=things["trouble"], since=_moment(things["paused_since"]))
    for name, say in PARTS.items():
        told = say(said)
        for index, text in enumerate([told] if isinstance(told, str) else told):
            label = said.tell(f"status.label.{name}") if index == 0 else ""
            yield f"{label:<{said.width}}{text}"


class _Sentences:
    """What each part says, in the file's language."""

    def __init__(self, here: ReportContext, things: Line, now: datetime) -> None:
        self.here, self.things, self.now = here, things, now
        self.width = 2 + max(len(self.tell(f"status.label.{name}")) for name in PARTS)

    def tell(self, key: str, **values: Any) -> str:
        """A sentence of the catalogue; ``{ago}`` is the age of the last pass."""
        language, zone = self.here.known.language, self.here.now.tzinfo
        return phrase(language, key, zone=zone, ago=self.ago(self.things["last_pass"]), **values)

    def ago(self, moment: str | None) -> str:
        """How long ago something was."""
        then = _moment(moment)
        return age_text(self.here.known.language, None if then is None else max(timedelta(), self.now - then))

    def paused(self) -> list[str]:
        """A pause and the trial mode, where the verdict says something else."""
        besides = [name for name in ("paused", "watch") if self.things[name] and self.things["verdict"] != name]
        return [self.tell(f"status.{name}", since=_moment(self.things["paused_since"])) for name in besides]

    def portal(self) -> list[str]:
        """Which portal, and up to when it is read."""
        cursor = self.things["cursor"]
        read = self.tell("status.read", until=_moment(cursor["history_time"])) if cursor else ""
        return [", ".join(word for word in (self.things["portal"], read) if word)] if self.things["portal"] else []

    def no_deals(self) -> list[str]:
        """A portal that has shown no deal yet."""
        since = _moment(self.things["sees_no_deals_since"])
        return [self.tell("status.no_deals", since=since)] if since else []

    def rules(self) -> list[str]:
        """The file in force, and what is wrong with the one that is not."""
        known, error = self.here.known, self.things["rules_error"]
        found = [self.tell("status.rules", count=known.rules, since=known.loaded)] if known.loaded else []
        if error:
            found += [self.tell("status.rules_refused"), *error.splitlines()[:SHOWN]]
        return found

    def rules_off(self) -> list[str]:
        """Rules that cannot act, and those that fail on deals."""
        off = [
            f"{self.here.known.rule_title(rule)}: {reason_text(self.here.known.language, why)}"
            for rule, why in self.things["rules_off"].items()
        ]
        failing = self.things["rules_failing"].items()
        named = [self.tell("status.failing", rule=self.here.known.rule_title(rule), count=n) for rule, n in failing]
        return [*off, *named]

    def queue(self) -> list[str]:
        """What waits to be written, and for how long."""
        rest = self.things["rest"]
        if not rest:
            return []
        until = _moment(rest["until"])
        return [self.tell("status.queue_until" if until else "status.queue", count=rest["operations"], until=until)]

    def unsure(self) -> list[str]:
        """What was sent without a clear answer; what is being sent for too long."""
        unknown, stuck = len(self.things["unknown"]), self.things["stuck"]
        return [
            *([self.tell("status.unknown", count=unknown)] if unknown else []),
            *([self.tell("status.stuck", count=stuck)] if stuck else []),
        ]

    def held(self) -> list[str]:
        """What waits for an administrator."""
        count, tried = self.things["queue"].get("held", 0), self.things["tried_by_release"]
        return [
            *([self.tell("status.held", count=count)] if count else []),
            *([self.tell("status.tried", count=tried)] if tried else []),
        ]

    def refused(self) -> list[str]:
        """What the portal refused since a day ago, by cause; messages that reached nobody."""
        language = self.here.known.language
        causes = [
            self.tell(
                "status.refusal",
                count=one["count"],
                kind=self.tell(f"page.kind.{one['kind']}"),
                text=reason_text(language, one["text"]),
            )
            for one in self.things["refused"]
        ]
        unheard = [
            self.tell("status.unheard", name=self.here.name(one["user"]), text=one["text"], error=one["error"])
            for one in self.things["unheard"][-SHOWN:]
        ]
        return [*causes, *unheard]

    def unread(self) -> list[str]:
        """Parts of the portal and rows that could not be read, and deals that wait for it."""
        parts = [self.tell("status.unread", part=part, why=why) for part, why in self.things["unread"].items()]
        causes = [(*cause.partition(": ")[::2], count) for cause, count in self.things["bad_rows"].items()]
        rows = [self.tell("status.bad_rows", count=count, kind=kind, why=why) for kind, why, count in causes]
        waiting = self.things["unjudged"]
        deals = [
            self.tell("status.unjudged", deal=Item.of(one["deal_id"]), since=_moment(one["since"]), why=one["why"])
            for one in waiting[:SHOWN]
        ]
        more = len(waiting) - len(deals)
        return [*parts, *rows, *deals, *([self.tell("status.more", count=more)] if more else [])]

    def sweeps(self) -> list[str]:
        """The last sweeps; of one on its way, how much remains."""
        return [self._sweep(one) for one in self.things["last_sweeps"]]

    def _sweep(self, sweep: Mapping[str, Any]) -> str:
        rest, slot = sweep.get("remaining", 0), SlotId.parse(sweep["slot"])
        return self.tell(
            "status.sweep_rest" if rest else "status.sweep",
            slot=sweep["slot"],
            day=slot.day,
            name=slot.name,
            state=sweep["state"],
            moved=sweep["moved"],
            rest=rest,
            until=_moment(sweep.get("until")),
        )

    def budget(self) -> list[str]:
        """How many requests the portal would take at once."""
        budget = self.things["budget"]
        return [self.tell("status.budget", free=budget["free"], of=budget["of"])] if budget else []

    def holder(self) -> list[str]:
        """The process that works for the portal."""
        return [self.things["holder"]["name"]] if self.things["holder"] else []

    def backup(self) -> list[str]:
        """When the store was last copied."""
        last = self.things["last_backup"]
        return [self.tell("status.backup", since=_moment(last), age=self.ago(last))] if last else []


PARTS: Mapping[str, Callable[[_Sentences], list[str]]] = {
    "mode": _Sentences.paused,
    "portal": _Sentences.portal,
    "deals": _Sentences.no_deals,
    "rules": _Sentences.rules,
    "rules_off": _Sentences.rules_off,
    "queue": _Sentences.queue,
    "unsure": _Sentences.unsure,
    "held": _Sentences.held,
    "refused": _Sentences.refused,
    "unread": _Sentences.unread,
    "sweeps": _Sentences.sweeps,
    "budget": _Sentences.budget,
    "backup": _Sentences.backup,
    "holder": _Sentences.holder,
}
"""The lines in their order: the name of their label, and what says them."""


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
