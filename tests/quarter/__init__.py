"""Do the dates hold that sweeps choose? A quarter of a department's work, once with ``room: none``, once ``learned``.

``python -m tests.quarter`` prints the table. ``script`` is what happens whatever sweeps do: who can do how much, is
away when and is given what; ``world`` plays it with the real service on the sandbox portal; ``ledger`` counts.
"""
