"""The catalogue's part about the demonstration (see ``wording``)."""

from __future__ import annotations

RU: dict[str, str] = {
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
    "demo.load.title": "Кто чем загружен (bitrix-sync report load)",
    "demo.to": "кому: {name}",
    "demo.column.deal": "Сделка",
    "demo.column.task": "Задача",
    "demo.column.owner": "Исполнитель",
    "demo.column.observer": "Наблюдает",
    "demo.column.deadline": "Срок",
    "demo.checklist": "чек-лист: {items}",
    "demo.was": "был {moment}",
    "demo.end": "Это вся история. Со страницей в браузере: make demo. Со своим порталом: README, «Start with your "
    "portal».",
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
}
EN: dict[str, str] = {
    "demo.title": "bitrix-sync: a sales department's week",
    "demo.intro": "A practice portal is open on this machine: a sales department, lawyers, logistics, {count:deals} in "
    "progress. The service works with it as with a real one: over HTTP, through an incoming webhook. Rules: {rules}. "
    "The portal's clock is turned forward. Your portal, your .env and your database are not touched.",
    "demo.names": "Names of people, deals and tasks are Russian: so are the portal and its rules.",
    "demo.page": "The page with deadlines, load and reasons: {url}",
    "demo.enter.title": "Deals enter stages, tasks appear by themselves",
    "demo.enter": "Maria entered a new request. Igor arranged a presentation. Olga has come to the contract, to be "
    "signed on {sign:day}. Another deal of Igor's went into shipment, planned for {ship:day}. Nobody did more than "
    "that:",
    "demo.enter.after": "The tasks are seen in the deals too: each is bound to its own. Deadlines are in working time: "
    "a contract is due three working days before it is signed, and {holiday:day} is a day off, hence the Saturday.",
    "demo.ship.title": "The ship date changes, the deadline follows",
    "demo.ship": "The client asked to ship later, and Igor corrected the date in the deal: {ship:day}. The task in "
    "logistics:",
    "demo.ship.line": "a line in the task",
    "demo.done.title": "A task is done, the next one appears",
    "demo.done": "Igor gave the presentation and closed the task. The deal is worth {sum:number}, and from "
    "{limit:number} on the rules ask for an offer (start: done, if):",
    "demo.advance.title": "All tasks of the stage are done, the deal moves on by itself",
    "demo.advance": "Igor sent the offer and closed the task. The service moved the deal to the stage “{stage}” "
    "(advance_to), which has a task of its own:",
    "demo.late.title": "A request at the end of the day",
    "demo.late": "Pavel gets a new request at {at}. Ten working minutes are left of the day, the other twenty are "
    "tomorrow's:",
    "demo.evening.title": "The evening sweep",
    "demo.evening": "Maria has not called. The sweep moved the deadline to tomorrow and told everybody. This is what "
    "her head received:",
    "demo.morning.title": "The morning sweep",
    "demo.morning": "Everybody hears what is due today. This is what Maria received:",
    "demo.limit.title": "There is an end to moving",
    "demo.limit": "Tuesday, Wednesday and Thursday have passed. The others closed their tasks, Maria did not. After "
    "three moves the deadline stays where it is, and her head's own head hears of it.",
    "demo.why.title": "Why did it come so? (bitrix-sync why {number} --rule {rule})",
    "demo.backfill.title": "Deals that were in their stages before (bitrix-sync backfill)",
    "demo.backfill": "A first start buries nobody: tasks for these deals are made by a command of their own. Made: "
    "{count:tasks}.",
    "demo.load.title": "Who has how much to do (bitrix-sync report load)",
    "demo.to": "to: {name}",
    "demo.column.deal": "Deal",
    "demo.column.task": "Task",
    "demo.column.owner": "Owner",
    "demo.column.observer": "Observer",
    "demo.column.deadline": "Deadline",
    "demo.checklist": "check list: {items}",
    "demo.was": "was {moment}",
    "demo.end": "That is the story. With a page in the browser: make demo. With your own portal: README, “Start with "
    "your portal”.",
    "demo.live": "The portal lives on: now and then somebody moves a deal, and the service makes its task. To end: "
    "Ctrl-C.",
    "demo.live.made": "{at} {deal} → {stage}: “{task}”, {owner}, due {deadline:moment} (after {seconds} s)",
    "demo.live.moved": "{at} {deal} → {stage}",
    "demo.live.done": "{at} {owner}: done “{task}”",
    "sandbox.title": "A practice portal: a sales department, {count:deals}. To end: Ctrl-C.",
    "sandbox.webhook": "Webhook for .env:",
    "sandbox.look": "To look:",
    "sandbox.act": "To move a deal:",
    "sandbox.fault": "To lose the answers to the next three new tasks (all else that can go wrong: docs/sandbox.md):",
    "sandbox.events": "To send events to the service (BITRIX_APPLICATION_TOKEN=sandbox):",
}
