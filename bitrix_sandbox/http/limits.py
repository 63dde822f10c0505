"""What the portal allows: requests through a leaky bucket, and operating time for each method.

Docs: settings/performance/limits.md. Both count on a clock that is given, epoch seconds.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field

from bitrix_sandbox.state.errors import RestError

QUERY_LIMIT = "QUERY_LIMIT_EXCEEDED"
OPERATION_LIMIT = "OPERATION_TIME_LIMIT"
WINDOW = 600
"""Seconds that a basket counts, from the first call in its minute."""
BAN = 300
"""Seconds of the ban of newer portals."""
NOT_COUNTED = 0.1
"""Newer portals leave out calls shorter than this."""
BATCH_WEIGHT = 0.5
"""Newer portals count a batch itself, with so much of what its commands took."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that a limit refused: when (epoch seconds), which code, which method."""

    at: float
    code: str
    method: str


@dataclass(slots=True)
class Basket:
    """Operating seconds of one minute; ``first`` is the whole second of its first call."""

    minute: int
    first: int
    spent: float


@dataclass(slots=True)
class Account:
    """What one method cost one webhook."""

    baskets: deque[Basket] = field(default_factory=deque)
    banned_until: float = 0.0

    def spent(self) -> float:
        """The sum of the baskets."""
        return sum(one.spent for one in self.baskets)


class Limits:
    """The limits of one portal. Every attribute may be changed while it runs.

    ``rate``: (requests drained a second, size of the bucket), None for no limit. ``stepwise``: the counter falls by the
    whole rate once a second, as the documentation says; False: evenly. ``operating_limit``: seconds of a method within
    ten minutes, None for no limit. ``ban``: newer portals refuse a method for 300 s instead and forget what was spent.
    ``costs``: operating seconds of one call by lower-case method, where the default shall not rule; all are multiplied
    by ``cost_factor``. ``longest``: a request whose commands take more operating seconds than this is cut by the
    frontend, as after 60 s in the cloud; None: never, for nothing here takes as long as it costs. ``high_water``: the
    fullest that the bucket has been. ``refusals``: all that limits refused.
    """

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        rate: tuple[float, int] | None = (2, 50),
        operating_limit: float | None = 480,
        stepwise: bool = True,
    ) -> None:
        self.rate = rate
        self.operating_limit = operating_limit
        self.stepwise = stepwise
        self.ban = False
        self.costs: dict[str, float] = {}
        self.cost_factor = 1.0
        self.longest: float | None = None
        self.high_water = 0.0
        self.refusals: list[Refusal] = []
        self._clock = clock
        self._lock = threading.Lock()
        self._level = 0.0
        self._at = clock()
        self._accounts: dict[Hashable, Account] = {}

    @property
    def level(self) -> float:
        """Requests in the bucket now."""
        with self._lock:
            self._drain()
            return self._level

    def fill(self, requests: float) -> None:
        """Other programs behind the same address have sent so many requests."""
        with self._lock:
            self._drain()
            self._level += requests

    def enter(self, method: str) -> None:
        """Count one HTTP request, a batch being one; RestError when the bucket is full, and then it is not counted."""
        with self._lock:
            if self.rate is None:
                return
            self._drain()
            if self._level + 1 > self.rate[1] + 1e-9:
                self.refusals.append(Refusal(self._clock(), QUERY_LIMIT, method))
                raise RestError(QUERY_LIMIT, "Too many requests", 503)
            self._level += 1
            self.high_water = max(self.high_water, self._level)

    def check(self, who: Hashable, method: str) -> None:
        """RestError when the method has used up its time for this webhook; asked before each call."""
        with self._lock:
            account = self._account(who, method)
            if self._blocked(account):
                self.refusals.append(Refusal(self._clock(), OPERATION_LIMIT, method))
                raise RestError(OPERATION_LIMIT, "Method is blocked due to operation time limit.", 429)

    def price(self, method: str, usual: float) -> float:
        """Operating seconds of one call, however quick it is here."""
        return self.costs.get(method.lower(), usual) * self.cost_factor

    def spend(self, who: Hashable, method: str, cost: float) -> None:
        """Note a call that took ``cost`` operating seconds."""
        if method.lower() == "batch":
            cost *= BATCH_WEIGHT
        with self._lock:
            if self.ban and cost < NOT_COUNTED:
                return
            account = self._account(who, method)
            now = self._clock()
            if not account.baskets or account.baskets[-1].minute != int(now // 60):
                account.baskets.append(Basket(int(now // 60), int(now), 0.0))
            account.baskets[-1].spent += cost
            if self.ban and self.operating_limit is not None and account.spent() > self.operating_limit:
                account.baskets.clear()
                account.banned_until = float(int(now) + BAN)

    def told(self, who: Hashable, method: str) -> tuple[float, int]:
        """``operating`` and ``operating_reset_at`` of a method as an answer shows them."""
        with self._lock:
            account = self._account(who, method)
            now = self._clock()
            if account.banned_until > now:
                return 0.0, int(account.banned_until)
            first = account.baskets[0].first if account.baskets else int(now)
            return account.spent(), first + WINDOW

    def refused(self, code: str = "") -> int:
        """How many calls were refused, with this code or with any."""
        return sum(not code or one.code == code for one in self.refusals)

    def _blocked(self, account: Account) -> bool:
        if account.banned_until > self._clock():
            return True
        return not self.ban and self.operating_limit is not None and account.spent() > self.operating_limit

    def _account(self, who: Hashable, method: str) -> Account:
        account = self._accounts.setdefault((who, method.lower()), Account())
        now = self._clock()
        while account.baskets and not now - WINDOW < account.baskets[0].first <= now:
            account.baskets.popleft()
        return account

    def _drain(self) -> None:
        now = self._clock()
        passed = max(0.0, now - self._at)
        if self.stepwise and now >= self._at:
            passed = float(int(passed))
            self._at += passed
        else:
            self._at = now
        if self.rate is not None:
            self._level = max(0.0, self._level - passed * self.rate[0])
