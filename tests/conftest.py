"""Fixtures that every test may use; and lets tests that run hot modules in this process run them compiled."""

import os

from hypothesis import HealthCheck, settings
from tests.services import database_url, postgres_url, redis_server, redis_url

from portico.kernel import compiled

__all__ = ["database_url", "postgres_url", "redis_server", "redis_url"]

if os.environ.get("PORTICO_COMPILED") == "1":  # demands it
    compiled.install("1")

# A busy machine makes everything slow, which says nothing about the code.
settings.register_profile("portico", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("portico")
