"""The single values of rules.yaml: times, dates, names, ids, users; how they are read, what editors see.

Each reader takes plain data as ``yaml.py`` gives it, returns it parsed, and raises an error that is complete: what is
wrong and what to write instead, worded for administrators. The regular expression that editors get accepts the same.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date as Date
from datetime import time as Time
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Any, Literal
from zoneinfo import available_timezones

from pydantic import PlainValidator, Strict, WithJsonSchema

from bitrix_sync.model.worktime import country_codes
from bitrix_sync.rules.problem import capitalized, refusal, show
from bitrix_sync.rules.suggest import cure, did_you_mean, foreign_letter, looks, nearest

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
OnDayOff = Literal["next", "previous", "keep"]
Pick = Literal["round_robin", "least_loaded", "first"]
PERSON_WORDS = ("responsible", "creator", "head")
NOBODY = "none"
EVERY = "*"
ID_LENGTH = 64

_TIME = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_ANY_TIME = re.compile(
    r"(?:в\s*|at\s*)?(\d{1,2})\s*(?:[:.,\-–—чh]\s*(?:(\d{1,2})\s*(?:м|мин\.?|m)?)?)?(?:00)?", re.IGNORECASE
)
_ANY_DATE = re.compile(
    r"\s*(?:(?P<year>\d{4})[-./](?P<month>\d{1,2})[-./](?P<day>\d{1,2})"
    r"|(?P<day_>\d{1,2})[-.](?P<month_>\d{1,2})[-.](?P<year_>\d{4}|\d\d))\s*"
)
_ID = re.compile(rf"[0-9A-Za-zА-Яа-яЁё_-]{{1,{ID_LENGTH}}}")
_EMAIL = re.compile(r"[^@\s]+@[^@\s.]+(?:\.[^@\s.]+)+")  # every dot in one place only: else a long word takes for ever
_PERSON_NAME = re.compile(r"(?:(?![a-z])|(?=\S+\s))[^\W\d_][^\s@]*(?:\s+[^\W\d_][^\s@]*)*")
"""A word alone is none if it is written in small Latin letters, as our own are."""
_SPAN = re.compile(r"\s*([0-9]{1,2}:[0-9]{2})\s*[-–—]\s*([0-9]{1,2}:[0-9]{2})\s*")
_DAY_RANGE = re.compile(r"([^\W\d_]+)(?:\s*[-–—]\s*([^\W\d_]+))?")
_RUSSIAN_DAYS = dict(zip(("пн", "вт", "ср", "чт", "пт", "сб", "вс"), DAYS, strict=True))
_TIME_PATTERN = "^([01]?[0-9]|2[0-3]):[0-5][0-9]$"


def _parse_time(value: Any) -> Time:
    found = _TIME.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refusal(f"{show(value)} is no time of day.", _time_meant(value))
    return Time(int(found[1]), int(found[2]))


def _time_meant(value: Any) -> str:
    """The time as it is to be written, of one in other signs: ``9.30``, ``9-30``, ``9 ч 30 мин``."""
    text = f"{value:.2f}" if isinstance(value, float) else str(value)
    found = _ANY_TIME.fullmatch(text.strip())
    hours, minutes = (int(found[1]), int(found[2] or 0)) if found is not None else (24, 0)
    if hours > 23 or minutes > 59:
        return 'Write hours and minutes in quotes, as `"15:00"`.'
    return f'Write `"{hours:02d}:{minutes:02d}"`, in quotes.'


def _parse_date(value: Any) -> Date:
    day = civil_day(value)
    if day is not None and _DATE.fullmatch(str(value)):
        return day
    cure = f"Write `{day}`." if day is not None else "Write year-month-day, as `2026-12-31`."
    if isinstance(value, str) and _DATE.fullmatch(value):
        raise refusal(f"There is no day {show(value)}.", cure)
    raise refusal(f"{show(value)} is no date.", cure)


def civil_day(text: Any) -> Date | None:
    """The day of a text that is a date alone, in whatever usual order; None for anything else."""
    found = _ANY_DATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        return None
    year, month, day = (found[name] or found[f"{name}_"] for name in ("year", "month", "day"))
    try:
        return Date(int(year if len(year) == 4 else f"20{year}"), int(month), int(day))
    except ValueError:
        return None


def _parse_rule_id(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value:
        raise refusal(f"{capitalized(value)} is no id.", "Write letters, digits, `-` and `_`, as `first-call`.")
    if not _ID.fullmatch(value):
        long = f" At most {ID_LENGTH} of them." if len(value) > ID_LENGTH else ""
        raise refusal(f"{show(value)} is no id.", f"Use letters, digits, `-` and `_` only, as `first-call`.{long}")
    return value


def _parse_name(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value.strip():
        raise refusal(f"{capitalized(value)} is no name.", "Write the name as the portal shows it, or its id.")
    return value.strip()


def _parse_text(value: Any) -> str:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, dict | list):
        raise refusal(f"A text must stand here, not {show(value)}.", "A text that begins with { or [ needs quotes.")
    if value is None or isinstance(value, str):
        raise refusal("A text must stand here.", "Write it, or leave the key out.")
    raise refusal(f"A text must stand here, not {show(value)}.", f'Put it in quotes: "{str(value).lower()}".')


def _parse_zone(value: Any) -> str:
    word = value if isinstance(value, str) else f"{value:+d}" if type(value) is int else str(value)
    if word in _zones():
        return word
    offset = _OFFSET.fullmatch(word)
    if offset is not None:
        wrong, meant = f"{show(value)} is an offset, not a time zone.", _place_at(offset)
    else:
        wrong, meant = f"There is no time zone {show(value)}.", _zone_meant(word)
    raise refusal(wrong, meant or "Write a place of the tz database, as `Europe/Moscow`.")


_OFFSET = re.compile(r"(?P<from>UTC|GMT|MSK|МСК)?\s*(?P<sign>[-+−])\s*(?P<hours>\d{1,2})(?:[:.]?\d\d)?", re.IGNORECASE)
_PLACES = {
    2: "Europe/Kaliningrad",
    3: "Europe/Moscow",
    4: "Europe/Samara",
    5: "Asia/Yekaterinburg` or `Asia/Almaty",
    6: "Asia/Omsk",
    7: "Asia/Novosibirsk` or `Asia/Krasnoyarsk",
    8: "Asia/Irkutsk",
    9: "Asia/Yakutsk",
    10: "Asia/Vladivostok",
    11: "Asia/Magadan",
    12: "Asia/Kamchatka",
}
"""Where clocks are so many hours ahead of UTC."""
_SHORT = {
    "Europe/Moscow": (
        "MSK MSD МСК RU RUSSIA РОССИЯ МОСКВА RUSSIAN_STANDARD_TIME САНКТ_ПЕТЕРБУРГ ПЕТЕРБУРГ СПБ КАЗАНЬ СОЧИ КРАСНОДАР "
        "ВОРОНЕЖ НИЖНИЙ_НОВГОРОД РОСТОВ_НА_ДОНУ РОСТОВ ЯРОСЛАВЛЬ ТУЛА РЯЗАНЬ ПЕНЗА ЛИПЕЦК"
    ),
    "Europe/Kaliningrad": "КАЛИНИНГРАД",
    "Europe/Samara": "SAMT САМАРА ТОЛЬЯТТИ ИЖЕВСК",
    "Europe/Saratov": "САРАТОВ",
    "Europe/Volgograd": "ВОЛГОГРАД",
    "Asia/Yekaterinburg": "YEKT EKT EKATERINBURG ЕКАТЕРИНБУРГ ЧЕЛЯБИНСК ПЕРМЬ УФА ТЮМЕНЬ СУРГУТ ОРЕНБУРГ",
    "Asia/Barnaul": "БАРНАУЛ",
    "Asia/Tomsk": "ТОМСК",
    "Asia/Novokuznetsk": "КЕМЕРОВО НОВОКУЗНЕЦК",
    "Asia/Omsk": "OMST ОМСК",
    "Asia/Novosibirsk": "NOVT НОВОСИБИРСК",
    "Asia/Krasnoyarsk": "KRAT КРАСНОЯРСК",
    "Asia/Irkutsk": "IRKT ИРКУТСК",
    "Asia/Yakutsk": "YAKT ЯКУТСК",
    "Asia/Vladivostok": "VLAT ВЛАДИВОСТОК ХАБАРОВСК",
    "Asia/Magadan": "MAGT МАГАДАН",
    "Asia/Kamchatka": "PETT КАМЧАТКА",
    "Asia/Almaty": "ALMT АЛМАТЫ АЛМА_АТА АСТАНА ASTANA",
    "Asia/Tashkent": "UZT ТАШКЕНТ",
    "Europe/Minsk": "МИНСК",
    "Europe/Berlin": "CEST",
    "Europe/Helsinki": "EEST",
    "Europe/London": "BST",
    "America/New_York": "EDT",
    "America/Chicago": "CST CDT",
    "America/Denver": "MDT",
    "America/Los_Angeles": "PST PDT",
}
"""Abbreviations and Russian names, by the zone that they mean."""
_ZONE_OF = {word: zone for zone, words in _SHORT.items() for word in words.split()}


def _place_at(offset: re.Match[str]) -> str:
    hours = int(offset["hours"]) * (1 if offset["sign"] == "+" else -1)
    if offset["from"] and offset["from"].upper() in _ZONE_OF:
        hours += 3
    return f"Did you mean `{_PLACES[hours]}`?" if hours in _PLACES else ""


def _zone_meant(word: str) -> str:
    """``Did you mean `Europe/Moscow`?`` for an abbreviation, the name of a city, or what is mistyped."""
    bare = re.sub(r"[\s-]+", "_", word.strip())
    named = {looks(short): zone for short, zone in _ZONE_OF.items()}
    named |= {looks(zone.rpartition("/")[2]): zone for zone in sorted(_zones())}
    meant = _ZONE_OF.get(bare.upper()) or named.get(looks(bare), "")
    places = [zone for zone in _zones() if "/" in zone] if len(word) > 4 else ()
    return f"Did you mean `{meant}`?" if meant else did_you_mean(word, places)


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    odd = ("localtime", "Factory", "posix/", "right/")
    return frozenset(zone for zone in available_timezones() if not zone.startswith(odd))


_COUNTRIES = {
    **dict.fromkeys(("РФ", "РОССИЯ", "RUSSIA", "RUS"), "RU"),
    **dict.fromkeys(("КАЗАХСТАН", "KAZAKHSTAN", "KAZ", "РК"), "KZ"),
    **dict.fromkeys(("БЕЛАРУСЬ", "БЕЛОРУССИЯ", "BELARUS", "BLR", "РБ"), "BY"),
    **dict.fromkeys(("УЗБЕКИСТАН", "UZBEKISTAN", "UZB"), "UZ"),
}
"""What people call countries, and their codes."""


def _parse_country(value: Any) -> str:
    if isinstance(value, str) and value in country_codes():
        return value
    word = str(value).strip().upper()
    meant = _COUNTRIES.get(word) or next((code for code in sorted(country_codes()) if looks(code) == looks(word)), "")
    cure = (
        foreign_letter(str(value), meant) or f"Did you mean `{meant}`?" if meant else "Write its two letters, as `RU`."
    )
    raise refusal(f"No public holidays are known for the country {show(value)}.", cure)


def _parse_span(value: Any) -> tuple[Time, Time]:
    found = _SPAN.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise refusal(f"{show(value)} is no span of hours.", 'Write from and to in quotes, as `"09:00-18:00"`.')
    if found[2] in ("24:00", "00:00", "0:00"):
        raise refusal(f"{show(value)} ends at midnight.", f'The last minute of a day is 23:59: "{found[1]}-23:59".')
    start, end = _parse_time(found[1]), _parse_time(found[2])
    if start >= end:
        raise refusal(f"The hours {show(value)} end before they begin.", "Write the earlier time first.")
    return start, end


def _parse_spans(value: Any) -> tuple[tuple[Time, Time], ...]:
    if not isinstance(value, list):
        return (_parse_span(value),)
    if not value:
        raise refusal("This list of hours is empty.", "Write a span, or leave the day out: it is a day off then.")
    spans = sorted(_parse_span(one) for one in value)
    for (_, end), (start, _) in pairwise(spans):
        if start < end:
            raise refusal(
                f"The hours overlap: one span ends at {end:%H:%M}, another begins at {start:%H:%M}.",
                "Let them follow each other.",
            )
    return tuple(spans)


def _check_days(days: list[str]) -> None:
    """Refuse what is no day of the week."""
    if (unknown := next((day for day in days if day not in DAYS), None)) is not None:
        meant = "-".join(_RUSSIAN_DAYS.get(one.lower(), one) for one in days)
        known = cure(unknown, DAYS, "Days are") if meant == "-".join(days) else f"Write `{meant}`."
        raise refusal(f"There is no day `{unknown}`.", known)


def day_range(value: Any) -> tuple[int, ...]:
    """The weekdays (0 = Monday) of ``sat`` or ``mon-fri``; a range may go over the end of the week."""
    word = value.strip() if isinstance(value, str) else ""
    found = _DAY_RANGE.fullmatch(word)
    days = [one for one in (found.groups() if found else ()) if one]
    if not days:
        raise refusal(f"{show(value)} is no day of the week.", "Write a day or a range of days, as `sat` or `mon-fri`.")
    _check_days(days)
    first, last = DAYS.index(days[0]), DAYS.index(days[-1])
    return tuple(day % 7 for day in range(first, last + 1 if last >= first else last + 8))


def _parse_day_ranges(value: Any) -> tuple[int, ...]:
    words = value if isinstance(value, list) else [value]
    days = [day for word in words for day in day_range(word)]
    if not days:
        raise refusal("The list of working days is empty.", "Write them, as `mon-fri`.")
    return tuple(sorted(set(days)))


def check_week(week: dict[str, tuple[tuple[Time, Time], ...]]) -> dict[str, tuple[tuple[Time, Time], ...]]:
    """No day twice in a mapping of days to hours."""
    said: dict[int, str] = {}
    for word in week:
        for day in day_range(word):
            if day in said:
                raise refusal(f"`{DAYS[day]}` has hours twice: under `{said[day]}` and `{word}`.", "Say each day once.")
            said[day] = word
    return week


def _day_key(value: Any) -> str:
    day_range(value)
    return str(value).strip()


def read_person(value: Any) -> str:
    """``responsible``, ``creator``, ``head``, an e-mail or a name."""
    if str(value).strip() == NOBODY:
        raise refusal(
            "`none` is no person here.", "Only a `supervisor` can be `none`; leave the key out, or name somebody."
        )
    return _person_word(value, PERSON_WORDS)


def read_supervisor(value: Any) -> str:
    """A person in a word, or ``none``."""
    return _person_word(value, (*PERSON_WORDS, NOBODY))


def _person_word(value: Any, words: tuple[str, ...]) -> str:
    word = str(value).strip()
    if word in words or _names_somebody(word):
        return word
    raise refusal(
        f"{show(value)} is no person.",
        did_you_mean(word, words) or f"Write {', '.join(words)}, a user's id, e-mail or name.",
    )


def _names_somebody(word: str) -> bool:
    """Whether a text can be an e-mail or a name; a word of ours is none, nor is what is mistyped for one."""
    if _EMAIL.fullmatch(word):
        return True
    return bool(_PERSON_NAME.fullmatch(word)) and not nearest(word, (*PERSON_WORDS, NOBODY))


def read_user_id(value: Any) -> int:
    """A user's id."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise refusal(f"{show(value)} is no user's id.", "Write the number from the address of the profile, as `17`.")
    return value


def _parse_user(value: Any) -> int | str:
    if isinstance(value, str) and _names_somebody(value.strip()):
        return value.strip()
    if isinstance(value, int):
        return read_user_id(value)
    raise refusal(f"{show(value)} is no user.", "Write a user's id, e-mail or name, as `17` or `anna@example.com`.")


def user_of(key: str) -> int | str:
    """The user whom a key names: an id, else an e-mail or a name."""
    return int(key) if key.strip().isdecimal() else key.strip()


def _user_key(value: Any) -> str:
    _parse_user(user_of(str(value)))
    return str(value)


def _parse_group(value: Any) -> int | str:
    if isinstance(value, str) and value.strip():
        return value.strip()
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    raise refusal(f"{capitalized(value)} is no workgroup.", "Write its name as the portal shows it, or its id.")


_MORE = ("от", "больше", "более", "свыше", "не менее", "не меньше", "from", "over", "more than", "at least")
_LESS = ("до", "меньше", "менее", "не более", "не больше", "under", "up to", "less than", "at most")
_UNEQUAL = ("кроме", "не равно", "not equal to", "except")
_SIGNS = {
    **dict.fromkeys((">", ">=", "=>", "≥", "＞", *_MORE), "{{min: {0}}}"),
    **dict.fromkeys(("<", "<=", "=<", "≤", "＜", *_LESS), "{{max: {0}}}"),
    **dict.fromkeys(("!=", "<>", "≠", *_UNEQUAL), "{{not: {0}}}"),
}
_SPOKEN = "|".join(sorted((*_MORE, *_LESS, *_UNEQUAL), key=len, reverse=True))
_COMPARED = re.compile(
    rf"\s*(?:(?P<name>[^<>=!≥≤＞＜]*?)\s*(?P<sign>>=|=>|<=|=<|==|!=|<>|[<>=≥≤≠＞＜])"
    rf"|(?:(?P<name_>[^<>=!≥≤＞＜]*?\S)\s+)?(?P<sign_>(?:{_SPOKEN})(?=\s)))\s*(?P<value>[^<>=!≥≤＞＜]+?)\s*",
    re.IGNORECASE,
)
_MONEY = re.compile(r"(\d[\d\s_\u00a0]*(?:[.,]\d+)?)\s*(?:руб[а-я.]*|р\.?|₽|rub|\$|€|тг|₸)?", re.IGNORECASE)


def comparison(text: Any) -> tuple[str, str] | None:
    """What is compared (perhaps "") and the test, as ``{min: 100000}``, of a comparison written with signs."""
    found = _COMPARED.fullmatch(text) if isinstance(text, str) and len(text) <= 200 else None
    if found is None:
        return None
    value = plain_number(found["value"]) or found["value"]
    sign = (found["sign"] or found["sign_"]).lower()
    return (found["name"] or found["name_"] or ""), _SIGNS.get(sign, "{0}").format(value)


def plain_number(text: Any) -> str:
    """A number without the spaces and the currency that people write with it; "" for what is none."""
    found = _MONEY.fullmatch(text.strip()) if isinstance(text, str) and len(text) <= 60 else None
    return re.sub(r"[\s_]", "", found[1]).replace(",", ".") if found is not None else ""


def read_scalar(value: Any) -> str | int | float | bool:
    """A value to compare with."""
    if isinstance(value, str | int | float):
        return value
    if value is None:
        raise refusal("Nothing stands here to compare with.", "For an empty field write `{filled: false}`.")
    raise refusal(
        f"{show(value).capitalize()} cannot be compared with.", "Write a text, a number, a date or true/false."
    )


def read_wish(value: Any) -> Any:
    """A value to compare with, or a list of them."""
    empty = "The list is empty: nothing can be one of it.", "Write the values, or leave the test out."
    return _each(value, read_scalar, *empty)


def read_filling(value: Any) -> Any:
    """The value of a task's field, or a list of values."""
    return _each(value, _one_filling, "The list is empty.", "Write the values, or leave the field out.")


def _each(value: Any, read: Callable[[Any], Any], empty: str, cure: str) -> Any:
    if value == []:
        raise refusal(empty, cure)
    return [read(one) for one in value] if isinstance(value, list) else read(value)


def _one_filling(value: Any) -> str | int | float | bool:
    if isinstance(value, str) and not value.strip():
        raise refusal("The text is empty.", "Write a value, or leave the field out.")
    if isinstance(value, str | int | float):
        return value
    if value is None:
        raise refusal("Nothing stands here.", "Write a value, or leave the field out.")
    raise refusal(
        f"{capitalized(value)} is no value of a field.", "Write a template, a number, a date, true or false, or a list."
    )


FILLING_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"], "pattern": r"\S"}
SCALAR_SCHEMA: dict[str, Any] = {"type": ["string", "number", "boolean"]}
LIST_SCHEMA: dict[str, Any] = {"type": "array", "items": SCALAR_SCHEMA, "minItems": 1}
_SPAN_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^\s*([01]?[0-9]|2[0-3]):[0-5][0-9]\s*[-–—]\s*([01]?[0-9]|2[0-3]):[0-5][0-9]\s*$",
    "examples": ["09:00-18:00"],
}
_SPANS_SCHEMA: dict[str, Any] = {"anyOf": [_SPAN_SCHEMA, {"type": "array", "items": _SPAN_SCHEMA, "minItems": 1}]}
_ONE_DAY = "(mon|tue|wed|thu|fri|sat|sun)"
_DAY_PATTERN = rf"^\s*{_ONE_DAY}(\s*[-–—]\s*{_ONE_DAY})?\s*$"
_DAY_SCHEMA: dict[str, Any] = {"type": "string", "pattern": _DAY_PATTERN, "examples": ["mon-fri", "sat"]}


_LIST_OF_DAYS: dict[str, Any] = {"type": "array", "items": _DAY_SCHEMA, "minItems": 1}
_ID_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": f"^{_ID.pattern}$"}, {"type": "integer", "minimum": 0}],
    "examples": ["first-call"],
}
_NAME_SCHEMA: dict[str, Any] = {
    "anyOf": [{"type": "string", "pattern": r"\S"}, {"type": "integer"}],
    "examples": ["Договор", "C5:NEW"],
}


def _text(**more: Any) -> WithJsonSchema:
    """What editors are told of a value that is a text."""
    return WithJsonSchema({"type": "string", **more})


Clock = Annotated[Time, PlainValidator(_parse_time), _text(pattern=_TIME_PATTERN, examples=["15:00"])]
Day = Annotated[
    Date, PlainValidator(_parse_date), _text(format="date", pattern=f"^{_DATE.pattern}$", examples=["2026-12-31"])
]
RuleId = Annotated[str, PlainValidator(_parse_rule_id), WithJsonSchema(_ID_SCHEMA)]
Name = Annotated[str, PlainValidator(_parse_name), WithJsonSchema(_NAME_SCHEMA)]
Text = Annotated[str, PlainValidator(_parse_text), _text(pattern=r"\S")]
Zone = Annotated[str, PlainValidator(_parse_zone), _text(examples=["Europe/Moscow", "Asia/Almaty"])]
Country = Annotated[str, PlainValidator(_parse_country), _text(enum=sorted(country_codes()), examples=["RU", "KZ"])]
Spans = Annotated[tuple[tuple[Time, Time], ...], PlainValidator(_parse_spans), WithJsonSchema(_SPANS_SCHEMA)]
WeekDays = Annotated[
    tuple[int, ...], PlainValidator(_parse_day_ranges), WithJsonSchema({"anyOf": [_DAY_SCHEMA, _LIST_OF_DAYS]})
]
DayKey = Annotated[str, PlainValidator(_day_key), WithJsonSchema(_DAY_SCHEMA)]
USER_ID_SCHEMA: dict[str, Any] = {"type": "integer", "minimum": 1, "title": "A user's id"}
EMAIL_SCHEMA: dict[str, Any] = {"type": "string", "pattern": "^[^@\\s]+@[^@\\s]+\\.[^@\\s]+$", "title": "An e-mail"}
NAME_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": r"^\s*([^\s\d_@a-z][^\s@]*|[^\s\d_@][^\s@]*(\s+[^\s\d_@][^\s@]*)+)\s*$",
    "title": "A name",
}
User = Annotated[
    int | str, PlainValidator(_parse_user), WithJsonSchema({"anyOf": [USER_ID_SCHEMA, EMAIL_SCHEMA, NAME_SCHEMA]})
]
UserKey = Annotated[
    str,
    PlainValidator(_user_key),
    WithJsonSchema({"type": "string", "pattern": r"\S", "title": "An employee"}),
]
"""The same as a key, as it is written; ``user_of`` reads it."""
Workgroup = Annotated[
    int | str,
    PlainValidator(_parse_group),
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string", "pattern": r"\S"}]}),
]
TestScalar = Annotated[Any, PlainValidator(read_scalar), WithJsonSchema(SCALAR_SCHEMA)]
Wish = Annotated[Any, PlainValidator(read_wish), WithJsonSchema({"anyOf": [SCALAR_SCHEMA, LIST_SCHEMA]})]
Filling = Annotated[
    Any,
    PlainValidator(read_filling),
    WithJsonSchema({"anyOf": [FILLING_SCHEMA, {"type": "array", "items": FILLING_SCHEMA, "minItems": 1}]}),
]
Flag = Annotated[bool, Strict()]
