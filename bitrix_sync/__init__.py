"""bitrix-sync keeps the standards of a sales department in its Bitrix24 portal.

Where to look first: ``engine/passes.py`` (gather, decide, record, apply), ``decisions/plan.py`` (what a deal becomes).
"""

__version__ = "0.2.0"
