"""What a user would write instead: a handler that is called for each event, one request for the deal and one for its
task; and for what is overdue a nightly script in the same manner. With ``requests``, in simulated time.

What fails is lost: the portal sends an event once, whatever it is answered.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import requests

from tests.bench.process import serve
from tests.bench.timeline import Timeline


class Handler:
    """One call of the portal's REST after another."""

    def __init__(self, folder: Path, url: str) -> None:
        self.timeline, self.url = Timeline(folder / "time"), url
        self.session = requests.Session()

    def call(self, method: str, params: dict[str, Any]) -> Any:
        """One request; raises what ``requests`` raises."""
        answer = self.session.post(self.url + method, json=params, timeout=60)
        answer.raise_for_status()
        return answer.json()["result"]

    def work(self, deals: list[int]) -> None:
        """An event for each deal."""
        now = self.timeline.moment()
        for deal_id in deals:
            with contextlib.suppress(requests.RequestException, ValueError, KeyError, TypeError):
                self.call("tasks.task.add", {"fields": task_of(self.call("crm.deal.get", {"id": deal_id}), now)})

    def sweep(self) -> None:
        """The script for what is overdue: all pages, a change for each, a message for each owner."""
        now = self.timeline.moment()
        due = (now + timedelta(days=1)).isoformat(timespec="seconds")
        moved: dict[str, list[str]] = defaultdict(list)
        for task in list(self.overdue(now.isoformat(timespec="seconds"))):
            with contextlib.suppress(requests.RequestException):
                self.call("tasks.task.update", {"taskId": task["id"], "fields": {"DEADLINE": due}})
                moved[task["responsibleId"]].append(task["title"])
        for owner, titles in moved.items():
            with contextlib.suppress(requests.RequestException):
                self.call("im.message.add", message_of(owner, titles))

    def overdue(self, now: str) -> Iterator[dict[str, Any]]:
        """Page after page; the script ends where a page fails."""
        start: int | None = 0
        while start is not None:
            params = {
                "filter": {"<DEADLINE": now, "REAL_STATUS": [1, 2, 3]},
                "select": ["ID", "TITLE", "RESPONSIBLE_ID"],
                "start": start,
            }
            try:
                answer = self.session.post(self.url + "tasks.task.list", json=params, timeout=60)
                answer.raise_for_status()
                page = answer.json()
            except (requests.RequestException, ValueError):
                return
            yield from page["result"]["tasks"]
            start = page.get("next")


def task_of(deal: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the task of a deal says."""
    return {
        "TITLE": f"Bench: {deal['TITLE']}",
        "RESPONSIBLE_ID": deal["ASSIGNED_BY_ID"],
        "DEADLINE": (now + timedelta(days=2)).isoformat(timespec="seconds"),
        "UF_CRM_TASK": [f"D_{deal['ID']}"],
    }


def message_of(owner: str, titles: list[str]) -> dict[str, str]:
    """What an owner is told."""
    return {"DIALOG_ID": owner, "MESSAGE": "\n".join(["Moved:", *titles[:20]])}


if __name__ == "__main__":
    serve(Handler(Path(sys.argv[1]), sys.argv[2], **json.loads(sys.argv[3])))
