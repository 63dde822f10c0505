"""Every reason that we give ourselves for what became of an operation, a task or a rule. Pure.

The value is what is stored and what programs read; since version 0.1 it is an English text. People read the words of
``CHOICES["reason"]`` in their language (``texts.reason_text``). What the portal said is no reason of ours: it is text.
"""

from __future__ import annotations

import re
from enum import StrEnum


class Reason(StrEnum):
    """A reason; ``{}`` stands for what it names, see ``of``."""

    # why an operation need not be sent, or did not come to be
    SO_ALREADY = "so already"
    THERE_ALREADY = "there already"
    FOUND = "found in the portal"
    TASK_GONE = "the task is gone"
    NOT_CREATED = "the task was not created"
    NOT_MADE = "what it tells of was not done"
    STRANGER = "another task has its number now"
    PUT_BACK = "the portal was put back"
    CLOSED = "closed"
    CLOSED_OR_AWAITING = "closed or awaiting acceptance"
    NOT_MOVABLE = "closed, deferred or awaiting acceptance"
    OTHER_DEADLINE = "a person has set another deadline"
    OTHER_OWNER = "a person has set another owner"
    MOVED_OTHERWISE = "moved otherwise meanwhile"
    OTHER_DEAL = "a person has bound the task to another deal"
    DEADLINE_PASSED = "its new deadline has passed"
    DEAL_ELSEWHERE = "the deal has moved elsewhere meanwhile"
    DEAL_WENT_ON = "the deal went on before it was released"
    REMOVED = "removed with rule {}"
    # sweeps
    NEXT_BEGAN = "the next sweep began"
    NOT_RELEASED = "held and not released"
    UNDONE = "the sweep was undone"
    NO_SWEEPS = "sweeps were taken out of the rules"
    NOT_IN_RULES = "not in the rules"
    MISSED = "missed"
    # what the portal's answer left to be desired
    DEADLINE_KEPT = "the portal kept the old deadline"
    NO_ID = "the portal gave no id"
    NOT_CONFIRMED = "sent once; the portal did not confirm it"
    UNREADABLE = "a task of the portal cannot be read"
    NOT_NOTED = "cannot be noted ({})"
    NOT_JUDGED = "its answer cannot be judged ({})"
    NO_SENSE = "makes no sense ({}); the log says more"
    # why a sweep leaves a task where it is
    AWAITING = "it awaits acceptance"
    DEAL_GONE = "its deal is gone"
    DEAL_CLOSED = "its deal is closed"
    LIMIT = "its limit of moves: {}"
    # what a person changed in a task, which is why it is not deleted
    CHANGED_STATUS = "status"
    CHANGED_OWNER = "owner"
    CHANGED_DEADLINE = "deadline"
    CHANGED_TITLE = "title"
    CHANGED = "change"
    # why a rule is off
    GONE_EVERYWHERE = "The stage `{}` is gone from every funnel"
    FUNNEL_GONE = "The funnel {} is gone from the portal"
    STAGE_GONE = "The stage {} is gone from the portal"
    FIELD_GONE = "The field {} is gone from the portal"
    TASK_FIELD_GONE = "The user field {} is gone from the portal"
    OPTION_GONE = "The value {} is gone from the portal"
    DEPARTMENT_GONE = "The department {} is gone from the portal"
    WORKGROUP_GONE = "The workgroup {} is gone from the portal"
    NAME_UNREAD = "`{}` could not be read from the portal"
    USER_GONE = "The user {} is gone from the portal"

    def of(self, detail: object) -> str:
        """The reason with what it names."""
        return self.value.replace("{}", str(detail))

    def is_in(self, text: str) -> bool:
        """True when a stored text is this reason."""
        found = self.read(text)
        return found is not None and found[0] is self

    @classmethod
    def read(cls, text: str) -> tuple[Reason, str] | None:
        """The reason that a stored text is, with what it names; None: the text is somebody else's."""
        if (own := _OWN.get(text)) is not None:
            return own, ""
        found = ((one, form.fullmatch(text)) for one, form in _FORMS.items())
        return next(((one, match[1]) for one, match in found if match), None)


_OWN = {one.value: one for one in Reason}
_FORMS = {
    one: re.compile(re.escape(one.value).replace(r"\{\}", "(.*)"), re.DOTALL) for one in Reason if "{}" in one.value
}
