"""The week of one sales department, told as its manager lives it: what the service does by itself, and what it says.

Maria and Igor sell, Victor is their head, Anna is the director; Dmitry and Natalia are lawyers under Elena. Everything
happens in the real service and in the sandbox portal, by the clock of Moscow.
"""

from __future__ import annotations

from pathlib import Path

from bitrix_sync import report
from bitrix_sync.commands import changes
from tests.world.sweeps import DIRECTOR, HEAD, IGOR, LAWYER_HEAD, MARIA, Department, department, section

STANDARDS = """
version: 1
language: ru
timezone: Europe/Moscow
admins: [1]
fallback_owner: 1
calendar: {hours: "09:00-18:00"}
supervisor: head
funnels:
  Продажи:
    Новая заявка:
      - id: call
        title: "Позвонить клиенту: {{ deal.TITLE }}"
        deadline: {after: 2 workhours}
    Презентация:
      - id: presentation
        title: Провести презентацию
        deadline: {after: 1 workday, at: "15:00"}
    Договор:
      limit: 1 workday
      tasks:
        - id: contract
          title: Подготовить договор
          owner: {department: Юридический отдел, pick: first}
          deadline: {after: 1 workday}
overdue:
  tasks: rules
  morning: {at: "09:00", move_to: {after: 0 workdays}}
  evening: {at: "18:30", move_to: {after: 1 workday}}
  limit: 3
"""


def task_of(place: Department, deal: int, rule: str) -> int:
    """The portal's number of the rule's task on the deal."""
    (found,) = [task.id for task in place.tasks(deal) if task.xml_id.endswith(f":{rule}")]
    return int(found)


def test_the_week_of_a_sales_department(tmp_path: Path) -> None:
    with department(tmp_path, STANDARDS) as place:
        portal = place.portal.state
        for deal in portal.deals.values():  # nobody speaks of what was before
            if not deal.stage_id.endswith(("WON", "LOSE", "APOLOGY")):
                portal.move_deal(deal.id, "C5:WON" if deal.funnel_id else "WON", by=DIRECTOR)
        place.turn()

        # Monday. Two applications come in, each gets its call by noon. Maria calls, Igor does not.
        place.until("2026-03-02 10:00")
        romashka = place.add_deal("Ромашка", responsible=MARIA)
        vector = place.add_deal("Вектор", responsible=IGOR)
        place.turn()
        marias_call, igors_call = task_of(place, romashka, "call"), task_of(place, vector, "call")
        assert place.due(marias_call) == place.due(igors_call) == "2026-03-02 12:00"
        portal.complete_task(marias_call, by=MARIA)

        evening = place.sweeps("18:30")
        assert place.due(igors_call) == "2026-03-03 18:00"
        assert section(place.heard(HEAD, evening), "Срок перенесён: 1 задача") == [
            "Игорь Попов: Позвонить клиенту: Вектор. Было пн 2 марта, 12:00, стало вт 3 марта, 18:00, перенос № 1"
        ]
        assert section(place.heard(IGOR, evening), "Ваши задачи, срок перенесён: 1 задача") != []
        assert place.heard(MARIA, evening) == "", "who has done her work hears nothing"

        # Tuesday. The morning reminds of what is due; Maria's deal goes on, Igor still does not call.
        morning = place.sweeps("2026-03-03 09:00")
        assert section(place.heard(IGOR, morning), "Ваши задачи на сегодня: 1 задача") == [
            "18:00 Позвонить клиенту: Вектор"
        ]
        place.until("10:00")
        place.move(romashka, "PREPARATION", by=MARIA)
        place.turn()
        presentation = task_of(place, romashka, "presentation")
        assert place.due(presentation) == "2026-03-04 15:00"
        place.sweeps("18:30")
        assert place.due(igors_call) == "2026-03-04 18:00"

        # Wednesday. The client asks for another day, so Victor moves Maria's presentation himself: that is respected.
        place.sweeps("2026-03-04 09:00")
        place.until("14:00")
        portal.set_deadline(presentation, place.at("2026-03-05 12:00"), by=HEAD)
        evening = place.sweeps("18:30")
        assert place.due(presentation) == "2026-03-05 12:00"
        assert place.due(igors_call) == "2026-03-05 18:00"
        assert "перенос № 3" in place.heard(HEAD, evening)

        # Thursday. Neither is done. The presentation is moved for the first time, Igor's call no more: three is enough.
        place.sweeps("2026-03-05 09:00")
        evening = place.sweeps("18:30")
        assert place.due(presentation) == "2026-03-06 18:00"
        assert place.due(igors_call) == "2026-03-05 18:00"
        assert section(place.heard(HEAD, evening), "Срок перенесён: 1 задача") == [
            "Мария Кузнецова: Провести презентацию (Ромашка). "
            "Было чт 5 марта, 12:00, стало пт 6 марта, 18:00, перенос № 1"
        ]

        # Friday. The director hears of it in the morning, and Victor that she does.
        morning = place.sweeps("2026-03-06 09:00")
        assert section(place.heard(DIRECTOR, morning), "Срок больше не переносится, решать вам: 1 задача") == [
            "Игорь Попов: Позвонить клиенту: Вектор. Срок был чт 5 марта, 18:00, 3 переноса. Контролирует Виктор Орлов"
        ]
        assert section(place.heard(HEAD, morning), "Срок больше не переносится, сообщено выше: 1 задача") == [
            "Игорь Попов: Позвонить клиенту: Вектор. Срок был чт 5 марта, 18:00, 3 переноса. Знает Анна Смирнова"
        ]
        assert [line["moves_by_us"] for line in report.moves(place.store, now=place.service.clock())] == [3, 1]

        # She gives the call to Maria, who makes it and her presentation too; the contract is the lawyers' now.
        place.until("11:00")
        portal.set_owner(igors_call, MARIA, by=DIRECTOR)
        portal.complete_task(igors_call, by=MARIA)
        portal.complete_task(presentation, by=MARIA)
        place.move(romashka, "EXECUTING", by=MARIA)
        place.turn()
        contract = task_of(place, romashka, "contract")
        lawyer = portal.tasks[contract].responsible_id
        assert place.due(contract) == "2026-03-09 18:00", "the weekend is nobody's working day"
        evening = place.sweeps("18:30")
        assert section(place.heard(lawyer, evening), "Ваши задачи по пн 9 марта включительно: 1 задача") == [
            "пн 9 марта, 18:00 Подготовить договор (Ромашка)"
        ]
        assert section(place.heard(LAWYER_HEAD, evening), "Загрузка сотрудников на пн 9 марта") == [
            f"{place.context.rulebook.company.name(lawyer)}: открыто 1, просрочено 0, срок по этот день 1"
        ]
        assert place.heard(HEAD, evening) == place.heard(IGOR, evening) == ""

        # On Saturday and Sunday nobody is disturbed.
        for day in ("07", "08"):
            place.until(f"2026-03-{day} 20:00")
            place.turn()
        assert place.store.sweeps(limit=1)[0].slot == evening

        # Monday again. The contract is late; the deal stands in its stage longer than it should, and Victor hears that.
        place.sweeps("2026-03-09 09:00")
        evening = place.sweeps("18:30")
        assert place.due(contract) == "2026-03-10 18:00"
        assert section(place.heard(HEAD, evening), "Застряли на стадии: 1 сделка") == [
            "Ромашка: «Договор» с пт 6 марта, 11:00, ответственный: Мария Кузнецова"
        ]

        # The lawyers were to have till Wednesday, says Anna, and takes the evening back: as if it had not been.
        account = changes.perform(place.context, "undo", {"slot": evening})
        assert (account["put_back"], account["left_alone"]) == (1, 0)
        assert place.due(contract) == "2026-03-09 18:00"
        assert place.record(contract).moves == 0
        portal.set_deadline(contract, place.at("2026-03-11 18:00"), by=DIRECTOR)

        # So Tuesday morning finds nothing overdue, and the stuck deal is not told again.
        morning = place.sweeps("2026-03-10 09:00")
        assert place.readers(morning) == []
        assert place.due(contract) == "2026-03-11 18:00"
