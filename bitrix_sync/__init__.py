"""bitrix-sync keeps the standards of a sales department in its Bitrix24 portal.

Where to look first: ``sync.py`` (gather, decide, record, apply), ``plan.py`` (what a deal's move becomes).
"""

__version__ = "0.2.0"
