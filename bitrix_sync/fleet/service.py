"""The service of one portal as a worker drives it: turn by turn, under the worker's beats, by the database's time."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b

from bitrix_sync.app import Service
from bitrix_sync.clock import Clock
from bitrix_sync.engine import identity
from bitrix_sync.model.rules_text import RulesText
from bitrix_sync.settings import Settings
from bitrix_sync.store.lease import Hold
from bitrix_sync.store.portals import Turn

PATIENCE = 5.0
"""Seconds that a reading tries before the turn goes to others."""
SPREAD = 120
"""Seconds over which sweeps of many portals that are due at the same time begin."""
IDENTIFIED_FOR = timedelta(hours=24)
"""After so long is asked once more whether the portal is still the one that the store was made on."""


class PortalService(Service):
    """A portal of a fleet."""

    def __init__(self, settings: Settings, clock: Clock) -> None:
        super().__init__(settings, clock=clock, patience=PATIENCE)
        self.slot_delay = timedelta(seconds=delay_of(settings.number))
        self.rung: datetime | None = None
        """The last ring that was heard."""
        self.identified: datetime | None = None
        """When was last asked whose portal it is, as far as is known here."""

    def enter(self, turn: Turn, hold: Hold) -> None:
        """A turn: the lease is held, by another epoch if somebody else held it meanwhile; then all is opened anew."""
        if self.hold is None or self.hold.epoch != turn.epoch:
            self.context = self.standing = None
            self.rest(0.0)
            if turn.pace is not None and turn.at is not None:
                ago = (turn.at - turn.pace.at).total_seconds()
                self.portal.rate_limiter.restore(turn.pace.level, ago, final=turn.pace.final)
        self.hold = hold
        if self.context is not None and self.is_identity_old():
            self.context = None
        if turn.rung != self.rung:
            self.rung = turn.rung
            self.wake_signal.ring("ring")

    def is_identity_old(self) -> bool:
        """Whether nobody has asked for long whose portal it is."""
        return self.identified is None or not timedelta() <= self.time() - self.identified < IDENTIFIED_FOR

    def identify(self, *, patience: float = identity.PATIENCE) -> identity.Standing:
        """As the store knows it, if that was asked lately and at this address; else the portal is asked."""
        flags, host = self.store.flags, identity.host_of(self.portal)
        self.identified = flags.identified
        if flags.portal_host == host and flags.portal_member_heard is None and not self.is_identity_old():
            return identity.Standing(host, before=host)
        standing = super().identify(patience=patience)
        self.identified = flags.identified = self.time()
        return standing

    def note_pass(self) -> None:
        """The end of the turn does it."""

    def restore_pace(self) -> None:
        """The turn has brought it."""

    def renew_lease(self) -> None:
        """The worker's beats do it."""

    def take_lease(self) -> bool:
        """It comes with a turn."""
        return self.hold is not None

    def change_rules(self, text: str, version: int) -> None:
        """An administrator has brought other rules, or taken others back."""
        assert isinstance(self.settings.rules, RulesText)
        self.settings.rules.put(text, version)
        self.wake_signal.ring("rules")

    def leave(self) -> None:
        """Close what is open; the lease is the next one's."""
        self.hold = None
        self.close()


def delay_of(number: int) -> int:
    """Seconds after a slot's moment when the portal's sweep begins: for each portal always the same."""
    return int.from_bytes(blake2b(str(number).encode(), digest_size=4).digest(), "big") % SPREAD
