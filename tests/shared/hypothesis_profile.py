"""Gives no Hypothesis test a deadline, as other work may hold the machine up; pyproject.toml loads it."""

from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")
