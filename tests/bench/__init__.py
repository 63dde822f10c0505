"""What speed costs: the service beside what a user would write instead, on the sandbox portal, in simulated time.

``python -m tests.bench`` prints the tables and writes them to ``build/bench.json``.
"""
