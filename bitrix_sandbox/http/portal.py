"""The sandbox portal without its socket: what it knows, its clock, limits, faults and events, and REST's entry."""

from __future__ import annotations

from collections.abc import Callable

from bitrix_sandbox.http.commands import CommandRunner
from bitrix_sandbox.http.entry import RestEntry
from bitrix_sandbox.http.events import Events
from bitrix_sandbox.http.faults import Faults
from bitrix_sandbox.http.journal import Journal
from bitrix_sandbox.http.limits import Limits
from bitrix_sandbox.http.wire import Shapes
from bitrix_sandbox.methods import calendar, crm, im, people, system, tasks
from bitrix_sandbox.state import seed
from bitrix_sandbox.state.clock import Agenda
from bitrix_sandbox.state.portal import PortalState

METHOD_MODULES = (calendar, crm, im, people, system, tasks)
"""Importing them registers the portal's methods."""


class SandboxPortal:
    """A portal at ``host``. The arguments are those of ``Sandbox``, which puts it on a socket."""

    def __init__(
        self,
        state: PortalState,
        host: str,
        *,
        rate: tuple[float, int] | None,
        operating_limit: float | None,
        limits_clock: Callable[[], float] | None,
        latency: float,
        event_seed: int,
    ) -> None:
        self.state, self.clock, self.host = state, state.clock, host
        self.latency = latency
        self.limits = Limits(limits_clock or self.clock.timestamp, rate=rate, operating_limit=operating_limit)
        self.faults = Faults(self.clock.timestamp)
        self.shapes = Shapes()
        self.journal = Journal()
        self.events = Events(self.clock, host, seed=event_seed)
        self.agenda = Agenda(self.clock, "sandbox agenda")
        """Work that comes late: what faults put off."""
        self.rest = RestEntry(
            CommandRunner(
                state,
                limits=self.limits,
                faults=self.faults,
                events=self.events,
                agenda=self.agenda,
                shapes=self.shapes,
                journal=self.journal,
            )
        )
        state.emit = self.events.put

    def rename(self, host: str) -> None:
        """Give the portal another ``host:port`` (such as ``localhost:PORT``): requests to other names get a 302."""
        self.rest.new_name = host

    def make_anew(self) -> None:
        """The portal is deleted and made anew at the same address: the department of ``seed`` without deals and tasks,
        ids from 1, another member id."""
        with self.state.lock:
            self.state.become(seed.build_department(self.clock, work=False))
        self.events.member_id = f"{int(self.events.member_id, 16) + 1:032x}"

    def settle(self, timeout: float = 60.0) -> bool:
        """Wait until late work and events that are due are through; False if ``timeout`` real seconds do not do."""
        return self.agenda.settle(timeout) and self.events.settle(timeout)
