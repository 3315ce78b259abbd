"""The phases of a request, in their order."""

from __future__ import annotations

from typing import Final

# Policies of one phase run by their `order`, then their id.
IDENTIFY: Final = 10
ADMIT: Final = 20
AUTHENTICATE: Final = 30
AUTHORIZE: Final = 40
LIMIT: Final = 50
VALIDATE: Final = 60
CACHE: Final = 70
TRANSFORM: Final = 80
PHASES: Final = {
    "identify": IDENTIFY,
    "admit": ADMIT,
    "authenticate": AUTHENTICATE,
    "authorize": AUTHORIZE,
    "limit": LIMIT,
    "validate": VALIDATE,
    "cache": CACHE,
    "transform": TRANSFORM,
}
