"""Lets the tests that run hot modules in this process run them compiled: PORTICO_COMPILED=1 demands it."""

import os

from portico.kernel import compiled

if os.environ.get("PORTICO_COMPILED") == "1":
    compiled.install("1")
