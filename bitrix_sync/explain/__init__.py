"""Answers to why and what if: ``why`` and ``preview``."""
