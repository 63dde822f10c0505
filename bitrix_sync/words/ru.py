"""Russian: all that the service says to people in it. Data; what each table is for stands in ``language``."""

from __future__ import annotations

DATE = "d MMMM"
LETTERS = "Ѐ-ӿ"
YES, NO = ("да",), ("нет",)

NOUNS: dict[str, tuple[str, ...]] = {
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
    "on_deals": ("сделке", "сделках", "сделках"),
    "warnings": ("предупреждение", "предупреждения", "предупреждений"),
    "moved_deals": ("сделку", "сделки", "сделок"),
    "refusals": ("отказ", "отказа", "отказов"),
    "of_rows": ("записи", "записей", "записей"),
}

CHOICES: dict[str, dict[str, str]] = {
    "until_weekday": {
        "0": "понедельника",
        "1": "вторника",
        "2": "среды",
        "3": "четверга",
        "4": "пятницы",
        "5": "субботы",
        "6": "воскресенья",
    },
    "fits": {"true": "", "false": ", хотя места нет"},
    "sweep_state": {
        "claimed": "идёт",
        "moving": "идёт",
        "held": "придержан",
        "done": "прошёл",
        "undone": "отменён",
        "skipped": "пропущен",
        "*": "{}",
    },
    "sweep_name": {"morning": "утренний", "evening": "вечерний", "*": "{}"},
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
    "semantic": {"S": "успех", "F": "провал", "*": ""},
    "field_of": {"deal": "сделка", "task": "задача"},
    "multiple": {"true": ", несколько", "*": ""},
    "field_type": {
        "string": "текст",
        "integer": "целое число",
        "double": "число",
        "money": "деньги",
        "date": "дата",
        "datetime": "дата и время",
        "boolean": "да или нет",
        "enumeration": "список",
        "crm_status": "список",
        "crm_category": "воронка",
        "crm_currency": "валюта",
        "employee": "сотрудник",
        "user": "сотрудник",
        "url": "ссылка",
        "file": "файл",
        "address": "адрес",
        "crm": "элемент CRM",
        "crm_company": "компания",
        "crm_contact": "контакт",
        "crm_deal": "сделка",
        "crm_lead": "лид",
        "location": "местоположение",
        "char": "да или нет",
        "text": "текст",
        "*": "{}",
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
    "part": {
        "funnels": "воронки",
        "profile": "владелец вебхука",
        "scopes": "права вебхука",
        "fields": "поля сделок",
        "user_fields": "пользовательские поля сделок",
        "task_fields": "поля задач",
        "groups": "рабочие группы",
        "time_zone": "часовой пояс",
        "calendar": "календарь",
        "users": "сотрудники",
        "departments": "отделы",
        "absences": "отсутствия",
        "stages": "стадии воронки {}",
        "options": "значения справочника {}",
        "*": "{}",
    },
    "row": {
        "visit": "движение сделки по стадиям",
        "deal": "сделка",
        "task": "задача",
        "mark": "задача",
        "activity": "дело",
        "client": "клиент",
        "funnel": "воронка",
        "stage": "стадия",
        "user": "сотрудник",
        "department": "отдел",
        "absence": "отсутствие",
        "*": "{}",
    },
    "reason": {
        "the task is gone": "Задачи больше нет.",
        "the task was not created": "Задача так и не была поставлена.",
        "what it tells of was not done": "То, о чём эта строка, не было сделано.",
        "another task has its number now": "Под её номером теперь другая задача.",
        "the portal was put back": "Портал восстановили из резервной копии.",
        "there already": "Так уже было.",
        "closed": "Задача уже закрыта.",
        "closed or awaiting acceptance": "Задача уже закрыта или ждёт приёмки.",
        "closed, deferred or awaiting acceptance": "Задача закрыта, отложена или ждёт приёмки.",
        "a person has bound the task to another deal": "Задачу привязали к другой сделке.",
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
        "so already": "Так уже было.",
        "found in the portal": "Задача нашлась в портале.",
        "removed with rule {}": "Убрано вместе с задачами правила {}.",
        "not in the rules": "Обхода в правилах нет.",
        "missed": "Время обхода пропущено.",
        "a task of the portal cannot be read": "Одну из задач портала нельзя прочитать.",
        "cannot be noted ({})": "Итог не удалось записать ({}).",
        "its answer cannot be judged ({})": "Ответ портала не разобрать ({}).",
        "makes no sense ({}); the log says more": "Операцию не разобрать ({}); подробности в журнале службы.",
        "it awaits acceptance": "Задача ждёт приёмки.",
        "its deal is gone": "Сделки больше нет.",
        "its deal is closed": "Сделка закрыта.",
        "its limit of moves: {}": "Предел переносов: {}.",
        "status": "Человек изменил состояние.",
        "owner": "Человек сменил исполнителя.",
        "deadline": "Человек изменил срок.",
        "title": "Человек изменил название.",
        "change": "Человек что-то изменил.",
        "The stage `{}` is gone from every funnel": "стадии «{}» нет ни в одной воронке",
        "The funnel {} is gone from the portal": "на портале больше нет воронки {}",
        "The stage {} is gone from the portal": "на портале больше нет стадии {}",
        "The field {} is gone from the portal": "на портале больше нет поля {}",
        "The user field {} is gone from the portal": "на портале больше нет поля задач {}",
        "The value {} is gone from the portal": "на портале больше нет значения {}",
        "The department {} is gone from the portal": "на портале больше нет отдела {}",
        "The workgroup {} is gone from the portal": "на портале больше нет группы {}",
        "The user {} is gone from the portal": "на портале больше нет сотрудника {}",
        "`{}` could not be read from the portal": "«{}» не удалось прочитать с портала",
        "*": "{}",
    },
    "checked": {"true": "✓", "false": "✗"},
}

MESSAGES: dict[str, str] = {
    # what a command has done, and the columns of its tables
    "account.made": "Поставлено задач: {count:number} (сделок: {deals:number})",
    "account.did.task.deadline": "Перенесено сроков: {count:number}",
    "account.did.task.people": "Смен исполнителя или контролёра: {count:number}",
    "account.did.task.complete": "Завершено задач: {count:number}",
    "account.did.task.defer": "Отложено задач: {count:number}",
    "account.did.task.resume": "Возобновлено задач: {count:number}",
    "account.did.task.delete": "Удалено задач: {count:number}",
    "account.did.task.checklist": "Пунктов чек-листов: {count:number}",
    "account.did.task.line": "Строк в задачах: {count:number}",
    "account.did.deal.move": "Переведено сделок: {count:number}",
    "account.did.message": "Сообщений: {count:number}",
    "account.failed": "Портал отказал: {count:number}, см. выше",
    "account.dropped": "Уже не нужно: {count:number}",
    "account.unknown": "Без ясного ответа: {count:number}",
    "account.waiting": "Ещё ждёт записи: {count:number}",
    "account.held": "Придержано: {count:number}",
    "account.unread": "Не удалось прочитать сделок: {count:number}",
    "account.released": "Отпущено: {count:number}",
    "account.still_held": "По-прежнему придержано: {count:number}",
    "account.tried_again": "Повторено после отказа: {count:number}",
    "account.unsent": "Снято с отправки: {count:number}",
    "account.overdue": "Просрочено задач: {count:number}",
    "account.moves": "К переносу: {count:number}",
    "account.moved": "Перенесено сроков: {count:number}",
    "account.remaining": "Осталось перенести: {count:number}",
    "account.messages": "Сообщений: {count:number}",
    "account.to_put_back": "К возврату сроков: {count:number}",
    "account.put_back": "Возвращено сроков: {count:number}",
    "account.left_alone": "Оставлено как есть: {count:number}",
    "account.dry_run": "Проба: ничего не записано",
    "account.watch": "Пробный режим: в портал ничего не пишется",
    "account.sees_no_deals": "Портал не показывает ни одной сделки",
    "account.rights_lost": "Вебхук видит не все задачи, которые видел раньше",
    "account.believed": "Пропавшее с портала признано пропавшим",
    "account.nothing": "Делать нечего",
    "account.line.done": "сделано",
    "account.line.failed": "портал отказал",
    "account.line.dropped": "уже не нужно",
    "account.deal": "сделка {deal}",
    "account.next.undo": "Дальше: если сроки опять просрочены, следующий обход их перенесёт; обходы задаются "
    "в overdue файла правил.",
    "account.next.remove": "Дальше: исправьте правило в файле. Сами удалённые задачи не вернутся; поставить "
    "их снова: `bitrix-sync backfill --rule {rule} --again`.",
    "command.paused": "Пауза: до `bitrix-sync resume` в портал ничего не пишется",
    "command.resumed": "Пауза снята",
    "command.written": "Записано: {file}",
    "command.restored": "В базе теперь то, что было в {file}; запустите службу",
    "command.draft": "Сообщение, кому: {user}",
    "command.sweep_held": "Переносов больше, чем `max_moves`: такой обход придержан до `bitrix-sync release`",
    "command.sweep_rest": "Остальное сделает `bitrix-sync run`, примерно до {until}",
    "column.tasks": "задачи",
    "column.deal": "сделка",
    "column.task": "задача",
    "column.title": "название",
    "column.owner": "исполнитель",
    "column.supervisor": "контролёр",
    "column.deadline": "срок",
    "column.from": "было",
    "column.to": "стало",
    "column.why not": "почему нет",
    "column.overdue": "просрочено",
    "column.handed_over": "передаётся",
    "column.load": "загрузка по дням",
    "column.room": "мест",
    "column.until": "до",
    "column.sweeps": "обходы",
    "column.sweep": "обход",
    "column.state": "состояние",
    "column.moved": "перенесено",
    "column.put back": "возвращено",
    "column.deadlines": "сроки",
    "column.changed": "изменения",
    "column.held": "придержано",
    "column.kind": "что",
    "column.since": "с",
    "column.why": "почему",
    "column.whose": "чьё",
    "column.s4": "С4",
    "column.s5": "С5",
    "column.s6": "С6",
    "column.s7": "С7",
    "column.score": "балл",
    "column.deals": "сделок",
    "column.open tasks": "открытых задач",
    "column.standard": "стандарт",
    "column.delete": "удалить",
    "column.keep": "оставить",
    # why a rule did or did not do something
    "why.made": "Поставлена задача «{title}». Исполнитель: {owner} ({owner_path:path}). "
    "{supervisor:controlled} Срок: {deadline:moment}{branch:branch}.{lifted:lifted}",
    "made.field": "Поле {name}: {value}",
    "why.condition_false": "Условие (if) не выполнено, поэтому задачи нет. При изменении сделки оно проверится снова.",
    "why.cannot_judge": "Условие нельзя проверить: в поле «{field}» стоит «{value}», а нужно {wanted}. Исправьте "
    "значение в сделке или условие в правилах.",
    "why.waiting_start": "Задача появится позже. Ждём: {event}.",
    "why.waiting_idle": "У сделки нет следующего шага с {since:moment}. Если ничего не запланируют, задача появится "
    "{at:moment}.",
    "why.exists": "Новой задачи нет: {repeat:took}.",
    "why.visit_over": "Сделка уже ушла со стадии, а при уходе эта задача {on_leave:on_leave}, поэтому её и не ставили.",
    "why.deal_closed": "Сделка уже закрыта, задача не нужна.",
    "why.before_rules": "Сделка вошла в стадию раньше, чем правило было загружено.",
    "why.disabled": "Правило отключено: {reason:reason}",
    "why.held_nobody": "Задачу некому поручить: ни исполнителя, ни руководителя, ни запасного исполнителя "
    "(fallback_owner). Она придержана, администраторы знают.",
    "why.template_error": "Ошибка в шаблоне, задача не поставлена: {message:fault}",
    "why.deadline_error": "Срок не рассчитать: в поле «{field}» стоит «{value}», а это не дата. Исправьте значение "
    "в сделке.",
    "why.followed": "Срок перенесён с {before:moment} на {after:moment}: {why}.",
    "why.not_followed_person": "{owner:by_hand}",
    "why.ended": "Задача {ending:ending}: {why:ended_because}.",
    "why.again": "Задача выполнена, а сделка всё ещё на стадии: следующая, № {number}, появится {at:moment}.",
    "why.people_followed": "У сделки новый ответственный: задача перешла следом. Исполнитель: {owner}.",
    "why.supervisor_followed": "У сделки новый ответственный, задачу теперь контролирует {supervisor}.",
    "why.advanced": "Все задачи стадии выполнены: сделка переведена на стадию «{stage}».",
    "why.advance_waits": "Сделка пока остаётся на стадии: {why:waits_because}.",
    "why.advance_brake": "За сутки сделка автоматически перешла уже 5 раз. На стадию «{stage}» она сама не пойдёт, "
    "контролёру об этом сообщено.",
    "why.advance_refused": "Портал не дал перевести сделку: {text} ({code}).",
    "why.history": "К первому запуску сделка уже была на этой стадии. Задним числом само ничего не делается.",
    "why.swept": "Обход {sweep}: срок перенесён с {before:moment} на {after:moment}{fits:fits}",
    "why.lent": "Задачу пока ведёт {owner}: {absent} отсутствует до {until:day}.",
    "why.given_back": "Замещение закончилось, задачу снова ведёт {owner}.",
    "why.check": "{ok:checked} {what}: {seen}; нужно: {wanted}",
    # what is waited for
    "next_step.ahead": "Следующий шаг у сделки есть.",
    "next_step.none": "Без следующего шага с {since:moment}, если ничего не запланируют; после {at:moment} об этом "
    "узнают её ответственный и его руководитель.",
    "event.done": "будет выполнена задача «{name}»",
    "event.filled": "будет заполнено поле «{name}»",
    "event.becomes": "в сделке выполнится: {name}",
    "event.becomes_so": "сделка будет отвечать условиям ниже",
    "event.idle": "сделка простоит без следующего шага {name}",
    "event.stage": "сделка войдёт в стадию «{name}»",
    # what made a deadline follow
    "cause.field": "в сделке изменилось поле «{name}», теперь {value}",
    "cause.filled": "в сделке заполнено поле «{name}»: {value}",
    "cause.emptied": "в сделке очищено поле «{name}»",
    "cause.event.done": "выполнена задача «{name}»",
    "cause.event.stage": "сделка вошла в стадию «{name}»",
    "cause.event.filled": "в сделке заполнено поле «{name}»",
    "cause.event.became": "сделка стала отвечать условиям правила",
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
    "path.head_over": "руководитель: {name}",
    "path.substitute": "замещает {name}",
    "path.no_stand_in": "заместить некому ({name})",
    "path.no_head": "руководителя нет ({name})",
    "path.else": "иначе (else)",
    "path.fallback": "запасной исполнитель: {name}",
    "path.no_fallback": "запасного исполнителя нет",
    "path.kept": "заменить некем, остаётся {name}",
    "path.self": "владелец вебхука: {name}",
    # lines in tasks
    "line.deadline_followed": "Срок перенесён с {before:moment} на {after:moment}: {why}.",
    "line.owner_followed": "У сделки новый ответственный, поэтому у задачи новый исполнитель: {owner}.",
    "line.supervisor_followed": "У сделки новый ответственный, поэтому у задачи новый контролёр: {supervisor}.",
    "line.lent": "{absent} отсутствует до {until:day}, поэтому задачу пока ведёт {owner}.",
    "line.given_back": "Замещение закончилось, задачу снова ведёт {owner}.",
    "line.taken_over": "Сделка снова на стадии «{stage}»: вместо новой задачи продолжается эта.",
    "task.checklist": "Чек-лист",
    "line.last_resort": "Исполнителя по правилу найти не удалось, поэтому задача поставлена владельцу вебхука "
    "({owner}). Передайте её тому, кому её выполнять.",
    # to the administrators and supervisors
    "admin.held": "Придержано: {count:tasks}. За десять минут правила захотели поставить больше "
    "{limit:of_tasks}. Посмотрите: bitrix-sync held. Отпустить: bitrix-sync release.",
    "admin.owner_not_found": "Задачу «{title}» по сделке «{deal}» некому поручить, она придержана. "
    "Укажите в правилах fallback_owner, затем выполните bitrix-sync release.",
    "admin.rule_failed": "Правило «{title}» ({rule}) не сработало на сделке «{deal}». {message}",
    "admin.rules_off": "Отключено: {rules}. Причина: {reason:reason}. Остальные правила работают.",
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
    "admin.unjudged": "Пока не обработано: {count:deals}, например № {deal}. Не удалось прочитать: {why:reason}. "
    "Как только удастся, правила отработают сами.",
    "admin.unread": "Не удалось прочитать с портала ({parts}): {why:reason}. В силе остаётся то, что было известно "
    "раньше.",
    "admin.steps_unread": "Не удалось прочитать, что запланировано по сделкам: {why:reason}. Пока это так, о сделках "
    "без следующего шага никому не скажут и задач по ним не поставят.",
    "admin.bad_rows": "Некоторые строки портала прочитать нельзя; они пропущены, остальная работа идёт: {rows}. "
    "Номера — в журнале службы. Исправьте значение в портале или напишите в его поддержку.",
    "admin.twin": "Две одинаковые задачи: лишняя № {task} «{title}» уже в работе, поэтому сама не удалена. Решите, "
    "какую оставить.",
    "notice.brake": "Сделка «{deal}» за сутки автоматически перешла {count:times} и остановлена на стадии «{stage}». "
    "Проверьте, не ходит ли она по кругу, и переведите её сами.",
    "admin.portal_refuses": "Портал отказывает нам: {text} ({code}). Работа с порталом остановлена. Проверьте "
    "вебхук: bitrix-sync check.",
    # rules in words
    "rule.entry_after": "через {span}",
    "rule.entry": "в тот же рабочий день",
    "rule.at": "{moment}, в {at}",
    "rule.else": "{this}; иначе {other}",
    "rule.field": "в день «{name}»",
    "rule.field_after": "через {span} после «{name}»",
    "rule.field_before": "за {span} до «{name}»",
    "rule.date": "{name}",
    "rule.date_after": "через {span} после {name}",
    "rule.date_before": "за {span} до {name}",
    "rule.event": "в тот день, когда {name}",
    "rule.event_after": "через {span} после того, как {name}",
    "rule.day_off.next": " (с выходного на следующий рабочий день)",
    "rule.day_off.previous": " (с выходного на предыдущий рабочий день)",
    "rule.day_off.keep": " (и в выходной)",
    "rule.who.responsible": "ответственный за сделку",
    "rule.who.creator": "создатель сделки",
    "rule.who.head": "руководитель",
    "rule.who.nobody": "никто",
    "rule.who.field": "сотрудник из поля «{name}»",
    "rule.who.task": "исполнитель задачи «{name}»",
    "rule.who.department": "отдел «{name}», {pick}",
    "rule.who.one_of": "один из: {names}; {pick}",
    "rule.pick.round_robin": "по очереди",
    "rule.pick.least_loaded": "наименее загруженный",
    "rule.pick.first": "первый по порядку",
    "rule.and": " и ",
    "rule.or": " или ",
    "rule.not": "не ({what})",
    "rule.note.condition": "Только если {value}",
    "rule.note.start": "Появляется, когда {value}",
    "rule.note.again": "Выполнена, а сделка ещё на стадии: следующая через {value}",
    "rule.note.repeat.if_none_open": "Пока прежняя открыта, новой нет",
    "rule.note.repeat.once": "Один раз для сделки",
    "rule.note.on_leave.complete": "Ушла со стадии: завершается",
    "rule.note.on_leave.defer": "Ушла со стадии: откладывается",
    "rule.note.on_leave.delete": "Ушла со стадии: удаляется",
    "rule.note.on_close.complete": "Сделка закрыта: завершается",
    "rule.note.on_close.defer": "Сделка закрыта: откладывается",
    "rule.note.on_close.delete": "Сделка закрыта: удаляется",
    "rule.note.checklist": "Чек-лист: {value}",
    "rule.note.fields": "Заполняет поля задачи: {value}",
    "rule.note.priority.low": "Низкий приоритет",
    "rule.note.priority.high": "Высокий приоритет",
    "rule.note.control": "Результат принимает контролёр",
    "rule.note.result_required": "Не закрыть без результата",
    "rule.note.supervisor_observes": "Контролёр не наблюдает за задачей",
    "rule.note.project": "Рабочая группа {value}",
    "rule.note.tags": "Теги: {value}",
    "rule.note.away.substitute": "Отсутствующего заменяют",
    "rule.note.observers": "Наблюдают: {value}",
    "rule.note.participants": "Соисполнители: {value}",
    "rule.note.overdue_never": "Срок обходами не переносится",
    "rule.note.overdue_limit": "Переносов не больше {value}",
    "rule.note.overdue_move": "Просроченная переносится: {value}",
    "rule.watch": "Режим наблюдения (watch): решения принимаются и видны здесь, но в портал ничего не пишется.",
    "rule.no_sweeps": "Обходов нет: раздела overdue в файле нет, просроченные сроки не переносятся.",
    "rule.just_telling": "Утреннее сообщение всё равно приходит — к началу рабочего дня.",
    "rule.sweep.morning": "Утренний обход в {at}: новый срок просроченного — {to}.",
    "rule.sweep.evening": "Вечерний обход в {at}: новый срок просроченного — {to}.",
    "rule.scope.rules": "Переносятся задачи, поставленные по правилам.",
    "rule.scope.deals": "Переносятся все задачи, привязанные к сделкам.",
    "rule.scope.all": "Переносятся все задачи, какие видит вебхук.",
    "rule.escalate": "О том, что и после предела не сделано, каждый раз через {span} узнаёт руководитель на ступень "
    "выше, до самого верха; там напоминание приходит раз в неделю.",
    "rule.next_step": "Если у сделки в работе дольше чем {span} нет ни открытой задачи, ни запланированного дела, об "
    "этом узнают её ответственный и его руководитель.",
    "rule.next_step_in": "То же дольше чем {span} на стадиях: {stages}.",
    "rule.room.learned": "Задач в день — сколько человек обычно закрывает; обход выбирает день, где есть место.",
    "rule.room.number": "До {count:of_tasks} в день на человека; обход выбирает день, где есть место.",
    "rule.room.people": "Иначе: {people}.",
    "rule.room.learned_one": "сколько обычно закрывает",
    "rule.room.none_one": "без предела",
    "rule.away.substitute": "Задачи отсутствующих передаются замещающим и потом возвращаются.",
    "rule.substitutes": "Замещают: {pairs}.",
    "rule.substitute": "{name} → {other}",
    "rule.limit": "После {count:of_moves} срок остаётся, а о задаче узнаёт руководитель контролёра.",
    "rule.safety": "Предохранитель: не больше {tasks:of_tasks} за десять минут и {moves:of_moves} за обход; "
    "остальное ждёт администратора.",
    # the page and the tables of reports
    # columns, on the terminal and on the page
    "report.employee": "Сотрудник",
    "report.department": "Отдел",
    "report.no_department": "Без отдела",
    "report.open": "Открыто",
    "report.overdue": "Просрочено",
    "report.today": "Сегодня",
    "report.room": "Мест в дне",
    "report.away": "нет",
    "report.room_away": "{room}, нет до {until:day}",
    "report.next": "Ещё 7 раб. дней",
    "report.task": "Задача",
    "report.deal": "Сделка",
    "report.owner": "Исполнитель",
    "report.responsible": "Ответственный",
    "report.supervisor": "Контролёр",
    "report.deadline": "Срок",
    "report.first_deadline": "Первый срок",
    "report.moves": "Переносов",
    "report.age": "Просрочена на",
    "report.funnel": "Воронка",
    "report.stage": "Стадия",
    "report.deals": "Сделок",
    "report.median": "Половина уходит за",
    "report.p90": "9 из 10 уходят за",
    "report.over": "Сверх предела",
    "report.limit": "Предел",
    "person.fired": "{name} (больше не работает)",
    "report.closed_by_service": "Закрыто службой",
    "report.movers": "Кто переносил",
    "report.title.trial": "Пробный режим: что было бы сделано",
    "report.about.trial": "что было бы сделано, пока стоит watch: true, с черновиками сообщений",
    "page.nav.trial": "Пробный режим",
    "report.whom": "Кому",
    "report.draft": "Черновик сообщения",
    "report.rule": "Правило",
    "report.by_us": "Обходами",
    "report.for_absence": "Из-за отсутствия",
    "report.by_people": "Людьми",
    "report.entered": "Вошла",
    "report.left": "Ушла",
    "report.lasted": "Пробыла",
    "report.since": "С какого времени",
    "report.idle_for": "Сколько",
    "report.amount": "Сумма",
    "report.moved_by": "Кто перевёл",
    "report.status": "Состояние",
    "report.slip": "Сдвиг",
    "report.done": "Выполнено",
    "report.kept_first": "К первому сроку",
    "report.kept_last": "К последнему сроку",
    "report.promise": "Обещано",
    "report.late_by": "Опаздывает на",
    "report.overdue_now": "Просрочена сейчас",
    "report.yes": "да",
    "report.kept": "К обещанному сроку",
    "report.done_late": "Позже обещанного",
    "report.not_kept": "Не к обещанному",
    "report.kept_share": "Сдержано",
    "report.share_before": "Четыре недели до того",
    "report.median_to_close": "Половина сделана за",
    "report.counted": "Чьё",
    "report.none.person": "ничьи",
    "report.none.department": "без отдела",
    "report.none.rule": "без правила",
    "report.none.funnel": "без сделки",
    "report.won": "Выиграно",
    "report.lost": "Проиграно",
    "report.median_days": "Половина выиграна за",
    "report.p90_days": "9 из 10 выиграны за",
    "report.open_deals": "Открыто",
    "report.over_norm": "Дольше обычного",
    "report.amount_open": "На сумму",
    "report.week": "Неделя",
    "report.fell_due": "Наступил срок",
    "report.idle": "Без следующего шага",
    "report.undone": "Оставлено несделанным",
    "report.amount_stuck": "Застряло денег",
    "report.closed": "Закрыта",
    "report.about.load": "открытые задачи каждого сотрудника, по дням",
    "report.about.overdue": "задачи со сроком в прошлом",
    "report.about.today": "задачи со сроком сегодня",
    "report.about.late": "задачи, не сделанные к обещанному сроку, какой бы срок у них ни был сейчас",
    "report.about.done": "что сделано за период и сколько из этого к обещанному сроку",
    "report.about.deals": "сделки, выигранные и проигранные за период, и что открыто",
    "report.about.week": "недели рядом: сдержанные обещания, переносы, что стояло",
    "report.about.stages": "сколько сделок на каждой стадии и сколько они там проводят",
    "report.about.idle": "сделки, у которых дольше положенного нет следующего шага, и сколько они стоят",
    "report.about.moves": "открытые задачи, чей срок переносили",
    "report.title.load": "Загрузка сотрудников",
    "report.title.overdue": "Просроченные задачи",
    "report.title.today": "Срок сегодня",
    "report.title.late": "Опаздывающие задачи",
    "report.title.done": "Выполнено к обещанному сроку",
    "report.title.deals": "Сделки: выигранные, проигранные, открытые",
    "report.title.week": "Недели рядом",
    "report.title.stages": "Сделки по стадиям",
    "report.title.idle": "Сделки без следующего шага",
    "report.title.moves": "Переносы сроков",
    "report.title.path": "Путь сделки",
    "report.title.by_person": "Чьи сроки сдвигаются: за 30 дней",
    "report.title.by_rule": "По правилам: за 30 дней",
    "report.no_rule": "без правила",
    "report.by_service": "автоматически",
    "report.now_there": "сейчас здесь",
    "report.empty": "{title}: ничего нет",
    # spans of time
    "page.span.days": "{days} дн {hours} ч",
    "page.span.only_days": "{days} дн",
    "page.span.hours": "{hours} ч {minutes} мин",
    "page.span.only_hours": "{hours} ч",
    "page.span.minutes": "{minutes} мин",
    "page.span.seconds": "{seconds} с",
    "page.ago": "{span} назад",
    # frame
    "page.nav.home": "Обзор",
    "page.nav.load": "Загрузка",
    "page.nav.today": "Сегодня",
    "page.nav.late": "Опаздывают",
    "page.nav.done": "Выполнено",
    "page.nav.deals": "Сделки",
    "page.nav.week": "Недели",
    "page.nav.stages": "Стадии",
    "page.nav.idle": "Без шага",
    "page.nav.moves": "Переносы",
    "page.nav.service": "Служба",
    "page.nav.rules": "Правила",
    "page.nav.names": "Имена",
    "page.nav.label": "Разделы",
    "page.find": "Сделка или сотрудник",
    "page.find.button": "Найти",
    "page.find.title": "Поиск: {words}",
    "page.find.nothing": "Ничего не нашлось. Ищутся сделки в работе по названию, любая сделка по номеру, сотрудники по "
    "имени.",
    "page.find.people": "Сотрудники",
    "page.find.deals": "Сделки",
    "page.logout": "Выйти",
    "page.as_of": "Данные на {at}",
    "page.in_portal": "Открыть в портале",
    "page.csv": "Скачать CSV",
    "page.all": "Показать все: {count:number}",
    "page.cut": "Показано {shown:number} из {count:number}.",
    "page.none": "Нет.",
    "page.nobody": "никто",
    "page.unknown": "неизвестно",
    "page.not_found": "Такой страницы нет",
    "page.not_found.text": "Возможно, сделки или сотрудника с таким номером служба ещё не видела.",
    "page.store_trouble": "База данных не отвечает",
    "page.not_read": "Портал ещё не прочитан: имена и названия появятся после первого прохода службы.",
    # status
    "status.works": "работает: портал прочитан {ago} назад",
    "status.paused": "пауза с {since:moment}: до `bitrix-sync resume` в портал ничего не пишется",
    "status.watch": "пробный режим (watch: true): всё решается, но в портал ничего не пишется",
    "status.trouble": "не может работать: {why:reason}",
    "status.stale": "не читает портал: последнее чтение {ago} назад; подробности в журнале",
    "status.stopped": "не запущена; портал прочитан {ago} назад. Запустить: `bitrix-sync run`",
    "status.new": "ещё ни разу не запускалась. Запустить: `bitrix-sync run`",
    "status.waiting": "ни один работник ещё не обслуживал этот портал; работников показывает `bitrix-sync fleet`",
    "status.read": "прочитан до {until:moment}",
    "status.no_deals": "с первого запуска ({since:moment}) не видно ни одной: можно ли пользователю вебхука "
    "читать сделки? Что делать, скажет `bitrix-sync check`",
    "status.rules": "{count:rules}, файл действует с {since:moment}",
    "status.rules_refused": "в файле, как он есть сейчас, ошибки, поэтому действует прежний (`bitrix-sync check`):",
    "status.failing": "{rule}: не срабатывает на {count:on_deals}; почему, скажет `bitrix-sync why СДЕЛКА`",
    "status.queue": "ждут записи: {count:number}",
    "status.queue_until": "ждут записи: {count:number}, примерно до {until:moment}",
    "status.unknown": "посланы, но ответ неясен: {count:number}; выясняются",
    "status.stuck": "отправляются дольше пяти минут: {count:number}; так быть не должно, идёт сверка с порталом",
    "status.held": "придержано: {count:number}; посмотреть — `bitrix-sync held`, отпустить — `bitrix-sync release`",
    "status.tried": "портал отказал, но всё ещё нужно: {count:number}; повторить — `bitrix-sync release`",
    "status.refusal": "{count:number} × {kind}: {text}",
    "status.unheard": "не дошло сообщение, {name}: «{text}»: {error:reason}",
    "status.unread": "{part:part}: {why:reason}",
    "status.bad_rows": "пропущено строк: {count:number} ({kind:row}: {why:reason})",
    "status.unjudged": "сделка {deal} ждёт с {since:moment}: {why:reason}",
    "status.more": "…и ещё {count:number} (`bitrix-sync status --json`)",
    "status.sweep": "{day:day}, {name:sweep_name} ({slot}): {state:sweep_state}, перенесено сроков: {moved:number}",
    "status.sweep_rest": "{day:day}, {name:sweep_name} ({slot}): {state:sweep_state}, перенесено сроков: "
    "{moved:number}, осталось: {rest:number},"
    " примерно до {until:moment}",
    "status.budget": "сразу портал принял бы запросов: {free:number} из {of:number}",
    "status.backup": "{since:moment}, {age} назад",
    "bad_row": "{kind:row}: {why:reason} ({count:number})",
    "rule_named": "«{title}» ({rule})",
    "status.label.mode": "Режим",
    "status.label.portal": "Портал",
    "status.label.deals": "Сделки",
    "status.label.rules": "Правила",
    "status.label.rules_off": "Правила не действуют",
    "status.label.queue": "Очередь",
    "status.label.unsure": "Неясно",
    "status.label.held": "Дело за вами",
    "status.label.refused": "Отказы за сутки",
    "status.label.unread": "Не прочитано",
    "status.label.sweeps": "Обходы",
    "status.label.budget": "Темп",
    "status.label.backup": "Последняя копия",
    "status.label.holder": "Процесс",
    # check
    "check.ok": "в порядке",
    "check.warning": "предупреждение",
    "check.error": "ошибка",
    "check.settings": "настройки",
    "check.database": "база",
    "check.portal": "портал",
    "check.webhook": "вебхук",
    "check.scopes": "права вебхука",
    "check.rights": "права пользователя",
    "check.readings": "чтение",
    "check.clocks": "часы",
    "check.mode": "режим",
    "check.rules": "правила",
    "check.calendar": "календарь",
    "check.events": "события",
    # init
    "init.settings": "BITRIX_WEBHOOK_URL: не задан; впишите адрес входящего вебхука в {path} — этот файл только что "
    "записан, в нём сказано, как сделать вебхук. Потом запустите `bitrix-sync init` ещё раз: появится rules.yaml с "
    "воронками вашего портала.",
    "init.written": "записаны {rules} (стадий в работе: {stages:number}, воронок: {funnels:number}; для каждой стадии "
    "предложена задача) и {schema}",
    "init.aside": "пример, который шёл с программой, отложен: теперь это {example}",
    "init.fill_in": "впишите:",
    "init.fill.tasks": "заголовки, исполнителей и сроки задач: предложены по названиям стадий",
    "init.fill.overdue": "`overdue` закомментирован: просроченное не переносится, пока вы не уберёте знаки `#`",
    "init.fill.zone": "`timezone`: портал его не сообщает, известно только, что сейчас там UTC{offset}",
    "init.fill.nobody": "`admins` и `fallback_owner`: номера сотрудников; ни одного работающего портал не показывает",
    "init.fill.people": "`admins` и `fallback_owner`: сейчас {person}; возможно, лучше подойдёт кто-то другой",
    "init.fill.calendar": "`calendar`: рабочее время портал не показывает; записано пн–пт 09:00–18:00",
    "init.unread": "{part:part}: прочитать не удалось, поэтому в файле этого нет: {why:reason}",
    "init.then": "дальше:",
    "init.then.check": "всё ли на месте?",
    "init.then.preview": "что сделали бы правила сейчас; ничего не пишет",
    "init.then.run": "работа: сделки, которые с этой минуты войдут в стадию, получат задачи",
    "init.then.backfill": "задачи для сделок, которые уже стоят на своих стадиях",
    # health
    "page.state.works": "Служба работает",
    "page.state.paused": "Пауза",
    "page.state.watch": "Пробный режим",
    "page.state.trouble": "Служба не работает",
    "page.state.last_pass": "последний проход {span} назад",
    "page.state.no_pass": "проходов ещё не было",
    "page.alert.trouble": "Служба не может работать: {why:reason}",
    "page.alert.paused": "Пауза с {since:moment}: в портал ничего не пишется. Продолжить: bitrix-sync resume.",
    "page.alert.no_deals": "С первого запуска, {since:moment}, портал не показал ни одной сделки. Если они есть, "
    "разрешите пользователю вебхука их читать: CRM → Настройки → Права доступа.",
    "page.alert.watch": "Пробный режим (watch: true): всё решается, но в портал ничего не пишется.",
    "page.alert.held": "Придержано операций: {count:number}. Они ждут администратора: bitrix-sync held, "
    "bitrix-sync release.",
    "page.alert.failed": "За последние сутки портал отказал в операциях: {count:number}.",
    "page.alert.unknown": "Неизвестно, дошли ли до портала операции: {count:number}. Служба сверяет их сама.",
    "page.alert.rules": "Файл правил не принят, действует прежний. Ошибок: {count:number}.",
    "page.alert.sweep_missed": "Обход пропущен: {sweep}, {at:moment}.",
    # the overview
    "page.home.title": "Обзор",
    "page.home.open": "открыто задач",
    "page.home.idle": "сделок без шага",
    "page.home.late": "опаздывают",
    "page.home.overdue": "просрочено сейчас",
    "page.home.today": "срок сегодня",
    "page.home.deals": "сделок в работе",
    "page.home.over": "сделок сверх предела",
    "page.home.held": "придержано",
    "page.home.failed": "отказов за сутки",
    "page.home.who_tomorrow": "Кто перегружен завтра?",
    "page.home.who_next": "Кто перегружен в следующий рабочий день?",
    "page.home.tomorrow_lead": "{count:tasks}: со сроком {due:number}, просроченных сейчас {late:number}.",
    "page.home.tomorrow_nobody": "Никто не перегружен. Больше всего задач у сотрудника: {name}.",
    "page.home.tomorrow_free": "Задач на этот день нет ни у кого.",
    "page.home.overloaded": "перегрузка",
    "page.home.average": "В среднем {average:number} на сотрудника. Перегрузка: от пяти задач и в полтора раза больше "
    "среднего; просроченное считается вместе со сроками этого дня.",
    "page.home.due_that_day": "срок в этот день",
    "page.home.late_now": "просрочено сейчас",
    "page.home.stuck": "Какая сделка застряла и где?",
    "page.home.stuck_lead": "на стадии «{stage}» уже {span}, предел: {limit}.",
    "page.home.stuck_nothing": "Сверх предела нет ни одной сделки.",
    "page.home.no_limits": "В правилах нет пределов для стадий (limit). Вот сделки, которые стоят дольше всех:",
    "page.home.longest": "Дольше всех на своих стадиях:",
    "page.home.slips": "Чьи сроки сдвигаются чаще всего?",
    "page.home.slips_lead": "{count:moves} за 30 дней: обходами {by_us:number}, людьми {by_people:number}.",
    "page.home.slips_nothing": "За 30 дней сроки не переносились.",
    "page.home.sweep": "Прошёл ли вечерний обход?",
    "page.home.sweep_morning": "Прошёл ли утренний обход?",
    "page.home.no_sweeps": "Обходов в правилах нет (раздел overdue), поэтому просроченное не переносится.",
    "page.home.work": "Что служба сделала последним?",
    "page.home.nothing_done": "Пока ничего.",
    # sweeps
    "page.sweep.morning": "Утренний",
    "page.sweep.evening": "Вечерний",
    "page.sweep.yes": "Да",
    "page.sweep.no": "Нет",
    "page.sweep.done": "прошёл",
    "page.sweep.running": "идёт",
    "page.sweep.held": "придержан",
    "page.sweep.undone": "отменён",
    "page.sweep.missed": "пропущен",
    "page.sweep.skipped": "пропущен",
    "page.sweep.waiting": "сейчас начнётся",
    "page.sweep.none": "ещё не было",
    "page.sweep.account": "Просрочено было {overdue:number}: перенесено {moved:number}, не удалось {failed:number}, "
    "осталось {remaining:number}. Сообщений: {messages:number}.",
    "page.sweep.account_done": "Просрочено было {overdue:number}, перенесено {moved:number}. "
    "Сообщений: {messages:number}.",
    "page.sweep.why_missed": "Служба в это время не работала или портал не отвечал. Пропущенный обход задним числом не "
    "проводится.",
    "page.sweep.why_none": "Правило об этом обходе новое: его время ещё не наступало.",
    "page.sweep.why_waiting": "Его время только что наступило.",
    "page.sweep.why_held": "Переносов больше, чем разрешает предохранитель: ждут администратора.",
    "page.sweep.why_undone": "Сроки возвращены: {put_back:number}.",
    "page.sweep.when": "Когда",
    "page.sweep.which": "Обход",
    "page.sweep.result": "Итог",
    "page.sweep.found": "Просрочено было",
    "page.sweep.moved": "Перенесено",
    "page.sweep.failed": "Не удалось",
    "page.sweep.messages": "Сообщений",
    # load
    "page.load.title": "Загрузка по дням и сотрудникам",
    "page.load.lead": "Сколько открытых задач у каждого и на какой день у них срок. Выделен следующий рабочий день; "
    "значок ▲ у того, кто в этот день перегружен.",
    "page.load.away": "отсутствует",
    "page.load.free": "свободных мест: {free}",
    "page.load.rooms": "«+» — сколько мест в дне ещё свободно; заштриховано отсутствие. Перегрузка: задач вместе с "
    "просроченными больше, чем мест.",
    "page.load.sum": "открыто {open:number}, просрочено {late:number}",
    "page.load.late": "Просроч.",
    "page.load.later": "Позже",
    "page.load.fired": "не работает",
    # overdue
    "page.refreshes": "Страница обновляется сама каждые пять минут.",
    "page.week.lead": "Что было обещано на неделю и сделано к обещанному сроку; переносы; и что стояло в конце недели. "
    "Число ведёт к своим задачам.",
    "page.week.people": "Кто сдержал обещания прошлой недели, а кто нет",
    "page.week.nobody": "На прошлой неделе ничей срок не наступил.",
    "page.week.trend": "Последние недели",
    "page.week.kept_share": "Сдержано обещаний",
    "page.week.late": "Не сделано к обещанному сроку",
    "page.week.moves": "Переносы сроков",
    "page.week.idle": "Сделки без следующего шага",
    "page.week.over_limit": "Сделки сверх предела стадии",
    "page.week.undone": "Стадии, оставленные с несделанным",
    "page.week.amount_stuck": "Застрявшие деньги",
    "page.week.millions": "{number:number} млн",
    "page.week.thousands": "{number:number} тыс",
    "page.tasks.due": "Задачи, чей срок наступил",
    "page.tasks.kept": "Задачи, сделанные к обещанному сроку",
    "page.tasks.late": "Задачи, не сделанные к обещанному сроку",
    "page.tasks.done": "Выполненные задачи",
    "page.department.head": "Руководитель",
    "page.department.people": "Сотрудники",
    "page.department.kept": "«Сдержано» — из обещанного на прошлую неделю.",
    "page.deal.deadlines": "Как менялись сроки",
    "page.deal.first_deadline": "Первый срок: {at:moment}",
    "page.deal.by.sweep": "обход",
    "page.deal.by.undo": "обход отменён",
    "page.deal.by.follow": "вслед за сделкой",
    "page.deal.by.somebody": "кто-то в портале",
    "page.late.lead": "{count:tasks}: не сделано к обещанному сроку, какой бы срок ни стоял сейчас. Отметка "
    "«Просрочена сейчас» — прошёл и нынешний срок.",
    "page.late.nothing": "Ничто не опаздывает.",
    "page.late.by_age": "Как давно",
    "page.late.list": "Все опаздывающие, самые старые обещания сверху",
    "page.filters": "Выбор",
    "page.filters.all": "все",
    "page.filters.since": "С",
    "page.filters.until": "по",
    "page.filters.by": "Считать по",
    "page.filters.by.person": "сотрудникам",
    "page.filters.by.department": "отделам",
    "page.filters.by.rule": "правилам",
    "page.filters.by.funnel": "воронкам",
    "page.filters.show": "Показать",
    "page.filters.clear": "Показать все",
    "page.age.0": "до суток",
    "page.age.1": "1–3 дня",
    "page.age.2": "3–7 дней",
    "page.age.3": "1–2 недели",
    "page.age.4": "2–4 недели",
    "page.age.5": "больше 4 недель",
    "page.first_was": "первый срок {at}",
    # today
    "page.today.title": "Срок сегодня, {day}",
    "page.today.lead": "{count:tasks}. Те, чей час уже прошёл, считаются и просроченными.",
    "page.today.nothing": "На сегодня сроков нет.",
    "page.today.late": "час прошёл",
    "page.status.2": "ждёт выполнения",
    "page.status.3": "выполняется",
    "page.status.4": "ждёт приёмки",
    "page.status.5": "выполнена",
    "page.status.6": "отложена",
    "page.status.0": "не создана",
    "page.status.gone": "удалена",
    # stages
    "page.stages.title": "Сделки по стадиям",
    "page.stages.lead": "Сколько сделок на стадии, сколько они там проводят (по календарю, за полгода, вместе с теми, "
    "что стоят сейчас) и сколько из них сверх предела.",
    "page.stages.time": "Время на стадии",
    "page.stages.closed": "Закрыто: {won:number} выиграно, {lost:number} проиграно.",
    "page.stages.over": "Сверх предела",
    "page.stages.over_lead": "{count:deals} на стадии дольше, чем разрешают правила.",
    "page.stages.nothing_over": "Сверх предела сделок нет.",
    "page.stages.longest": "Дольше всех на стадии",
    "page.stages.in_stage": "На стадии",
    "page.stages.over_by": "Сверх предела на",
    "page.stages.legend": "Тёмная полоса: половина уходит за это время; светлая: девять из десяти; черта: предел.",
    "page.stages.no_limit": "нет",
    "page.stages.empty": "В этой воронке нет стадий в работе.",
    # moves
    "page.moves.title": "Переносы сроков",
    "page.moves.lead": "Чьи сроки сдвигались за 30 дней и как часто задачи выполнялись к первому и к последнему сроку.",
    "page.moves.by_person": "По сотрудникам",
    "page.moves.by_rule": "По правилам",
    "page.moves.tasks": "Открытые задачи, чей срок переносили",
    "page.moves.nothing": "Переносов не было.",
    "page.moves.by_us": "обходами",
    "page.moves.by_people": "людьми",
    "page.moves.of_done": "{count:number} из {done:number}",
    # one deal
    "page.deal.title": "Сделка {number}",
    "page.deal.now": "{funnel}, стадия «{stage}»",
    "page.deal.won": "выиграна",
    "page.deal.lost": "проиграна",
    "page.deal.gone": "в портале её больше нет или вебхук её не видит",
    "page.deal.path": "Путь",
    "page.deal.path_lead": "Ширина полосы: сколько времени сделка провела на стадии.",
    "page.deal.no_path": "Движений по стадиям служба не видела.",
    "page.deal.tasks": "Задачи",
    "page.deal.no_tasks": "Задач нет.",
    "page.deal.why": "Что и почему решили правила",
    "page.deal.no_why": "Решений по этой сделке ещё не было.",
    "page.deal.over": "сверх предела",
    # one person
    "page.person.head": "Руководитель: {name}",
    "page.person.no_head": "Руководителя нет.",
    "page.person.days": "Сроки по дням",
    "page.person.tasks": "Открытые задачи",
    "page.person.no_tasks": "Открытых задач нет.",
    "page.person.done": "Выполнено за 30 дней",
    "page.person.done_lead": "{count:tasks}: к первому сроку {first:number}, к последнему {last:number}.",
    "page.person.no_done": "За 30 дней ничего не закрыто.",
    "page.person.by_service": "Закрыто службой: {count:tasks}. В счёт сотруднику они не идут.",
    "page.person.closed_by_service": "закрыто службой",
    "page.closed_by": "закрытие: {name}",
    "page.person.kept": "в срок",
    "page.person.kept_last": "к перенесённому сроку",
    "page.person.late": "позже срока",
    "page.person.fired": "больше не работает",
    # the service
    "page.service.title": "Служба",
    "page.service.state": "Как дела",
    "page.service.last_pass": "Последний проход",
    "page.service.started": "Запущена",
    "page.service.budget": "Бюджет портала",
    "page.service.budget_text": "запросов можно отправить сразу: {free:number}",
    "page.service.cursor": "История прочитана до",
    "page.service.cursor_text": "запись {number}, {at:moment}",
    "page.service.queue": "Очередь",
    "page.service.queue_text": "ждут {planned:number}, отправляются {sending:number}, неизвестно {unknown:number}, "
    "придержано {held:number}",
    "page.service.events": "События портала",
    "page.service.events_text": "принято {taken:number}, отвергнуто {refused:number}, последнее {span} назад",
    "page.service.events_none": "ещё не приходили; без них портал читается по расписанию",
    "page.service.events_off": "не настроены (BITRIX_APPLICATION_TOKEN); портал читается по расписанию",
    "page.service.sweeps": "Обходы",
    "page.service.no_sweeps": "Обходов ещё не было.",
    "page.service.held": "Придержано",
    "page.service.held_lead": "Предохранитель остановил эти операции, или задачу некому поручить. Отпустить: "
    "bitrix-sync release.",
    "page.service.failed": "Не получилось",
    "page.service.failed_lead": "Портал отказал. Причина его словами:",
    "page.service.unknown": "Неизвестно, дошло ли",
    "page.service.unknown_lead": "Ответа не было. Служба посмотрит в портале, прежде чем отправить снова.",
    "page.service.recent": "Сделано последним",
    "page.service.what": "Что",
    "page.service.when": "Когда",
    "page.service.why": "Причина",
    "page.service.since": "Ждёт",
    "page.kind.task.create": "Поставить задачу",
    "page.kind.task.deadline": "Перенести срок",
    "page.kind.task.people": "Сменить людей",
    "page.kind.task.complete": "Завершить задачу",
    "page.kind.task.defer": "Отложить задачу",
    "page.kind.task.resume": "Возобновить отложенную задачу",
    "page.kind.task.delete": "Удалить задачу",
    "page.kind.task.checklist": "Пункт чек-листа",
    "page.kind.task.line": "Строка в задаче",
    "page.kind.deal.move": "Перевести сделку",
    "page.kind.message": "Сообщение",
    "page.op.planned": "ждёт",
    "page.op.held": "придержана",
    "page.op.watched": "только наблюдение",
    "page.op.sending": "отправляется",
    "page.op.unknown": "неизвестно",
    "page.op.done": "сделано",
    "page.op.failed": "отказ",
    "page.op.dropped": "отпала",
    # rules
    "page.rules.title": "Правила",
    "page.rules.lead": "{count:rules} в силе, прочитаны {at}.",
    "page.rules.refused": "Последний файл не принят, действует прежний. Ошибки:",
    "page.rules.warnings": "Предупреждения",
    "page.rules.by_when": "Срок",
    "page.rules.who": "Кто делает",
    "page.rules.control": "Кто контролирует",
    "page.rules.limit": "На стадии не дольше: {span}.",
    "page.rules.advance": "Все задачи выполнены: сделка переходит на стадию «{stage}».",
    "page.rules.disabled": "Отключено: {why:reason}",
    "page.rules.source": "Файл целиком",
    "page.rules.none": "Правила ещё не прочитаны.",
    "page.rules.frame": "Для всех",
    # login and refusals
    "page.login.title": "Вход",
    "page.login.lead": "Страница закрыта паролем ({setting}).",
    "page.login.password": "Пароль",
    "page.login.button": "Войти",
    "page.login.wrong": "Пароль не подошёл.",
    "page.login.stale": "Форма устарела. Введите пароль ещё раз.",
    "page.login.wait": "Слишком много попыток. Попробуйте через {seconds} с.",
    "page.closed.title": "Страница закрыта",
    "page.closed.text": "Без пароля страница отвечает только браузеру на этой же машине, по адресу localhost: не через "
    "прокси и не тогда, когда портал присылает события (задан BITRIX_APPLICATION_TOKEN). Чтобы открыть её, задайте "
    "BITRIX_PAGE_PASSWORD и перезапустите службу.",
    # the commands preview and why
    "preview.title.all": "Что сделали бы правила: {count:deals} в работе",
    "preview.title.deal": "Сделка {number} «{deal}»: {funnel}, стадия «{stage}»",
    "preview.title.entering": "Если бы сделка {number} «{deal}» вошла сейчас в стадию «{stage}» ({funnel})",
    "preview.warnings": "{file}: {count:warnings}, все покажет `bitrix-sync check`",
    "preview.note": "Пометка",
    "preview.there": "уже есть: № {task}, {status}",
    "preview.on_its_way": "уже решена, ещё не в портале",
    "preview.held": "некому поручить, будет придержана",
    "preview.how": "Исполнитель: {owner_path:path}. Срок по правилу{branch:branch}.{lifted:lifted}",
    "preview.error": "Сделку не удалось рассмотреть из-за ошибки в программе; подробности в журнале (stderr).",
    "preview.unread": "Сделку пока не рассмотреть, не удалось прочитать: {why:reason}",
    "preview.no_history": "Портал не показывает ни одного движения этой сделки, поэтому правила к ней не применить.",
    "preview.uncovered": "Стадия «{stage}» ({funnel}): {count:deals}, а задач для неё в правилах нет.",
    "preview.changes": "Изменилось бы и другое:",
    "preview.change": "сделка {number} «{deal}», {rule}: {text}",
    "preview.counts": "Новых задач: {new:number}; придержано: {held:number}; уже есть: {there:number}; "
    "правил, из которых задачи не выйдет: {none:number}.",
    "preview.brings": "сама не появится, её поставит {command}",
    "preview.by_backfill": "Из них сами не появятся: {count:tasks}. Их ставит команда bitrix-sync backfill (сделка "
    "вошла в стадию раньше правила, или портал прежде отказал).",
    "preview.by_again": "Из этих удалены командой remove и ставятся только с --again: {count:tasks}.",
    "preview.over_limit": "Предохранитель max_new_tasks ({limit:number} за десять минут) придержал бы часть новых "
    "задач до команды bitrix-sync release.",
    "preview.watch": "В правилах стоит watch: true, поэтому на портал ничего не пишется.",
    "preview.nothing_written": "Это показ: ни в портал, ни в базу ничего не записано.",
    "preview.load": "Загрузка тех, кому достались бы новые задачи",
    "preview.open_now": "Открыто сейчас",
    "preview.new": "Новых",
    "preview.total": "Станет",
    "names.ends": "{how:semantic}",
    "names.whose": "{item:field_of}",
    "names.kind": "{type:field_type}{many:multiple}",
    "audit.all": "аудит",
    "audit.departments": "по отделам",
    "audit.people": "по сотрудникам",
    "audit.details": "за что не хватает баллов",
    "audit.whole": "весь портал",
    "audit.legend": "С4: сделки в работе с открытой задачей или запланированным делом. С5: открытые задачи этих сделок "
    "со сроком и работающим исполнителем. С6: исполнители, над которыми есть руководитель, и задачи, которые видит "
    "кто-то ещё. С7: задачи, просроченные не больше чем на рабочий день. В процентах; балл — их среднее.",
    "audit.more": "Потерянных баллов: {count}. Что за каждым стоит: `bitrix-sync audit --details`",
    "audit.unread": "{part}: прочитать не удалось, по ним ничего не оценивается ({why})",
    "audit.part.activities": "запланированные дела",
    "audit.part.users": "сотрудники",
    "audit.part.departments": "отделы",
    "audit.why.no_next_step": "нет ни открытой задачи, ни запланированного дела",
    "audit.why.no_deadline": "у задачи нет срока",
    "audit.why.owner_fired": "исполнитель уволен",
    "audit.why.no_head": "над исполнителем нет работающего руководителя",
    "audit.why.nobody_watches": "задачу не видит никто из работающих, кроме исполнителя",
    "audit.why.overdue": "просрочена больше чем на рабочий день",
    "names.reading": "Чтение портала",
    "names.page": "Что можно писать в файле",
    "names.id": "Номер",
    "names.funnel_id": "Номер воронки",
    "names.stage_id": "Номер стадии",
    "names.semantic": "Завершает",
    "names.code": "Код",
    "names.title": "Название",
    "names.of": "Чьё",
    "names.type": "Тип",
    "names.values": "Значения",
    "names.email": "E-mail",
    "names.note": "Примечание",
    "names.closed": "в архиве",
    "names.parent": "Входит в",
    "names.head": "Руководитель",
    "names.group": "Рабочая группа",
    "names.source.portal": "Как сейчас показывает портал {host}.",
    "names.source.store": "Что известно о портале {host} на {at:moment}.",
    "names.source.undated": "Что известно о портале {host}; с какого времени, не записано.",
    "names.no_answer": "Портал не прочитан: {why:reason}",
    "names.gap": "Список неполон, не прочитано ({part:part}): {why:reason}",
    "names.nothing": "Ничего с «{text}» не нашлось.",
    "names.listing": "Если нужен сам список: `bitrix-sync names {name}`.",
    "names.unknown": "О портале пока ничего не известно: укажите BITRIX_WEBHOOK_URL и уберите --offline или "
    "запустите один раз bitrix-sync run.",
    "names.about": "Что можно писать в rules.yaml: кавычки, если они показаны, нужны; номер показан там, где имя "
    "не единственное.",
    "names.search": "Имя, код, номер, e-mail",
    "report.title.funnels": "Воронки и стадии",
    "report.title.fields": "Поля",
    "report.title.people": "Сотрудники",
    "report.title.departments": "Отделы",
    "report.title.workgroups": "Рабочие группы",
    "story.title": "Сделка {number} «{deal}»: {funnel}, стадия «{stage}»; ответственный: {responsible}",
    "story.another_portal": "{host} — другой портал: эта служба работает с {ours}; нужен адрес сделки в нём или её "
    "номер.",
    "story.gone": "Сделка {number}: портал её больше не показывает",
    "story.visit": "{stage}: с {entered} по {left}",
    "story.visit_now": "{stage}: с {entered}, сделка сейчас здесь",
    "story.advance": "Переход на следующую стадию (advance_to)",
    "story.rule": "Правило {rule}",
    "story.rule_titled": "Правило {rule}: {title}",
    "story.watch": "только наблюдение (watch): в портал не писалось",
    "story.task": "Задача № {task}: {status}. Исполнитель: {owner}. Срок: {deadline}",
    "story.task_unsent": "Задача ещё не в портале. Исполнитель: {owner}. Срок: {deadline}",
    "story.slip_by": "Срок: {before} → {after}, изменение: {name}",
    "story.closed_by": "Закрытие: {name}, {at}",
    "story.closed_by_service": "Закрыто службой, {at}",
    "story.slip": "Срок: {before} → {after}, {by:slipped}",
    "story.reason": "{text:reason}",
    "story.attempts": "попыток: {attempts:number}",
    "story.not_judged": "Это правило на этом пребывании не рассматривалось.",
    "story.backfill": "Поставить задачу: {command}",
    "story.no_reason": "Причина уже не хранится: старые объяснения со временем удаляются.",
    "story.no_rules": "Правил для этой стадии в файле нет.",
    "story.elsewhere": "Стадия «{stage}» ({funnel}): сделка на ней не была. Правила: {rules}",
    "story.never_there": "Правило стоит на стадии «{stage}» ({funnel}), а сделка на ней не была.",
    "story.never_judged": "Правило есть в файле, но по этой сделке ещё не рассматривалось.",
    "story.removed": "Такого правила в файле больше нет.",
    "story.other_rules": "Правила, до которых дело не дошло",
    "story.other_work": "Прочее по этой сделке",
    "story.no_visits": "Движений этой сделки по стадиям служба не видела.",
    # sweeps: their messages, and what administrators hear of them
    "sweep.morning": "Утро, {day:day}",
    "sweep.evening": "Вечер, {day:day}",
    "sweep.stands_in": "Сейчас отсутствуют, поэтому их сообщения читаете вы: {names}",
    "days.full": "до {until} занято: {taken} из {room}",
    "days.away": "нет до {until}",
    "days.refused": "Не подошли: {days}",
    "days.span": "{first} – {last}",
    "days.why.day_off": "выходной",
    "days.why.away": "отсутствует до {until}",
    "days.why.full": "занято {taken} из {room}",
    "sweep.more": "…и ещё {count}",
    "sweep.away": "{name} (нет до {until:day})",
    "sweep.title.escalate": "Срок больше не переносится, решать вам: {count:tasks}",
    "sweep.title.escalated": "Срок больше не переносится, сообщено выше: {count:tasks}",
    "sweep.title.failed": "Портал не дал перенести: {count:tasks}",
    "sweep.title.unsent": "Перенести не успели: {count:tasks}",
    "sweep.title.moved": "Срок перенесён: {count:tasks}",
    "sweep.title.unfit": "Не хватило места ни в один из десяти дней, поставлено туда, где занято меньше: {count:tasks}",
    "sweep.title.lent": "Переданы замещающим: {count:tasks}",
    "sweep.title.back": "Вернулись от замещающих: {count:tasks}",
    "sweep.title.own_lent": "Вам на время отсутствия коллег: {count:tasks}",
    "sweep.title.own_back": "Снова ваши: {count:tasks}",
    "sweep.title.moved_late": "Перенесены после прошлого сообщения: {count:tasks}",
    "sweep.title.remaining": "Ещё переносятся: {count:tasks}",
    "sweep.title.awaiting": "Ждут приёмки, срок прошёл: {count:tasks}",
    "sweep.title.closed_deal": "Сделка закрыта, а задача открыта: {count:tasks}",
    "sweep.title.gone_deal": "Сделка удалена или не видна вебхуку, а задача открыта: {count:tasks}",
    "sweep.title.stuck": "Застряли на стадии: {count:deals}",
    "sweep.title.idle": "Без следующего шага: {count:deals}",
    "sweep.title.own_idle": "Ваши сделки без следующего шага: {count:deals}",
    "sweep.title.fired": "У тех, кто больше не работает: {count:tasks}",
    "sweep.title.due": "Срок сегодня: {count:tasks}",
    "sweep.title.due_next": "Срок {day:day}: {count:tasks}",
    "sweep.title.due_until": "Срок по {day:day} включительно: {count:tasks}",
    "sweep.title.own_moved": "Ваши задачи, срок перенесён: {count:tasks}",
    "sweep.title.own_due": "Ваши задачи на сегодня: {count:tasks}",
    "sweep.title.own_due_next": "Ваши задачи на {day:day}: {count:tasks}",
    "sweep.title.own_due_until": "Ваши задачи по {day:day} включительно: {count:tasks}",
    "message.mark": "Служба узнаёт это сообщение по пометке: {mark}",
    "sweep.mark.morning": "Обход: утро, {day:day} ({mark})",
    "sweep.mark.evening": "Обход: вечер, {day:day} ({mark})",
    "sweep.title.load_of_deals": "Загрузка сотрудников на {day:day}: все задачи, а не только по сделкам",
    "sweep.title.load_of_rules": "Загрузка сотрудников на {day:day}: все задачи, а не только по правилам",
    "sweep.title.load": "Загрузка сотрудников на {day:day}",
    "sweep.line.moved": "{owner}: {task}. Было {before:moment}, стало {after:moment}, перенос № {count}{why}",
    "sweep.line.own_moved": "{task}. Было {before:moment}, стало {after:moment}, перенос № {count}{why}",
    "sweep.line.moved_away": "{owner}: {task}. Было {before:moment}, стало {after:moment}, из-за отсутствия{why}",
    "sweep.line.own_moved_away": "{task}. Было {before:moment}, стало {after:moment}, из-за отсутствия{why}",
    "sweep.line.moved_why": " ({why})",
    "sweep.line.lent": "{task}: {absent} → {owner}, до {until:day}",
    "sweep.line.own_lent": "{task}. {absent} отсутствует до {until:day}",
    "sweep.line.back": "{task}: {absent} → {owner}",
    "sweep.line.own_back": "{task}. Замещение закончилось: {absent}",
    "sweep.line.failed": "{owner}: {task}. {why:reason}",
    "sweep.line.unsent": "{owner}: {task}. {why:reason}",
    "sweep.line.remaining": "О них скажет следующее сообщение.",
    "sweep.line.remaining_until": "Это займёт время примерно до {until:moment}. О них скажет следующее сообщение.",
    "sweep.line.escalate": "{owner}: {task}. Срок был {since:moment}, {count:moves}. Контролирует {supervisor}",
    "sweep.line.escalate_top": "{owner}: {task}. Срок был {since:moment}, {count:moves}. Руководителя над вами нет",
    "sweep.line.escalate_alone": "{owner}: {task}. Срок был {since:moment}, {count:moves}. Никто не контролирует",
    "sweep.line.escalate_higher": "{owner}: {task}. Срок был {since:moment}, {count:moves}. Контролирует {supervisor}. "
    "{last:moment} об этом сообщено: {reader}, ничего не изменилось",
    "sweep.line.escalate_again": "{owner}: {task}. Срок был {since:moment}, {count:moves}. Контролирует {supervisor}. "
    "{last:moment} вам уже сообщено, ничего не изменилось",
    "sweep.line.escalated": "{owner}: {task}. Срок был {since:moment}, {count:moves}. Знает {reader}",
    "sweep.line.awaiting": "{owner}: {task}. Срок был {since:moment}. Примите работу или верните",
    "sweep.line.closed_deal": "{owner}: {task}. Срок был {since:moment}. Завершите задачу или удалите",
    "sweep.line.gone_deal": "{owner}: {task}. Срок был {since:moment}, больше не переносится. "
    "Завершите задачу или удалите",
    "sweep.line.fired": "{owner}: {task}. Назначьте другого исполнителя",
    "sweep.line.due": "{at} {owner}: {task}",
    "sweep.line.own_due": "{at} {task}",
    "sweep.line.of_moved": "и {count:tasks} из перенесённых",
    "sweep.line.all_moved": "только перенесённые, см. выше",
    "sweep.line.stuck": "{deal}: «{stage}» с {since:moment}, ответственный: {owner}",
    "sweep.line.stuck_higher": "{deal}: «{stage}» с {since:moment}, ответственный: {owner}. {last:moment} об этом "
    "сообщено: {reader}, ничего не изменилось",
    "sweep.line.stuck_again": "{deal}: «{stage}» с {since:moment}, ответственный: {owner}. {last:moment} вам уже "
    "сообщено, ничего не изменилось",
    "sweep.line.idle": "{deal}: «{stage}», ничего не запланировано с {since:moment}, ответственный: {owner}",
    "sweep.line.own_idle": "{deal}: «{stage}», ничего не запланировано с {since:moment}. Поставьте задачу или "
    "запланируйте дело",
    "sweep.line.load": "{name}: открыто {open}, просрочено {late}, срок в этот день {due}",
    "sweep.line.load_until": "{name}: открыто {open}, просрочено {late}, срок по этот день {due}",
    "admin.moves_held": "Придержано переносов: {count}. Обход «{sweep}» захотел перенести больше {limit:of_deadlines}. "
    "Посмотрите: bitrix-sync held. Отпустить: bitrix-sync release.",
    "admin.rights_lost_tasks": "Портал перестал показывать {missing} из {known:of_tasks}. Похоже, у вебхука отобрали "
    "права, поэтому ничего не изменено. Проверьте права вебхука: bitrix-sync check. Если задачи удалили люди: "
    "bitrix-sync release.",
    "admin.rights_lost_activities": "Портал перестал показывать запланированные дела: {missing} из {known}. Похоже, у "
    "вебхука отобрали права, поэтому ничего не изменено. Проверьте права вебхука: bitrix-sync check. Если дела удалили "
    "люди: bitrix-sync release.",
    "admin.rights_lost_deals": "Портал перестал показывать {missing} из {known:of_deals}. Похоже, у вебхука отобрали "
    "права, поэтому ничего не изменено. Проверьте права вебхука: bitrix-sync check. Если сделки удалили люди: "
    "bitrix-sync release.",
    # the demonstration
    "demo.title": "bitrix-sync: неделя отдела продаж",
    "demo.intro": "На этой машине открыт учебный портал: отдел продаж, юристы, логисты, {count:deals} в работе. Служба "
    "работает с ним так же, как с настоящим: по HTTP, через входящий вебхук. Правила: {rules}. Часы портала "
    "переводятся вперёд. Ваш портал, ваш .env и ваша база не затронуты.",
    "demo.names": "",
    "demo.page": "Страница со сроками, загрузкой и причинами: {url}",
    "demo.enter.title": "Сделки входят в стадии, задачи появляются сами",
    "demo.enter": "Мария завела заявку. Игорь договорился о презентации. Ольга дошла до договора, подписание "
    "{sign:day}. Ещё одна сделка Игоря пошла в отгрузку, она назначена на {ship:day}. Больше никто ничего не делал:",
    "demo.enter.after": "Задачи видны и в карточках сделок: каждая привязана к своей. Сроки в рабочем времени: договор "
    "готовят за три рабочих дня до подписания, а {holiday:day} выходной, поэтому срок в субботу.",
    "demo.ship.title": "Дата отгрузки меняется, срок идёт за ней",
    "demo.ship": "Клиент попросил отгрузить позже, и Игорь исправил дату в сделке на {ship:day}. Задача логиста:",
    "demo.ship.line": "запись в задаче",
    "demo.done.title": "Задача выполнена, появляется следующая",
    "demo.done": "Игорь провёл презентацию и закрыл задачу. Сумма сделки {sum:number}, а от {limit:number} правила "
    "просят коммерческое предложение (start: done, if):",
    "demo.advance.title": "Все задачи стадии выполнены, сделка идёт дальше сама",
    "demo.advance": "Игорь отправил предложение и закрыл задачу. Служба перевела сделку на стадию «{stage}» "
    "(advance_to), а там своя задача:",
    "demo.late.title": "Заявка под конец дня",
    "demo.late": "У Павла новая заявка в {at}. До конца дня десять рабочих минут, остальные двадцать завтра:",
    "demo.evening.title": "Вечерний обход",
    "demo.evening": "Мария так и не позвонила. Обход перенёс срок на завтра и всем рассказал. Вот что получил её "
    "руководитель:",
    "demo.morning.title": "Утренний обход",
    "demo.morning": "Каждый узнаёт, что у него сегодня. Вот что получила Мария:",
    "demo.limit.title": "Переносить без конца нельзя",
    "demo.limit": "Прошли вторник, среда и четверг. Остальные свои задачи закрыли, Мария нет. Три переноса, и срок "
    "больше не двигают: об этом узнаёт руководитель её руководителя.",
    "demo.why.title": "Почему так вышло? (bitrix-sync why {number} --rule {rule})",
    "demo.backfill.title": "Сделки, которые уже были на стадиях (bitrix-sync backfill)",
    "demo.backfill": "Первый запуск никого не заваливает: по этим сделкам задачи ставит отдельная команда. Поставлено: "
    "{count:tasks}.",
    "demo.spread.title": "Много просрочено сразу, а одного сотрудника нет",
    "demo.spread": "Прошли выходные и праздник. {owner} в отпуске до {until:day}: эти задачи пока у замещающего. "
    "Остальное обход расставил по дням, в которых есть место. Вот что получил руководитель:",
    "demo.load.title": "Кто чем загружен (bitrix-sync report load)",
    "demo.to": "кому: {name}",
    "demo.column.deal": "Сделка",
    "demo.column.task": "Задача",
    "demo.column.owner": "Исполнитель",
    "demo.column.observer": "Наблюдает",
    "demo.column.deadline": "Срок",
    "demo.checklist": "чек-лист: {items}",
    "demo.was": "был {moment}",
    "demo.end": "Это вся история. Со страницей в браузере: make demo. Со своим порталом: README.ru.md, «Запустить "
    "на своём портале».",
    "demo.live": "Портал живёт дальше: время от времени кто-нибудь двигает сделку, и служба ставит задачу. "
    "Закончить: Ctrl-C.",
    "demo.live.made": "{at} {deal} → {stage}: «{task}», {owner}, срок {deadline:moment} (через {seconds} с)",
    "demo.live.moved": "{at} {deal} → {stage}",
    "demo.live.done": "{at} {owner}: выполнено «{task}»",
    "sandbox.title": "Учебный портал: отдел продаж, {count:deals}. Закончить: Ctrl-C.",
    "sandbox.webhook": "Вебхук для .env:",
    "sandbox.look": "Посмотреть:",
    "sandbox.act": "Передвинуть сделку:",
    "sandbox.fault": "Пусть следующие три ответа на создание задачи пропадут (остальное — в docs/sandbox.md):",
    "sandbox.events": "Слать события службе (BITRIX_APPLICATION_TOKEN=sandbox):",
    # many portals
    "command.no_secrets": "вебхука, токенов и пароля страницы в копии нет: там, где вернёте её, задайте их: "
    "`bitrix-sync portal apply`",
    "command.restored_portal": "в портале {name} теперь то, что было в {file}; включите его: `bitrix-sync "
    "portal enable {name}`",
    "portal.webhook": "Входящий вебхук портала (не показывается): ",
    "portal.added": "{name}: новый",
    "portal.added_bare": "{name}: новый, выключен, пока нет правил: `bitrix-sync init --portal {name}`, потом "
    "`bitrix-sync portal apply`",
    "portal.changed": "{name}: {what}",
    "portal.what.address": "адрес",
    "portal.what.webhook": "вебхук",
    "portal.what.tokens": "токены событий",
    "portal.what.password": "пароль страницы",
    "portal.what.settings": "настройки",
    "portal.what.rules": "правила",
    "portal.missing": "{name}: в папке его нет; остаётся как есть (--prune выключит)",
    "portal.pruned": "{name}: в папке его нет; выключен",
    "portal.off": "{name}: выключен; включить: `bitrix-sync portal enable {name}`",
    "portal.unchanged": "менять нечего; порталов, у которых всё как надо: {count:number}",
    "portal.all": "порталы",
    "portal.enabled": "{name}: обслуживается",
    "portal.disabled": "{name}: больше не обслуживается",
    "portal.removed": "{name}: забыт",
    "portal.back": "{name}: действуют правила версии {now}, вместо {before}",
    "portal.in_force": "действует",
    "portal.rules": "правила портала {name}",
    "portal.rekeyed": "запечатано первым ключом: {count:number}; остальные ключи можно убрать из файла",
    "column.portal": "портал",
    "column.worker": "работник",
    "column.host": "машина",
    "column.pid": "процесс",
    "column.portals": "порталов в памяти",
    "column.turns": "в работе",
    "column.beat_age": "последний сигнал",
    "column.address": "адрес",
    "column.enabled": "включён",
    "column.rules": "правила",
    "column.read": "прочитан",
    "column.trouble": "неполадка",
    "column.version": "версия",
    "column.by": "кто",
    "column.name": "имя",
    "column.rules_version": "версия правил",
    "column.settings": "настройки",
    "column.due": "следующее чтение",
    "column.seen_ok": "прочитан",
    "column.webhook": "вебхук",
    "column.events": "события",
    "column.page_password": "пароль страницы",
    "fleet.title": "Порталы",
    "fleet.served": "Обслуживаются",
    "fleet.troubled": "С неполадкой",
    "fleet.late": "Не прочитаны вовремя",
    "fleet.oldest": "Дольше всех ждёт",
    "fleet.disabled": "выключен",
    "fleet.is_late": "опаздывает",
    "fleet.workers": "работники",
    "fleet.lost": "потерян",
    "fleet.no_workers": "Нет ни одного работника, порталы никто не обслуживает. Запустить: `bitrix-sync worker`",
    "fleet.migrated": "версия базы: {version}",
    "fleet.closed": "У страницы этого портала нет пароля, поэтому она не отвечает никому. Чтобы открыть её, "
    "администратор вписывает BITRIX_PAGE_PASSWORD в файл секретов портала и запускает `bitrix-sync portal "
    "apply`.",
    "init.then.apply": "проверит файл на портале и введёт его в действие",
}

FIRST_RULES: dict[str, str] = {
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
    "room": "Сколько задач в день посильно одному человеку: learned — сколько обычно закрывает; можно число или none.",
    "away": "Задачи того, кто отсутствует: substitute — руководителю (или тому, кто в substitutes) и обратно; keep.",
    "next_step": "Сделка в работе, с которой столько нет ни задачи, ни дела: о ней узнают; none — не следить.",
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

SUGGESTIONS: dict[str, tuple[str, ...]] = {
    "answer": (
        r"(?:\bкп|предложени\w*|договор\w*|документы?) (?:отправлен|направлен|выслан)",
        "Узнать, что клиент решил: {{ deal.TITLE }}",
    ),
    "wrap-up": (r"закры|завершающ|итог|анализ|отзыв|последн\w* касан", "Подвести итоги по сделке: {{ deal.TITLE }}"),
    "prepayment": (r"предоплат|аванс", "Выставить счёт и проверить предоплату: {{ deal.TITLE }}"),
    "payment": (r"сч[её]т|оплат|плат[её]ж|деньг", "Проверить поступление оплаты: {{ deal.TITLE }}"),
    "offer": (
        r"\bкп\b|коммерческ|предложени|расч[её]т|смет|оценк",
        "Подготовить и направить коммерческое предложение: {{ deal.TITLE }}",
    ),
    "documents": (r"подготовк\w* документ|сбор документ|документ", "Подготовить документы: {{ deal.TITLE }}"),
    "keep-in-touch": (
        r"согласован|переговор|решени|обсужд|дума|дожим|возражен",
        "Узнать решение клиента: {{ deal.TITLE }}",
    ),
    "contract": (r"договор|контракт|подписан", "Подготовить и направить договор: {{ deal.TITLE }}"),
    "meeting": (
        r"презентац|демо|показ|встреч|замер|выезд",
        "Подготовить и провести встречу: {{ deal.TITLE }}",
        "Собрать материалы",
        "Согласовать время",
        "Провести встречу",
    ),
    "needs": (r"квалифик|потребност|выявлен|анкет|бриф|лпр", "Выяснить потребность и бюджет клиента: {{ deal.TITLE }}"),
    "shipment": (r"отгруз|доставк|логист|отправк|поставк|склад", "Проконтролировать срок отгрузки: {{ deal.TITLE }}"),
    "progress": (
        r"работ|производств|исполнен|выполн|монтаж|внедрен|проект|разработк|сборк|ремонт",
        "Проверить ход работ и сообщить клиенту: {{ deal.TITLE }}",
    ),
    "diagnosis": (
        r"диагност|осмотр|обследован|экспертиз",
        "Провести диагностику и сообщить клиенту результат: {{ deal.TITLE }}",
    ),
    "request": (r"сервис|гарант|обращени|рекламац|жалоб", "Разобрать обращение и ответить клиенту: {{ deal.TITLE }}"),
    "call-again": (r"не дозвон|недозвон|перезвон|отложен", "Перезвонить клиенту: {{ deal.TITLE }}"),
    "first-call": (
        r"нов|заявк|лид|входящ|перви|звон|контакт|необработан|запрос",
        "Позвонить клиенту: {{ deal.TITLE }}",
    ),
    "": ("", "Сделать следующий шаг («{{ stage.name }}»): {{ deal.TITLE }}"),
}

KEYS: dict[str, str] = {
    "required": "обязателен",
    "none": "нет",
    "file.version": "`1`, версия этого языка",
    "file.language": "`ru` или `en`: язык сообщений, строк в задачах и страницы",
    "file.timezone": (
        "пояс всех времён в файле, например `Europe/Moscow` | пояс портала, см. [ниже](#рабочее-время-и-часовой-пояс)"
    ),
    "file.admins": (
        "кто узнаёт о неполадках: id, e-mail или имена сотрудников | `fallback_owner`, а без него владелец вебхука"
    ),
    "file.calendar": "рабочие дни и часы | как в портале, иначе с понедельника по пятницу с 09:00 до 18:00",
    "file.supervisor": "кто контролирует все задачи, если в самой задаче не сказано иначе",
    "file.on_close": "что делать с открытыми задачами выигранной или проигранной сделки",
    "file.fallback_owner": (
        "запасной исполнитель, id, e-mail или имя: кому отдать задачу, которую больше некому | никому"
    ),
    "file.room": (
        "сколько задач в день посильно человеку, чтобы обход нашёл день для каждой: число, `learned`, `none` или "
        "`{default: learned, people: {5: 4}}`, см. [Место в дне](#место-в-дне-room)"
    ),
    "file.away": (
        "`substitute`: задачи отсутствующего передаются замещающему и возвращаются, см. "
        "[Отсутствие](#отсутствие-away-и-substitutes)"
    ),
    "file.substitutes": "кто кого замещает, оба по id, e-mail или имени | руководитель",
    "file.next_step": (
        "`1 workday`: о сделке в работе, у которой дольше нет ни открытой задачи, ни запланированного дела, узнают её "
        "ответственный и его руководитель, см. [Следующий шаг](#следующий-шаг-next_step) | `none`"
    ),
    "file.escalate": (
        "`2 workdays`: что остаётся несделанным сверх `limit`, узнаёт руководитель ещё выше, каждый раз через столько "
        "времени, см. [Шаг за шагом](#шаг-за-шагом-escalate) | сообщается один раз"
    ),
    "file.funnels": "сами правила",
    "file.overdue": "обходы | обходов нет",
    "file.safety": "предохранители и пробный режим | пределы по 1000, пробного режима нет",
    "task.id": "буквы, цифры, `-`, `_`; один раз на файл",
    "task.title": "[текст](#тексты), от 1 до 250 знаков; длиннее обрежется с многоточием",
    "task.description": "[текст](#тексты), можно BB-коды | пусто",
    "task.if": "[условия](#условия) на сделку | всегда",
    "task.start": "событие: задача появится после него, а не при входе | при входе",
    "task.owner": "исполнитель, см. [Люди](#люди)",
    "task.deadline": "к какому сроку, см. [Сроки](#сроки)",
    "task.supervisor": "контролёр, см. [Люди](#люди): человек, `head` или `none` | `supervisor` файла",
    "task.supervisor_observes": "`false`: сообщения читает, но наблюдателем в задаче не числится",
    "task.away": "`substitute` или `keep`, см. [Отсутствие](#отсутствие-away-и-substitutes) | `away` файла",
    "task.observers": "список [людей](#люди): ещё наблюдатели",
    "task.participants": "список [людей](#люди): соисполнители",
    "task.checklist": "список [текстов](#тексты)",
    "task.priority": "`low`, `normal`, `high`",
    "task.project": "рабочая группа: имя или id",
    "task.tags": "список",
    "task.fields": "собственные [поля задачи](#fields-пользовательские-поля-задачи) по кодам",
    "task.control": "`true`: результат принимает контролёр",
    "task.result_required": "`true`: без результата не закрыть",
    "task.again": "длительность: выполнена, а сделка всё ещё на стадии — через столько следующая",
    "task.repeat": "`each_visit`; `if_none_open`: переходит открытая от прежнего захода; `once` — один раз",
    "task.on_leave": "`keep`, `complete`, `defer`, `delete`: что с открытой задачей, когда сделка уходит",
    "task.on_close": "что с открытой задачей, когда сделка выиграна или проиграна | `on_close` файла",
    "task.overdue": "`never` или свои `limit` и `move_to` | как в файле",
    "deadline.after": "на столько позже: входа, даты в поле, события | при `event` `0 workdays`",
    "deadline.before": "на столько раньше даты в поле",
    "deadline.field": "поле сделки с датой или датой и временем: код или точное название",
    "deadline.date": "день, один для всех сделок",
    "deadline.event": "одно из `{done: правило}`, `{stage: стадия}`, `{filled: ПОЛЕ}`, `{becomes: условия}`",
    "deadline.at": 'время суток, `"15:00"` | конец рабочих часов этого дня',
    "deadline.on_day_off": (
        "если выпало на выходной: `next` (вперёд), `previous` (назад), `keep` (оставить) | см. [ниже](#выходные)"
    ),
    "deadline.else": "запасной срок, всегда считается от входа; обязателен при `field` и `event`",
    "deadline.follow": "`false`: срок не следует за изменениями сделки",
    "calendar.hours": (
        "рабочие часы: промежуток или список промежутков для всех рабочих дней (с понедельника по пятницу) либо "
        "дни с промежутками. Во втором случае рабочие дни — те, что названы | как на портале"
    ),
    "calendar.workdays": "рабочие дни, если в `hours` они не названы: `mon-fri` или список | как на портале",
    "calendar.country": "государственные праздники и переносы рабочих дней страны: `RU`, `KZ`, `DE`",
    "calendar.days_off": "ещё выходные",
    "calendar.working_days": "ещё рабочие дни; у дня, который обычно выходной, часы первого рабочего дня недели",
    "overdue.tasks": "`rules` — задачи этого файла; `deals` — любые задачи, привязанные к сделкам; `all` — все",
    "overdue.morning": (
        "утренний обход: `at` — во сколько, `move_to` — куда переносить просроченное, считая от момента обхода, "
        "`days: every_day` — и в выходные | такого обхода нет"
    ),
    "overdue.evening": "вечерний обход, так же | такого обхода нет",
    "overdue.limit": (
        "столько переносов, дальше срок остаётся и о задаче узнаёт вышестоящий; `0` — не переносить, узнаёт сразу "
        "| без предела"
    ),
    "overdue.notify": "кому писать: `supervisor` (контролёру), `owner` (исполнителю) или обоим | обоим",
}


USAGE: dict[str, str] = {
    # the command line's own words: as they stand, with what varies as {0}, {1}
    "Usage:": "Использование:",
    "Usage: {0}": "Использование: {0}",
    "Options": "Ключи",
    "Commands": "Команды",
    "Arguments": "Параметры",
    "Reports": "Отчёты",
    "Input should be a valid integer, unable to parse string as an integer": "нужно целое число",
    "Input should be greater than or equal to {0}": "нужно не меньше {0}",
    "Input should be less than or equal to {0}": "нужно не больше {0}",
    "{0} <str>": "{0}",
    "{0} <int>": "{0}",
    "{0}  [required]": "{0}  [обязательно]",
    "Show this message and exit.": "Показать эту справку и выйти.",
    "Show the version and exit.": "Показать версию и выйти.",
    "Error: {0}": "Ошибка: {0}",
    "Try '{0}' for help.": "Справка: {0}",
    "No such command {0}. Did you mean {1}?": "Нет команды {0}. Может быть, {1}?",
    "No such command {0}.": "Нет команды {0}.",
    "No such option: {0} Did you mean {1}?": "Нет ключа {0} Может быть, {1}?",
    "No such option: {0} (Possible options: {1})": "Нет ключа {0} (Может быть, {1})",
    "No such option: {0}": "Нет ключа {0}",
    "Missing command.": "Не названа команда.",
    "Missing argument {0}.": "Не хватает параметра {0}.",
    "Missing option {0}.": "Не хватает ключа {0}.",
    "Got unexpected extra argument(s) ({0})": "Лишнее: {0}",
    "Option {0} requires an argument.": "Ключу {0} нужно значение.",
    "Option {0} does not take a value.": "У ключа {0} нет значения.",
    "Invalid value for {0}: {1}": "Неверное значение, {0}: {1}",
    "Invalid value: {0}": "Неверное значение: {0}",
    # the commands
    "Keeps the standards of a sales department in its Bitrix24 portal: every stage a task, every task an owner, "
    "a supervisor and a real deadline.": "Следит за стандартами отдела продаж в портале Битрикс24: на каждой "
    "стадии задача, у каждой задачи исполнитель, контролёр и настоящий срок.",
    "The service: web side, passes, sweeps; one process until SIGTERM or Ctrl-C.": "Служба: веб-часть, чтение "
    "портала, обходы; один процесс до SIGTERM или Ctrl-C.",
    "Once, after a refusal: it is the portal that the database was made on, though its address or its history "
    "says otherwise. A portal that is another one needs a DATABASE_URL of its own.": "Один раз, после отказа: "
    "это тот портал, на котором создана база, хотя его адрес или история говорят иное. Другому порталу нужен свой "
    "DATABASE_URL.",
    "Write a rules.yaml with the portal's own funnels and stages, one suggested task "
    "each; say what to fill in.": "Пишет "
    "rules.yaml с воронками и стадиями портала, по одной предложенной задаче на стадию, и говорит, что вписать.",
    "Print JSON with stable keys.": "Печатать JSON с постоянными ключами.",
    "Print CSV, headed by the keys of --json.": "Печатать CSV с ключами --json в заголовке.",
    "Say what would be done and write nothing.": "Сказать, что было бы сделано, и ничего не писать.",
    "The portal against the standards 4 to 7, as it is: by department and person; reads only, needs no "
    "rules.": "Портал по стандартам 4–7, как он есть: по отделам и сотрудникам; только читает, правила не нужны.",
    "What stands behind each missing point.": "Что стоит за каждым потерянным баллом.",
    "What can be written in the file: names, codes, ids, values of lists, e-mails.": "Что можно писать в файле: имена, "
    "коды, номера, значения списков, адреса e-mail.",
    "One listing; without it all of them.": "Один список; без него все.",
    "Only rows with these words in any column.": "Только строки с этими словами в любом столбце.",
    "As the store knows them; do not ask the portal.": "Как их знает хранилище; портал не спрашивается.",
    "People who do not work here any more, too.": "Также те, кто больше не работает.",
    "What the rules would do, with owners and deadlines; writes nothing anywhere.": "Что сделали бы правила, с "
    "исполнителями и сроками; никуда не пишет.",
    "One deal, by its number.": "Одна сделка, по номеру.",
    "As if it entered this stage now (name or id).": "Как если бы она сейчас вошла на эту стадию (имя или номер).",
    "Every open deal, where it stands.": "Каждая открытая сделка, там, где она стоит.",
    "Every decision about the deal and its reason, also why a rule did nothing; the portal is not asked.": "Все "
    "решения о сделке с причинами, и почему правило ничего не сделало; портал не спрашивается.",
    "The deal's number, or its address in the portal.": "Номер сделки или её адрес в портале.",
    "What stands before a command.": "То, что стоит перед командой.",
    "say of what: --deal ID, or --all": "укажите, о чём речь: --deal НОМЕР или --all",
    "--stage goes with --deal ID": "--stage пишется вместе с --deal НОМЕР",
    "no sweep is called {0}; write morning or evening": "обхода {0} нет; напишите morning (утренний) или evening "
    "(вечерний)",
    "choose --json or --csv": "выберите --json или --csv",
    "no report is called {0}; write one of: {1}": "отчёта {0} нет; напишите один из: {1}",
    "--{0} goes with {1}": "--{0} пишется вместе с {1}",
    "--excel goes with --csv": "--excel пишется вместе с --csv",
    "Only of this department and those below it (name or id).": "Только этот отдел и те, что под ним (имя или id).",
    "Only of this employee (name or id).": "Только этот сотрудник (имя или id).",
    "Only of this funnel (name or id).": "Только эта воронка (имя или id).",
    "Only of this rule (id or title).": "Только это правило (id или название).",
    "From this day on: 2026-03-01.": "С этого дня: 2026-03-01.",
    "Up to this day, inclusive: 2026-03-31.": "По этот день включительно: 2026-03-31.",
    "With done: what a row is counted for.": "С done: на что приходится строка.",
    "With --csv: as a spreadsheet in Russian opens it (BOM, `;`, `0,5`).": "С --csv: как его открывает русская "
    "электронная таблица (BOM, `;`, `0,5`).",
    "{0} is neither a deal's number nor the address of a deal's page": "{0} — не номер сделки и не адрес её страницы",
    "Only this rule.": "Только это правило.",
    "One pass now; prints what it did.": "Одно чтение и всё, что из него следует, сейчас; печатает, что сделано.",
    "Tasks for deals that already sit in a stage and have none for it.": "Задачи для сделок, которые уже стоят "
    "на стадии и не имеют их.",
    "Only tasks of this rule.": "Только задачи этого правила.",
    "Only deals of this funnel (name or id).": "Только сделки этой воронки (имя или номер).",
    "Only deals in stages of this name, or id.": "Только сделки на стадиях с этим именем или номером.",
    "Only this deal, by its number.": "Только эта сделка, по номеру.",
    "Count deadlines from now, not from the entry.": "Считать сроки от этой минуты, а не от входа в стадию.",
    "Also make what `remove` took away.": "Ставить и то, что удалила команда `remove`.",
    "Today's sweep now, though its hour has not come; its slot counts as done; exit 1 if it was done.": "Сегодняшний "
    "обход сейчас, хотя его час не настал; он считается проведённым; если уже проведён — код выхода 1.",
    "morning or evening": "morning (утренний) или evening (вечерний)",
    "Run it once more, if it was undone.": "Провести ещё раз, если он отменён.",
    "Put the deadlines of a sweep back where they are still what it set; without argument, list sweeps.": "Возвращает "
    "сроки, перенесённые обходом, там, где они ещё те; без имени перечисляет обходы.",
    "2026-03-12/evening; without it, sweeps are listed": "2026-03-12/evening; без него обходы перечисляются",
    "Delete the tasks that a wrong rule made, those that nobody has touched.": "Удаляет задачи ошибочного "
    "правила, которых никто не трогал.",
    "The id of the rule.": "Имя (id) правила.",
    "A date or a moment: 2026-03-12 or 2026-03-12T14:00.": "Дата или время: 2026-03-12 или 2026-03-12T14:00.",
    "Nothing is written to the portal until `resume`; reading goes on.": "До `resume` в портал ничего не "
    "пишется; чтение продолжается.",
    "Write to the portal again.": "Снова писать в портал.",
    "What the safety limits hold back, and what the portal refused and release would try again.": "Что придержал "
    "предохранитель и в чём портал отказал, а release повторит.",
    "Let go what the safety limits hold back; try again what the portal refused.": "Отпускает придержанное; "
    "повторяет то, в чём портал отказал.",
    "A consistent copy of the store while the service runs; `restore` puts it back.": "Цельная копия базы, службу "
    "останавливать не нужно; вернёт её `restore`.",
    "Put a backup into the store in place of what it holds; the service must stand still meanwhile.": "Возвращает "
    "копию в базу вместо того, что в ней есть; служба на это время должна быть остановлена.",
    "A file that `backup` wrote.": "Файл, который записала команда `backup`.",
    "Where the copy is written; must not exist.": "Куда записать копию; такого файла ещё не должно быть.",
    "Whether it works, what is in the way, what waits, the last sweeps; all figures with --json.": "Работает ли "
    "служба, что мешает, что ждёт, последние обходы; все показатели — с --json.",
    "A table made from what the store knows; the reports are listed below.": "Таблица из того, что знает "
    "хранилище; отчёты перечислены ниже.",
    "Which; they are listed below.": "Какой; они перечислены ниже.",
    "With stages: every movement of one deal.": "Со stages: все движения одной сделки.",
    "The JSON Schema of rules.yaml, for editors.": "JSON Schema файла rules.yaml, для редакторов.",
    "Settings, rules, database, the webhook's scopes and rights, clocks, events; one "
    "line each with the fix.": "Проверяет "
    "настройки, правила, базу, права вебхука, часы, события; на каждое строка и что делать.",
    "Settings, file and database only; the portal is not asked.": "Только настройки, файл и база; портал не "
    "спрашивается.",
    "The sandbox portal alone.": "Один учебный портал.",
    "The product on the sandbox portal: see `make demo`; `--once` plays the story "
    "without a page and exits.": "Программа на учебном портале, то же, что `make demo`; с `--once` история "
    "проигрывается без страницы.",
    "Play the story without a page and exit.": "Проиграть историю без страницы и выйти.",
    "The program's version.": "Версия программы.",
    "[OPTIONS]": "[КЛЮЧИ]",
    "COMMAND [ARGS]...": "КОМАНДА [ПАРАМЕТРЫ]...",
    # many portals
    "The portal that is meant, where there are many; before or after the command.": "Портал, о котором речь, "
    "если их много; до команды или после неё.",
    "--portal does not go with {0}": "--portal не пишется вместе с {0}",
    "The portals of a fleet, kept in one PostgreSQL: see `portal COMMAND --help`.": "Порталы в одном "
    "PostgreSQL: см. `portal КОМАНДА --help`.",
    "The portal's name.": "Имя портала.",
    "The rules; they can follow by `apply`.": "Правила; их можно задать и позже, командой `apply`.",
    "A file like .env with the webhook; without it the webhook is asked for.": "Файл вроде .env с вебхуком; "
    "без него вебхук спрашивается.",
    "A new portal; its webhook is asked for, or comes from a file, and its rules are proved on it.": "Новый "
    "портал; вебхук спрашивается или берётся из файла, правила проверяются на самом портале.",
    "A folder for each portal, NAME/rules.yaml.": "Папка с папками порталов, ИМЯ/rules.yaml.",
    "Where NAME.env are; else NAME/.env, if git does not keep it.": "Где лежат ИМЯ.env; иначе ИМЯ/.env, если "
    "его не хранит git.",
    "Disable the portals that DIR lacks.": "Выключить порталы, которых в папке нет.",
    "Make the portals what their folders say; all is proved on the portals first, and one error keeps "
    "all as it is.": "Делает порталы такими, как сказано в папках; сначала всё проверяется на самих порталах, "
    "и из-за одной ошибки не меняется ничего.",
    "All portals: where they are, whether they are served, what is in the way.": "Все порталы: адрес, "
    "обслуживаются ли, что мешает.",
    "One portal: its address, settings, rules, what is in the way; of its secrets only whether there are "
    "any.": "Один портал: адрес, настройки, правила, что мешает; о секретах — только есть ли они.",
    "Serve a portal again.": "Снова обслуживать портал.",
    "Serve a portal no more; what is known of it stays.": "Больше не обслуживать портал; всё, что о нём "
    "известно, остаётся.",
    "Forget a disabled portal with its data; its name is never used again.": "Забыть выключенный портал вместе "
    "с данными; его имя больше не используется.",
    "Put the version before the present one in force.": "Вернуть версию, которая была перед нынешней.",
    "Print the rules in force.": "Напечатать правила, которые действуют.",
    "The last twenty versions of a portal's rules: when they came, and from whom.": "Последние двадцать версий "
    "правил портала: когда появились и от кого.",
    "Seal all secrets with the first key of the file; the others can be taken out of it then.": "Запечатать "
    "все секреты первым ключом из файла; остальные после этого можно убрать.",
    "Many portals: takes turns at them, on as many machines as there are workers, until SIGTERM or Ctrl-C.": "Много "
    "порталов: работник обслуживает их по очереди; запускается на скольких угодно машинах, работает до SIGTERM или "
    "Ctrl-C.",
    "Brings the database's tables, those of many portals and of their queue included, to this program's "
    "version.": "Привести таблицы базы, в том числе для многих порталов и их очереди, к версии этой программы.",
    "Many portals: the workers, how many portals are served, which wait longest, what is in the way.": "Много "
    "порталов: работники, сколько порталов обслуживается, какие ждут дольше всех, что мешает.",
    "Many portals: their events, their pages, the operator's page; one process until SIGTERM or Ctrl-C.": "Много "
    "порталов: их события, их страницы, страница оператора; один процесс до SIGTERM или Ctrl-C.",
}

FAULTS: dict[str, str] = {
    "No rule is called `{0}`.": "Правила `{0}` нет.",
    "The rules here are {0}.": "Здесь есть правила {0}.",
    # what has vanished
    "The field {0} is gone from the portal.": "На портале больше нет поля {0}.",
    "The user field {0} is gone from the portal.": "На портале больше нет поля задач {0}.",
    "The value {0} is gone from the portal.": "На портале больше нет значения {0}.",
    "The department {0} is gone from the portal.": "На портале больше нет отдела {0}.",
    "The workgroup {0} is gone from the portal.": "На портале больше нет рабочей группы {0}.",
    "The user {0} is gone from the portal.": "На портале больше нет сотрудника {0}.",
    "The stage {0} is gone from the portal.": "На портале больше нет стадии {0}.",
    "The funnel {0} is gone from the portal.": "На портале больше нет воронки {0}.",
    "The stage {0} is gone from every funnel.": "Стадии {0} больше нет ни в одной воронке.",
    # what is wrong with a rules file, and what to write instead: as it stands, with what varies as {0}, {1}
    # what values are called
    "nothing": "пустое значение",
    "Nothing": "Пустое значение",
    "a mapping": "словарь",
    "A mapping": "Словарь",
    "a list": "список",
    "A list": "Список",
    "true or false": "true или false",
    "Did you mean {0}?": "Может быть, {0}?",
    "{0} or {1}": "{0} или {1}",
    "{0} and {1} more": "{0} и ещё {1}",
    "Letter {0} of it, {1}, is Cyrillic: write {2} in Latin letters.": (
        "Буква {0} в нём, {1}, — кириллица: напишите {2} латиницей."
    ),
    "Letter {0} of it, {1}, is Latin: write {2} in Cyrillic letters.": (
        "Буква {0} в нём, {1}, — латиница: напишите {2} кириллицей."
    ),
    "Letters {0} of it, {1}, are Cyrillic: write {2} in Latin letters.": (
        "Буквы {0} в нём, {1}, — кириллица: напишите {2} латиницей."
    ),
    "Letters {0} of it, {1}, are Latin: write {2} in Cyrillic letters.": (
        "Буквы {0} в нём, {1}, — латиница: напишите {2} кириллицей."
    ),
    "Letter {0} of it, {1}, is {2}: write {3} in {4} letters.": (
        "Буква {0} в нём, {1}, — из другого алфавита: напишите {3}."
    ),
    "Letters {0} of it, {1}, are {2}: write {3} in {4} letters.": (
        "Буквы {0} в нём, {1}, — из другого алфавита: напишите {3}."
    ),
    # the file
    "There are {0} more like these from here on; they are not shown.": "Дальше таких ещё {0}, они не показаны.",
    "Correct the first ones, then look again.": "Исправьте первые и проверьте снова.",
    "The templates of the file hold more than {0} characters in braces.": (
        "В шаблонах файла больше {0} знаков в скобках."
    ),
    "Make them simpler, or fewer.": "Упростите их или сократите.",
    "The file is longer than {0} characters.": "Файл длиннее {0} знаков.",
    "Is it the right file?": "Тот ли это файл?",
    "The file is empty.": "Файл пуст.",
    "`bitrix-sync init` writes one with the portal's own stages.": (
        "`bitrix-sync init` составит файл со стадиями портала."
    ),
    "The file holds {0}.": "В файле стоит {0}.",
    "It must begin with `version: 1`.": "Файл начинается с `version: 1`.",
    "The key {0} is missing.": "Не хватает ключа {0}.",
    "There is no key {0} here.": "Ключа {0} здесь нет.",
    "{0} is no room.": "{0} — не число мест в дне.",
    "Write how many tasks a day a person can do, from 1 to {0}, or `learned`, or `none`.": (
        "Напишите, сколько задач в день посильно одному человеку, от 1 до {0}, или `learned`, или `none`."
    ),
    "Write a number, `learned`, or `{default: 8, people: {5: 4}}`.": (
        "Напишите число, `learned` или `{default: 8, people: {5: 4}}`."
    ),
    "{0} would stand in for themselves.": "{0}: человек не может замещать сам себя.",
    "Name somebody else, or delete the line: then the head stands in.": (
        "Назовите другого или уберите строку: тогда замещает руководитель."
    ),
    "{0} stands here twice.": "{0}: человек назван дважды.",
    "Leave one of the two lines.": "Оставьте одну из двух строк.",
    "Since version 0.2 `away: substitute` does more: open tasks of whoever is away are lent to the substitute and come "
    "back, and a new task goes to whom `substitutes` names, else to the head, not further up.": (
        "С версии 0.2 `away: substitute` делает больше: открытые задачи отсутствующего передаются замещающему и потом "
        "возвращаются, а новая достаётся тому, кого назвали в `substitutes`, иначе руководителю, но не выше."
    ),
    "Write `away: substitute` or `away: keep` for the whole file, then this line is not shown any more.": (
        "Напишите `away: substitute` или `away: keep` для всего файла, и эта строка больше не появится."
    ),
    "The keys here are {0}.": "Здесь возможны {0}.",
    "Begin the file with `version: 1`.": "Начните файл с `version: 1`.",
    "Write {0}.": "Напишите {0}.",
    "Write one of {0}.": "Напишите одно из: {0}.",
    "Write a funnel, its stages and their tasks; `bitrix-sync init` writes the portal's own.": (
        "Напишите воронку, её стадии и их задачи; `bitrix-sync init` составит их по порталу."
    ),
    "Write one that stays when the title changes: {0}.": (
        "Напишите такой, который останется, когда изменится название: {0}."
    ),
    "Write what is to be done: {0}.": "Напишите, что нужно сделать: {0}.",
    "There is no task without one: {0}.": "Без него задачи нет: {0}.",
    "Write when it is due while the field is empty or the event has not happened: {0}.": (
        "Напишите срок на случай, когда поле пусто или события ещё не было: {0}."
    ),
    "Write how one of them is chosen: {0}.": "Напишите, как выбирать из них: {0}.",
    "Write the time of day: {0}.": "Напишите время: {0}.",
    "Write where overdue deadlines are moved: {0}.": "Напишите, куда переносить просроченные сроки: {0}.",
    "Write how long after: {0}.": "Напишите, через сколько: {0}.",
    "{0} is no version that this program knows.": "Версия {0} этой программе не известна.",
    "{0} stands here twice, first in line {1}.": "{0} стоит здесь дважды, первый раз в строке {1}.",
    "Join the two, or rename one.": "Объедините их или переименуйте один.",
    "Join the two.": "Объедините их.",
    "This is empty.": "Здесь пусто.",
    "Write what belongs here.": "Напишите, что сюда относится.",
    "Write a value, or leave the key out.": "Напишите значение или уберите ключ.",
    "{0} does not fit here: {1}.": "{0} сюда не подходит: {1}.",
    "See the rules language for what does.": "Что подходит, сказано в описании языка правил.",
    "{0} is neither true nor false.": "{0} — не true и не false.",
    "Write {0}, without quotes.": "Напишите {0}, без кавычек.",
    "Write one, without quotes.": "Напишите целое число, без кавычек.",
    "{0} is no whole number.": "{0} — не целое число.",
    "{0} is too small.": "{0} — слишком мало.",
    "Write {0} or more.": "Напишите {0} или больше.",
    "{0} is too large.": "{0} — слишком много.",
    "Write {0} or less.": "Напишите {0} или меньше.",
    "Begin each of its items with a dash.": "Начните каждый его пункт с дефиса.",
    "A list must stand here, not {0}.": "Здесь нужен список, а стоит {0}.",
    "A mapping must stand here, not {0}.": "Здесь нужен словарь, а стоит {0}.",
    "A text must stand here, not {0}.": "Здесь нужен текст, а стоит {0}.",
    "A person must stand here, not {0}.": "Здесь должен стоять человек, а стоит {0}.",
    "A text must stand here.": "Здесь нужен текст.",
    "Write it, or leave the key out.": "Напишите его или уберите ключ.",
    "Put it in quotes: {0}.": "Возьмите его в кавычки: {0}.",
    "A text that begins with { or [ needs quotes.": "Текст, который начинается с { или [, берут в кавычки.",
    "Write `key: value` on lines of their own, indented.": (
        "Напишите `ключ: значение` на отдельных строках, с отступом."
    ),
    "Write {0}: `min` and `max` are met by the value itself too.": (
        "Напишите {0}: для `min` и `max` подходит и само значение."
    ),
    "{0} is no condition.": "{0} — не условие.",
    "{0} and {1} do not go together: a deadline is of one kind.": (
        "{0} и {1} вместе не пишутся: срок бывает одного вида."
    ),
    "{0} and {1} do not go together.": "{0} и {1} вместе не пишутся.",
    "Leave one of them out, or put it under `else`.": "Уберите одно из них или перенесите под `else`.",
    "Leave one of them out.": "Уберите одно из них.",
    "{0} does not go into `move_to`, which is counted from the sweep's moment.": (
        "{0} не пишется в `move_to`: там срок считается от часа обхода."
    ),
    "Use `after` and `at`.": "Возьмите `after` и `at`.",
    "`follow` does not go into `move_to`: nothing is followed there.": (
        "`follow` не пишется в `move_to`: там следовать не за чем."
    ),
    "`else` would never come to stand: this deadline is sure.": "До `else` дело не дойдёт: этот срок есть всегда.",
    "`before` needs a moment with a date; of an event nobody knows it beforehand.": (
        "Для `before` нужна дата, а когда будет событие, заранее не известно."
    ),
    "Use `after`.": "Возьмите `after`.",
    "{0} needs a moment with a date; `after` alone counts from entry.": (
        "Для {0} нужна дата, а один `after` считает от входа на стадию."
    ),
    "Add `field`, or leave one out.": "Добавьте `field` или уберите одно из них.",
    # YAML
    "A character that no text file may hold stands here ({0}).": (
        "Здесь стоит знак, которого в текстовом файле быть не может ({0})."
    ),
    "Delete it.": "Удалите его.",
    "YAML cannot be read here.": "YAML здесь не читается.",
    "YAML cannot be read here: {0}.": "YAML здесь не читается: {0}.",
    "the text makes no sense": "текст не разобрать",
    "{0} repeats nothing: there is no {1} above it.": "{0} ничего не повторяет: выше нет {1}.",
    "If it is a text that begins with a star, put it in quotes.": (
        "Если это текст, который начинается со звёздочки, возьмите его в кавычки."
    ),
    "Look at the indentation, quotes, colons and brackets here and in the line before.": (
        "Проверьте отступы, кавычки, двоеточия и скобки здесь и строкой выше."
    ),
    "More than {0} levels are nested.": "Вложено больше {0} уровней.",
    "A tab stands here.": "Здесь стоит табуляция.",
    "YAML indents with spaces: replace the tab by spaces.": "Отступы в YAML делают пробелами: замените ими табуляцию.",
    "A text cannot begin with this character.": "С этого знака текст начинаться не может.",
    "Put the text in quotes.": "Возьмите текст в кавычки.",
    "A colon stands where no key can be.": "Двоеточие стоит там, где ключа быть не может.",
    "Put a text that contains a colon and a space in quotes; check the indentation of the line.": (
        "Текст с двоеточием и пробелом возьмите в кавычки; проверьте отступ строки."
    ),
    "A line without a colon.": "В строке нет двоеточия.",
    "Write `key: value`, or quote a text of several lines.": (
        "Напишите `ключ: значение`, а текст в несколько строк возьмите в кавычки."
    ),
    "A list begins where none can be.": "Список начинается там, где его быть не может.",
    "Indent its dashes alike, and by spaces.": "Сделайте у его дефисов одинаковый отступ, пробелами.",
    "This line is indented differently from its neighbours, or a text in quotes goes on after them.": (
        "У этой строки не тот отступ, что у соседних, или после кавычек текст продолжается."
    ),
    "Indent what belongs together by the same number of spaces.": (
        "Тому, что стоит вместе, дайте отступ в одинаковое число пробелов."
    ),
    "A bracket is not closed before this.": "До этого места не закрыта скобка.",
    "Write the missing comma or closing bracket.": "Допишите запятую или закрывающую скобку.",
    "A quote is not closed.": "Не закрыта кавычка.",
    "Write the closing quote.": "Закройте кавычку.",
    "A backslash stands in a text in double quotes.": "В тексте в двойных кавычках стоит обратная черта.",
    "Use single quotes.": "Возьмите одинарные кавычки.",
    "A dash stands where no list can be.": "Дефис стоит там, где списка быть не может.",
    "Put the list on its own lines.": "Перенесите список на отдельные строки.",
    "{0} is no name of a part of the file.": "{0} — не имя части файла.",
    "Write it in Latin letters and digits.": "Напишите его латинскими буквами и цифрами.",
    "{0} names nothing.": "{0} ничего не называет.",
    "A key must be a plain text.": "Ключом может быть только простой текст.",
    "A text with {{ }} or [ ] at its beginning needs quotes: {0}.": (
        "Текст, который начинается с {{ }} или [ ], берут в кавычки: {0}."
    ),
    "`<<` takes another mapping in, and this is none.": "`<<` вставляет другой словарь, а это не словарь.",
    "Write `<<: *name` of a mapping.": "Напишите `<<: *имя` какого-нибудь словаря.",
    "A YAML directive stands here.": "Здесь стоит директива YAML.",
    "Delete the line that begins with `%`.": "Удалите строку, которая начинается с `%`.",
    "A second document begins here.": "Здесь начинается второй документ.",
    "Delete the line `---`.": "Удалите строку `---`.",
    "{0} is a YAML tag.": "{0} — это тег YAML.",
    "Write the value alone, without it.": "Напишите только значение, без него.",
    "{0} stands inside of what it repeats.": "{0} стоит внутри того, что повторяет.",
    "Write the value out.": "Напишите значение полностью.",
    "There are more than {0} values below.": "Ниже больше {0} значений.",
    "Write fewer.": "Сократите.",
    # single values
    "{0} is no duration.": "{0} — не длительность.",
    "Write a whole number and a unit, as {0}.": "Напишите целое число и единицу, например {0}.",
    "There is no unit {0}.": "Единицы {0} нет.",
    "Units are {0}.": "Единицы: {0}.",
    "{0} is no whole number of {1}.": "{0}: число единиц (`{1}`) не целое.",
    "Write one, from 1 on; for fractions take a smaller unit, for earlier `before`.": (
        "Напишите целое число от 1; вместо дробей возьмите единицу мельче, для более раннего срока — `before`."
    ),
    "{0} is no time at all.": "{0} — нисколько времени.",
    "0 goes only with workdays: `0 workdays` is today or the next.": (
        "0 бывает только у workdays: `0 workdays` — сегодня или ближайший рабочий день."
    ),
    "{0} is longer than any deal.": "{0} — дольше любой сделки.",
    "Up to {0} {1} can be written.": "Можно написать до `{0} {1}`.",
    "{0} has no unit.": "У {0} нет единицы.",
    "Write which, as {0}.": "Напишите её, например {0}.",
    "{0} is no time of day.": "{0} — не время.",
    "Write hours and minutes in quotes, as {0}.": "Напишите часы и минуты в кавычках, например {0}.",
    "There is no day {0}.": "Дня {0} нет.",
    "Write year-month-day, as {0}.": "Напишите год-месяц-день, например {0}.",
    "The day {0} is past.": "День {0} уже прошёл.",
    "Write a day to come.": "Напишите день, который ещё впереди.",
    "Character {0} of it is not seen ({1}): delete it.": "Знак {0} в нём не виден ({1}): удалите его.",
    "A character that no eye sees stands here.": "Здесь стоит невидимый знак.",
    "Delete it: write the line anew from here on.": "Удалите его: наберите строку отсюда заново.",
    "This dash is none for YAML.": "Для YAML это тире — не дефис.",
    "Begin each item of a list with a hyphen and a space: {0}.": "Начните каждый пункт списка с дефиса и пробела: {0}.",
    "This bracket is not closed, or a comma is missing after it.": (
        "Эта скобка не закрыта или после неё не хватает запятой."
    ),
    "Write the closing bracket or the comma.": "Допишите закрывающую скобку или запятую.",
    "Write {0} for a mapping, {1} for a text.": "Напишите {0}, если это словарь, или {1}, если это текст.",
    "Write {0} to compare, or put a text in quotes.": "Для сравнения напишите {0}, а текст возьмите в кавычки.",
    "After {0} the colon is missing.": "После {0} не хватает двоеточия.",
    "{0} is no text.": "{0} — не текст.",
    "Write {0}, in quotes.": "Напишите {0}, в кавычках.",
    "Begin each of its items with a dash and a space.": "Начните каждый его пункт с дефиса и пробела.",
    "Write {0}, or begin each item on a line of its own with a dash and a space.": (
        "Напишите {0} или начните каждый пункт на своей строке с дефиса и пробела."
    ),
    "A stage stands here within another one.": "Здесь стадия внутри другой стадии.",
    "Indent it as the other stages of the funnel.": "Дайте ей такой же отступ, как у других стадий воронки.",
    "Write the code of the field: {0}.": "Напишите код поля: {0}.",
    "{0} is no date.": "{0} — не дата.",
    "{0} is no id.": "{0} — не id.",
    "Write letters, digits, `-` and `_`, as {0}.": "Напишите латинские буквы, цифры, `-` и `_`, например {0}.",
    "Use letters, digits, `-` and `_` only, as {0}.": (
        "Возьмите только латинские буквы, цифры, `-` и `_`, например {0}."
    ),
    "Use letters, digits, `-` and `_` only, as {0}. At most {1} of them.": (
        "Возьмите только латинские буквы, цифры, `-` и `_`, например {0}. Не больше {1} знаков."
    ),
    "{0} is no name.": "{0} — не имя.",
    "Write the name as the portal shows it, or its id.": "Напишите имя, как в портале, или id.",
    "The name is empty.": "Имя пусто.",
    'Write it as the portal shows it, or its id, or "*".': 'Напишите его, как в портале, или id, или "*".',
    "{0} is an offset, not a time zone.": "{0} — смещение, а не часовой пояс.",
    "There is no time zone {0}.": "Часового пояса {0} нет.",
    "Write a place of the tz database, as {0}.": "Напишите место из базы tz, например {0}.",
    "No public holidays are known for the country {0}.": "Праздники страны {0} не известны.",
    "Write its two letters, as {0}.": "Напишите две её буквы, например {0}.",
    "{0} is no span of hours.": "{0} — не промежуток часов.",
    "Write from and to in quotes, as {0}.": "Напишите начало и конец в кавычках, например {0}.",
    "{0} ends at midnight.": "{0} кончается в полночь.",
    "The last minute of a day is 23:59: {0}.": "Последняя минута дня — 23:59: {0}.",
    "The hours {0} end before they begin.": "Часы {0} кончаются раньше, чем начинаются.",
    "Write the earlier time first.": "Напишите раннее время первым.",
    "This list of hours is empty.": "Этот список часов пуст.",
    "Write a span, or leave the day out: it is a day off then.": (
        "Напишите промежуток или уберите день: тогда он выходной."
    ),
    "The hours overlap: one span ends at {0}, another begins at {1}.": (
        "Часы пересекаются: один промежуток кончается в {0}, другой начинается в {1}."
    ),
    "Let them follow each other.": "Пусть они идут друг за другом.",
    "{0} is no day of the week.": "{0} — не день недели.",
    "Write a day or a range of days, as {0}.": "Напишите день или дни подряд, например {0}.",
    "Days are {0}.": "Дни: {0}.",
    "The list of working days is empty.": "Список рабочих дней пуст.",
    "Write them, as {0}.": "Напишите их, например {0}.",
    "{0} has hours twice: under {1} and {2}.": "У {0} часы названы дважды: под {1} и под {2}.",
    "Say each day once.": "Назовите каждый день один раз.",
    "`none` is no person here.": "`none` здесь не пишется: нужен человек.",
    "Only a `supervisor` can be `none`; leave the key out, or name somebody.": (
        "`none` бывает только у `supervisor`; уберите ключ или назовите человека."
    ),
    "{0} is no person.": "{0} — не человек.",
    "Write {0}, a user's id, e-mail or name.": "Напишите {0}, id сотрудника, его почту или имя.",
    "{0} is no user's id.": "{0} — не id сотрудника.",
    "Write the number from the address of the profile, as {0}.": "Напишите номер из адреса профиля, например {0}.",
    "{0} is no user.": "{0} — не сотрудник.",
    "Write a user's id, e-mail or name, as {0}.": "Напишите id сотрудника, почту или имя, например {0}.",
    "Write a user's id, e-mail or name, or {0}.": "Напишите id сотрудника, почту, имя или {0}.",
    "Nothing stands here to compare with.": "Здесь не с чем сравнивать.",
    "For an empty field write {0}.": "Для пустого поля напишите {0}.",
    "{0} cannot be compared with.": "{0} — не то, с чем сравнивают.",
    "Write a text, a number, a date or true/false.": "Напишите текст, число, дату или true/false.",
    "The list is empty: nothing can be one of it.": "Список пуст: ничто в него не входит.",
    "Write the values, or leave the test out.": "Напишите значения или уберите сравнение.",
    "The list is empty.": "Список пуст.",
    "Write the values, or leave the field out.": "Напишите значения или уберите поле.",
    "The text is empty.": "Текст пуст.",
    "Write a value, or leave the field out.": "Напишите значение или уберите поле.",
    "Nothing stands here.": "Здесь ничего не стоит.",
    "{0} is no value of a field.": "{0} — не значение поля.",
    "Write a template, a number, a date, true or false, or a list.": (
        "Напишите шаблон, число, дату, true, false или список."
    ),
    # forms
    "{0} is not known here.": "{0} здесь не известно.",
    "A stage takes a list of tasks, not {0}.": "У стадии должен быть список задач, а стоит {0}.",
    "Write `- id: ...` on the next line, indented.": "Напишите `- id: ...` на следующей строке, с отступом.",
    "The stage has nothing.": "У стадии ничего нет.",
    "Write its tasks as a list, `[]` if it needs none, or delete the line.": (
        "Напишите её задачи списком, `[]`, если они не нужны, или удалите строку."
    ),
    "This mapping is no event.": "Этот словарь — не событие.",
    "This mapping": "Этот словарь",
    "{0} is no event.": "{0} — не событие.",
    "This does not say what the task starts with.": "Здесь не сказано, с чего начинается задача.",
    "A task does not start when a stage is entered.": "Задача не начинается от входа на стадию.",
    "Put it under that stage.": "Поставьте её под ту стадию.",
    "This does not say when the task is due.": "Здесь не сказано, к какому сроку задача.",
    "{0} alone is no deadline.": "Одно {0} — ещё не срок.",
    "{0} is no deadline.": "{0} — не срок.",
    "Write a mapping, as {0}.": "Напишите словарь, например {0}.",
    "`before` needs a moment with a date to count back from.": "Для `before` нужна дата, от которой считать назад.",
    "Add the field: {0}.": "Добавьте поле: {0}.",
    "This mapping does not say who.": "В этом словаре не сказано, кто.",
    "It takes one of {0}.": "Здесь нужно одно из: {0}.",
    "One person must stand here, not a list.": "Здесь нужен один человек, а не список.",
    "For a choice write {0}.": "Для выбора напишите {0}.",
    "Write responsible, head, a user's id, e-mail or name.": (
        "Напишите `responsible`, `head`, id сотрудника, почту или имя."
    ),
    "The test says nothing.": "В сравнении ничего не сказано.",
    "Write a value, a list of values, or {0}.": "Напишите значение, список значений или {0}.",
    # what does not go together
    "Two tasks have the id {0}: {1} has it too.": "Id {0} у двух задач: он есть и у {1}.",
    "Give one of them another.": "Дайте одной из них другой.",
    "None of these tasks would ever appear, each waits for another: {0}.": (
        "Ни одна из этих задач никогда не появится, каждая ждёт другую: {0}."
    ),
    "Let one of them start on entry.": "Пусть одна из них начинается с входа на стадию.",
    "{0} and {1} are one name.": "{0} и {1} — одно и то же имя.",
    "`*` is no stage to advance to.": "`*` — не стадия, на которую можно перейти.",
    "Name one stage.": "Назовите одну стадию.",
    "Deals would go round in a circle: {0}.": "Сделки ходили бы по кругу: {0}.",
    "Let one of these stages not advance.": "Пусть одна из этих стадий никуда не переводит.",
    "The task {0} refers to itself.": "Задача {0} ссылается на саму себя.",
    "Name another task's id.": "Назовите id другой задачи.",
    "No task has the id {0}.": "Задачи с id {0} нет.",
    "The ids are {0}.": "Есть такие: {0}.",
    "The template is wrong: {0}": "Ошибка в шаблоне: {0}",
    "`again` makes no next task where `repeat: once` allows one for ever.": (
        "`again` не поставит следующую задачу: `repeat: once` допускает одну навсегда."
    ),
    "Leave one out.": "Уберите одно из них.",
    "`control` needs a supervisor, and there is none.": "Для `control` нужен контролёр, а его нет.",
    "Name a `supervisor` for the task.": "Назовите `supervisor` для задачи.",
    "A task with {0} cannot be completed by itself.": "Задача с {0} не может завершиться сама.",
    "A task with {0} cannot be completed by itself, and the file says `on_close: complete`.": (
        "Задача с {0} не может завершиться сама, а в файле стоит `on_close: complete`."
    ),
    "Write {0}, `defer` or `delete`, or leave {1} out.": "Напишите {0}, `defer` или `delete` либо уберите {1}.",
    "Write {0}, `defer` or `delete` in the task, or leave {1} out.": (
        "Напишите у задачи {0}, `defer` или `delete` либо уберите {1}."
    ),
    "The deal is in this very stage already.": "Сделка уже стоит на этой самой стадии.",
    "Name another stage to wait for.": "Назовите другую стадию, которой нужно дождаться.",
    "The portal fills CLOSEDATE itself, a week after a deal's creation.": (
        "CLOSEDATE портал заполняет сам: через неделю после создания сделки."
    ),
    "If nobody corrects it there, use a date field of your own.": (
        "Если там её никто не исправляет, возьмите своё поле с датой."
    ),
    "`again` does not go with `start: {idle: ...}`, which makes the next task by itself.": (
        "`again` не пишется вместе со `start: {idle: ...}`: следующая задача и так появится сама."
    ),
    "`at` does not go with {0}, which lead to a time of day themselves.": (
        "`at` не пишется вместе с `{0}`: они и так приводят к времени дня."
    ),
    "Leave `at` out, or count in days or workdays.": "Уберите `at` или считайте в `days` или `workdays`.",
    "No condition stands here, so it holds from the beginning.": "Здесь нет ни одного условия, значит, выполнено оно с "
    "самого начала.",
    "Write one, as `{UF_CRM_STATE: Paid}`.": "Напишите условие: `{UF_CRM_STATE: Оплачено}`.",
    "No `limit` stands in the file: nothing ever goes higher.": "В файле нет ни одного `limit`: выше ничего не уйдёт.",
    "Write one under `overdue`, or in a stage.": "Напишите его в `overdue` или у стадии.",
    "{0} is no time between two steps.": "{0} не годится как время между двумя шагами.",
    "Write days, workdays or weeks, from 1 on, as `2 workdays`, or `none`.": "Напишите дни, рабочие дни или "
    "недели, от 1: `2 workdays`, или `none`.",
    "Nothing is at least {0} and at most {1}.": "Ничто не бывает не меньше {0} и не больше {1}.",
    "Swap the two.": "Поменяйте их местами.",
    "`hours` says already which days are working days.": "Рабочие дни уже названы в `hours`.",
    "Leave `workdays` out.": "Уберите `workdays`.",
    "{0} is in `days_off` too.": "{0} стоит и в `days_off`.",
    "Leave it in one of the two.": "Оставьте этот день в одном из двух.",
    "There is no sweep: nothing overdue is ever moved.": "Нет ни одного обхода: просроченное никогда не переносится.",
    "Add `morning` or `evening`.": "Добавьте `morning` или `evening`.",
    "The morning begins after the evening.": "Утро начинается позже вечера.",
    "Check the two times.": "Проверьте оба времени.",
    # the portal's names
    "No funnel can be read.": "Ни одну воронку не прочитать.",
    "Give the webhook's user a CRM role that reads deals.": "Дайте пользователю вебхука роль CRM с чтением сделок.",
    "{0} and {1} are one stage, {2}.": "{0} и {1} — одна стадия, {2}.",
    "{0} and {1} are one funnel.": "{0} и {1} — одна воронка.",
    "The rules for it are off; remove them here.": "Её правила выключены; удалите их здесь.",
    "The rules for it are off until it can be.": "До тех пор её правила выключены.",
    "No funnel has a stage {0}.": "Стадии {0} нет ни в одной воронке.",
    "Stages are {0}.": "Стадии: {0}.",
    "The stage would advance to itself.": "Стадия переводила бы сама на себя.",
    "Name another stage.": "Назовите другую стадию.",
    "Deals do not advance there; name another stage.": "Туда сделки не переводятся; назовите другую стадию.",
    "The stage {0} is of another funnel.": "Стадия {0} — из другой воронки.",
    "A deal advances within its own: name a stage of it.": "Сделка переходит внутри своей воронки: назовите её стадию.",
    "Name one of the same funnel, or write the id: {0}.": "Назовите стадию той же воронки или напишите id: {0}.",
    "Name somebody else.": "Назовите другого человека.",
    "The portal has no funnel {0}.": "В портале нет воронки {0}.",
    "The portal has no stage {0}.": "В портале нет стадии {0}.",
    "The portal has no department {0}.": "В портале нет отдела {0}.",
    "The portal has no workgroup {0}.": "В портале нет рабочей группы {0}.",
    "The portal has no user {0}.": "В портале нет сотрудника {0}.",
    "The portal has no user with the e-mail {0}.": "В портале нет сотрудника с почтой {0}.",
    "The funnel {0} has no stage {1}.": "В воронке {0} нет стадии {1}.",
    "This funnel has no stage {0}.": "В этой воронке нет стадии {0}.",
    "Deals have no field {0}.": "У сделок нет поля {0}.",
    "Tasks have no user field {0}.": "У задач нет пользовательского поля {0}.",
    "The portal has several funnels of the name {0}: {1}.": "В портале несколько воронок с именем {0}: {1}.",
    "The portal has several departments of the name {0}: {1}.": "В портале несколько отделов с именем {0}: {1}.",
    "The portal has several workgroups of the name {0}: {1}.": "В портале несколько рабочих групп с именем {0}: {1}.",
    "The portal has several stages of the name {0}: {1}.": "В портале несколько стадий с именем {0}: {1}.",
    "The funnel {0} has several stages of the name {1}: {2}.": "В воронке {0} несколько стадий с именем {1}: {2}.",
    "This funnel has several stages of the name {0}: {1}.": "В этой воронке несколько стадий с именем {0}: {1}.",
    "Deals have several fields of the name {0}: {1}.": "У сделок несколько полей с названием {0}: {1}.",
    "Tasks have several user fields of the name {0}: {1}.": "У задач несколько полей с названием {0}: {1}.",
    "The field {0} has several values of the name {1}: {2}.": "У поля {0} несколько значений {1}: {2}.",
    "Write the id of the one you mean.": "Напишите id нужного.",
    "Write the code of the one you mean.": "Напишите код нужного.",
    "Write the id of one.": "Напишите id одного из них.",
    "Write the id.": "Напишите id.",
    "Write the id, or the name as the portal shows it.": "Напишите id или имя, как в портале.",
    "Its stages are {0}.": "Её стадии: {0}.",
    "Its values are {0}.": "Его значения: {0}.",
    "its values are {0}": "его значения: {0}",
    "Their codes are {0}.": "Их коды: {0}.",
    "Some of its users: {0}.": "Некоторые из сотрудников: {0}.",
    "Write the name of a funnel as the portal shows it, or its id.": "Напишите имя воронки, как в портале, или её id.",
    "Write the name of a stage as the portal shows it, or its id.": "Напишите имя стадии, как в портале, или её id.",
    "Write the name of a department as the portal shows it, or its id.": (
        "Напишите имя отдела, как в портале, или его id."
    ),
    "Write the name of a workgroup as the portal shows it, or its id.": (
        "Напишите имя рабочей группы, как в портале, или её id."
    ),
    "Write the name of a field as the portal shows it, or its id.": (
        "Напишите название поля, как в портале, или его код."
    ),
    "Write the name of a user field as the portal shows it, or its id.": (
        "Напишите название поля, как в портале, или его код."
    ),
    "Write the name of a value as the portal shows it, or its id.": "Напишите значение, как в портале, или его id.",
    "Write the number from the address of the workgroup.": "Напишите номер из адреса рабочей группы.",
    "Write the id of an employee.": "Напишите id сотрудника.",
    "The fields of deals cannot be read.": "Поля сделок не прочитать.",
    "Give the webhook the scope crm.": "Дайте вебхуку право `crm`.",
    "{0} is the title of a field.": "{0} — название поля.",
    "Write its code: {0}.": "Напишите его код: {0}.",
    "Make it in the portal, or leave it out.": "Создайте его в портале или уберите здесь.",
    "The webhook may not read departments.": "Вебхуку нельзя читать отделы.",
    "The webhook may not read workgroups.": "Вебхуку нельзя читать рабочие группы.",
    "Write its number from its address, or give the webhook the scope sonet.": (
        "Напишите номер из её адреса или дайте вебхуку право `sonet`."
    ),
    "The workgroup {0} ({1}) is closed: the portal takes no tasks into it.": (
        "Рабочая группа {0} ({1}) в архиве: портал не ставит в неё задачи."
    ),
    "Open it again in the portal, or name another one.": "Верните её из архива в портале или назовите другую.",
    "{0} is no workgroup.": "{0} — не рабочая группа.",
    "Write its name as the portal shows it, or its id.": "Напишите имя, как в портале, или id.",
    "Give the webhook the scope department, or write the department's id.": (
        "Дайте вебхуку право `department` или напишите id отдела."
    ),
    "{0} ({1}) does not work here any more.": "{0} ({1}) больше здесь не работает.",
    "Name somebody else; until then the head over that employee stands in.": (
        "Назовите другого человека; до тех пор замещает руководитель."
    ),
    "{0} is not the e-mail of {1} ({2}) any more.": "{0} — больше не почта сотрудника {1} ({2}).",
    "Write the present one, or the id.": "Напишите нынешнюю или id.",
    "Several users have the e-mail {0}: {1}.": "Почта {0} у нескольких сотрудников: {1}.",
    "The webhook may not read e-mails.": "Вебхуку нельзя читать почту.",
    "Write the user's id, or give the webhook the scope user_basic.": (
        "Напишите id сотрудника или дайте вебхуку право `user_basic`."
    ),
    "The funnel {0} is called {1} in the portal now ({2}).": "Воронка {0} теперь называется в портале {1} ({2}).",
    "The stage {0} is called {1} in the portal now ({2}).": "Стадия {0} теперь называется в портале {1} ({2}).",
    "The field {0} is called {1} in the portal now ({2}).": "Поле {0} теперь называется в портале {1} ({2}).",
    "The value {0} is called {1} in the portal now ({2}).": "Значение {0} теперь называется в портале {1} ({2}).",
    "The department {0} is called {1} in the portal now ({2}).": "Отдел {0} теперь называется в портале {1} ({2}).",
    "The workgroup {0} is called {1} in the portal now ({2}).": (
        "Рабочая группа {0} теперь называется в портале {1} ({2})."
    ),
    "The {0} {1} is called {2} in the portal now ({3}).": "{1} теперь называется в портале {2} ({3}).",
    "The {0} {1} is called {2} in the portal now ({3}), and another {4} ({5}) bears that name.": (
        "{1} теперь называется в портале {2} ({3}), а прежнее имя у другого ({5})."
    ),
    "The rules go on with it; write the new name here.": "Правила действуют дальше; напишите здесь новое имя.",
    "The {0} {1} was {2}, which is gone; now it is {3}.": "{1}: прежде это был {2}, его больше нет; теперь это {3}.",
    "If that is not what you mean, write another name.": "Если нужно не это, напишите другое имя.",
    "The rules that need it are off until it is back or another is named here.": (
        "Правила, которым это нужно, выключены, пока оно не вернётся или здесь не названо другое."
    ),
    # fields
    "{0} holds no employees.": "{0} не хранит сотрудников.",
    "Name a field of the type employee.": "Назовите поле с сотрудником.",
    "{0} is a text; a deadline comes of it only while it holds a date as 2026-12-31.": (
        "{0} — текст; срок из него получится, только пока в нём дата вида 2026-12-31."
    ),
    "Better make it a field of the type date.": "Лучше сделайте это поле датой.",
    "{0} holds no dates.": "{0} не хранит дат.",
    "Name a field of the type date or date and time.": "Назовите поле с датой или датой и временем.",
    "{0} holds dates without a time of day to count {1} from.": (
        "{0} хранит даты без времени, от которого считать `{1}`."
    ),
    "Count in days or workdays, with `at` for the time of day.": (
        "Считайте в `days` или `workdays`, а время напишите в `at`."
    ),
    "{0} says yes or no only.": "{0} — только «да» или «нет».",
    "Compare it with true or false.": "Сравните его с true или false.",
    "{0} says yes or no, never {1}.": "{0} — «да» или «нет», но не {1}.",
    "Write true or false.": "Напишите true или false.",
    "{0} holds numbers, and {1} is none.": "{0} — число, а {1} — не число.",
    "Write a number.": "Напишите число.",
    "{0} holds whole numbers, and {1} is none.": "{0} — целое число, а {1} — не целое.",
    "Write one.": "Напишите целое число.",
    "{0} cannot be more or less than something.": "{0} не бывает больше или меньше чего-то.",
    "Compare it by value.": "Сравните его по значению.",
    "{0} holds dates, and {1} is none.": "{0} — дата, а {1} — не дата.",
    "Write it as {0}.": "Напишите как {0}.",
    "{0} is neither a number nor a date.": "{0} — не число и не дата.",
    "Write one, as {0} or {1}.": "Напишите число или дату, например {0} или {1}.",
    "{0} holds files, which a rule cannot attach.": "{0} хранит файлы, а их правило приложить не может.",
    "Leave it out.": "Уберите его.",
    "{0} holds one value, not a list.": "{0} хранит одно значение, а не список.",
    "Write one value.": "Напишите одно значение.",
    "{0} holds employees, and {1} is none.": "{0} — сотрудник, а {1} — не сотрудник.",
    "{0} has no value {1}.": "{0}: значения {1} нет.",
    "{0} has the value {1} several times: {2}.": "{0}: значение {1} есть несколько раз: {2}.",
    "Write it without the sign.": "Напишите без этого знака.",
    "Write the code of a field of the deal.": "Напишите код поля сделки.",
    "The field {0}": "Поле {0}",
    "{0} is no user field: the key {1} of the task sets it.": (
        "{0} — не пользовательское поле: его задаёт ключ задачи {1}."
    ),
    "The service sets {0} itself: {1}.": "{0} служба задаёт сама: {1}.",
    "it binds the task to its deal": "так задача привязана к сделке",
    "the service knows its tasks again by it": "по нему служба узнаёт свои задачи",
    "the deadline is counted by the rules, not by the portal": "срок считают правила, а не портал",
    "a new task waits to be begun": "новая задача ждёт начала",
    "{0} is required by the portal in every task; it will refuse those of the rule {1}.": (
        "{0}: портал требует его в каждой задаче и откажет задачам правила {1}."
    ),
    "{0} is required by the portal in every task; it will refuse those of the rules {1}.": (
        "{0}: портал требует его в каждой задаче и откажет задачам правил {1}."
    ),
    "Give them {0}, or let the field be optional in the portal.": (
        "Дайте им {0} или сделайте поле в портале необязательным."
    ),
    "A rule cannot fill it: let it be optional in the portal.": (
        "Правило его заполнить не может: сделайте его в портале необязательным."
    ),
    "Write {0}, or let the field be optional in the portal.": (
        "Напишите {0} или сделайте поле в портале необязательным."
    ),
    "Write {0} ({1}), or let the field be optional in the portal.": (
        "Напишите {0} ({1}) или сделайте поле в портале необязательным."
    ),
    # advice
    "Nobody is the head over {0}, who can own a task: it would have no supervisor.": (
        "У исполнителя {0} нет руководителя: у задачи не будет контролёра."
    ),
    "Appoint a head in the company's structure, or name a `supervisor` here.": (
        "Назначьте руководителя в структуре компании или назовите здесь `supervisor`."
    ),
    "The webhook is not an administrator's: most tasks that people made can neither be seen nor moved by it.": (
        "Вебхук создан не администратором: большинство задач, поставленных людьми, ему не видны и не переносятся."
    ),
    "Let an administrator make the webhook, or write `tasks: rules`.": (
        "Пусть вебхук создаст администратор, или напишите `tasks: rules`."
    ),
    "The webhook is not an administrator's: it may not make the supervisor the task's creator.": (
        "Вебхук создан не администратором: ему нельзя сделать контролёра постановщиком задачи."
    ),
    "Let an administrator make the webhook, or leave `control` out.": (
        "Пусть вебхук создаст администратор, или уберите `control`."
    ),
    "The stage {0} of the funnel {1} has no task.": "На стадии {0} воронки {1} нет задачи.",
    "The stages {0} of the funnel {1} have no task.": "На стадиях {0} воронки {1} нет задач.",
    'A deal there has no next step: write a task, or one for `"*"`.': (
        'У сделки там нет следующего шага: напишите задачу или одну для `"*"`.'
    ),
    "The webhook lacks the scope {0} to read deals and their stages.": (
        "Вебхуку не хватает права {0}, чтобы читать сделки и их стадии."
    ),
    "The webhook lacks the scope {0} to make tasks.": "Вебхуку не хватает права {0}, чтобы ставить задачи.",
    "The webhook lacks the scope {0} to know the employees.": "Вебхуку не хватает права {0}, чтобы знать сотрудников.",
    "The webhook lacks the scope {0} to know who is whose head.": (
        "Вебхуку не хватает права {0}, чтобы знать, кто чей руководитель."
    ),
    "The webhook lacks the scope {0} to send messages.": "Вебхуку не хватает права {0}, чтобы отправлять сообщения.",
    "The webhook lacks the scope {0} to know who is away: sweeps may put deadlines into absences.": (
        "Вебхуку не хватает права {0}, чтобы знать, кто отсутствует: обходы могут поставить срок на отсутствие."
    ),
    "The webhook lacks the scope {0} to know who is away ({1}).": (
        "Вебхуку не хватает права {0}, чтобы знать, кто отсутствует ({1})."
    ),
    "`away: substitute` of {0}": "`away: substitute` у {0}",
    "The webhook lacks the scope {0} to read the portal's working hours, as the file has no `calendar`.": (
        "Вебхуку не хватает права {0}, чтобы прочитать рабочие часы портала: в файле нет `calendar`."
    ),
    "Tick it in the webhook's form.": "Отметьте его в настройках вебхука.",
    "The portal does not tell its time zone; its present offset, {0}, is used all the year round.": (
        "Портал не сообщает часовой пояс; весь год берётся его нынешнее смещение, {0}."
    ),
    "Write the zone at the top of the file, as {0}.": "Напишите пояс в начале файла, например {0}.",
    "The working hours in the portal's calendar settings make no sense; Mon-Fri 09:00-18:00 are used.": (
        "Рабочие часы в настройках календаря портала бессмысленны; берутся Пн–Пт 09:00–18:00."
    ),
    "Correct them there, or write `calendar` here.": "Исправьте их там или напишите здесь `calendar`.",
    "Check `hours`, `days_off` and `working_days`.": "Проверьте `hours`, `days_off` и `working_days`.",
    # templates
    "line {0}: {1}": "строка {0}: {1}",
    "{0} is not a number": "{0} — не число",
    "{0} is not a date with a time": "{0} — не дата со временем",
    "division by zero": "деление на ноль",
    "values that do not go together are compared or combined ({0})": (
        "сравниваются или соединяются несовместимые значения ({0})"
    ),
    "it cannot be rendered ({0})": "текст по нему не составить ({0})",
    "{0} is unknown": "имя `{0}` не известно",
    "{0} is unknown: did you mean {1}?": "имя `{0}` не известно: может быть, `{1}`?",
    "{0} is unknown. {1}": "имя `{0}` не известно. {1}",
    "{0} is unknown; known are {1}": "имя `{0}` не известно; известны `{1}`",
    "{0} has no {1}: it has {2}": "у `{0}` нет `{1}`: есть `{2}`",
    "{0} has no {1}: did you mean {2}?": "у `{0}` нет `{1}`: может быть, `{2}`?",
    "{0} has no {1}. {2}": "у `{0}` нет `{1}`. {2}",
    "{0} has no {1}": "у `{0}` нет `{1}`",
    "a {0} has no {1}": "у значения ({0}) нет `{1}`",
    "there is no filter {0}": "фильтра `{0}` нет",
    "there is no filter {0}: did you mean {1}?": "фильтра `{0}` нет: может быть, `{1}`?",
    "there is no filter {0}. {1}": "фильтра `{0}` нет. {1}",
    "there is no test {0}": "проверки `{0}` нет",
    "there is no test {0}: did you mean {1}?": "проверки `{0}` нет: может быть, `{1}`?",
    "there is no test {0}. {1}": "проверки `{0}` нет. {1}",
    "*args and **kwargs are not available in a template": "`*args` и `**kwargs` в шаблоне недоступны",
    "recursive loops are not available": "рекурсивные циклы недоступны",
    "{0} is given: choose another name": "имя `{0}` занято: выберите другое",
    "{0} is not available in a template": "`{0}` в шаблоне недоступно",
    "nothing can be called: use a filter, as in {0}": "вызывать ничего нельзя: возьмите фильтр, например `{0}`",
    "nothing can be called in a template": "в шаблоне ничего нельзя вызывать",
    "** is not available": "`**` недоступно",
    "set with a block is not available: write {0}": "`set` с блоком недоступен: напишите `{0}`",
    "filter blocks are not available: put the filter behind the value, as in {0}": (
        "блоки `filter` недоступны: поставьте фильтр после значения, например `{0}`"
    ),
    "the text is empty when it is rendered: write something that is always there": (
        "текст получается пустым: напишите то, что есть всегда"
    ),
    "the template is longer than {0} characters: make it shorter": "шаблон длиннее {0} знаков: сократите его",
    "the template is too deep or cannot be read: {0}": "шаблон слишком глубок или не читается: {0}",
    "{0} is for numbers only: join texts with ~, read a number with |float": (
        "`{0}` — только для чисел: тексты соединяйте через `~`, число читайте через `|float`"
    ),
    "the list is shorter than that": "список короче",
    "cannot be read": "не читается",
    "a {0} cannot be written into a text": "значение ({0}) в текст не записать",
    "a list within a list is not available here": "список внутри списка здесь недоступен",
    "a {0} is no list": "значение ({0}) — не список",
    "the number is too big": "число слишком велико",
    "the template makes too much text: make it simpler": "шаблон даёт слишком много текста: упростите его",
    "the loops of the template go beyond {0} rounds: make it simpler": (
        "циклы шаблона делают больше {0} оборотов: упростите его"
    ),
    "date knows no {0}: write one of {1}": "`date` не знает `{0}`: напишите одно из `{1}`",
    # punctuation
    "A no-break space stands here, which is no space for YAML.": (
        "Здесь стоит неразрывный пробел, а для YAML это не пробел."
    ),
    "Replace it by an ordinary one.": "Замените его обычным.",
    "Typographic quotes stand here, which are part of the text.": (
        "Здесь стоят типографские кавычки, а они — часть текста."
    ),
    "The dash before this is missing.": "Перед этим не хватает дефиса.",
    "Begin each item of a list with a dash and a space.": "Начните каждый пункт списка с дефиса и пробела.",
    "What follows ` #` is a comment.": "То, что стоит после ` #`, — примечание.",
    "After {0} a space is missing.": "После {0} не хватает пробела.",
    "After the dash a space is missing.": "После дефиса не хватает пробела.",
    "If a new task begins here, begin the line with a dash: {0}; else leave one of them out.": (
        "Если здесь начинается новая задача, начните строку с дефиса: {0}; иначе уберите одно из них."
    ),
    "Its departments are {0}.": "Отделы: {0}.",
    "Its funnels are {0}.": "Воронки: {0}.",
    "Its workgroups are {0}.": "Рабочие группы: {0}.",
    "Its fields are {0}.": "Поля: {0}.",
    "Write straight ones: {0}.": "Напишите прямые: {0}.",
    "Write it without the typographic quotes: {0}.": "Напишите без типографских кавычек: {0}.",
    # what the library of templates says
    "{0}.": "{0}.",
    "unexpected end of template, expected {0}": "шаблон оборвался, не хватает {0}",
    "Unexpected end of template. Jinja was looking for the following tags: {0}. The innermost block that needs to "
    "be closed is {1}.": "шаблон оборвался: не закрыт блок {1}, не хватает {0}",
    "Unexpected end of template.": "шаблон оборвался",
    "Encountered unknown tag {0}.": "тега {0} нет",
    "Encountered unknown tag {0}. Jinja was looking for the following tags: {1}. The innermost block that needs to "
    "be closed is {2}.": "тег {0} здесь не к месту: не закрыт блок {2}, не хватает {1}",
    "Encountered unknown tag {0}. You probably made a nesting mistake. Jinja is expecting this tag, but currently "
    "looking for {1}. The innermost block that needs to be closed is {2}.": (
        "тег {0} здесь не к месту: не закрыт блок {2}, не хватает {1}"
    ),
    "expected token {0}, got {1}": "нужно {0}, а стоит {1}",
    "Expected an expression, got {0}": "не хватает значения, а стоит {0}",
    "unexpected char {0} at {1}": "лишний знак `{0}`, место {1}",
    "unexpected {0}, expected {1}": "лишнее `{0}`, нужно `{1}`",
    "unexpected {0}": "лишнее `{0}`",
    "Missing end of comment tag": "не закрыто примечание",
    "expected name or number": "нужно имя или число",
    "'end of print statement'": "`}}`",
    "'end of statement block'": "`%}`",
    "'end of template'": "конец шаблона",
    "'name'": "имя",
    "'string'": "текст",
    # slips of the pen
    "A funnel takes stages, not a list.": "В воронке должны быть стадии, а не список задач.",
    "It is a stage of the funnel {0}: write it below that one, indented.": (
        "Это стадия воронки {0}: напишите её под этой воронкой, с отступом."
    ),
    "{0} in single braces is put into the text as it stands.": "{0} в одинарных скобках так и останется в тексте.",
    "Several users have the name {0}: {1}.": "Имя {0} на портале у нескольких сотрудников: {1}.",
    "The webhook may not read employees.": "Вебхуку не разрешено читать сотрудников.",
    # hints of the schema
    "{0}; default: {1}": "{0}; без ключа: {1}",
    "So long after the deal entered the stage (with `start` and `again`: after what started the task).": (
        "Через столько после входа сделки на стадию (со `start` и `again`: после того, с чего началась задача)."
    ),
    'the time of day, `"15:00"`': 'время, `"15:00"`',
    "the end of that day's working hours": "конец рабочего дня",
    "what happens on a day off: `next`, `previous`, `keep`": "что делать с выходным: `next`, `previous`, `keep`",
    "see below": "см. описание языка",
    "So long after an event.": "Через столько после события.",
    "The date of a field of the deal, or so long before or after it.": (
        "Дата из поля сделки или столько до неё или после."
    ),
    "Working time. Without it the portal's own settings are used.": (
        "Рабочее время. Без него берутся настройки портала."
    ),
    "Conditions on the deal: fields (by code or exact title) to tests, `any` and `not` for nesting; all must hold.": (
        "Условия на сделку: поля (код или точное название) и сравнения, `any` и `not` для вложения; должны "
        "выполняться все."
    ),
    "One of these holds.": "Выполняется одно из этих.",
    "This does not hold.": "Это не выполняется.",
    "The task of a rule is completed.": "Завершена задача правила.",
    "Id of the rule whose task is completed.": "Id правила, задача которого завершена.",
    "A field of the deal is filled.": "Заполнено поле сделки.",
    "The deal fulfils conditions, as `if` has them.": "Сделка отвечает условиям, таким же, как в `if`.",
    "Conditions on the deal.": "Условия на сделку.",
    "Nothing has been planned with the deal for so long.": "Со сделкой столько времени ничего не запланировано.",
    "So long without an open task and a planned activity.": "Столько без открытой задачи и запланированного дела.",
    "The same as the file's, for this stage; `none`: it asks for no next step.": (
        "То же, что в файле, для этой стадии; `none`: следующий шаг здесь не нужен."
    ),
    "Code or exact title of a field of the deal.": "Код или точное название поля сделки.",
    "Where an overdue deadline is moved, counted from the sweep's moment.": (
        "Куда переносится просроченный срок, считая от часа обхода."
    ),
    "How long after the sweep's moment.": "Через сколько после часа обхода.",
    "A certain day.": "Определённый день.",
    "What happens to what is overdue. Without it: no sweeps.": "Что делать с просроченным. Без него обходов нет.",
    "An active direct member of a department; the head only if alone.": (
        "Работающий сотрудник самого отдела; руководитель, только если других нет."
    ),
    "Name or id of the department.": "Имя или id отдела.",
    "round_robin: in turn; least_loaded: who has the fewest open tasks due by then; first: first active.": (
        "`round_robin`: по очереди; `least_loaded`: у кого к тому сроку меньше всего открытых задач; `first`: "
        "первый работающий."
    ),
    "Who, if that gives nobody.": "Кто, если так никого не нашлось.",
    "An employee field of the deal.": "Поле сделки с сотрудником.",
    "Code or exact title of an employee field of the deal.": "Код или точное название поля сделки с сотрудником.",
    "Whoever owns the newest task of another rule on this deal.": (
        "Исполнитель новейшей задачи другого правила по этой сделке."
    ),
    "Id of the other rule.": "Id другого правила.",
    "One of several persons.": "Один из нескольких людей.",
    "The persons to choose from.": "Люди, из которых выбирать.",
    "Limits that hold back what looks like a mistake.": "Пределы, которые придерживают похожее на ошибку.",
    "More new tasks in any ten minutes are held until an administrator releases them.": (
        "Если за десять минут новых задач больше, они придержаны, пока их не отпустит администратор."
    ),
    "The same for one sweep's moves.": "То же для переносов одного обхода.",
    "true: decide and report everything, write nothing to the portal.": (
        "true: всё решать и обо всём сообщать, в портал ничего не писать."
    ),
    "The deal enters a stage after this visit began.": "Сделка входит на стадию после начала этого пребывания.",
    "Name of a stage of the same funnel, or any stage's id.": "Имя стадии той же воронки или id любой.",
    "A stage with more than tasks.": "Стадия, у которой есть не только задачи.",
    "The tasks that the stage asks for.": "Задачи, которых требует стадия.",
    "Longer than that in the stage: the supervisor hears of it.": (
        "Если сделка на стадии дольше, об этом узнаёт контролёр."
    ),
    "All tasks of the visit done: the deal moves to this stage.": (
        "Когда все задачи пребывания выполнены, сделка переходит на эту стадию."
    ),
    "A daily look at what is overdue.": "Ежедневный обход просроченного.",
    'Time of day, in quotes: "09:00".': 'Время в кавычках: "09:00".',
    "Where overdue deadlines are moved, counted from the sweep's moment.": (
        "Куда переносить просроченные сроки, считая от часа обхода."
    ),
    "On which days it runs.": "По каким дням он идёт.",
    "A rule: one task that the stage asks for.": "Правило: одна задача, которой требует стадия.",
    "a workgroup, by name or id": "рабочая группа: имя или id",
    "What overdue tasks of this rule undergo, instead of what the file says.": (
        "Что делать с просроченными задачами этого правила вместо сказанного в файле."
    ),
    "So many moves.": "Столько переносов.",
    "How many tasks a day people can do, by person.": "Сколько задач в день посильно людям, каждому своё.",
    "whoever is not named below": "для всех, кто не назван ниже",
    "by id, e-mail or name of an employee": "по id, e-mail или имени сотрудника",
    "how many tasks a day a person can do, so that a sweep finds a day for each: a number, `learned`, `none`, or "
    "`{default: learned, people: {5: 4}}`, see Room": (
        "сколько задач в день посильно человеку, чтобы обход нашёл день для каждой: число, `learned`, `none` или "
        "`{default: learned, people: {5: 4}}`, см. раздел о местах"
    ),
    "`substitute`: tasks of an employee who is away go to a substitute and come back, see Away": (
        "`substitute`: задачи отсутствующего передаются замещающему и возвращаются, см. раздел об отсутствии"
    ),
    "who stands in for whom, both by id, e-mail or name": "кто кого замещает, оба по id, e-mail или имени",
    "the head": "руководитель",
    "`substitute` or `keep`, see Away": "`substitute` или `keep`, см. раздел об отсутствии",
    "the file's `away`": "`away` файла",
    "Where a sweep moves the deadline.": "Куда обход переносит срок.",
    "Tests of one field; all must hold.": "Сравнения одного поля; должны выполняться все.",
    "At least this (number, money, date).": "Не меньше этого (число, деньги, дата).",
    "At most this (number, money, date).": "Не больше этого (число, деньги, дата).",
    "Not this, or none of these.": "Не это или ни одно из этих.",
    "A part of the text, without regard to case.": "Часть текста, без различия больших и малых букв.",
    "true: holds something; false: is empty.": "true: заполнено; false: пусто.",
    "A whole number and a unit: {0}; 0 only with workdays.": "Целое число и единица: {0}; 0 — только с `workdays`.",
    "rules.yaml of bitrix-sync: for every stage of every funnel, which task, whose, by when.": (
        "Правила bitrix-sync: для каждой стадии каждой воронки — какая задача, чья, к какому сроку."
    ),
    "rules.yaml of bitrix-sync": "Правила bitrix-sync",
    "who hears of trouble: ids, e-mails or names of employees": (
        "кто узнаёт о неполадках: id, почта или имена сотрудников"
    ),
    "who gets a task that nobody else can take: an id, e-mail or name": (
        "кому отдать задачу, которую больше некому: id, почта или имя"
    ),
    "The portal has no user of the name {0}.": "В портале нет сотрудника с именем {0}.",
    "Write the funnel, and its stages below it, indented.": "Напишите воронку, а под ней с отступом её стадии.",
}

TROUBLES: dict[str, str] = {
    "report {0} takes no --{1}; it takes {2}": "отчёт {0} не принимает --{1}; он принимает {2}",
    "report {0} takes no --{1}": "отчёт {0} не принимает --{1}",
    "--since {0} is after --until {1}": "--since {0} позже, чем --until {1}",
    "--by {0} is not known; write one of: {1}": "--by {0} неизвестно; напишите одно из: {1}",
    "--{0} {1} is no date; write it as 2026-03-12": "--{0} {1} — не дата; напишите её как 2026-03-12",
    # check
    "paused: nothing is written to the portal until `bitrix-sync resume`": "пауза: до `bitrix-sync resume` в портал "
    "ничего не пишется",
    "trial mode (watch: true): nothing is written to the portal": "пробный режим (watch: true): в портал ничего не "
    "пишется",
    "portal {0}, rules {1}": "портал {0}, правила {1}",
    "(not set)": "(не указан)",
    "{0}, has been read before": "{0}, портал уже читался",
    "{0}, the first start will read the portal": "{0}, портал прочитает первый запуск",
    "not compared with the database: {0}": "не сверен с базой: {0}",
    "was put back from a backup: {0} rows of its history are not those known; the next start goes on from"
    " what it holds now": "восстановлен из копии: строк истории, которые не совпали с известными: {0}; следующий "
    "запуск продолжит с того, что в нём есть сейчас",
    "is the database's under a new address, {0} before": "тот же, что в базе, под новым адресом; прежний адрес: {0}",
    "{0}, {1} known rows of its history are there": "{0}, известных строк истории на месте: {1}",
    "{0}, is not known yet": "{0}, базе ещё не известен",
    "works for {0} (user {1})": "работает от имени: {0} (номер {1})",
    "the portal does not tell them; what is missing will be refused": "портал их не называет; в том, чего не "
    "хватает, он откажет",
    "missing: {0}. Tick them in the webhook's form": "не хватает: {0}. Отметьте их в форме вебхука",
    "{0} (deals, stages and their history cannot be read)": "{0} (не прочитать сделки, стадии и их историю)",
    "{0} (tasks cannot be made)": "{0} (не поставить задачи)",
    "{0} (heads cannot be found)": "{0} (не найти руководителей)",
    "{0} (nobody can be told anything)": "{0} (никому ничего не сообщить)",
    "{0} (people cannot be read)": "{0} (не прочитать сотрудников)",
    "no calendar: absences and the portal's working hours cannot be read": "нет calendar: отсутствия и рабочее время "
    "портала не прочитать",
    "administrator": "администратор",
    "not an administrator: foreign tasks cannot be moved, `control` cannot work; deals that this user may"
    " not read are not seen": "не администратор: чужие задачи не перенести, `control` не сработает; сделок, которые "
    "этому пользователю нельзя читать, служба не видит",
    "{0} s apart": "расходятся на {0} с",
    "the portal's clock is {0} s from ours; the portal's time is used. Set this machine's clock (NTP)": "часы "
    "портала отличаются от наших на {0} с; действует время портала. Настройте часы этой машины (NTP)",
    "the portal shows no deal in progress; if there are any, let {0} read deals (CRM > Settings > Access "
    "permissions)": "портал не показывает ни одной сделки в работе; если они есть, дайте право читать сделки ({0}: "
    "CRM → Настройки → Права доступа)",
    "public holidays and moved working days of {0} are known to the end of {1}": (
        "праздники и переносы рабочих дней {0} известны до конца {1} года"
    ),
    "the moved working days of {0} are known to the end of {1} only, later years are counted without them; install a "
    "newer version once they are published, or write `days_off` and `working_days`": (
        "переносы рабочих дней {0} известны только до конца {1} года, дальше считается без них; когда правительство "
        "утвердит календарь, поставьте новую версию или впишите `days_off` и `working_days`"
    ),
    "{0} rules for {1} stages": "правил: {0}, стадий: {1}",
    "the file is right by itself; names of the portal were not looked up": "сам файл верен; имена с портала не "
    "сверялись",
    "not compared with the portal; names of the portal were not looked up": "с портала имена не прочитаны, поэтому "
    "не сверялись",
    "the last good file, in force since {0}, goes on until then": "до тех пор действует последний верный файл, с {0}",
    "taken at {0}; the portal must reach it by its public address": "принимаются по адресу {0}; портал должен "
    "доставать до него по публичному адресу",
    "no BITRIX_APPLICATION_TOKEN: the portal is read every {0} s. That is enough; events only make it "
    "quicker": "нет BITRIX_APPLICATION_TOKEN: портал читается каждые {0} с. Этого достаточно; с событиями только "
    "быстрее",
    "{0}; {1}": "{0}; {1}",
    "{0}: {1}": "{0}: {1}",
    # settings
    "BITRIX_{0}: {1}; write {2}": "BITRIX_{0}: {1}; напишите {2}",
    "DATABASE_URL: {0}; write {1}": "DATABASE_URL: {0}; напишите {1}",
    "HTTPS_PROXY: {0}; write {1}": "HTTPS_PROXY: {0}; напишите {1}",
    "is not set": "не указано",
    "has a token with spaces or foreign characters in it": "в токене пробелы или посторонние знаки",
    "is no address of SQLite (sqlite:///file) or PostgreSQL (postgresql://user:password@host/name)": "это не адрес "
    "SQLite (sqlite:///файл) и не адрес PostgreSQL (postgresql://имя:пароль@сервер/база)",
    "names no file (three slashes before a relative path, four before an absolute one)": "файл не назван (перед "
    "относительным путём три косые черты, перед полным четыре)",
    "{0} has an IPv6 address without brackets": "{0}: адрес IPv6 без квадратных скобок",
    "{0} is no address and port": "{0}: это не адрес с портом",
    "{0} has a port above 65535": "{0}: порт больше 65535",
    "{0} is no pace": "{0}: это не темп",
    "{0} is not the address of one machine": "{0}: это не адрес одной машины",
    "there is no file {0}": "нет файла {0}",
    "{0} holds no certificate": "в файле {0} нет сертификата",
    "{0} cannot be read ({1})": "{0} не читается ({1})",
    "is no address of a proxy": "это не адрес прокси",
    "is no https address": "это не адрес https",
    "is no address": "это не адрес",
    "is plain http, which would show the address to the network": "это http без шифрования: адрес был бы виден в сети",
    "is plain http, which would show the code to the network": "это http без шифрования: код был бы виден в сети",
    "is not the address of an incoming webhook, or has something after the code": "это не адрес входящего вебхука, "
    "или после кода есть лишнее",
    "has quotes around it: take them off": "значение в кавычках: уберите их",
    "has quotes around it": "значение в кавычках",
    "should be a valid number, unable to parse string as a number": "это не число",
    "should be greater than or equal to {0}": "нужно не меньше {0}",
    "should be less than or equal to {0}": "нужно не больше {0}",
    "should be a finite number": "это не обычное число",
    "should be 'text' or 'json'": "такого вида нет",
    "the incoming webhook as the portal shows it, up to its code: {0}": "входящий вебхук, как его показывает портал, "
    "до кода включительно: {0}",
    "the application token that the portal shows beside the outgoing webhook, several by comma": "токен приложения, "
    "который портал показывает у исходящего вебхука, несколько через запятую",
    "a path, as rules.yaml": "путь, например rules.yaml",
    "address:port, as 127.0.0.1:8080 or [::1]:8080": "адрес:порт, например 127.0.0.1:8080 или [::1]:8080",
    "seconds from 0.1 to 3600, as 30": "секунды от 0.1 до 3600, например 30",
    "seconds from 0 to 3600, as 65": "секунды от 0 до 3600, например 65",
    "requests a second / bucket, as 2/50, or 5/250 on Enterprise": "запросов в секунду / запас, например 2/50, а на "
    "тарифе Энтерпрайз 5/250",
    "a password": "пароль",
    "the IP address from which the web server in front asks, as 127.0.0.1": "IP-адрес, с которого обращается "
    "веб-сервер, стоящий впереди, например 127.0.0.1",
    "the path of a file with the company's certificate in PEM form, as {0}": "путь к файлу с сертификатом компании в "
    "виде PEM, например {0}",
    "the proxy's address, as {0}": "адрес прокси, например {0}",
    "the https address that the watcher gives": "адрес https, который даёт наблюдающая служба",
    "the https address that takes the alerts": "адрес https, который принимает оповещения",
    "text or json": "text или json",
    "{0}: is set, and {1} as well; take one of them out": "{0}: указано, и {1} тоже; уберите одно из них",
    "{0}: {1}: cannot be read ({2}); write the path of a file that holds {3}": "{0}: {1}: не читается ({2}); укажите "
    "путь к файлу, в котором {3}",
    "{0}: {1}: is empty; write the value of {2} into it": "{0}: {1}: файл пуст; впишите в него значение {2}",
    "{0}: {1}; write lines NAME=value, as in .env.example": "{0}: {1}; пишите строки ИМЯ=значение, как в .env.example",
    "is not UTF-8 text": "это не текст UTF-8",
    "cannot be read ({0})": "не читается ({0})",
    "{0}: is no NAME=value; write lines as in .env.example": "{0}: это не ИМЯ=значение; пишите строки, как в "
    ".env.example",
    "{0}: {1} is no setting; write {2}, or take the line out": "{0}: настройки {1} нет; напишите {2} или уберите "
    "строку",
    "Permission denied": "нет прав",
    "No such file or directory": "такого файла нет",
    "Is a directory": "это папка",
    "No space left on device": "на диске нет места",
    "Read-only file system": "диск только для чтения",
    # the portal
    "portal {0}: {1}": "портал {0}: {1}",
    "{0}; make a new incoming webhook in the portal (Developer resources) and set its address": "{0}; создайте в "
    "портале новый входящий вебхук (раздел «Разработчикам») и укажите его адрес",
    "the portal does not know this webhook (wrong code or user, deleted or expired)": "портал не знает этого вебхука "
    "(неверный код или пользователь, вебхук удалён или истёк)",
    "the portal does not accept this webhook (wrong code, deleted, expired)": "портал не принимает этот вебхук "
    "(неверный код, вебхук удалён или истёк)",
    "the webhook's owner cannot be authorised (dismissed?) or it has expired": "владельца вебхука не впускают "
    "(больше не работает?), или вебхук истёк",
    "the webhook's authorisation has expired": "вебхук истёк",
    "the webhook's owner may not use REST; make the webhook as an administrator": "владельцу вебхука REST не разрешён; "
    "создайте вебхук под учётной записью администратора",
    "the webhook's owner is no employee; make the webhook as an administrator": "владелец вебхука не сотрудник; "
    "создайте вебхук под учётной записью администратора",
    "the portal's subscription has ended; renew it, then the service goes on by itself": "подписка портала "
    "закончилась; продлите её, служба продолжит сама",
    "the portal was deleted or is closed; check that it opens in a browser": "портал удалён или закрыт; проверьте, "
    "открывается ли он в браузере",
    "REST of this portal was blocked by Bitrix24 because of overload; write to its support": "Битрикс24 закрыл REST "
    "этого портала из-за перегрузки; напишите в его поддержку",
    "the portal wants https; set the webhook's address with https://": "портал требует https; укажите адрес вебхука "
    "с https://",
    "the portal redirects elsewhere (renamed?); copy the webhook's address from the portal again": "портал "
    "отсылает на другой адрес (переименован?); скопируйте адрес вебхука из портала заново",
    "the webhook lacks the scope {0}; tick it in the webhook's form": "вебхуку не хватает права {0}; отметьте его в "
    "форме вебхука",
    "it has no method {0}: its version is too old, or the module is not installed or is switched off; update or "
    "switch it on in the portal": "в нём нет метода {0}: версия слишком старая, либо модуль не установлен или "
    "выключен; обновите портал или включите модуль",
    "{0} has used up its operating time; the service goes on after that": "{0}: отведённое время работы исчерпано; "
    "потом служба продолжит",
    "{0} has used up its operating time until {1}; the service goes on after that": "{0}: отведённое время работы "
    "исчерпано до {1}; потом служба продолжит",
    "too many requests, also of other programs behind the same address; lower BITRIX_RATE": "слишком много запросов, "
    "в том числе других программ с того же адреса; уменьшите BITRIX_RATE",
    "REST is refused ({0}); the plan or its REST subscription has probably ended": "REST не разрешён ({0}); вероятно, "
    "закончился тариф или подписка на REST",
    "{0} refused: {1}": "{0}, отказ: {1}",
    "cannot be reached: {0}; compare BITRIX_WEBHOOK_URL with the portal's address, and see whether this machine "
    "reaches it (network, DNS, proxy)": "недоступен: {0}; сверьте BITRIX_WEBHOOK_URL с адресом портала и проверьте, "
    "доходит ли до него эта машина (сеть, DNS, прокси)",
    "{0}; tried for a while, will be tried again": "{0}; служба пробовала несколько раз и попробует ещё",
    "{0} answers without what makes a deal": "{0}: в ответе нет того, что делает сделку сделкой",
    "{0} tells a row by half": "{0}: строка отдана наполовину",
    "{0} shows fewer rows than it counts": "{0}: строк показано меньше, чем насчитано",
    "{0} answers nothing that makes sense": "{0}: ответ не имеет смысла",
    "{0} has no row that can be read": "{0}: нет ни одной строки, которую можно прочитать",
    "{0} has rows that cannot be read": "{0}: есть строки, которые нельзя прочитать",
    "{0} answers something else than absences": "{0}: в ответе не отсутствия",
    "{0} leaves out a funnel that has stages": "{0}: пропущена воронка, у которой есть стадии",
    "{0} tells no working time": "{0}: рабочее время не названо",
    "{0} tells no working hours that make sense": "{0}: рабочие часы не имеют смысла",
    "{0} tells its working time by half: {1} is missing or no list": "{0}: рабочее время отдано наполовину: {1} нет, "
    "или это не список",
    "shows no department": "не показывает отделов",
    "names no stage {0} in a funnel {1}; was it deleted?": "нет стадии {0} в воронке {1}; её удалили?",
    "the template of a recurring deal": "шаблон повторяющейся сделки",
    "the portal has not been read for the first time yet; start `bitrix-sync run` or `sync`": "портал ещё ни разу не "
    "прочитан; запустите `bitrix-sync run` или `bitrix-sync sync`",
    "the database was made on another portal than {0}: {1}. Nothing is read into it, nothing is written. Give this "
    "portal a database of its own (DATABASE_URL), or, if it is the same portal, say so once: {2}": "база создана не "
    "на портале {0}: {1}. Ничего не читается и не пишется. Дайте этому порталу свою базу (DATABASE_URL) или, если "
    "портал тот же, скажите это один раз: {2}",
    "the database was made on another portal than {0} (it belongs to {1}): {2}. Nothing is read into it, nothing is "
    "written. Give this portal a database of its own (DATABASE_URL), or, if it is the same portal, say so once: "
    "{3}": "база создана не на портале {0} (она от {1}): {2}. Ничего не читается и не пишется. Дайте этому порталу "
    "свою базу (DATABASE_URL) или, если портал тот же, скажите это один раз: {3}",
    "none of the known rows of its history are there": "в его истории нет ни одной известной записи",
    "{0} known rows of its history are others there": "в его истории другие записи на месте известных, их {0}",
    # the database, the file, the process
    "database {0}: {1}": "база {0}: {1}",
    "backup to {0}: {1}": "копия {0}: {1}",
    "is not there; start `bitrix-sync run` first, or set DATABASE_URL to where the service runs": "её нет; сначала "
    "запустите `bitrix-sync run` или укажите DATABASE_URL базы, с которой работает служба",
    "is not there, so nothing has been decided yet. Start `bitrix-sync run`, or set DATABASE_URL to where the service "
    "runs; `bitrix-sync preview` asks the portal instead": "её нет, поэтому ещё ничего не решено. Запустите "
    "`bitrix-sync run` или укажите DATABASE_URL базы, с которой работает служба; `bitrix-sync preview` спросит портал",
    "the file was removed or replaced while it was in use; stop the service, put the file or a backup in its place "
    "and start again": "файл удалили или заменили во время работы; остановите службу, верните файл или копию на "
    "место и запустите снова",
    "the directory {0} does not exist; create it first": "папки {0} нет; сначала создайте её",
    "there is a file already; choose another name or remove it": "такой файл уже есть; выберите другое имя или "
    "удалите его",
    "cannot be written; is the disk full?": "не записывается; на диске есть место?",
    "cannot be read ({0}); check the file and its mode": "не читается ({0}); проверьте файл и права на него",
    "is a directory; DATABASE_URL must name a file": "это папка; DATABASE_URL должен называть файл",
    "there is no directory {0}; create it or change DATABASE_URL": "папки {0} нет; создайте её или измените "
    "DATABASE_URL",
    "cannot be opened; check that the file and its directory are writable for this user": "не открывается; проверьте, "
    "может ли этот пользователь писать в файл и его папку",
    "cannot be opened: {0}": "не открывается: {0}",
    "belongs to another program; point DATABASE_URL elsewhere": "принадлежит другой программе; укажите в "
    "DATABASE_URL другую",
    "made by a newer bitrix-sync (schema {0}, this program knows {1}); install that version or put back the backup "
    "made before the update": "создана более новой версией bitrix-sync (схема {0}, эта программа знает {1}); "
    "установите ту версию или верните копию, сделанную до обновления",
    "backup {0}: there is no such file, or it is empty; name one that `backup` wrote": "копия {0}: такого файла нет "
    "или он пуст; назовите файл, который записала команда `backup`",
    "a service works with this database; stop it, restore, start it again": "с этой базой работает служба; остановите "
    "её, верните копию и запустите снова",
    "PostgreSQL {0} is too old; 13 or newer is needed": "PostgreSQL {0} слишком стар; нужен 13 или новее",
    "is not in UTF-8; create it with ENCODING 'UTF8' TEMPLATE template0": "она не в UTF-8; создайте её с ENCODING "
    "'UTF8' TEMPLATE template0",
    "fsync is off: a power cut would lose what was sent; switch it on": "fsync выключен: при сбое питания пропадёт "
    "отправленное; включите его",
    "synchronous_commit is off: a crash would lose what was sent; switch it on for this role": "synchronous_commit "
    "выключен: при сбое пропадёт отправленное; включите его для этой роли",
    "role {0} is not bound by row level security (superuser or BYPASSRLS): portals would see each other; use a role of "
    "its own: {1}": "роль {0} не ограничена защитой строк (суперпользователь или BYPASSRLS): порталы увидели бы друг "
    "друга; заведите отдельную роль: {1}",
    "the server does not let this role in; check name and password in DATABASE_URL": "сервер не пускает эту роль; "
    "проверьте имя и пароль в DATABASE_URL",
    "there is no database of that name; create it: {0}": "такой базы нет; создайте её: {0}",
    "this role may not do that; make it the owner of the database's tables": "у этой роли нет на это права; сделайте "
    "её владельцем таблиц базы",
    "the disk locks no files, as many network disks; put the database on a disk of this machine": (
        "диск не запирает файлы, как многие сетевые; перенесите базу на диск этой машины"
    ),
    "the disk does not answer as it should (I/O error); check it, and take no network disk": (
        "диск отвечает с ошибками (ввод-вывод); проверьте его, сетевой диск не годится"
    ),
    "lies on a network disk ({0}), where SQLite can lose data; put it on a disk of this machine, or use PostgreSQL": (
        "лежит на сетевом диске ({0}), где SQLite может терять данные; перенесите на диск этой машины или возьмите "
        "PostgreSQL"
    ),
    "the server's disk is full; free some space, nothing that was recorded is lost": "на диске сервера нет места; "
    "освободите его, записанное не пропало",
    "the server has no more connections or memory to give; raise max_connections or close others": "у сервера "
    "кончились соединения или память; увеличьте max_connections или закройте лишние",
    "another process holds it locked for too long; is a migration or a long query running?": "её слишком долго держит "
    "другой процесс; не идёт ли миграция или долгий запрос?",
    "the server is shutting down or starting; the service goes on as soon as it answers": "сервер останавливается или "
    "запускается; служба продолжит, как только он ответит",
    "the server is read-only (a standby?); point DATABASE_URL at the primary": "сервер только для чтения (реплика?); "
    "укажите в DATABASE_URL основной",
    "the server knows no such database or role; check DATABASE_URL, or create them": "сервер не знает такой базы или "
    "роли; проверьте DATABASE_URL или создайте их",
    "the server's pg_hba.conf lets nobody in from this machine with that role; add a line": "pg_hba.conf сервера не "
    "пускает с этой машины эту роль; добавьте строку",
    "does not answer ({0}); is the server running, is the address right?": "не отвечает ({0}); работает ли сервер, "
    "верен ли адрес?",
    "DATABASE_URL: {0} is not supported; write {1}": "DATABASE_URL: {0} не поддерживается; напишите {1}",
    "DATABASE_URL names PostgreSQL, whose driver is not installed: {0}": "в DATABASE_URL указан PostgreSQL, но его "
    "драйвер не установлен: {0}",
    "DATABASE_URL is no address of a database; write {0}": "DATABASE_URL: это не адрес базы; напишите {0}",
    "DATABASE_URL names no file; write {0}": "DATABASE_URL: файл не назван; напишите {0}",
    "{0}: not UTF-8 text; save the file in UTF-8 (in Notepad: Save as, Encoding)": (
        "{0}: это не текст UTF-8; сохраните файл в UTF-8 (в Блокноте: «Сохранить как», «Кодировка»)"
    ),
    "bitrix-sync runs on Linux and macOS; on Windows install it in WSL, which `wsl --install` sets up": (
        "bitrix-sync работает на Linux и macOS; на Windows поставьте её в WSL: его установит `wsl --install`"
    ),
    "{0}: cannot be read ({1}); run `bitrix-sync init` to make one": "{0}: не читается ({1}); создайте файл командой "
    "`bitrix-sync init`",
    "{0}: cannot be written ({1}); run `bitrix-sync init` in a folder of yours": "{0}: не записывается ({1}); "
    "выполните `bitrix-sync init` в своей папке",
    "waiting: another process ({0}) works for this portal": "ждёт: с этим порталом работает другой процесс ({0})",
    "unexpected error ({0}); the log says where": "непредвиденная ошибка ({0}); место названо в журнале",
    "the thread {0} has ended": "поток {0} завершился",
    "the thread {0} has ended ({1}); the log says where": "поток {0} завершился ({1}); место названо в журнале",
    "the thread {0} has given no sign for {1} s": "поток {0} молчит уже {1} с",
    "being sent for more than {0} minutes: {1}": "отправляется дольше {0} мин.: {1}",
    "the last pass is {0} s old, more than {1} s": "последнее чтение было {0} с назад, больше {1} с",
    # commands
    "the running service does not answer; look at `bitrix-sync status`, restart it if need be": "работающая служба не "
    "отвечает; посмотрите `bitrix-sync status`, при необходимости перезапустите её",
    "the running service does not know {0}; restart it with this version": "работающая служба не знает команды {0}; "
    "перезапустите её с этой версией",
    "the sandbox portal is not installed here; where the source is, {0} installs and shows it, and {1} installs it "
    "alone": "учебный портал здесь не установлен; там, где исходный код, {0} установит и покажет его, а {1} установит "
    "только его",
    "backfill goes by the file as it is now: correct it first": "backfill работает по нынешнему файлу: сначала "
    "исправьте его",
    "no rule {0}.": "Правила {0} нет.",
    "no rule {0}. {1}": "Правила {0} нет. {1}",
    "no funnel {0}. {1}": "Воронки {0} нет. {1}",
    "no stage {0}. {1}": "Стадии {0} нет. {1}",
    "no rule {0} was ever loaded.": "Правило {0} ни разу не загружалось.",
    "no rule {0} was ever loaded. {1}": "Правило {0} ни разу не загружалось. {1}",
    "Did you mean {0}?": "Может быть, {0}?",
    "The rules are {0}": "Есть правила: {0}",
    "The funnels are {0}": "Есть воронки: {0}",
    "The stages are {0}": "Есть стадии: {0}",
    "Its stages are {0}": "Стадии: {0}",
    "{0} and {1} more.": "{0} и ещё {1}.",
    "{0} of {1} deals are looked at": "рассмотрено сделок: {0} из {1}",
    "{0} of {1} operations are through": "выполнено операций: {0} из {1}",
    "the running service does it": "это делает работающая служба",
    "the rule {0} is switched off: {1}": "правило {0} отключено: {1}",
    "the rule {0} does not stand there. {1}": "правила {0} там нет. {1}",
    "{0} is no date and no moment; write {1} or {2}": "{0}: это не дата и не время; напишите {1} или {2}",
    "deal {0} was never seen; give the number that the portal shows in its address": "сделку {0} служба ни разу не "
    "видела; укажите номер из её адреса в портале",
    "deal {0}: the service has never seen it. Is the number right, and may the webhook's user read it? {1} asks the "
    "portal": "сделка {0}: служба её ни разу не видела. Верен ли номер, и может ли владелец вебхука её читать? {1} "
    "спросит портал",
    "{0} has no {1} under 'overdue'; add it, e.g. {2}": "{0}: в overdue нет {1}; добавьте, например {2}",
    "the sweep {0} was undone; {1} does it once more": "обход {0} отменён; {1} проведёт его ещё раз",
    "the sweep {0} was done already; {1} takes it back": "обход {0} уже проведён; {1} отменит его",
    "the suggested {0} would not be right, nothing was written; please report this:": "предложенный файл {0} был бы "
    "неверен, ничего не записано; пожалуйста, сообщите об этом разработчикам:",
    "no file was written, for the portal could not be read whole; try again:": "файл не записан: портал не удалось "
    "прочитать целиком; попробуйте ещё раз:",
    "{0}: cannot be renamed to {1} ({2}); move it away": "{0}: не переименовать в {1} ({2}); уберите файл сами",
    "{0} is there already and stays as it is. Edit it and run `bitrix-sync check`; or, to begin anew, move it away, or "
    "name another file: {1}": "{0} уже есть и остаётся как есть. Правьте его и запускайте `bitrix-sync check`; чтобы "
    "начать заново, уберите его или назовите другой файл: {1}",
    "{0}: cannot be written ({1}); create its directory, or change BITRIX_RULES": "{0}: не записывается ({1}); "
    "создайте папку или измените BITRIX_RULES",
    "{0}: cannot be written ({1}); rules are written, make it by `bitrix-sync schema`": "{0}: не записывается ({1}); "
    "правила записаны, а этот файл создайте командой `bitrix-sync schema`",
    "the webhook's user sees no funnel with a stage in progress: give the user a CRM role that reads deals (CRM > "
    "Settings > Access permissions), then run `bitrix-sync init` again": "владелец вебхука не видит ни одной воронки "
    "со стадиями в работе: дайте ему в CRM роль с правом читать сделки (CRM → Настройки → Права доступа) и запустите "
    "`bitrix-sync init` ещё раз",
    # rows of the portal
    "a row without an id": "строка без номера",
    "its values are nested too far": "значения вложены слишком глубоко",
    "{0} is no id": "{0}: это не номер",
    "AMOUNT is no rate": "AMOUNT: это не курс",
    "{0} is no number": "{0}: это не число",
    "{0} is no moment": "{0}: это не время",
    "{0} is no text": "{0}: это не текст",
    "{0} is no stage": "{0}: это не стадия",
    "{0} is no list of ids": "{0}: это не список номеров",
    "{0} says neither yes nor no": "{0}: это ни да, ни нет",
    "{0} is missing": "{0}: значения нет",
    "an absence that does not say whose it is, or when": "отсутствие, о котором не сказано, чьё оно или когда",
    "an absence at no moment of any calendar": "отсутствие вне всякого календаря",
    # the wire
    "the webhook's address {0}; copy it from the portal": "адрес вебхука: {0}; скопируйте его из портала",
    "its certificate is not valid; if a company's proxy signs it, name its authority's file in BITRIX_CA_FILE": "его "
    "сертификат недействителен; если его подписывает прокси компании, укажите файл её центра сертификации в "
    "BITRIX_CA_FILE",
    "it answered HTTP {0}": "в ответ пришёл код HTTP {0}",
    "the connection broke ({0})": "соединение оборвалось ({0})",
    "no connection within the time allowed": "соединения за отведённое время нет",
    "its name is not known to the DNS": "такого имени в DNS нет",
    "no connection (refused or unreachable)": "соединиться не удалось (отказано или недоступно)",
    "the proxy gives no connection": "прокси не соединяет",
    "its address is not valid": "адрес неверен",
    "no answer within the time allowed": "ответа за отведённое время нет",
    "the encryption failed": "шифрованное соединение не установилось",
    "its parameters cannot be written as JSON ({0})": "параметры не записать в JSON ({0})",
    "the answer does not end": "ответ не кончается",
    "the answer is packed in a way that nobody asked for": "ответ сжат способом, которого никто не просил",
    "the answer is larger than {0} MB": "ответ больше {0} МБ",
    "the answer holds more than {0} values": "в ответе больше {0} значений",
    "the answer cannot be unpacked": "ответ не распаковать",
    "the method has used up its operating time": "отведённое методу время работы исчерпано",
    "the service is stopping": "служба останавливается",
    "too many requests": "слишком много запросов",
    "HTTP {0}": "HTTP {0}",
    "HTTP {0} with a result": "HTTP {0} вместе с результатом",
    "{0} cannot be listened on ({1})": "адрес {0} занять не удалось ({1})",
    "an address of this machine and a free port, as {0}": "адрес этой машины и свободный порт, например {0}",
    "Address already in use": "уже занят",
    "Cannot assign requested address": "на этой машине такого адреса нет",
    "Name or service not known": "такого имени нет",
    "HTTP {0} without an answer of the portal's": "HTTP {0} без ответа самого портала",
    "the portal answered no list": "в ответе портала нет списка",
    "the portal answered without what was asked for": "в ответе портала нет того, о чём спрошено",
    "the portal answered without an id": "в ответе портала нет номера",
    "the portal made no notice and gave no reason": "портал не создал уведомления и не назвал причины",
    "the batch's answer says nothing of this command": "в ответе на пакет об этой команде ничего нет",
    "the portal gave it the number {0}, which is that of the task {1}": "портал назвал номер {0}, а это номер задачи "
    "{1}",
    "no code": "без кода",
    "no funnel can be read; give the webhook's user a CRM role that reads deals (CRM > Settings > Access "
    "permissions)": "не прочитать ни одной воронки; дайте владельцу вебхука в CRM роль с правом читать сделки (CRM → "
    "Настройки → Права доступа)",
    "no employee can be read; tick the scope 'user_basic' in the webhook's form": "не прочитать ни одного сотрудника; "
    "отметьте право user_basic в форме вебхука",
    "{0} does not end: more than {1} rows; none was taken": "{0}: список не кончается, в нём больше {1} строк; ничего "
    "не взято",
    "no deal is told to have no next step, no task starts with one: {0}": (
        "о сделках без следующего шага никому не скажут и задач по ним не поставят: {0}"
    ),
    "{0} answers a row without an id": "{0}: строка без номера",
    "{0} answers rows without ids or not in the order asked for; none was taken": "{0}: строки без номеров или не в "
    "том порядке; ничего не взято",
    "deal {0}: it could not be read ({1})": "сделка {0}: прочитать не удалось ({1})",
    "deal {0}: the portal does not show it. Is the number right (it is in the deal's address), is the deal deleted, "
    "and may the webhook's user ({1}) read it? Rights: CRM > Settings > Access permissions": "сделка {0}: портал её не "
    "показывает. Верен ли номер (он в адресе сделки), не удалена ли она и может ли владелец вебхука ({1}) её читать? "
    "Права: CRM → Настройки → Права доступа",
    "the funnel {0} has several stages {1}: {2}; write the id of one": "в воронке «{0}» несколько стадий {1}: {2}; "
    "укажите номер нужной",
    "the deal is in the funnel {0}, which has no stage {1}; that of another funnel is written by its id: {2}": "сделка "
    "в воронке «{0}», там нет стадии {1}; стадия другой воронки пишется номером: {2}",
    "the funnel {0} has no stage {1}. {2}": "в воронке «{0}» нет стадии {1}. {2}",
    # the disk
    "another program holds it locked (an open sqlite shell?); close that and try again": "её держит другая программа "
    "(открытая оболочка sqlite?); закройте ту и повторите",
    "the disk is full; free some space and start again, nothing that was recorded is lost": "на диске нет места; "
    "освободите его и запустите снова, из записанного ничего не потеряно",
    "the file or its directory is not writable for this user; change the owner or the mode": "этому пользователю не "
    "записать в файл или в его папку; смените владельца или права",
    "this file is no database; point DATABASE_URL elsewhere or put a backup in its place": "этот файл не база; укажите "
    "в DATABASE_URL другой или верните на его место копию",
    "the file is damaged; put a backup in its place and start again": "файл повреждён; верните на его место копию и "
    "запустите снова",
    "DATABASE_URL: {0} is not supported yet; write {1}": "DATABASE_URL: {0} пока не поддерживается; напишите {1}",
    "another bitrix-sync process has taken over this database; this one writes nothing more": "эту базу взял другой "
    "процесс bitrix-sync; этот больше ничего не пишет",
    "Not a directory": "это не папка",
    "File exists": "такой файл уже есть",
    "File name too long": "имя файла слишком длинное",
    "Operation not permitted": "нет прав",
    "Input/output error": "ошибка ввода-вывода",
    "Too many open files": "открыто слишком много файлов",
    "Too many levels of symbolic links": "ссылки ведут по кругу",
    "Disk quota exceeded": "квота на диске исчерпана",
    "Invalid argument": "такое имя недопустимо",
    "starting": "запускается",
    # sweeps by hand
    "rules.yaml says 'watch: true', so nothing is written to the portal; take it out, then undo": "в rules.yaml стоит "
    "watch: true, поэтому в портал ничего не пишется; уберите это, потом отменяйте обход",
    "there was no sweep {0}; there were: {1}": "обхода {0} не было; были: {1}",
    "none yet": "ещё ни одного",
    "the sweep {0} was undone already; look at `bitrix-sync undo`": "обход {0} уже отменён; посмотрите `bitrix-sync "
    "undo`",
    "what was planned is kept, and the service goes on with it": "задуманное сохранено, служба продолжит его сама",
    "unexpected error ({0}); the log of the service says where": "непредвиденная ошибка ({0}); место названо в журнале "
    "службы",
    # many portals
    "BITRIX_SECRET_KEY_FILE: is not set, and secrets of portals are sealed with the key in it; write the "
    "path of a file with a key: {0}": "BITRIX_SECRET_KEY_FILE: не задан, а секреты порталов запечатаны ключом "
    "из этого файла; укажите путь к файлу с ключом: {0}",
    "BITRIX_SECRET_KEY_FILE: {0} {1}; write the path of the file with the keys, one a line; a new one: "
    "{2}": "BITRIX_SECRET_KEY_FILE: {0} {1}; укажите путь к файлу с ключами, по ключу в строке; новый: {2}",
    "{0} holds no key": "{0} — в нём нет ключа",
    "secrets of portals are sealed by `cryptography`, which is missing: {0}": "секреты порталов запечатывает "
    "библиотека cryptography, её нет: {0}",
    "{0}: sealed with a key that BITRIX_SECRET_KEY_FILE does not hold; put that key back into the file "
    "as a line, or give the portal its secrets anew by `bitrix-sync portal apply`": "{0}: ключа, которым это "
    "запечатано, нет в файле BITRIX_SECRET_KEY_FILE; верните его туда отдельной строкой или задайте секреты "
    "портала заново: `bitrix-sync portal apply`",
    "portal {0}: its webhook": "портал {0}: вебхук",
    "portal {0}: its tokens": "портал {0}: токены событий",
    "portal {0}: has no webhook; give it one by `bitrix-sync portal apply`": "портал {0}: вебхука нет; задайте "
    "его: `bitrix-sync portal apply`",
    "{0} is no name of a portal": "{0} — не имя портала",
    "{0}: cannot be set for one portal; take the line out": "{0}: для одного портала не задаётся; уберите строку",
    "portal {0}: there is or was one of that name, and none is given twice; take another": "портал {0}: такой "
    "уже есть или был, а имя дважды не даётся; возьмите другое",
    "{0} is the address of portal {1} already; a portal is served once": "{0} — это адрес портала {1}; дважды "
    "один портал не обслуживается",
    "DATABASE_URL: many portals need PostgreSQL; write {0}": "DATABASE_URL: для многих порталов нужен "
    "PostgreSQL; напишите {0}",
    "{0}: the portal has no rules; give it some by `bitrix-sync portal apply`": "{0}: у портала нет правил; задайте "
    "их: `bitrix-sync portal apply`",
    "portal {0}: has no webhook; write BITRIX_WEBHOOK_URL into {0}.env": "портал {0}: вебхука нет; впишите "
    "BITRIX_WEBHOOK_URL в {0}.env",
    "portal {0}: this is no name for a portal; take small Latin letters, digits and hyphens, at most 40": "портал "
    "{0}: так портал назвать нельзя; годятся строчные латинские буквы, цифры и дефис, не больше 40 знаков",
    "portal {0}: this is the portal of BITRIX_WEBHOOK_URL; take another name": "портал {0}: так называется "
    "портал из BITRIX_WEBHOOK_URL; возьмите другое имя",
    "portal {0}: {1} is the address of portal {2} already; a portal is served once": "портал {0}: {1} — это "
    "адрес портала {2}; дважды один портал не обслуживается",
    "portal {0}: {1} is another portal than {2}, on which its data was made; give it a name of its own": "портал "
    "{0}: {1} — не тот портал, на котором сделаны его данные ({2}); заведите его под своим именем",
    "portal {0}: there are no rules before version {1}": "портал {0}: до версии {1} правил не было",
    "portal {0}: DATABASE_URL names a file, which holds one portal; leave out --portal, BITRIX_PORTAL": "портал {0}: "
    "в DATABASE_URL файл, а в нём один портал; уберите --portal, BITRIX_PORTAL",
    "portal {0}: is enabled; first `bitrix-sync portal disable {1}`": "портал {0}: включён; сначала "
    "`bitrix-sync portal disable {1}`",
    "portal {0}: has no rules yet; give it some by `bitrix-sync portal apply`": "портал {0}: правил ещё нет; "
    "задайте их: `bitrix-sync portal apply`",
    "portal {0}: is there already; change it by `bitrix-sync portal apply`": "портал {0}: уже есть; изменить "
    "его: `bitrix-sync portal apply`",
    "say which portal: --portal NAME, or BITRIX_PORTAL; there are {0}": "укажите портал: --portal ИМЯ или "
    "BITRIX_PORTAL; есть {0}",
    "{0}, {1} more": "{0}, и ещё {1}",
    "no portal is called {0}; there are {1}": "портала {0} нет; есть {1}",
    "no portal is called {0}; there are none yet: `bitrix-sync portal add NAME`": "портала {0} нет; пока нет "
    "ни одного: `bitrix-sync portal add ИМЯ`",
    "{0}: git keeps it, with the secrets in it; take it out (git rm --cached), give the portal new "
    "secrets, for these are known, and name it in .gitignore": "{0}: его хранит git вместе с секретами; "
    "уберите его (git rm --cached), сделайте порталу новые секреты, ведь эти известны, и впишите файл в "
    ".gitignore",
    "{0}: is no directory; name the one with a folder for each portal": "{0}: это не папка; назовите ту, где "
    "по папке на каждый портал",
    "{0}: there is no folder with rules.yaml in it; make one for each portal, as {1}/north": "{0}: ни в одной "
    "папке нет rules.yaml; сделайте по папке на портал, например {1}/north",
    "no pass in its time: {0}": "не прочитаны вовремя: {0}",
    "{0} and {1} more": "{0} и ещё {1}",
    "there was no pass yet": "портал ещё ни разу не прочитан",
    "portal {0}: is disabled; first `bitrix-sync portal enable {1}`": "портал {0} выключен; сначала `bitrix-sync "
    "portal enable {1}`",
    "many portals need more than was installed: pip install 'bitrix-sync[fleet]'": "для многих порталов нужно больше, "
    "чем установлено: pip install 'bitrix-sync[fleet]'",
    "the workers do not answer; look at `bitrix-sync fleet`, start them anew if need be": "работники не отвечают; "
    "посмотрите `bitrix-sync fleet` и, если нужно, перезапустите их",
    "database {0}: its queue is of another version; stop all workers, drop the queue's tables, functions "
    "and types, then `bitrix-sync migrate` makes them anew": "база {0}: её очередь другой версии; остановите "
    "всех работников, удалите таблицы, функции и типы очереди, и `bitrix-sync migrate` создаст их "
    "заново",
    "a beat has not come back for {0} s": "сигнал не возвращается уже {0} с",
    "a look into the queue has not come back for {0} s": "обращение к очереди не возвращается уже {0} с",
    "no beat has reached the database yet": "ни один сигнал ещё не дошёл до базы",
    "nobody works for this portal: it is disabled": "портал никто не обслуживает: он выключен",
    "no sign for {0} s": "нет признаков жизни {0} с",
    "the thread that tells of events has ended ({0}); the log says where": "поток, который сообщает о "
    "событиях, кончился ({0}); место названо в журнале",
}
