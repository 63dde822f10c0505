"""What ``init`` suggests for a stage, told from its name: one task with its deadline, in Russian or English. Pure data.

A suggestion is a beginning to be corrected, so it is cautious: a plain text, a deadline in working time, no field of
the deal but its title. Ids are ASCII whatever the portal's alphabet is.

Source: standard 4 (every stage a task, every task a real deadline).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from bitrix_sync.model.facts import PROGRESS, Funnel
from bitrix_sync.words.texts import Language

ID_LENGTH = 40


@dataclass(frozen=True, slots=True)
class Suggestion:
    """One task: ``id`` is a basis that is made unique in the file, ``title`` a template, ``deadline`` as it is written
    in YAML."""

    id: str
    title: str
    deadline: str
    checklist: tuple[str, ...] = ()


_DAY, _TWO_DAYS, _THREE_DAYS = "{after: 1 workday}", "{after: 2 workdays}", "{after: 3 workdays}"

_RU: tuple[tuple[str, Suggestion], ...] = (
    (
        r"(?:\bкп|предложени\w*|договор\w*|документы?) (?:отправлен|направлен|выслан)",
        Suggestion("answer", "Узнать, что клиент решил: {{ deal.TITLE }}", _TWO_DAYS),
    ),
    (
        r"закры|завершающ|итог|анализ|отзыв|последн\w* касан",
        Suggestion("wrap-up", "Подвести итоги по сделке: {{ deal.TITLE }}", _TWO_DAYS),
    ),
    (
        r"предоплат|аванс",
        Suggestion("prepayment", "Выставить счёт и проверить предоплату: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"сч[её]т|оплат|плат[её]ж|деньг",
        Suggestion("payment", "Проверить поступление оплаты: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"\bкп\b|коммерческ|предложени|расч[её]т|смет|оценк",
        Suggestion(
            "offer",
            "Подготовить и направить коммерческое предложение: {{ deal.TITLE }}",
            '{after: 1 workday, at: "15:00"}',
        ),
    ),
    (
        r"подготовк\w* документ|сбор документ|документ",
        Suggestion("documents", "Подготовить документы: {{ deal.TITLE }}", _TWO_DAYS),
    ),
    (
        r"согласован|переговор|решени|обсужд|дума|дожим|возражен",
        Suggestion("keep-in-touch", "Узнать решение клиента: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"договор|контракт|подписан",
        Suggestion("contract", "Подготовить и направить договор: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"презентац|демо|показ|встреч|замер|выезд",
        Suggestion(
            "meeting",
            "Подготовить и провести встречу: {{ deal.TITLE }}",
            '{after: 2 workdays, at: "15:00"}',
            ("Собрать материалы", "Согласовать время", "Провести встречу"),
        ),
    ),
    (
        r"квалифик|потребност|выявлен|анкет|бриф|лпр",
        Suggestion("needs", "Выяснить потребность и бюджет клиента: {{ deal.TITLE }}", _DAY),
    ),
    (
        r"отгруз|доставк|логист|отправк|поставк|склад",
        Suggestion("shipment", "Проконтролировать срок отгрузки: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"работ|производств|исполнен|выполн|монтаж|внедрен|проект|разработк|сборк|ремонт",
        Suggestion("progress", "Проверить ход работ и сообщить клиенту: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"диагност|осмотр|обследован|экспертиз",
        Suggestion("diagnosis", "Провести диагностику и сообщить клиенту результат: {{ deal.TITLE }}", _DAY),
    ),
    (
        r"сервис|гарант|обращени|рекламац|жалоб",
        Suggestion("request", "Разобрать обращение и ответить клиенту: {{ deal.TITLE }}", "{after: 4 workhours}"),
    ),
    (
        r"не дозвон|недозвон|перезвон|отложен",
        Suggestion("call-again", "Перезвонить клиенту: {{ deal.TITLE }}", _DAY),
    ),
    (
        r"нов|заявк|лид|входящ|перви|звон|контакт|необработан|запрос",
        Suggestion("first-call", "Позвонить клиенту: {{ deal.TITLE }}", "{after: 30 workminutes}"),
    ),
)
_EN: tuple[tuple[str, Suggestion], ...] = (
    (
        r"(?:offer|proposal|quot\w*|contract|documents?) sent",
        Suggestion("answer", "Ask what the client says to it: {{ deal.TITLE }}", _TWO_DAYS),
    ),
    (
        r"\bclos(?:e|ing)|wrap|feedback|review|analy[sz]",
        Suggestion("wrap-up", "Wrap up the deal: {{ deal.TITLE }}", _TWO_DAYS),
    ),
    (
        r"prepay|advance|deposit",
        Suggestion("prepayment", "Send the invoice and check the prepayment: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"invoice|payment|paid|billing",
        Suggestion("payment", "Check that the payment has come: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"offer|proposal|quot|estimat|pricing",
        Suggestion("offer", "Prepare and send the offer: {{ deal.TITLE }}", '{after: 1 workday, at: "15:00"}'),
    ),
    (
        r"document|paperwork",
        Suggestion("documents", "Prepare the documents: {{ deal.TITLE }}", _TWO_DAYS),
    ),
    (
        r"negotiat|approv|decision|consider|follow",
        Suggestion("keep-in-touch", "Find out what the client has decided: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"contract|agreement|sign",
        Suggestion("contract", "Prepare and send the contract: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"demo|presentation|meeting|visit|appointment",
        Suggestion(
            "meeting",
            "Prepare and hold the meeting: {{ deal.TITLE }}",
            '{after: 2 workdays, at: "15:00"}',
            ("Gather the materials", "Agree on the time", "Hold the meeting"),
        ),
    ),
    (
        r"qualif|needs|discover|brief",
        Suggestion("needs", "Find out what the client needs and the budget: {{ deal.TITLE }}", _DAY),
    ),
    (
        r"ship|deliver|logist|dispatch",
        Suggestion("shipment", "Check the date of shipment: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"work|progress|production|execut|implement|project|install|repair",
        Suggestion("progress", "Check the work and tell the client: {{ deal.TITLE }}", _THREE_DAYS),
    ),
    (
        r"diagnos|inspect|examin|survey",
        Suggestion("diagnosis", "Examine and tell the client the result: {{ deal.TITLE }}", _DAY),
    ),
    (
        r"service|warranty|support|complaint|ticket",
        Suggestion("request", "Look into the request and answer the client: {{ deal.TITLE }}", "{after: 4 workhours}"),
    ),
    (
        r"call ?back|no answer|postponed",
        Suggestion("call-again", "Call the client again: {{ deal.TITLE }}", _DAY),
    ),
    (
        r"\bnew\b|lead|incoming|inbound|inquir|enquir|request|application|contact|call|unassigned",
        Suggestion("first-call", "Call the client: {{ deal.TITLE }}", "{after: 30 workminutes}"),
    ),
)
_BY_NAME = {
    "ru": tuple((re.compile(words), one) for words, one in _RU),
    "en": tuple((re.compile(words), one) for words, one in _EN),
}
_OTHERWISE = {
    "ru": Suggestion("", "Сделать следующий шаг («{{ stage.name }}»): {{ deal.TITLE }}", _TWO_DAYS),
    "en": Suggestion("", "Take the next step (“{{ stage.name }}”): {{ deal.TITLE }}", _TWO_DAYS),
}
"""For a stage whose name tells nothing: its id comes from the name itself."""

_WORDS_OF_YAML = frozenset({"true", "false", "yes", "no", "on", "off", "y", "n", "null"})
"""What an id must not be, for it would be read as something else."""

_LATIN = str.maketrans(
    {
        **dict(zip("абвгдезийклмнопрстуфыэ", "abvgdeziyklmnoprstufye", strict=True)),
        **{"ё": "e", "ж": "zh", "х": "kh", "ц": "ts", "ч": "ch", "ш": "sh", "щ": "shch", "ъ": "", "ь": ""},
        **{"ю": "yu", "я": "ya", "і": "i", "ї": "yi", "є": "ye", "ґ": "g", "ў": "u"},
    }
)


def suggest(stage_name: str, language: Language) -> Suggestion:
    """The task for a stage of this name; the words of both languages are tried, the text is in ``language``."""
    name = stage_name.casefold()
    for tongue in (language, *(one for one in _BY_NAME if one != language)):
        for words, found in _BY_NAME[tongue]:
            if words.search(name):
                return next(one for _, one in _BY_NAME[language] if one.id == found.id)
    basis, own = _OTHERWISE[language], slug(stage_name)
    if own and (own in _WORDS_OF_YAML or not own[0].isalpha()):
        own = f"stage-{own}"
    return Suggestion(own or "step", basis.title, basis.deadline)


def slug(name: str) -> str:
    """``Новая заявка`` → ``novaya-zayavka``: lower-case ASCII with hyphens, "" when nothing of the name is left."""
    latin = unicodedata.normalize("NFKD", name.casefold().translate(_LATIN).replace("й", "y"))
    words = re.findall(r"[a-z0-9]+", "".join(one for one in latin.lower() if not unicodedata.combining(one)))
    return "-".join(words)[:ID_LENGTH].strip("-")


def unique(basis: str, beginning: str, taken: Collection[str]) -> str:
    """An id that is not taken: the basis, with the funnel's ``beginning`` before it, else with a number behind it."""
    longer = f"{beginning}-{basis}"[: ID_LENGTH + 10].strip("-") if beginning else basis
    for one in (basis, longer):
        if one not in taken:
            return one
    number = 2
    while f"{longer}-{number}" in taken:
        number += 1
    return f"{longer}-{number}"


def language_of(funnels: Iterable[Funnel]) -> Language:
    """The language of a portal: English when its stages in progress are named without Cyrillic letters, else
    Russian."""
    names = [stage.name for funnel in funnels for stage in funnel.stages if stage.semantic == PROGRESS]
    letters = [one for name in names for one in name if one.isalpha()]
    cyrillic = sum("Ѐ" <= one <= "ӿ" for one in letters)
    return "en" if letters and cyrillic * 2 < len(letters) else "ru"
