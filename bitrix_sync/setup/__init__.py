"""The first hour: ``init`` with its suggestions, and ``check``."""
