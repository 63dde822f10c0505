"""The service's memory: one database with what was seen, decided, sent and told."""

from bitrix_sync.store.flags import Flags, LearnedRooms, LookedAt, QueueRest, SweepRest
from bitrix_sync.store.lease import Hold, Lease
from bitrix_sync.store.requests import Request
from bitrix_sync.store.store import Store
from bitrix_sync.store.sweeps import Sweep

__all__ = ["Flags", "Hold", "LearnedRooms", "Lease", "LookedAt", "QueueRest", "Request", "Store", "Sweep", "SweepRest"]
