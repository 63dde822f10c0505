"""The comments of the first rules.yaml, in Russian and in English. Data; ``starter`` puts them in their places.

Those that stand behind a value begin with two blanks and the sign of a comment.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitrix_sync.words.texts import Language

_RU = {
    "head": """
Стандарты отдела продаж портала {host}: какая задача нужна на каждой стадии, чья она и к какому сроку.
Воронки, стадии и календарь взяты с портала. Задачи только предложены по названиям стадий: исправьте их под себя.

  bitrix-sync check           верен ли файл, хватает ли прав вебхуку
  bitrix-sync preview --all   какие задачи поставили бы эти правила; на портал ничего не пишется
  bitrix-sync run             работа; файл можно править и потом, он перечитывается сам

Все ключи с примерами: docs/ru/rules.md. Редактор с поддержкой YAML подсказывает их по первой строке.
""",
    "zone": "  # часовой пояс портала: в нём считаются все сроки",
    "no_zone": "  # портал не сказал свой пояс, только смещение UTC{offset}: уберите # и впишите свой",
    "admins": "Кому писать о неполадках: номера сотрудников (они видны в адресе профиля) или адреса почты.",
    "fallback": "Кто получает задачу, которую больше некому поручить.",
    "supervisor": "Кто контролирует задачи (наблюдатель): head — руководитель исполнителя; можно номер или none.",
    "on_close": "Что делать с открытыми задачами выигранной или проигранной сделки: keep, complete, defer или delete.",
    "calendar": "Рабочее время из настроек календаря портала. Без этого раздела оно берётся с портала каждый раз.",
    "no_calendar": "Портал не показал рабочее время (нужно право calendar). Впишите своё.",
    "country": "  # праздники и переносы этой страны; не нужны — уберите строку",
    "days_off": "  # нерабочие дни из календаря портала, {years}",
    "working_days": "  # рабочие дни вне очереди из календаря портала, {years}",
    "funnels": "Воронка, в ней стадии в работе, у каждой стадии список задач. Имена — как на портале.",
    "id": "  # имя правила: не меняйте его, когда меняете текст задачи",
    "title": "  # в {{ }} — поля сделки по их кодам",
    "deadline": "  # от входа в стадию; workdays и workminutes — рабочее время",
    "task": """
Задача может больше; уберите #, чтобы включить:
owner: responsible                        # кому: ответственному; head, номер, {field: UF_CRM_X, else: head},
                                          # {department: Отдел, pick: least_loaded}
deadline: {before: 3 workdays, field: UF_CRM_DATE, else: {after: 5 workdays}}   # за три дня до даты из сделки
if: {OPPORTUNITY: {min: 100000}}          # только для крупных сделок
checklist: [Первый шаг, Второй шаг]
result_required: true                     # без результата не закрыть
again: 5 workdays                         # выполнена, а сделка всё ещё здесь: через столько следующая
on_leave: complete                        # сделка ушла со стадии: завершить; keep, defer, delete
""",
    "overdue": """
Просроченные задачи: утром и вечером срок переносится, исполнитель и руководитель получают сводку.
Включается, когда раздел раскомментирован.
overdue:
  tasks: rules                   # rules: поставленные этим файлом; deals: все задачи сделок; all: все
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3                       # столько переносов, потом задача остаётся и уходит вопросом выше
  notify: [supervisor, owner]
""",
    "safety": "Предохранители: что сверх стольких новых задач за 10 минут или переносов, ждёт bitrix-sync release.",
    "watch": "  # true — на первые дни: всё решать и показывать, ничего не писать на портал",
}
_EN = {
    "head": """
The standards of the sales department at {host}: which task every stage needs, whose it is and by when.
Funnels, stages and the calendar are the portal's. The tasks are only suggested by the stages' names: make them yours.

  bitrix-sync check           is the file right, may the webhook do what it needs
  bitrix-sync preview --all   which tasks these rules would make; nothing is written to the portal
  bitrix-sync run             work; the file may be edited later, it is loaded again by itself

Every key with examples: docs/en/rules.md. An editor that knows YAML suggests them, thanks to the first line.
""",
    "zone": "  # the portal's time zone: every deadline is counted in it",
    "no_zone": "  # the portal told only its offset, UTC{offset}: take the # away and write your zone",
    "admins": "Who hears of trouble: ids of employees (the number in a profile's address) or e-mails.",
    "fallback": "Who gets a task that nobody else can take.",
    "supervisor": "Who controls the tasks (an observer): head is the head over the owner. An id or none will do, too.",
    "on_close": "What the open tasks of a won or lost deal undergo: keep, complete, defer or delete.",
    "calendar": "Working time from the portal's calendar settings. Without this section the portal is asked each time.",
    "no_calendar": "The portal did not show its working time (scope calendar). Write yours.",
    "country": "  # public holidays and moved working days of the country; take the line out if you keep none",
    "days_off": "  # days off from the portal's calendar, {years}",
    "working_days": "  # working days out of turn from the portal's calendar, {years}",
    "funnels": "A funnel, in it the stages in progress, in each a list of tasks. Names are the portal's.",
    "id": "  # the rule's name: leave it when you change the task's text",
    "title": "  # in {{ }}: fields of the deal by their codes",
    "deadline": "  # counted from entering the stage; workdays and workminutes are working time",
    "task": """
A task can do more; take the # away to switch it on:
owner: responsible                        # whose: the deal's responsible; head, an id, {field: UF_CRM_X, else: head},
                                          # {department: Name, pick: least_loaded}
deadline: {before: 3 workdays, field: UF_CRM_DATE, else: {after: 5 workdays}}   # three days before the deal's date
if: {OPPORTUNITY: {min: 100000}}          # only for large deals
checklist: [First step, Second step]
result_required: true                     # cannot be closed without a result
again: 5 workdays                         # done and the deal still here: so much later the next one
on_leave: complete                        # the deal left the stage: complete it; keep, defer, delete
""",
    "overdue": """
Overdue tasks: morning and evening their deadlines are moved, the owner and the supervisor get a summary.
It begins when this section is no comment any more.
overdue:
  tasks: rules                   # rules: made by this file; deals: every task of a deal; all: every task
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3                       # so many moves, then the task stays and is taken a step higher
  notify: [supervisor, owner]
""",
    "safety": "Fuses: more new tasks in ten minutes, or moves at once, wait for `bitrix-sync release`.",
    "watch": "  # true for the first days: decide and show everything, write nothing to the portal",
}

WORDS: Mapping[Language, Mapping[str, str]] = {"ru": _RU, "en": _EN}
