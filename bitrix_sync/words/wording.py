"""The catalogue of everything that the service says to people, in Russian and in English. Data; ``texts`` speaks it.

To add a message: the same key with the same placeholders in both languages (a test compares them); a noun that is
counted goes to ``NOUNS``, a word that depends on a value to ``CHOICES``. How a placeholder shows its value
(``{deadline:moment}``, ``{count:tasks}``) is told in ``texts``.
"""

from __future__ import annotations

from collections.abc import Mapping

from bitrix_sync.words import wording_commands, wording_demo, wording_page, wording_rules, wording_sweep

MONTHS: Mapping[str, tuple[str, ...]] = {
    "ru": (
        *("января", "февраля", "марта", "апреля", "мая", "июня"),
        *("июля", "августа", "сентября", "октября", "ноября", "декабря"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
}
"""As they stand in a date."""

WEEKDAYS: Mapping[str, tuple[str, ...]] = {
    "ru": ("пн", "вт", "ср", "чт", "пт", "сб", "вс"),
    "en": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
}

NOUNS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "ru": {
        "tasks": ("задача", "задачи", "задач"),
        "of_tasks": ("задачи", "задач", "задач"),
        "of_deadlines": ("срока", "сроков", "сроков"),
        "of_deals": ("сделки", "сделок", "сделок"),
        "deals": ("сделка", "сделки", "сделок"),
        "times": ("раз", "раза", "раз"),
        "days": ("день", "дня", "дней"),
        "hours": ("час", "часа", "часов"),
        "minutes": ("минута", "минуты", "минут"),
        "workdays": ("рабочий день", "рабочих дня", "рабочих дней"),
        "workhours": ("рабочий час", "рабочих часа", "рабочих часов"),
        "workminutes": ("рабочая минута", "рабочие минуты", "рабочих минут"),
        "weeks": ("неделя", "недели", "недель"),
        "months": ("месяц", "месяца", "месяцев"),
        "in_minutes": ("минуту", "минуты", "минут"),
        "in_workminutes": ("рабочую минуту", "рабочие минуты", "рабочих минут"),
        "in_weeks": ("неделю", "недели", "недель"),
        "moves": ("перенос", "переноса", "переносов"),
        "of_moves": ("переноса", "переносов", "переносов"),
        "rules": ("правило", "правила", "правил"),
        "moved_deals": ("сделку", "сделки", "сделок"),
        "refusals": ("отказ", "отказа", "отказов"),
        "of_rows": ("записи", "записей", "записей"),
    },
    "en": {
        "tasks": ("task", "tasks"),
        "of_tasks": ("task", "tasks"),
        "of_deadlines": ("deadline", "deadlines"),
        "of_deals": ("deal", "deals"),
        "deals": ("deal", "deals"),
        "times": ("time", "times"),
        "days": ("day", "days"),
        "hours": ("hour", "hours"),
        "minutes": ("minute", "minutes"),
        "workdays": ("working day", "working days"),
        "workhours": ("working hour", "working hours"),
        "workminutes": ("working minute", "working minutes"),
        "weeks": ("week", "weeks"),
        "months": ("month", "months"),
        "in_minutes": ("minute", "minutes"),
        "in_workminutes": ("working minute", "working minutes"),
        "in_weeks": ("week", "weeks"),
        "moves": ("move", "moves"),
        "of_moves": ("move", "moves"),
        "rules": ("rule", "rules"),
        "moved_deals": ("deal", "deals"),
        "refusals": ("refusal", "refusals"),
        "of_rows": ("row", "rows"),
    },
}
"""Nouns that are counted: for 1, for 2 (Russian only: 2 to 4), for the rest."""

CHOICES: Mapping[str, Mapping[str, Mapping[str, str]]] = {
    "ru": {
        "yes": {"true": "да", "false": "нет"},
        "named": {"": "", "*": " ({})"},
        "controlled": {"": "Контролёра нет.", "*": "Контролирует: {}."},
        "branch": {"": "", "main": "", "else": " (по запасному сроку else)", "*": " (по запасному сроку {})"},
        "lifted": {"": "", "false": "", "true": " По правилу срок уже прошёл, поэтому взят ближайший возможный."},
        "took": {
            "once": "для этой сделки она уже ставилась (repeat: once)",
            "if_none_open": "прежняя ещё открыта, новое пребывание на стадии её подхватило (repeat: if_none_open)",
            "*": "{}",
        },
        "on_leave": {
            "complete": "завершается",
            "defer": "откладывается",
            "delete": "удаляется",
            "keep": "остаётся",
            "*": "{}",
        },
        "ending": {
            "complete": "завершена",
            "defer": "отложена",
            "delete": "удалена",
            "keep": "оставлена",
            "*": "{}",
        },
        "ended_because": {"leave": "сделка ушла со стадии", "close": "сделка закрыта", "*": "{}"},
        "waits_because": {
            "open": "есть открытые задачи",
            "not_done": "не все задачи выполнены",
            "no_tasks": "на этой стадии ещё не было ни одной задачи",
            "*": "{}",
        },
        "by_hand": {
            "": "Срок изменил человек, поэтому правило его больше не двигает.",
            "*": "Исполнителя сменил человек ({}), поэтому за ответственным за сделку задача не следует.",
        },
        "slipped": {
            "people": "изменил человек",
            "sweep": "перенёс обход",
            "follow": "вслед за сделкой",
            "undo": "обход отменён",
            "*": "{}",
        },
        "of_deal": {"": "", "*": " по сделке «{}»"},
        "refused": {
            "task.create": "поставить задачу",
            "task.deadline": "перенести срок задачи",
            "task.people": "сменить исполнителя или контролёра задачи",
            "task.complete": "завершить задачу",
            "task.defer": "отложить задачу",
            "task.resume": "возобновить задачу",
            "task.delete": "удалить задачу",
            "task.checklist": "дополнить чек-лист задачи",
            "task.line": "написать в задачу",
            "deal.move": "перевести сделку",
            "message": "доставить сообщение",
        },
        "refused_cure": {
            "task.create": " Устраните причину. Для сделок, которые ещё на этой стадии, задачи будут поставлены снова "
            "с новым файлом правил, по команде bitrix-sync release или bitrix-sync backfill.",
            "deal.move": " Устраните причину и переведите сделку сами.",
            "message": " Передайте сами то, что важно, и проверьте, может ли вебхук писать этому сотруднику.",
            "*": " Подробности: bitrix-sync status и журнал службы.",
        },
        "settled": {
            "the task is gone": "Задачи больше нет.",
            "the task was not created": "Задача так и не была поставлена.",
            "another task has its number now": "Под её номером теперь другая задача.",
            "the portal was put back": "Портал восстановили из резервной копии.",
            "there already": "Так уже было.",
            "closed": "Задача уже закрыта.",
            "closed or awaiting acceptance": "Задача уже закрыта или ждёт приёмки.",
            "closed, deferred or awaiting acceptance": "Задача закрыта, отложена или ждёт приёмки.",
            "a person has set another deadline": "Человек поставил другой срок.",
            "moved otherwise meanwhile": "Срок тем временем перенесён иначе.",
            "a person has set another owner": "Человек назначил другого исполнителя.",
            "the deal has moved elsewhere meanwhile": "Сделка тем временем перешла на другую стадию.",
            "the next sweep began": "Начался следующий обход.",
            "the deal went on before it was released": "Сделка ушла со стадии раньше, чем задачу отпустили.",
            "the portal kept the old deadline": "Портал ответил согласием, но оставил прежний срок.",
            "its new deadline has passed": "Новый срок прошёл раньше, чем дошла очередь.",
            "held and not released": "Переносов было слишком много, и администратор их не разрешил.",
            "the sweep was undone": "Обход отменён.",
            "sweeps were taken out of the rules": "Обходы убраны из правил.",
            "sent once; the portal did not confirm it": "Отправлено один раз, портал не подтвердил.",
            "the portal gave no id": "Портал не назвал номер.",
            "*": "{}",
        },
        "checked": {"true": "✓", "false": "✗"},
    },
    "en": {
        "yes": {"true": "yes", "false": "no"},
        "named": {"": "", "*": " ({})"},
        "controlled": {"": "Nobody controls it.", "*": "Controlled by: {}."},
        "branch": {"": "", "main": "", "else": " (by the else deadline)", "*": " (by the {} deadline)"},
        "lifted": {
            "": "",
            "false": "",
            "true": " By the rule it would have been in the past, so the next possible time was taken.",
        },
        "took": {
            "once": "this deal has had it before (repeat: once)",
            "if_none_open": "the earlier one is still open and was taken over (repeat: if_none_open)",
            "*": "{}",
        },
        "on_leave": {"complete": "completed", "defer": "deferred", "delete": "deleted", "keep": "kept", "*": "{}"},
        "ending": {"complete": "completed", "defer": "deferred", "delete": "deleted", "keep": "kept", "*": "{}"},
        "ended_because": {"leave": "the deal left the stage", "close": "the deal was closed", "*": "{}"},
        "waits_because": {
            "open": "there are open tasks",
            "not_done": "not every task is done",
            "no_tasks": "the stage has had no task yet",
            "*": "{}",
        },
        "by_hand": {
            "": "A person changed the deadline, so the rule no longer moves it.",
            "*": "A person changed the owner ({}), so the task does not follow the deal's responsible.",
        },
        "slipped": {
            "people": "changed by a person",
            "sweep": "moved by a sweep",
            "follow": "following the deal",
            "undo": "a sweep undone",
            "*": "{}",
        },
        "of_deal": {"": "", "*": " of the deal “{}”"},
        "refused": {
            "task.create": "make a task",
            "task.deadline": "move a task's deadline",
            "task.people": "change a task's owner or supervisor",
            "task.complete": "complete a task",
            "task.defer": "defer a task",
            "task.resume": "resume a task",
            "task.delete": "delete a task",
            "task.checklist": "add to a task's check list",
            "task.line": "write a line in a task",
            "deal.move": "move a deal",
            "message": "deliver a message",
        },
        "refused_cure": {
            "task.create": " Remove the cause. For deals that are still in the stage the tasks are made again with a "
            "new rules file, by bitrix-sync release or by bitrix-sync backfill.",
            "deal.move": " Remove the cause and move the deal yourself.",
            "message": " Pass on what matters, and see whether the webhook may write to this employee.",
            "*": " Details: bitrix-sync status and the log of the service.",
        },
        "settled": {
            "the task is gone": "The task is gone.",
            "the task was not created": "The task was never made.",
            "another task has its number now": "Another task has its number now.",
            "the portal was put back": "The portal was put back from a backup.",
            "there already": "It was so already.",
            "closed": "The task is closed already.",
            "closed or awaiting acceptance": "The task is closed or awaits acceptance.",
            "closed, deferred or awaiting acceptance": "The task is closed, deferred or awaits acceptance.",
            "a person has set another deadline": "A person has set another deadline.",
            "moved otherwise meanwhile": "The deadline was moved otherwise meanwhile.",
            "a person has set another owner": "A person has set another owner.",
            "the deal has moved elsewhere meanwhile": "The deal has moved elsewhere meanwhile.",
            "the next sweep began": "The next sweep began.",
            "the deal went on before it was released": "The deal went on before the task was released.",
            "the portal kept the old deadline": "The portal agreed but kept the old deadline.",
            "its new deadline has passed": "Its new deadline had passed before its turn came.",
            "held and not released": "There were too many moves at once, and no administrator let them go.",
            "the sweep was undone": "The sweep was undone.",
            "sweeps were taken out of the rules": "Sweeps were taken out of the rules.",
            "sent once; the portal did not confirm it": "Sent once, the portal did not confirm it.",
            "the portal gave no id": "The portal gave no id.",
            "*": "{}",
        },
        "checked": {"true": "✓", "false": "✗"},
    },
}
"""Words that depend on a value: by the value's text ("true" and "false" for yes and no, "" for None); "*" for any
other, with the value in its braces."""

_RU: dict[str, str] = {
    # why a rule did or did not do something
    "why.made": "Поставлена задача «{title}»{task:named}. Исполнитель: {owner} ({owner_path:path}). "
    "{supervisor:controlled} Срок: {deadline:moment}{branch:branch}.{lifted:lifted}",
    "made.field": "Поле {name}: {value}",
    "why.condition_false": "Условие (if) не выполнено, поэтому задачи нет. При изменении сделки оно проверится снова.",
    "why.cannot_judge": "Условие нельзя проверить: в поле «{field}» стоит «{value}», а нужно {wanted}. Исправьте "
    "значение в сделке или условие в правилах.",
    "why.waiting_start": "Задача появится позже. Ждём: {event}.",
    "why.exists": "Новой задачи нет{other:named}: {repeat:took}.",
    "why.visit_over": "Сделка уже ушла со стадии, а при уходе эта задача {on_leave:on_leave}, поэтому её и не ставили.",
    "why.deal_closed": "Сделка уже закрыта, задача не нужна.",
    "why.before_rules": "Сделка вошла в стадию раньше, чем правило было загружено.",
    "why.disabled": "Правило отключено: {reason}",
    "why.held_nobody": "Задачу некому поручить: ни исполнителя, ни его руководителя, ни запасного исполнителя "
    "(fallback_owner). Она придержана, администраторы знают.",
    "why.template_error": "Ошибка в шаблоне, задача не поставлена: {message}",
    "why.deadline_error": "Срок не рассчитать: в поле «{field}» стоит «{value}», а это не дата. Исправьте значение "
    "в сделке.",
    "why.followed": "Срок перенесён с {before:moment} на {after:moment}: {why}.",
    "why.not_followed_person": "{owner:by_hand}",
    "why.ended": "Задача {ending:ending}: {why:ended_because}.",
    "why.again": "Задача выполнена, а сделка всё ещё на стадии: следующая, № {number}, появится {at:moment}.",
    "why.people_followed": "У сделки новый ответственный: задача перешла к нему или к его руководителю. Исполнитель: "
    "{owner}.",
    "why.supervisor_followed": "У сделки новый ответственный, теперь задачу контролирует он: {supervisor}.",
    "why.advanced": "Все задачи стадии выполнены: сделка переведена на стадию «{stage}».",
    "why.advance_waits": "Сделка пока остаётся на стадии: {why:waits_because}.",
    "why.advance_brake": "За сутки сделка автоматически перешла уже 5 раз. На стадию «{stage}» она сама не пойдёт, "
    "контролёру об этом сообщено.",
    "why.advance_refused": "Портал не дал перевести сделку: {text} ({code}).",
    "why.history": "К первому запуску сделка уже была на этой стадии. Задним числом само ничего не делается.",
    "why.check": "{ok:checked} {what}: {seen}; нужно: {wanted}",
    # what is waited for
    "event.done": "будет выполнена задача «{name}»",
    "event.filled": "будет заполнено поле «{name}»",
    "event.stage": "сделка войдёт в стадию «{name}»",
    # what made a deadline follow
    "cause.field": "в сделке изменилось поле «{name}», теперь {value}",
    "cause.filled": "в сделке заполнено поле «{name}»: {value}",
    "cause.emptied": "в сделке очищено поле «{name}»",
    "cause.done": "выполнена задача «{name}»",
    "cause.stage": "сделка вошла в стадию «{name}»",
    "cause.happened_filled": "в сделке заполнено поле «{name}»",
    "cause.changed": "изменилось то, от чего он считается",
    # what a condition wants and sees
    "want.eq": "{value}",
    "want.in": "одно из: {value}",
    "want.min": "не меньше {value}",
    "want.max": "не больше {value}",
    "want.not": "не {value}",
    "want.not_in": "ни одно из: {value}",
    "want.contains": "содержит «{value}»",
    "want.filled": "заполнено",
    "want.empty": "пусто",
    "want.number": "число ({value})",
    "want.date": "дата ({value})",
    "want.choice": "да или нет ({value})",
    "want.text": "текст ({value})",
    "seen.choice": "{value:yes}",
    "seen.empty": "пусто",
    "seen.unread": "портал не показал это поле",
    # how the owner was found
    "path.responsible": "ответственный за сделку: {name}",
    "path.creator": "создатель сделки: {name}",
    "path.head": "руководитель ({of}): {name}",
    "path.user": "по правилу: {name}",
    "path.field": "поле «{field}»: {name}",
    "path.field_empty": "поле «{field}» пусто",
    "path.task": "исполнитель задачи «{rule}»: {name}",
    "path.no_task": "задачи «{rule}» по сделке нет",
    "path.department": "отдел «{department}»: {name}",
    "path.department_empty": "в отделе «{department}» никого",
    "path.one_of": "из списка: {name}",
    "path.nobody": "не нашли никого",
    "path.round_robin": "по очереди",
    "path.least_loaded": "наименьшая загрузка: {count:tasks} к этому сроку",
    "path.first": "первый по порядку",
    "path.unknown": "нет такого сотрудника: {name}",
    "path.fired": "{name} больше не работает",
    "path.away": "{name} отсутствует в день срока",
    "path.head_over": "его руководитель: {name}",
    "path.no_head": "руководителя нет ({name})",
    "path.else": "иначе (else)",
    "path.fallback": "запасной исполнитель: {name}",
    "path.no_fallback": "запасного исполнителя нет",
    "path.kept": "заменить некем, остаётся {name}",
    "path.self": "владелец вебхука: {name}",
    # lines in tasks
    "line.deadline_followed": "Срок перенесён с {before:moment} на {after:moment}: {why}.",
    "line.lifted": "Рассчитанный срок уже прошёл, поэтому взят ближайший возможный.",
    "line.owner_followed": "У сделки новый ответственный, поэтому у задачи новый исполнитель: {owner}.",
    "line.supervisor_followed": "У сделки новый ответственный, поэтому у задачи новый контролёр: {supervisor}.",
    "line.taken_over": "Сделка снова на стадии «{stage}»: вместо новой задачи продолжается эта.",
    "line.ended": "Задача {ending:ending} автоматически: {why:ended_because}.",
    "task.checklist": "Чек-лист",
    "line.last_resort": "Исполнителя по правилу найти не удалось, поэтому задача поставлена владельцу вебхука "
    "({owner}). Передайте её тому, кто должен её выполнить.",
    # to the administrators and supervisors
    "admin.held": "Придержано: {count:tasks}. За десять минут правила захотели поставить больше "
    "{limit:of_tasks}. Посмотрите: bitrix-sync held. Отпустить: bitrix-sync release.",
    "admin.owner_not_found": "Задачу «{title}» по сделке «{deal}» (правило {rule}) некому поручить: она придержана. "
    "Укажите в правилах fallback_owner, затем выполните bitrix-sync release.",
    "admin.rule_failed": "Правило {rule} не сработало на сделке «{deal}»: {message}",
    "admin.rules_off": "Отключено: {rules} ({reason}). Остальные правила работают.",
    "admin.rules_refused": "Новый файл правил не принят, работает прежний. Ошибки:\n{problems}",
    "notice.move_refused": "Все задачи сделки «{deal}» выполнены, но портал не дал перевести её на стадию «{stage}» "
    "({text}). Заполните нужные поля и переведите сделку сами.",
    "notice.moves_refused": "Все задачи выполнены, но портал не дал перевести на стадию «{stage}» {count:moved_deals}: "
    "{deals} ({text}). Заполните нужные поля и переведите сделки сами.",
    "admin.refused": "{count:refusals} портала: не удалось {kind:refused}. Например: {example}. Ответ портала: "
    "{text}{code:named}.{cure:refused_cure}",
    "refused.task": "задача «{title}»{deal:of_deal}",
    "refused.move": "сделка «{deal}», стадия «{stage}»",
    "refused.message": "адресат — {user}",
    "refused.deal": "«{deal}»",
    "admin.sees_no_deals": "Портал не показывает ни одной сделки в работе. Если они есть, дайте пользователю вебхука "
    "({who}) право читать сделки: CRM → Настройки → Права доступа. Проверить: bitrix-sync check. Служба работает и "
    "ждёт; на то, что началось до {began:moment}, правила сами не подействуют.",
    "admin.deals_seen": "Портал начал показывать сделки. На стадии, куда сделки вошли до {began:moment}, правила сами "
    "не действуют. Посмотреть, какие задачи можно поставить: bitrix-sync backfill --dry-run. Поставить: "
    "bitrix-sync backfill.",
    "admin.stuck": "Дольше пяти минут отправляются операции: {count}. Так быть не должно. Служба сверится с порталом и "
    "продолжит сама. Если такое повторится, посмотрите журнал службы.",
    "admin.stranger": "Номер задачи «{title}» теперь у другой задачи портала, нашей задачи больше нет. Чужую "
    "программа не трогает. Обычно так бывает, когда портал восстановили из резервной копии.",
    "admin.put_back": "Портал восстановили из резервной копии: в нём больше нет {count:of_rows} истории, которые "
    "помнит программа, или под их номерами уже другие. Работа продолжается по тому, что есть в портале сейчас. "
    "Проверьте сделки и задачи последних дней.",
    "admin.marks_first": "База программы новая, но в портале уже есть задачи с её пометкой ({count:tasks}: {tasks}). "
    "Они приняты как свои. Если прежняя база потерялась, остановите программу, верните базу из резервной копии и "
    "запустите снова.",
    "admin.marks_start": "В портале есть задачи с пометкой программы, о которых её база не знает ({count:tasks}: "
    "{tasks}). Похоже, базу вернули из более старой копии. Что удалось узнать, принято как своё.",
    "admin.marks_running": "В портале появились задачи с пометкой программы, которых она не ставила ({count:tasks}: "
    "{tasks}). Похоже, с этим порталом работает ещё одна bitrix-sync со своей базой, и задачи ставятся дважды. "
    "Оставьте одну.",
    "admin.unjudged": "Пока не обработано: {count:deals}, например № {deal}. Не удалось прочитать: {why}. Как только "
    "удастся, правила отработают сами.",
    "admin.unread": "Не удалось прочитать с портала ({part}): {why}. Остаётся в силе то, что было известно раньше.",
    "admin.bad_rows": "Некоторые строки портала прочитать нельзя; они пропущены, остальная работа идёт: {rows}. "
    "Номера — в журнале службы. Исправьте значение в портале или напишите в его поддержку.",
    "admin.twin": "Две одинаковые задачи: лишняя № {task} «{title}» уже в работе, поэтому сама не удалена. Решите, "
    "какую оставить.",
    "notice.brake": "Сделка «{deal}» за сутки автоматически перешла {count:times} и остановлена на стадии «{stage}». "
    "Проверьте, не ходит ли она по кругу, и переведите её сами.",
    "admin.portal_refuses": "Портал отказывает нам: {text} ({code}). Работа с порталом остановлена. Проверьте "
    "вебхук: bitrix-sync check.",
}

_EN: dict[str, str] = {
    "why.made": "Task “{title}”{task:named} was made. Owner: {owner} ({owner_path:path}). "
    "{supervisor:controlled} Deadline: {deadline:moment}{branch:branch}.{lifted:lifted}",
    "made.field": "Field {name}: {value}",
    "why.condition_false": "The condition (if) does not hold, so there is no task. It is judged again when the deal "
    "changes.",
    "why.cannot_judge": "The condition cannot be judged: the field “{field}” holds “{value}”, but what is needed is "
    "{wanted}. Correct the value in the deal or the condition in the rules.",
    "why.waiting_start": "The task will appear later. Waiting until {event}.",
    "why.exists": "No new task{other:named}: {repeat:took}.",
    "why.visit_over": "The deal had already left the stage, and on leaving this task is {on_leave:on_leave}, so it was "
    "not made.",
    "why.deal_closed": "The deal is already closed, the task is not needed.",
    "why.before_rules": "The deal entered the stage before the rule was loaded.",
    "why.disabled": "The rule is switched off: {reason}",
    "why.held_nobody": "Nobody can take the task: no owner, no head over the owner, no fallback_owner. It is held and "
    "the administrators have been told.",
    "why.template_error": "A template failed, the task was not made: {message}",
    "why.deadline_error": "The deadline cannot be computed: the field “{field}” holds “{value}”, which is no date. "
    "Correct the value in the deal.",
    "why.followed": "The deadline was moved from {before:moment} to {after:moment}: {why}.",
    "why.not_followed_person": "{owner:by_hand}",
    "why.ended": "The task was {ending:ending}: {why:ended_because}.",
    "why.again": "The task is done and the deal is still in the stage: the next one, No. {number}, will appear on "
    "{at:moment}.",
    "why.people_followed": "The deal has a new responsible, and the task followed. Owner: {owner}.",
    "why.supervisor_followed": "The deal has a new responsible, who controls the task now: {supervisor}.",
    "why.advanced": "Every task of the stage is done: the deal was moved to the stage “{stage}”.",
    "why.advance_waits": "The deal stays in the stage for now: {why:waits_because}.",
    "why.advance_brake": "The deal has been moved automatically 5 times within 24 hours. It is not moved on to "
    "“{stage}”, and its supervisor has been told.",
    "why.advance_refused": "The portal refused to move the deal: {text} ({code}).",
    "why.history": "The deal was already in this stage at the first start. Nothing is done about the past by itself.",
    "why.check": "{ok:checked} {what}: {seen}; wanted: {wanted}",
    "event.done": "the task “{name}” is done",
    "event.filled": "the field “{name}” is filled",
    "event.stage": "the deal enters the stage “{name}”",
    "cause.field": "the deal's field “{name}” changed, it is now {value}",
    "cause.filled": "the deal's field “{name}” was filled: {value}",
    "cause.emptied": "the deal's field “{name}” was emptied",
    "cause.done": "the task “{name}” is done",
    "cause.stage": "the deal entered the stage “{name}”",
    "cause.happened_filled": "the deal's field “{name}” was filled",
    "cause.changed": "what it is counted from changed",
    "want.eq": "{value}",
    "want.in": "one of: {value}",
    "want.min": "at least {value}",
    "want.max": "at most {value}",
    "want.not": "not {value}",
    "want.not_in": "none of: {value}",
    "want.contains": "contains “{value}”",
    "want.filled": "filled",
    "want.empty": "empty",
    "want.number": "a number ({value})",
    "want.date": "a date ({value})",
    "want.choice": "yes or no ({value})",
    "want.text": "a text ({value})",
    "seen.choice": "{value:yes}",
    "seen.empty": "empty",
    "seen.unread": "the portal did not show this field",
    "path.responsible": "the deal's responsible: {name}",
    "path.creator": "the deal's creator: {name}",
    "path.head": "the head over {of}: {name}",
    "path.user": "named in the rule: {name}",
    "path.field": "field “{field}”: {name}",
    "path.field_empty": "field “{field}” is empty",
    "path.task": "owner of the task “{rule}”: {name}",
    "path.no_task": "the deal has no task “{rule}”",
    "path.department": "department “{department}”: {name}",
    "path.department_empty": "nobody in the department “{department}”",
    "path.one_of": "from the list: {name}",
    "path.nobody": "nobody found",
    "path.round_robin": "in turn",
    "path.least_loaded": "least loaded: {count:tasks} by this deadline",
    "path.first": "the first in order",
    "path.unknown": "{name} is not among the employees",
    "path.fired": "{name} no longer works here",
    "path.away": "{name} is away at the deadline",
    "path.head_over": "the head: {name}",
    "path.no_head": "no head over {name}",
    "path.else": "else",
    "path.fallback": "fallback owner: {name}",
    "path.no_fallback": "no fallback owner",
    "path.kept": "no substitute, {name} keeps it",
    "path.self": "the webhook's own user: {name}",
    "line.deadline_followed": "The deadline was moved from {before:moment} to {after:moment}: {why}.",
    "line.lifted": "The computed deadline had already passed, so the next possible time was taken.",
    "line.owner_followed": "The deal has a new responsible, so the task has a new owner: {owner}.",
    "line.supervisor_followed": "The deal has a new responsible, so the task has a new supervisor: {supervisor}.",
    "line.taken_over": "The deal is in the stage “{stage}” again: this task goes on instead of a new one.",
    "line.ended": "The task was {ending:ending} automatically: {why:ended_because}.",
    "task.checklist": "Checklist",
    "line.last_resort": "No owner could be found by the rule, so the task was given to the webhook's own user "
    "({owner}). Hand it over to whoever should do it.",
    "admin.held": "Held back: {count:tasks}. Within ten minutes the rules wanted to make more than "
    "{limit:of_tasks}. To look: bitrix-sync held. To let them go: bitrix-sync release.",
    "admin.owner_not_found": "Nobody can take the task “{title}” of the deal “{deal}” (rule {rule}): it is held. "
    "Set fallback_owner in the rules, then run bitrix-sync release.",
    "admin.rule_failed": "Rule {rule} failed on the deal “{deal}”: {message}",
    "admin.rules_off": "Switched off: {rules} ({reason}). The other rules go on.",
    "admin.rules_refused": "The new rules file was refused, the previous one goes on. Errors:\n{problems}",
    "notice.move_refused": "Every task of the deal “{deal}” is done, but the portal refused to move it to the stage "
    "“{stage}” ({text}). Fill in what is missing and move the deal yourself.",
    "notice.moves_refused": "Every task is done, but the portal refused to move {count:moved_deals} to the stage "
    "“{stage}”: {deals} ({text}). Fill in what is missing and move the deals yourself.",
    "admin.refused": "{count:refusals} by the portal: it was not possible to {kind:refused}. For example: {example}. "
    "Its answer: {text}{code:named}.{cure:refused_cure}",
    "refused.task": "the task “{title}”{deal:of_deal}",
    "refused.move": "the deal “{deal}”, the stage “{stage}”",
    "refused.message": "for {user}",
    "refused.deal": "“{deal}”",
    "admin.sees_no_deals": "The portal shows no deal in progress. If there are any, let the webhook's user ({who}) "
    "read deals: CRM > Settings > Access permissions. To check: bitrix-sync check. The service works and waits; the "
    "rules do not act by themselves on what began before {began:moment}.",
    "admin.deals_seen": "The portal has begun to show deals. The rules do not act by themselves on stages that were "
    "entered before {began:moment}. To see which tasks could be made: bitrix-sync backfill --dry-run. To make them: "
    "bitrix-sync backfill.",
    "admin.stuck": "Being sent for more than five minutes, which should never be: {count}. The service compares "
    "with the portal and goes on by itself. If this happens again, see the log of the service.",
    "admin.stranger": "The number of the task “{title}” belongs to another task of the portal now; ours is gone. The "
    "other one is left alone. This is usually so after the portal was put back from a backup.",
    "admin.put_back": "The portal was put back from a backup: {count:of_rows} of its history that this program "
    "remembers are gone from it, or others have their numbers. Work goes on from what the portal holds now. Look "
    "through the deals and tasks of the last days.",
    "admin.marks_first": "The program's database is new, but the portal already has tasks with its mark "
    "({count:tasks}: {tasks}). They are taken as its own. If the former database was lost, stop the program, put the "
    "database back from a backup and start again.",
    "admin.marks_start": "The portal has tasks with the program's mark that its database does not know "
    "({count:tasks}: {tasks}). An older backup of the database seems to have been put back. What could be recognised "
    "is taken as its own.",
    "admin.marks_running": "Tasks have appeared in the portal with the program's mark that it did not make "
    "({count:tasks}: {tasks}). Another bitrix-sync with a database of its own seems to work on this portal, so that "
    "tasks are made twice. Leave one of them.",
    "admin.unjudged": "Not dealt with yet: {count:deals}, No. {deal} for example. This could not be read: {why}. As "
    "soon as it can be, the rules will act by themselves.",
    "admin.unread": "Could not be read from the portal ({part}): {why}. What was known before stays in force.",
    "admin.bad_rows": "Some rows of the portal cannot be read; they are left out, and all other work goes on: {rows}. "
    "Their numbers are in the log of the service. Correct the value in the portal, or write to its support.",
    "admin.twin": "Two tasks are the same: the extra one, No. {task} “{title}”, is already being worked on, so it was "
    "not deleted. Decide which one stays.",
    "notice.brake": "The deal “{deal}” was moved automatically {count:times} within 24 hours and was stopped in the "
    "stage “{stage}”. See whether it goes in circles and move it yourself.",
    "admin.portal_refuses": "The portal refuses us: {text} ({code}). Work with the portal has stopped. Check the "
    "webhook: bitrix-sync check.",
}

MESSAGES: Mapping[str, Mapping[str, str]] = {
    "ru": _RU | wording_rules.RU | wording_page.RU | wording_commands.RU | wording_sweep.RU | wording_demo.RU,
    "en": _EN | wording_rules.EN | wording_page.EN | wording_commands.EN | wording_sweep.EN | wording_demo.EN,
}
