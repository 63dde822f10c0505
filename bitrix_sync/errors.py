"""The exceptions that reach a person, by whose turn it is. Exit codes: 1 the user's, 3 the portal's or ours."""

from __future__ import annotations


class BitrixSyncError(Exception):
    """Root of the errors that the service raises on purpose; the message is complete, for a person."""

    exit_code = 3


class UserError(BitrixSyncError):
    """Something the administrator can put right: a setting, a file, a right. The message says what to do."""

    exit_code = 1


class SettingError(UserError):
    """A wrong setting; names it and what to write."""


class WrongPortal(UserError):
    """A command names no portal of the fleet, or none where there are several."""

    exit_code = 2


class WrongFilter(UserError):
    """A filter that a report does not take, or that is written wrongly."""

    exit_code = 2


class RulesError(UserError):
    """A rules file with errors; ``problems`` holds them all, each with its line."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class ForeignPortal(UserError):
    """The store was made on another portal: nothing may be written to this one by what it says."""


class PortalError(BitrixSyncError):
    """The portal could not be reached or failed; trying again later may help."""


class PortalRefused(PortalError):
    """The portal refuses us for good: webhook, scope, plan. ``code`` is the portal's error code."""

    exit_code = 1

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class StoreError(UserError):
    """The database is locked, missing, full or of another version."""


class StoreAway(StoreError):
    """The database's server does not answer; trying again later may help."""

    exit_code = 3


TAKEN_OVER = "another bitrix-sync process has taken over this database; this one writes nothing more"
NOT_RENEWED = (
    "the lease on the database was not renewed in time (did the process or its machine stand still?); what was under"
    " way writes nothing more"
)


class LeaseLost(BitrixSyncError):
    """This process is not, or not surely, the one that works for the portal; what it still wanted to write is void."""

    def __init__(self, message: str = TAKEN_OVER) -> None:
        super().__init__(message)
