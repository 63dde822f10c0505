"""One world for all tests: a company (``company``) and what drives the service in it.

``story`` decides on one deal, pure. ``office`` runs the real service step by step on the sandbox portal over HTTP,
``sweeps`` its mornings and evenings, ``town`` as a process of its own; ``tests/chaos`` kills it again and again.
``records`` is a store with a month of work, to look at. ``calls`` and ``echo`` ask the sandbox portal itself.
"""
